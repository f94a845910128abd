"""Rows become records: traits and entries by shape, one bad record a problem, the others untouched."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.records.payload import Company, ContextEntry, User
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.source.batch import Batch

COMPANIES = "companies: {key: team_id, traits: {sql: SELECT id AS team_id FROM teams}, context: {x: {%s}}}"


def values_of(records):
    return {
        record.company_id: (record.context["x"].value if "x" in record.context else "left out") for record in records
    }


@pytest.fixture
def teams(database):
    database.table("teams", "id INT", [(1,), (2,), (3,)])
    return database


def test_a_company_is_its_traits_and_entries(any_driver, plan, read):
    any_driver.table("teams", "id INT, name VARCHAR(20), plan VARCHAR(20)", [(2, "Two", None), (1, "One", "pro")])
    any_driver.table("forms", "team INT, n INT", [(1, 3), (1, 4), (9, 1)])
    loaded = plan("""
companies:
  key: org
  traits: {sql: "SELECT id AS org, name, plan FROM teams;"}
  context:
    metrics: {label: Product Metrics, type: metric, sql: "SELECT team AS org, count(*) AS forms FROM forms GROUP BY team", empty: {forms: 0}}
    note: {label: Note, value: words, sql: "SELECT id AS org, 'hi' AS words FROM teams WHERE id = 1"}
    errors: {label: Errors, type: error, empty: omit, sql: "SELECT team AS org, n FROM forms WHERE n > 3"}
""")
    result = read(any_driver, loaded, "companies")
    assert result.records == [
        Company(
            company_id="1",
            traits={"name": "One", "plan": "pro"},
            context={
                "metrics": ContextEntry("Product Metrics", {"forms": 2}, "metric"),
                "note": ContextEntry("Note", "hi"),
                "errors": ContextEntry("Errors", [{"n": 4}], "error"),
            },
        ),
        Company(
            company_id="2",
            traits={"name": "Two", "plan": None},
            context={
                "metrics": ContextEntry("Product Metrics", {"forms": 0}, "metric"),
                "note": ContextEntry("Note", None),
            },
        ),
    ]
    assert result.warnings == Counter(
        {"companies.context.metrics: rows of companies that companies.traits doesn't have dropped": 1}
    )


def test_only_what_is_selected_is_read(teams, plan, read):
    loaded = plan(COMPANIES % "label: X, sql: SELECT id AS team_id FROM missing")
    assert read(teams, loaded, "companies", only=["companies.traits"]).records == [
        Company(company_id="1"),
        Company(company_id="2"),
        Company(company_id="3"),
    ]


def test_an_entry_alone_is_sent_without_traits(database, plan, read):
    database.table("teams", "id INT, name VARCHAR(20)", [(1, "One")])
    loaded = plan("""
companies:
  key: id
  traits: {sql: "SELECT id, name FROM teams"}
  context: {x: {label: X, sql: "SELECT id, 5 AS n FROM teams"}, y: {label: Y, sql: "SELECT id, 6 AS n FROM teams"}}
""")
    assert read(database, loaded, "companies", only=["companies.context.y"]).records == [
        Company(company_id="1", context={"y": ContextEntry("Y", {"n": 6})})
    ]


def test_users_carry_their_company_and_the_batch_narrows_by_it(database, plan, read):
    rows = [(10, 1), (9, 1), (11, 2), (12, None), (13, 77)]
    database.table("users", "id INT, team INT", rows)
    loaded = plan("""
users:
  key: user_id
  company: team_id
  traits: {sql: "SELECT id AS user_id, team AS team_id, 'x' AS name FROM users"}
  context: {o: {label: O, type: status, sql: "SELECT id AS user_id, team AS team_id, id + 1 AS n FROM users"}}
