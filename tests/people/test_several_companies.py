"""A user of several rows is rejected or picked over the whole query: at any batch size, by name, with a ledger or without."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import batch_for
from tests.members import PLAN, PREFER

SIZES = [1, 2, 300, 5_000]
OLD, NEW = "2024-01-01", "2025-01-01"
MEMBERS = [
    (1, 1, 1, OLD),
    (2, 1, 0, OLD),
    (2, 3, 1, NEW),
    (3, 4, 1, NEW),
    (3, 2, 1, OLD),
    (3, 5, None, None),
    (4, 5, None, NEW),
    (4, 2, None, NEW),
    (6, 3, 1, OLD),
    (6, 3, 1, OLD),
    (7, 4, 0, NEW),
    (7, 4, 0, OLD),
]
ROWS = "has more than one row in the users query (users.traits)"
REJECTED = {
    "2": f"{ROWS}, of companies 1 and 3; one is due, which users.prefer can pick",
    "3": f"{ROWS}, of companies 2 and 5; one is due, which users.prefer can pick",
    "4": f"{ROWS}, of companies 2 and 5; one is due, which users.prefer can pick",
    "6": f"{ROWS}, of company 3; one is due",
    "7": f"{ROWS}, of company 4; one is due",
}
TIED = {"6": f"{ROWS}, of company 3; users.prefer puts none of them first"}
PICKED = {"1": "1", "2": "3", "3": "2", "4": "2", "5": None, "7": "4"}


def traits(user, team):
    return {"name": f"User {user}", "role": None if team is None else f"role in {team}"}


@pytest.mark.parametrize("batch_size", SIZES)
def test_without_prefer_the_same_users_are_rejected_at_any_batch_size(club, batch_size):
    club.fill(MEMBERS)
    report = club.app.sync(batch_size=batch_size, jobs=2 if batch_size == 2 else 1)
    assert club.rejects(report) == REJECTED
    assert report.users == Counts(stored=2, rejected=5)
    one = {"name": "User 1", "role": "role in 1", "is_home": True, "joined_at": OLD}
    none = {"name": "User 5", "role": None, "is_home": None, "joined_at": None}
    assert club.held() == {"1": ("1", one), "5": (None, none)}


@pytest.mark.parametrize("batch_size", SIZES)
def test_prefer_picks_the_row_and_its_columns_are_not_sent(club, batch_size):
    club.fill(MEMBERS)
    club.app.use_plan(PLAN + PREFER)
    report = club.app.sync(batch_size=batch_size, jobs=2 if batch_size == 2 else 1)
    assert club.rejects(report) == TIED
    assert club.held() == {user: (team, traits(user, team)) for user, team in PICKED.items()}


@pytest.mark.parametrize("prefer", ["", PREFER])
@pytest.mark.parametrize("batch_size", SIZES)
def test_a_second_run_with_a_ledger_sends_nothing(club, batch_size, prefer):
    club.fill(MEMBERS)
    club.app.use_plan(PLAN + prefer)
    club.app.with_ledger()
    first = club.app.sync(batch_size=batch_size)
    assert first.requests > 0
    held = club.held()
    for size in SIZES:
        again = club.app.sync(batch_size=size)
        assert again.requests == 0
        assert again.users == Counts(unchanged=first.users.stored, rejected=first.users.rejected)
        assert club.rejects(again) == club.rejects(first)
    assert club.held() == held


def test_nulls_come_last_in_either_direction(club):
    club.fill([(1, 1, None, None), (1, 2, 0, None), (2, 1, None, NEW), (2, 2, None, None)])
    picked = {}
    for order in ("is_home, joined_at", "is_home desc, joined_at desc"):
        club.server.store.reset()
        club.app.use_plan(f"{PLAN}  prefer: [{order}]\n")
        club.app.sync(batch_size=1)
        picked[order] = {key: company for key, (company, _) in club.held().items()}
    assert picked == {
        "is_home, joined_at": {"1": "2", "2": "1"},
        "is_home desc, joined_at desc": {"1": "2", "2": "1"},
    }


def test_a_row_without_a_company_comes_last_where_prefer_does_not_say_otherwise(club):
    club.fill([(1, None, 0, OLD), (1, 2, 0, OLD), (2, None, 1, OLD), (2, 2, 0, OLD)])
    report = club.app.sync(batch_size=1)
    assert club.rejects(report) == {
        "1": f"{ROWS}, of companies 2 and none; one is due, which users.prefer can pick",
        "2": f"{ROWS}, of companies 2 and none; one is due, which users.prefer can pick",
    }
    club.app.use_plan(PLAN + PREFER)
    club.app.sync(batch_size=1)
    assert {key: company for key, (company, _) in club.held().items()} == {"1": "2", "2": None}


def test_a_run_by_name_does_not_send_a_user_whose_row_is_elsewhere(club):
    club.fill(MEMBERS)
    club.app.use_plan(PLAN + PREFER)
    report = club.app.sync(company_ids=[1, 5])
    assert report.users == Counts(stored=1)
    assert club.held() == {"1": ("1", traits(1, 1))}
    assert club.app.sync(company_ids=[3]).users == Counts(stored=1, rejected=1)
    assert club.held() == {"1": ("1", traits(1, 1)), "2": ("3", traits(2, 3))}


def test_a_run_by_name_tells_a_user_once_whichever_of_its_companies_it_names(club):
    club.fill(MEMBERS)
    for companies in ([3], [1], [1, 3]):
        told = club.rejects(club.app.sync(company_ids=companies))
        assert told == {user: REJECTED[user] for user in (("2", "6") if 3 in companies else ("2",))}
    # More companies than one query takes: one batch, so that nobody is told twice.
    report = club.app.sync(company_ids=list(range(1_300, 0, -1)), only=("users",))
    assert club.rejects(report) == REJECTED


def test_one_user_by_name_is_rejected_or_picked_too(club):
    club.fill(MEMBERS)
    batch = batch_for(club.app.plan, club.app.sources, user_id=3)
    assert club.rejects(club.app.sync_batch(batch)) == {"3": REJECTED["3"]}
    club.app.use_plan(PLAN + PREFER)
    assert club.app.sync_batch(batch).users == Counts(stored=1)
    assert club.held() == {"3": ("2", traits(3, 2))}


def test_a_batch_that_does_not_know_looks_for_itself(club):
    club.fill(MEMBERS)
    report = club.app.sync_batch(Batch(first=3, next=5))
    assert club.rejects(report) == {"6": REJECTED["6"], "7": REJECTED["7"]}  # the others' first rows are elsewhere


def test_the_log_says_how_many_have_several_rows_and_what_becomes_of_them(club, caplog):
    caplog.set_level(logging.INFO, "airflow_provider_halo.source.repeats")
    club.fill(MEMBERS)
    club.app.batches()
    club.app.use_plan(PLAN + PREFER)
    batches = club.app.batches(batch_size=2)
    file = f"{club.app.folder}/halo.yaml"
    assert caplog.messages == [
        (
            f"users.traits ({file}, line 11): 5 users have several rows, where one is due: rejected; "
            "users.prefer in the plan can pick the row"
        ),
        f"users.traits ({file}, line 11): 5 users have several rows; users.prefer picks the row of each",
    ]
    assert {batch.repeated_users for batch in batches} == {True}
    assert [batch.expected_users for batch in batches] == [1, 2, 2, 1, 0, 1]  # each once, where its first row is
    club.fill(MEMBERS[:2])
    assert {batch.repeated_users for batch in club.app.batches()} == {False}


def test_a_placement_does_not_hide_rows_of_other_companies(club):
    club.fill(MEMBERS)
    placed = PLAN.replace("m.user_id = u.id", 'm.user_id = u.id WHERE {{ batch("m.team_id") }}')
    club.app.use_plan(placed)
    assert club.rejects(club.app.sync(batch_size=1)) == REJECTED
    club.app.use_plan(placed + PREFER)
    club.app.sync(batch_size=1)
    assert club.held()["3"] == ("2", traits(3, 2))


def test_rows_without_a_key_are_counted_once_beside_users_of_several_rows(club):
    club.fill(MEMBERS)
    club.database.insert("memberships", [(None, 1, "r", 0, OLD), (None, None, "r", 0, OLD), (None, 5, "r", 0, OLD)])
    club.app.use_plan(
        PLAN.replace(
            "SELECT u.id AS user_id, m.team_id, u.name, m.role, m.is_home, m.joined_at\n"
            "      FROM users u LEFT JOIN memberships m ON m.user_id = u.id",
            "SELECT user_id, team_id, role, is_home, joined_at FROM memberships",
        )
    )
    warning = "users.traits: rows without a key dropped"
    for size in SIZES:
        report = club.app.sync(batch_size=size)
        assert (report.users.rejected, report.warnings[warning]) == (5, 3)
    assert club.app.sync(company_ids=[1, 2]).warnings[warning] == 1


def test_a_column_of_prefer_that_the_query_lacks_is_told(club):
    club.fill(MEMBERS)
    club.app.use_plan(
        PLAN.replace("SELECT u.id AS user_id, m.team_id, u.name, m.role, m.is_home, m.joined_at", "SELECT q.*").replace(
            "FROM users u LEFT JOIN memberships m ON m.user_id = u.id",
            "FROM (SELECT user_id, team_id FROM memberships) q",
        )
        + PREFER
    )
    with pytest.raises(PlanError) as caught:
        club.app.sync()
    assert [problem.message for problem in caught.value.problems] == [
        f"gives no column '{column}', which is listed under prefer; give a column that name by AS, or correct the plan; "
        "the query's columns are user_id, team_id"
        for column in ("is_home", "joined_at")
    ]


memberships = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.none() | st.integers(1, 5),
        st.sampled_from([None, 0, 1]),
        st.sampled_from([None, OLD, NEW]),
    ),
    max_size=14,
)


def oracle(members, *, prefers):
    """What Halo is to hold, and who is to be rejected, by plain Python."""

    def last(value):
        return (value is None, value or 0) if not isinstance(value, str) else (False, value)

    held, rejected = {}, set()
    for user in range(1, 7):
        rows = [row[1:] for row in members if row[0] == user] or [(None, None, None)]
        ranks = sorted((last(None if home is None else -home), last(joined), last(team)) for team, home, joined in rows)
        if len(rows) > 1 and (not prefers or ranks[0] == ranks[1]):
            rejected.add(str(user))
        else:
            held[str(user)] = min(
                rows, key=lambda row: (last(None if row[1] is None else -row[1]), last(row[2]), last(row[0]))
            )[0]
    return {user: None if team is None else str(team) for user, team in held.items()}, rejected


@pytest.mark.parametrize("prefers", [False, True])
def test_whatever_the_memberships_halo_holds_what_plain_python_says(club, prefers):
    club.app.use_plan(PLAN + PREFER * prefers)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(memberships, st.sampled_from(SIZES))
    def check(members, batch_size):
        club.fill(members, users=6)
        report = club.app.sync(batch_size=batch_size)
        held, rejected = oracle(members, prefers=prefers)
        assert set(club.rejects(report)) == rejected
        assert {user: company for user, (company, _) in club.held().items()} == held

    check()
