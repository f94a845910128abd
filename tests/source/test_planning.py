"""Batches cover every company and user exactly once, whatever the keys, and are balanced by users."""

from __future__ import annotations

import uuid
from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError, SetupError, SourceError
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Company, User
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import plan_batches
from tests.databases import read_records

PLAN = """
companies: {key: team, traits: {sql: SELECT id AS team FROM teams}}
users: {key: id, company: team, traits: {sql: "SELECT id, team FROM users"}}
"""
TYPES = {"integer": "BIGINT", "text": "VARCHAR(40)", "decimal": "DECIMAL(20, 0)"}


def delivered(database, loaded, batches, only=()):
    """How often each company and user is read over all batches."""
    times = Counter()
    selection = select(loaded, only)
    for batch in batches:
        carried = Batch.from_dict(batch.to_dict())  # as it comes out of XCom
        for scope in ("companies", "users"):
            for record in read_records(scope, loaded, selection, carried, database.sources, lambda *_: None):
                assert not isinstance(record, Problem)
                times[(scope, record.company_id if isinstance(record, Company) else record.user_id)] += 1
    return times


def planned(database, loaded, only=(), **options):
    """The batches, but for what they know of the queries' keys."""
    batches = plan_batches(loaded, select(loaded, only), database.sources, **options)
    return [msgspec.structs.replace(batch, plain=()) for batch in batches]


# No two texts that some collation holds for equal: whether those are one company is the database's to say.
texts = st.text(alphabet="abcxyz", min_size=1, max_size=4) | st.sampled_from(
    ["Ärger", "日本", "it's", 'a"b', "50%", "a:b", "Zebra", "10", "9", "\\", "{x}", "a b"]
)
keys_of = {
    "integer": st.integers(-50, 50) | st.integers(-(2**63), 2**63 - 1),
    "text": texts,
    "decimal": st.integers(-(10**18), 10**18),
}


@pytest.mark.parametrize("kind", ["integer", "text", "decimal"])
def test_every_company_and_user_is_in_exactly_one_batch(each_database, plan, kind):
    loaded = plan(PLAN)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        teams=st.sets(keys_of[kind], max_size=12),
        owners=st.lists(st.none() | keys_of[kind], max_size=25),
        whale=st.integers(0, 30),
        batch_size=st.integers(1, 40) | st.sampled_from([100, 1000]),
        max_batches=st.integers(2, 12) | st.just(1000),
        late=st.lists(st.none() | keys_of[kind], max_size=4),
    )
    def check(teams, owners, whale, batch_size, max_batches, late):
        if teams and whale:
            owners = owners + [min(teams)] * whale
        each_database.table("teams", f"id {TYPES[kind]}", [(key,) for key in sorted(teams)])
        each_database.table("users", f"id INT, team {TYPES[kind]}", list(enumerate(owners)))
        batches = planned(each_database, loaded, batch_size=batch_size, max_batches=max_batches)
        assert 1 <= len(batches) <= max_batches
        assert [batch.index for batch in batches] == list(range(1, len(batches) + 1))
        assert {batch.of for batch in batches} == {len(batches)}
        assert sum(batch.expected_users or 0 for batch in batches) == len(owners)
        assert sum(batch.expected_companies or 0 for batch in batches) == len(teams)
        # What is made between planning and reading, beyond both ends and in gaps, is covered too.
        each_database.insert("users", [(1000 + number, key) for number, key in enumerate(late)])
        new = {key for key in late if key is not None} - teams
        each_database.insert("teams", [(key,) for key in sorted(new)])
        everyone = [str(number) for number in [*range(len(owners)), *range(1000, 1000 + len(late))]]
        assert delivered(each_database, loaded, batches) == Counter(
            [("companies", str(key)) for key in teams | new] + [("users", key) for key in everyone]
        )

    check()
    each_database.drop_tables()


@pytest.mark.databases
def test_native_uuids_are_planned_and_covered(database, plan):
    if database.is_sqlite:
        pytest.skip("SQLite has no UUIDs")
    teams = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))) for number in range(40)]
    database.table("teams", "id UUID", [(key,) for key in teams])
    database.table(
        "users", "id INT, team UUID", [(number, teams[number % 40]) for number in range(200)] + [(500, None)]
    )
    loaded = plan(PLAN)
    batches = planned(database, loaded, batch_size=30)
    assert [batch.expected_users for batch in batches] == [25, 25, 25, 25, 25, 25, 25, 25, 1]
    assert delivered(database, loaded, batches) == Counter(
        [("companies", key) for key in teams] + [("users", str(number)) for number in [*range(200), 500]]
    )