""")

    def user(key, company):
        return User(
            user_id=key,
            company_id=company,
            traits={"name": "x"},
            context={"o": ContextEntry("O", {"n": int(key) + 1}, "status")},
        )

    assert read(database, loaded, "users", Batch(next=2)).records == [user("10", "1"), user("9", "1")]
    assert read(database, loaded, "users", Batch(first=2)).records == [user("11", "2"), user("13", "77")]
    assert read(database, loaded, "users", Batch(no_company=True)).records == [user("12", None)]
    assert read(database, loaded, "companies", Batch(no_company=True)).records == []
    one = Batch(user=11, companies=(2,))
    assert read(database, loaded, "users", one).records == [user("11", "2")]
    assert read(database, loaded, "users", Batch(companies=(1,), users_too=False)).records == []


def test_keys_that_are_asked_for_and_not_there_are_problems(database, plan, read):
    database.table("teams", "id INT", [(1,), (2,)])
    database.table("users", "id INT, team INT", [(5, 1)])
    loaded = plan("""
companies: {key: team, traits: {sql: SELECT id AS team FROM teams}}
users: {key: id, company: team, traits: {sql: "SELECT id, team FROM users"}}
""")
    batch = Batch(companies=(1, 4))
    assert read(database, loaded, "companies", batch).records == [
        Company(company_id="1"),
        Problem("companies", "4", "", "is not in the companies query (companies.traits)"),
    ]
    assert read(database, loaded, "users", batch).records == [User(user_id="5", company_id="1")]
    assert read(database, loaded, "users", Batch(user=6)).records == [
        Problem("users", "6", "", "is not in the users query (users.traits)")
    ]
    assert read(database, loaded, "companies", Batch(user=6)).records == []


def test_many_named_companies_are_asked_for_in_chunks(database, plan, read):
    database.table("teams", "id INT", [(team,) for team in range(1200)])
    loaded = plan(COMPANIES % "label: X, sql: SELECT id AS team_id FROM teams")
    found = read(database, loaded, "companies", Batch(companies=tuple(range(1205))))
    assert {record.company_id for record in found.records if isinstance(record, Company)} == set(map(str, range(1200)))
    assert sum(isinstance(record, Problem) for record in found.records) == 5


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("label: X", {"1": {"a": 1, "b": "x"}, "2": "left out", "3": {}}),
        ("label: X, type: list", {"1": [{"a": 1, "b": "x"}], "2": [{"a": 2, "b": "y"}, {"a": 3, "b": None}], "3": []}),
        (
            "label: X, rows: many, order_by: [a desc]",
            {"1": [{"a": 1, "b": "x"}], "2": [{"a": 3, "b": None}, {"a": 2, "b": "y"}], "3": []},
        ),
        (
            "label: X, rows: many, order_by: [b], nulls: omit",
            {"1": [{"a": 1, "b": "x"}], "2": [{"a": 2, "b": "y"}, {"a": 3}], "3": []},
        ),
        (
            "label: X, rows: many, order_by: [b desc], limit: 1",
            {"1": [{"a": 1, "b": "x"}], "2": [{"a": 2, "b": "y"}], "3": []},
        ),
        ("label: X, name: a", {"1": {"1": {"b": "x"}}, "2": {"2": {"b": "y"}, "3": {"b": None}}, "3": {}}),
        ("label: X, name: b", {"1": {"x": {"a": 1}}, "2": {"y": {"a": 2}}, "3": {}}),
        ("label: X, value: b", {"1": "x", "2": "left out", "3": None}),
        ("label: X, value: b, empty: none yet", {"1": "x", "2": "left out", "3": "none yet"}),
        ("label: X, name: b, empty: omit", {"1": {"x": {"a": 1}}, "2": {"y": {"a": 2}}, "3": "left out"}),
    ],
)
def test_each_shape_makes_its_value(teams, plan, read, entry, expected):
    teams.table("t", "team_id INT, a INT, b VARCHAR(5)", [(2, 2, "y"), (1, 1, "x"), (2, 3, None)])
    result = read(teams, plan(COMPANIES % f"{entry}, sql: SELECT * FROM t"), "companies")
    assert values_of(result.records) == expected


def test_what_was_left_out_is_counted_by_entry(teams, plan, read):
    teams.table("t", "team_id INT, a VARCHAR(5)", [(1, "x"), (1, "x"), (2, None), (2, "y"), (3, None)])
    named = read(teams, plan(COMPANIES % "label: X, name: a, sql: SELECT * FROM t"), "companies")
    assert values_of(named.records) == {"1": "left out", "2": {"y": {}}, "3": {}}
    assert named.warnings == snapshot(
        {
            "companies.context.x left out: two rows of one name": 1,
            "companies.context.x: rows without a name dropped": 2,
        }
    )
    single = read(teams, plan(COMPANIES % "label: X, sql: SELECT * FROM t"), "companies")
    assert single.warnings == snapshot({"companies.context.x left out: more than one row where one is due": 2})


def test_an_order_takes_any_mix_of_types_and_puts_nulls_last(sqlite, plan, read):
    sqlite.table("teams", "id INT", [(1,)])
    sqlite.table("t", "team_id INT, a", [(1, "b"), (1, None), (1, 2), (1, 10.5), (1, "a"), (1, -1)])
    for order, expected in (
        ("a", [-1, 2, 10.5, "a", "b", None]),
        ("a desc", ["b", "a", 10.5, 2, -1, None]),
        ("a ASC", [-1, 2, 10.5, "a", "b", None]),
    ):
        entry = f"label: X, rows: many, order_by: [{order}], sql: SELECT * FROM t"
        (record,) = read(sqlite, plan(COMPANIES % entry), "companies").records
        assert [row["a"] for row in record.context["x"].value] == expected


def test_a_list_without_an_order_is_the_same_in_every_run(sqlite, plan, read):
    sqlite.table("teams", "id INT", [(1,)])
    rows = [(1, number % 3, f"t{number}") for number in range(12)]
    loaded = plan(COMPANIES % "label: X, type: list, sql: SELECT * FROM t")
    sqlite.table("t", "team_id INT, a INT, b TEXT", rows)
    first = read(sqlite, loaded, "companies").records
    sqlite.table("t", "team_id INT, a INT, b TEXT", rows[::-1])
    assert to_json(read(sqlite, loaded, "companies").records) == to_json(first)


def test_the_first_rows_of_very_many_are_kept_without_holding_all(sqlite, plan, read):
    sqlite.table("teams", "id INT", [(1,)])
    sqlite.table("t", "team_id INT, a INT", [(1, (number * 7919) % 30011) for number in range(30011)])
    top = "label: X, rows: many, order_by: [a desc], limit: 3, sql: SELECT * FROM t"
    (record,) = read(sqlite, plan(COMPANIES % top), "companies").records
    assert record.context["x"].value == [{"a": 30010}, {"a": 30009}, {"a": 30008}]
    (problem,) = read(sqlite, plan(COMPANIES % "label: X, rows: many, sql: SELECT * FROM t"), "companies").records
    first = [{"a": (number * 7919) % 30011} for number in range(20_000)]  # no more than these are kept
    size = len(to_json({"x": ContextEntry("X", first)}))
    assert problem == Problem("companies", "1", "context.x", f"{size:,} bytes of traits and context; Halo takes 50,000")


def test_booleans_and_timestamps_are_read_as_such(database, plan, read):
    database.table("teams", "id INT, has_form INT, is_ok INT, paid INT, n INT", [(1, 1, 0, 1, 1), (2, None, 7, 0, 0)])
    loaded = plan("""
