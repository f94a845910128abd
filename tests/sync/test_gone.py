"""Who has left, week after week: told, emptied where the plan says so, and never taken for unchanged."""

from __future__ import annotations

import logging

import pytest
from inline_snapshot import snapshot
from product import PLAN, change

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError, UnlikelyChange

EMPTY = f"{PLAN}gone: empty\n"
MARKED = f"{PLAN}gone: {{empty: true, set: {{account_status: deleted}}}}\n"
NO_COMPANY = PLAN.replace("  company: team_id\n", "  company: team_id\n  no_company: {id: none, name: No company}\n")

TEAMS = [(1, "Acme", "pro"), (2, "Bolt", "free"), (3, "Cord", "free")]
USERS = [
    (10, 1, "Ada", "ada@example.com", 5),
    (11, 2, "Bea", "bea@example.com", 0),
    (12, None, "Cid", "cid@example.com", 1),
    (13, 3, "Dan", "dan@example.com", 2),
    (14, 1, "Eva", "eva@example.com", 2),
]
NOBODY = {"companies": 0, "users": 0, "links": 0}


@pytest.fixture
def weekly(app):
    """A product that was synced once."""
    app.with_ledger().fill(teams=TEAMS, users=USERS, forms=[(1, 1), (2, 1), (3, 3)])
    app.sync_and_close()
    return app


def held(app, user):
    """What Halo holds of a user: traits, the entry's value, its company."""
    stored = app.server.store.user(user)
    return stored["traits"], stored["context"]["activity"]["value"], stored["company_id"]


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_what_the_source_no_longer_gives_is_counted_and_named_and_left_alone(weekly, batch_size):
    change(
        weekly,
        "DELETE FROM users WHERE id IN (10, 12)",
        "DELETE FROM teams WHERE id = 3",
        "UPDATE users SET team_id = NULL WHERE id = 11",  # left
        "UPDATE users SET team_id = 2 WHERE id = 14",  # moved
        "UPDATE users SET visits = NULL WHERE id = 13",  # still there
    )
    report = weekly.sync_and_close(batch_size=batch_size)
    assert report.gone == {"companies": 1, "users": 2, "links": 2}
    gone = weekly.plan_ledger().gone
    assert {scope: [record.key for record in gone.listed(scope, 20)[1]] for scope in NOBODY} == {
        "companies": ["3"],
        "users": ["10", "12"],
        "links": ["11", "14"],
    }
    assert held(weekly, "10") == ({"name": "Ada", "email": "ada@example.com"}, {"visits": 5}, "1")
    # The week after they are still gone; but of the one who moved Halo has the new company.
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.gone, report.requests) == ({"companies": 1, "users": 2, "links": 1}, 0)
    assert "no longer in the source: 1 companies, 2 users, 1 links" in report.to_text()


def test_who_comes_back_is_no_longer_gone(weekly):
    change(weekly, "DELETE FROM users WHERE id = 10")
    assert weekly.sync_and_close().gone == {**NOBODY, "users": 1}
    change(weekly, "INSERT INTO users VALUES (10, 1, 'Ada', 'ada@example.com', 5)")
    report = weekly.sync_and_close()
    assert (report.gone, report.requests) == (NOBODY, 0)
    assert weekly.plan_ledger().gone.listed("users", 20) == (0, [])


def test_a_record_that_is_there_and_cannot_be_sent_is_not_gone(weekly):
    change(weekly, "UPDATE users SET name = x'00ff' WHERE id = 10")
    report = weekly.sync_and_close()
    assert (report.users.rejected, report.gone) == (1, NOBODY)


def test_only_a_whole_run_with_a_ledger_says_what_is_gone(weekly):
    change(weekly, "DELETE FROM users WHERE id = 10")
    assert weekly.sync_and_close(only=("users",)).gone is None
    assert weekly.sync_and_close(company_ids=[1]).gone is None
    report = weekly.sync(dry_run=True)
    assert report.gone == {**NOBODY, "users": 1}
    assert weekly.plan_ledger().gone.listed("users", 20) == (0, [])  # a dry run leaves no trace
    weekly.ledger = None
    report = weekly.sync()
    assert report.gone is None
    assert "gone" not in report.to_dict()