def test_texts_that_differ_in_case_or_accents_are_each_delivered_once_where_the_database_tells_them_apart(
    database, plan
):
    if database.engine.dialect.name == "mysql":
        pytest.skip("its default collation doesn't: see test_matches.py")
    keys = ["abc", "ABC", "Abd", "abe", "É", "e", "É2", "zz"]
    database.table("teams", "id VARCHAR(40)", [(key,) for key in keys])
    database.table("users", "id INT, team VARCHAR(40)", list(enumerate(keys)))
    loaded = plan(PLAN)
    for batch_size in (1, 2, 3, 5):
        assert delivered(database, loaded, planned(database, loaded, batch_size=batch_size)) == Counter(
            [("companies", key) for key in keys] + [("users", str(number)) for number in range(len(keys))]
        )


def test_batches_are_balanced_by_users_and_a_whale_stands_alone(database, plan):
    database.table("teams", "id INT", [(team,) for team in range(1, 101)])
    users = [team for team in range(1, 101) for _ in range(9)] + [50] * 1000
    database.table("users", "id INT, team INT", list(enumerate(users)))
    batches = planned(database, plan(PLAN), batch_size=200)
    assert [(batch.first, batch.next, batch.expected_companies, batch.expected_users) for batch in batches] == [
        (None, 21, 20, 180),
        (21, 41, 20, 180),
        (41, 50, 9, 81),
        (50, 51, 1, 1009),
        (51, 61, 10, 90),
        (61, 81, 20, 180),
        (81, None, 20, 180),
        (None, None, 0, 0),
    ]
    assert batches[-1].no_company
    assert batches[3].label == snapshot("4/8: companies 50 to before 51, 1,009 users")


def test_there_are_never_more_batches_than_airflow_maps(sqlite, plan):
    sqlite.table("teams", "id INT", [(team,) for team in range(5000)])
    sqlite.table("users", "id INT, team INT", [(team, team) for team in range(5000)])
    loaded = plan(PLAN)
    assert 900 < len(planned(sqlite, loaded, batch_size=1)) <= 1000
    assert len(planned(sqlite, loaded, batch_size=1, max_batches=7)) == 7


def test_an_empty_database_gives_one_open_range_and_the_users_without_a_company(database, plan):
    database.table("teams", "id INT")
    database.table("users", "id INT, team INT")
    loaded = plan(PLAN)
    assert planned(database, loaded) == [
        Batch(index=1, of=2, expected_companies=0, expected_users=0, repeated_users=False),
        Batch(index=2, of=2, no_company=True, expected_companies=0, expected_users=0, repeated_users=False),
    ]
    assert planned(database, loaded, only=["companies"]) == [Batch(expected_companies=0)]


def test_only_what_is_sent_is_counted(database, plan):
    database.table("teams", "id INT", [(1,), (2,), (3,)])
    database.table("users", "id INT, team INT", [(1, 1), (2, 9), (3, None)])
    loaded = plan(PLAN)
    assert planned(database, loaded, only=["companies"]) == [Batch(expected_companies=3)]
    assert planned(database, loaded, only=["users"], batch_size=2) == [
        Batch(index=1, of=3, next=9, expected_users=1, repeated_users=False),
        Batch(index=2, of=3, first=9, expected_users=1, repeated_users=False),
        Batch(index=3, of=3, no_company=True, expected_companies=0, expected_users=1, repeated_users=False),
    ]


def test_companies_of_another_database_are_covered_by_the_users_bounds(database, other, plan):
    database.others["other"] = other.engine
    keys = ["b", "B", "a", "A", "é", "Z", "z", "_", "0"]
    other.table("teams", "id VARCHAR(20)", [(key,) for key in [*keys, "elsewhere"]])
    database.table("users", "id INT, team VARCHAR(20)", list(enumerate(keys)))
    loaded = plan("""
companies: {key: team, traits: {source: other, sql: SELECT id AS team FROM teams}}
users: {key: id, company: team, traits: {sql: "SELECT id, team FROM users"}}
""")
    times = delivered(database, loaded, planned(database, loaded, batch_size=2))
    # Two databases that sort differently may give a company twice, which is harmless; none may be lost.
    assert set(times) == {("companies", key) for key in [*keys, "elsewhere"]} | {("users", str(n)) for n in range(9)}
    assert all(count == 1 for (scope, _), count in times.items() if scope == "users")