companies:
  key: id
  traits:
    sql: "SELECT id, has_form, is_ok, paid, n, '2025-03-01 10:00:00' AS signed_up_at, '2025-03-01' AS renewal_date, '2025-03-01T12:00:00+02:00' AS seen, '2025-03-01' AS plain FROM teams"
    booleans: [paid]
    timestamps: [seen]
""")
    result = read(database, loaded, "companies")
    moments = {
        "signed_up_at": "2025-03-01T10:00:00+00:00",
        "renewal_date": "2025-03-01",
        "seen": "2025-03-01T10:00:00+00:00",
        "plain": "2025-03-01",
    }
    assert result.records == [
        Company(company_id="1", traits={"has_form": True, "is_ok": False, "paid": True, "n": 1, **moments}),
        Company(company_id="2", traits={"has_form": None, "is_ok": 7, "paid": False, "n": 0, **moments}),
    ]
    assert result.warnings == snapshot({"boolean column with another number than 0 and 1": 1})


def test_values_of_every_database_type_mean_the_same(any_driver, plan, read):
    any_driver.table(
        "t",
        "id INT, d DECIMAL(10,2), w DECIMAL(10,0), s TIMESTAMP NULL, f DOUBLE PRECISION, day DATE, txt VARCHAR(20)",
        [(1, "12.50", 40, "2025-03-01 10:00:00", 0.5, "2025-03-01", "\U0001f600 it's")]
        if not any_driver.is_sqlite
        else [],
    )
    if any_driver.is_sqlite:
        any_driver.run(
            "INSERT INTO t VALUES (1, 12.5, 40, '2025-03-01 10:00:00', 0.5, '2025-03-01', '\U0001f600 it''s')"
        )
    (record,) = read(
        any_driver, plan("companies: {key: id, traits: {sql: SELECT * FROM t, timestamps: [s]}}"), "companies"
    ).records
    assert record.traits == {
        "d": 12.5,
        "w": 40,
        "s": "2025-03-01T10:00:00+00:00",
        "f": 0.5,
        "day": "2025-03-01",
        "txt": "\U0001f600 it's",
    }


def test_a_record_with_an_unsendable_value_is_rejected_and_the_others_go_on(any_driver, plan, read):
    binary = {"sqlite": "x'00ff'", "postgresql": "'\\x00ff'::bytea", "mysql": "CAST(x'00ff' AS BINARY)"}
    blob = binary[any_driver.engine.dialect.name]
    any_driver.table("teams", "id INT", [(1,), (2,), (3,)])
    loaded = plan(
        f"""