def test_what_was_forgotten_by_hand_or_only_refused_is_told_by_what_halo_was_sent(weekly):
    weekly.ledger.forget(weekly.settings, "users", ["10", "99"])  # the plan never sent the second
    change(weekly, "DELETE FROM users WHERE id = 10", "INSERT INTO users VALUES (15, 1, x'00', 'e', 1)")
    assert weekly.sync_and_close().gone == {**NOBODY, "users": 1}
    change(weekly, "DELETE FROM users WHERE id = 15")
    assert weekly.sync_and_close().gone == {**NOBODY, "users": 1}


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_what_is_gone_is_emptied_once_and_then_forgotten(weekly, batch_size):
    weekly.use_plan(EMPTY)
    change(
        weekly, "DELETE FROM users WHERE id = 10", "DELETE FROM teams WHERE id = 3", "DELETE FROM users WHERE id = 13"
    )
    report = weekly.sync_and_close(batch_size=batch_size)
    assert report.gone == {"companies": 1, "users": 2, "links": 0}
    assert (report.companies, report.users) == (Counts(stored=1, unchanged=2), Counts(stored=2, unchanged=3))
    assert held(weekly, "10") == ({"name": None, "email": None}, {}, "1")
    assert weekly.server.store.company("3")["traits"] == {"name": None, "plan": None}
    assert weekly.server.store.company("3")["context"]["metrics"]["value"] == {"forms": 0}
    assert weekly.server.store.user("10")["last_seen"] is None  # nobody is marked as active by it
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.gone, report.requests) == (NOBODY, 0)
    assert weekly.plan_ledger().acknowledged.size("users") == 3
    # Who comes back is sent whole, the link included.
    change(weekly, "INSERT INTO users VALUES (10, 1, 'Ada', 'ada@example.com', 5)")
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.users, report.links.stored) == (Counts(stored=1, unchanged=3), 1)
    assert held(weekly, "10") == ({"name": "Ada", "email": "ada@example.com"}, {"visits": 5}, "1")


def test_what_is_emptied_can_be_marked_and_the_mark_goes_when_it_comes_back(weekly):
    weekly.use_plan(MARKED)
    change(weekly, "DELETE FROM users WHERE id = 10")
    weekly.sync_and_close()
    assert held(weekly, "10")[0] == {"name": None, "email": None, "account_status": "deleted"}
    assert weekly.sync_and_close().requests == 0
    change(weekly, "INSERT INTO users VALUES (10, 1, 'Ada', 'ada@example.com', 5)")
    weekly.use_plan(PLAN)
    weekly.sync_and_close()
    assert held(weekly, "10")[0] == {"name": "Ada", "email": "ada@example.com", "account_status": None}
    assert weekly.sync_and_close().requests == 0
    assert not weekly.plan_ledger().gone.any_marked()


def test_more_than_max_gone_are_not_emptied_until_somebody_says_so(weekly):
    weekly.use_plan(EMPTY)
    change(weekly, "DELETE FROM users WHERE id = 10")
    before = weekly.server.requests.describe()["total"]
    with pytest.raises(UnlikelyChange) as stopped:
        weekly.sync(max_gone="5%")
    assert str(stopped.value) == snapshot(
        "Of 5 users that Halo was sent, 1 (20%) are gone (10): the plan's gone: empty would empty more than max_gone=5%. Nothing was sent. If they really are gone, raise max_gone (--max-gone), or run it with force (--force)."
    )
    assert weekly.server.requests.describe()["total"] == before
    assert held(weekly, "10")[0]["name"] == "Ada"
    assert weekly.sync(max_gone="20%", dry_run=True).users == Counts(skipped=1, unchanged=4)
    assert held(weekly, "10")[0]["name"] == "Ada"
    weekly.sync(max_gone="1")
    assert held(weekly, "10")[0]["name"] is None


def test_what_is_gone_is_named_in_the_log(weekly, caplog):
    change(weekly, "DELETE FROM users WHERE id < 12")
    with caplog.at_level(logging.INFO, logger="airflow_provider_halo"):
        weekly.sync()
    assert [record.getMessage() for record in caplog.records if "are gone" in record.getMessage()] == snapshot(
        ["2 of 5 users are gone: 10, 11"]
    )


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_a_user_who_left_its_company_is_linked_to_that_of_those_who_have_none(weekly, batch_size):
    weekly.use_plan(NO_COMPANY)
    change(weekly, "UPDATE users SET team_id = NULL WHERE id IN (10, 11)")
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.gone, report.links.stored, report.companies.stored) == ({**NOBODY, "links": 2}, 2, 1)
    assert [weekly.server.store.user(user)["company_id"] for user in ("10", "11", "12")] == ["none", "none", None]
    assert weekly.server.store.company("none")["traits"] == {"name": "No company"}
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.gone, report.requests) == (NOBODY, 0)
    change(weekly, "UPDATE users SET team_id = 3 WHERE id = 10")
    report = weekly.sync_and_close(batch_size=batch_size)
    assert (report.gone, report.requests) == (NOBODY, 1)
    assert weekly.server.store.user("10")["company_id"] == "3"


def test_a_company_with_the_key_that_stands_for_none_stops_the_run(weekly):
    weekly.use_plan(NO_COMPANY.replace("id: none", "id: '3'"))
    with pytest.raises(PlanError) as stopped:
        weekly.sync()
    assert str(stopped.value).replace(str(weekly.folder), "") == snapshot(
        "/halo.yaml, line 6: companies.traits.sql: gives a company with the key '3', which users.no_company takes for those who have none; give users.no_company an id that no company has"
    )


def test_without_a_ledger_the_log_says_what_has_no_effect(app, caplog):
    app.fill(teams=TEAMS, users=USERS)
    app.use_plan(NO_COMPANY + "gone: empty\n")
    app.sync()
    assert [
        record.getMessage().replace(str(app.folder), "") for record in caplog.records if "effect" in record.getMessage()
    ] == snapshot(
        [
            "/halo.yaml: no effect without a ledger ([halo] ledger_conn_id), which knows who has left: gone: empty, users.no_company"
        ]
    )