COLLATIONS = {
    "sqlite": ("COLLATE NOCASE", ""),
    "postgresql": ('COLLATE "C"', 'COLLATE "en-x-icu"'),
    "mysql": ("COLLATE utf8mb4_general_ci", "COLLATE utf8mb4_unicode_ci"),
}


@pytest.mark.parametrize("turned", [False, True])
def test_companies_that_sort_differently_from_their_users_are_covered(database, plan, turned):
    one, other = COLLATIONS[database.engine.dialect.name][:: -1 if turned else 1]
    keys = ["Apple", "banana", "Cherry", "apricot", "Banjo", "_x", "Zoo", "zebra", "élan", "10", "9"]
    database.table("teams", f"id VARCHAR(20) {one}", [(key,) for key in [*keys, "elsewhere"]])
    database.table("users", f"id INT, team VARCHAR(20) {other}", list(enumerate(keys)))
    loaded = plan(PLAN)
    for batch_size in (1, 3, 4):
        times = delivered(database, loaded, planned(database, loaded, batch_size=batch_size))
        users = {("users", str(number)) for number in range(len(keys))}
        assert set(times) == {("companies", key) for key in [*keys, "elsewhere"]} | users
        assert {times[user] for user in users} == {1}


def test_named_companies_come_in_even_batches_with_keys_of_the_databases_type(database, plan):
    database.table("teams", "id INT", [(1,), (2,)])
    database.table("users", "id INT, team INT", [(1, 1), (2, 2), (3, None)])
    loaded = plan(PLAN)
    assert planned(database, loaded, company_ids=["2", " 1 ", "", 2, "7"]) == [
        Batch(companies=(2, 1, 7), expected_companies=3)
    ]
    many = planned(database, loaded, company_ids=range(1001))
    assert [len(batch.companies) for batch in many] == [333, 334, 334]
    assert [key for batch in many for key in batch.companies] == list(range(1001))
    with pytest.raises(SetupError) as caught:
        planned(database, loaded, company_ids=["1; DROP TABLE teams"])
    assert str(caught.value) == snapshot(
        "'1; DROP TABLE teams' is no key here: the database's keys are whole numbers, such as 17."
    )


def test_named_texts_stay_texts(database, plan):
    database.table("teams", "id VARCHAR(20)", [("007",), ("x",)])
    database.table("users", "id INT, team VARCHAR(20)", [(1, "007"), (2, "x")])
    loaded = plan(PLAN)
    batches = planned(database, loaded, company_ids=["007", 12])
    assert batches == [Batch(key_type="text", companies=("007", "12"), expected_companies=2)]
    records = list(read_records("users", loaded, select(loaded), batches[0], database.sources, lambda *_: None))
    assert records == [User(user_id="1", company_id="007")]


def test_sizes_that_make_no_sense_are_refused(sqlite, plan):
    for options in ({"batch_size": 0}, {"max_batches": 1}):
        with pytest.raises(SetupError) as caught:
            planned(sqlite, plan(PLAN), **options)
        assert str(caught.value) == snapshot("batch_size must be at least 1 and max_batches at least 2.")


def test_a_plan_that_cannot_be_counted_says_why(database, plan):
    loaded = plan(PLAN)
    database.run("DROP TABLE IF EXISTS teams")
    database.run("DROP TABLE IF EXISTS users")
    with pytest.raises(SourceError) as caught:
        planned(database, loaded)
    told = str(caught.value).splitlines()
    assert [line.partition(" (")[0] for line in told] == ["companies.traits", "users.traits"]
    mend = "; check the table's name in the SQL, and that the connection names the right database and schema."
    assert all(line.endswith(mend) for line in told)
    database.table("users", "id INT, company INT", [(1, 1)])
    wrong = plan("users: {key: id, company: team, traits: {sql: SELECT * FROM users}}")
    with pytest.raises(PlanError) as refused:
        planned(database, wrong)
    assert [problem.message for problem in refused.value.problems] == snapshot(
        [
            (
                "gives no column 'team', which names the company; give a column that name by AS, or correct the plan; "
                "the query's columns are id, company"
            )
        ]
    )