companies:
  key: id
  traits: {{sql: "SELECT id, CASE WHEN id = 2 THEN {blob} END AS logo FROM teams"}}
  context:
    files: {{label: Files, type: list, sql: "SELECT id, {blob} AS body FROM teams WHERE id = 3"}}
""".replace("\\", "\\\\")
    )
    reason = "holds bytes, which have no form in JSON; cast the column to text in the SQL"
    assert read(any_driver, loaded, "companies").records == [
        Company(company_id="1", traits={"logo": None}, context={"files": ContextEntry("Files", [], "list")}),
        Problem("companies", "2", "traits.logo", reason),
        Problem("companies", "3", "context.files", f"column 'body' {reason}"),
    ]


def test_two_rows_for_one_record_reject_it(database, plan, read):
    database.table("teams", "id INT", [(1,), (1,), (2,)])
    database.table("users", "id INT, team INT", [(1, 2), (1, 1), (2, None), (2, 1), (3, 1), (3, 1), (4, 1)])
    loaded = plan("""
companies: {key: team, traits: {sql: SELECT id AS team FROM teams}}
users: {key: id, company: team, traits: {sql: "SELECT id, team FROM users WHERE team IS NULL OR team < 99"}}
""")
    assert read(database, loaded, "companies").records == [
        Problem("companies", "1", "", "has more than one row in the companies query (companies.traits); one is due"),
        Company(company_id="2"),
    ]
    rows = "has more than one row in the users query (users.traits)"
    assert read(database, loaded, "users").records == [
        Problem("users", "1", "", f"{rows}, of companies 1 and 2; one is due, which users.prefer can pick"),
        Problem("users", "2", "", f"{rows}, of companies 1 and none; one is due, which users.prefer can pick"),
        Problem("users", "3", "", f"{rows}, of company 1; one is due"),
        User(user_id="4", company_id="1"),
    ]


def test_rows_without_a_key_are_counted_and_keys_that_are_none_are_problems(sqlite, plan, read):
    sqlite.table("users", "id, team", [(None, 1), ("", 1), (1.5, 1), (b"\x00", 1), ("a\nb", 1), (3, 1), (4, "")])
    loaded = plan("users: {key: id, company: team, traits: {sql: SELECT * FROM users}}")
    result = read(sqlite, loaded, "users", Batch(repeated_users=False))
    assert sorted(result.records, key=repr) == sorted(
        [
            User(user_id="3", company_id="1"),
            User(user_id="4"),
            User(user_id="a\nb", company_id="1"),
            Problem("users", "''", "", "column 'id': the key is empty"),
            Problem("users", "1.5", "", "column 'id': a number with a fraction can't be a key"),
            Problem("users", "b'\\x00'", "", "column 'id': the key is bytes; cast it to text in the SQL"),
        ],
        key=repr,
    )
    assert result.warnings == snapshot(
        {
            "users.traits: rows without a key dropped": 1,
            "users.traits: users whose company's key can't be used are sent without a company": 1,
        }
    )


@pytest.mark.parametrize("placed", [False, True])
def test_an_entry_of_another_database_is_looked_up_by_its_keys(database, other, plan, read, placed):
    keys = ["b", "B", "a", "é", "Z", "_", "it's"]
    exact = "COLLATE utf8mb4_nopad_bin" if database.engine.dialect.name == "mysql" else ""
    database.table("teams", f"id VARCHAR(20) {exact}", [(key,) for key in keys])
    database.others["other"] = other.engine
    other.table("t", "team VARCHAR(20), n INT", [(key, len(key)) for key in [*keys, "elsewhere"]])
    where = "WHERE {{ batch('t.team') }}" if placed else ""
    loaded = plan(f"""
companies:
  key: team
  traits: {{sql: SELECT id AS team FROM teams}}
  context: {{x: {{label: X, source: other, sql: "SELECT team, n FROM t {where}"}}}}
""")
    batch = Batch(key_type="text", first="B", next="_")  # the two databases don't agree on what lies between
    result = read(database, loaded, "companies", batch)
    assert result.records
    assert {record.company_id: record.context["x"].value for record in result.records} == {
        record.company_id: {"n": len(record.company_id)} for record in result.records
    }
    assert result.warnings == {}


def test_users_entries_of_another_database_meet_their_users_with_and_without_a_company(database, other, plan, read):
    database.table("users", "id INT, team INT", [(number, number % 3 or None) for number in range(1, 1203)])
    database.others["other"] = other.engine
    other.table("t", "id INT, team INT, n INT", [(number, number % 3 or None, number) for number in range(1, 1203)])
    loaded = plan("""
users:
  key: id
  company: team
  traits: {sql: "SELECT id, team FROM users"}
  context:
    plain: {label: P, source: other, value: n, sql: "SELECT * FROM t"}
    placed: {label: Q, source: other, value: n, sql: "SELECT * FROM t WHERE {{ batch('team') }}"}
""")
    for batch, count in (
        (Batch(), 802),
        (Batch(no_company=True), 400),
        (Batch(companies=(2,)), 401),
        (Batch(user=7), 1),
    ):
        records = read(database, loaded, "users", batch).records
        assert len({record.user_id for record in records}) == len(records)
        assert len(records) - 1 <= count <= len(records) + 1
        assert all(
            record.context
            == {"plain": ContextEntry("P", int(record.user_id)), "placed": ContextEntry("Q", int(record.user_id))}
            for record in records
        )


def test_more_entries_than_connections_are_still_all_read(database, plan, read):
    database.table("teams", "id INT", [(team,) for team in range(700)])
    entries = "\n".join(
        f"    e{n}: {{label: E, value: n, sql: 'SELECT id, id * {n} AS n FROM teams'}}" for n in range(30)
    )
    loaded = plan(f"companies:\n  key: id\n  traits: {{sql: SELECT id FROM teams}}\n  context:\n{entries}\n")
    records = read(database, loaded, "companies").records
    assert len(records) == 700
    for record in records:
        values = {key: entry.value for key, entry in record.context.items()}
        assert values == {f"e{n}": int(record.company_id) * n for n in range(30)}


def test_decimal_keys_are_whole_numbers(any_driver, plan, read):
    any_driver.table("teams", "id DECIMAL(12, 2)", [(10,), (9,), (100,)])
    any_driver.table("t", "team INT, n INT", [(9, 1), (10, 2), (100, 3)])
    loaded = plan("""
companies:
  key: team
  traits: {sql: SELECT id AS team FROM teams}
  context: {x: {label: X, value: n, sql: SELECT * FROM t}}
""")
    assert values_of(read(any_driver, loaded, "companies").records) == {"9": 1, "10": 2, "100": 3}


def test_json_columns_are_values(any_driver, plan, read):
    if any_driver.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL's drivers give JSON columns as values")
    document = {"a": [1, {"b": None}], "c": "x"}
    any_driver.table("teams", "id INT, doc JSONB", [(1, json.dumps(document))])
    (record,) = read(any_driver, plan("companies: {key: id, traits: {sql: SELECT * FROM teams}}"), "companies").records
    assert record.traits == {"doc": document}


COLLATIONS = {
    "sqlite": ("COLLATE NOCASE", ""),
    "postgresql": ('COLLATE "C"', 'COLLATE "en-x-icu"'),
    "mysql": ("COLLATE utf8mb4_general_ci", "COLLATE utf8mb4_bin"),
}


@pytest.mark.parametrize("turned", [False, True])
def test_tables_that_sort_their_texts_differently_still_meet(database, plan, read, turned):
    one, other = COLLATIONS[database.engine.dialect.name][:: -1 if turned else 1]
    keys = ["Apple", "banana", "Cherry", "apricot", "Banjo", "_x", "Zoo", "zebra", "élan", "10", "9"]
    database.table("teams", f"id VARCHAR(20) {one}", [(key,) for key in keys])
    database.table("users", f"id VARCHAR(20) {one}, team VARCHAR(20) {other}", [(key, key) for key in keys])
    database.table("t", f"team VARCHAR(20) {other}, n INT", [(key, len(key)) for key in keys])
    loaded = plan("""
companies:
  key: team
  traits: {sql: SELECT id AS team FROM teams}
  context: {x: {label: X, value: n, empty: wrong, sql: SELECT * FROM t}}
users:
  key: id
  company: team
  traits: {sql: "SELECT id, team FROM users"}
  context: {x: {label: X, value: n, empty: wrong, sql: "SELECT team AS id, team, n FROM t"}}
""")
    for scope in ("companies", "users"):
        seen = {}
        for first, following in ((None, "B"), ("B", "a"), ("a", "c"), ("c", "Z"), ("Z", "é"), ("é", None)):
            batch = Batch(key_type="text", first=first, next=following)
            for record in read(database, loaded, scope, batch).records:
                seen[record.company_id] = record.context["x"].value
        assert seen == {key: len(key) for key in keys}


def test_a_native_uuid_meets_a_text_of_it(any_driver, plan, read):
    if any_driver.is_sqlite:
        pytest.skip("SQLite has no UUIDs")
    keys = [f"{n:08x}-0000-4000-8000-00000000000{n:x}" for n in range(16)]
    any_driver.table("teams", "id UUID", [(key,) for key in keys])
    any_driver.table("t", "team VARCHAR(40), n INT", [(key, n) for n, key in enumerate(keys)])
    loaded = plan("""
companies:
  key: team
  traits: {sql: SELECT id AS team FROM teams}
  context: {x: {label: X, value: n, sql: SELECT * FROM t}}
""")
    expected = {key: n for n, key in enumerate(keys)}
    assert values_of(read(any_driver, loaded, "companies").records) == expected
    for batch in (
        Batch(key_type="uuid", first=keys[3], next=keys[9]),
        Batch(key_type="uuid", companies=tuple(keys[3:9])),
    ):
        assert values_of(read(any_driver, loaded, "companies", batch).records) == {k: expected[k] for k in keys[3:9]}
