"""What the ledger saves, and what it never lets be lost: runs one after another, against the sandbox."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from inline_snapshot import snapshot
from product import stopped_by

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import HaloUnavailable, LedgerError, UnlikelyChange
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.sync.retire import retirable, retire
from airflow_provider_halo.sync.run import close_run

TEAMS = [(1, "Acme", "pro"), (2, "Bolt", "free")]
USERS = [
    (10, 1, "Ada", "ada@example.com", 5),
    (11, 2, "Bea", "bea@example.com", 0),
    (12, None, "Cid", "cid@example.com", 1),  # belongs to no team
    (13, 99, "Dan", "dan@example.com", 2),  # of a team that isn't in the companies query
]


def change(app, *statements):
    with app.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def counts(report):
    return {scope: report.counts(scope) for scope in ("companies", "users", "links")}


@pytest.fixture
def remembering(app):
    app.with_ledger().fill(teams=TEAMS, users=USERS, forms=[(1, 1), (2, 1)])
    return app


def test_nothing_is_sent_again_that_has_not_changed(remembering):
    first = remembering.sync()
    assert counts(first) == {
        "companies": Counts(stored=2),
        "users": Counts(stored=4),
        "links": Counts(stored=2, skipped=1),
    }
    second = remembering.sync()
    assert counts(second) == {
        "companies": Counts(unchanged=2),
        "users": Counts(unchanged=4),
        "links": Counts(unchanged=2, skipped=1),
    }
    assert (first.requests, second.requests) == (6, 0)


def test_only_what_changed_is_sent_and_a_user_who_moved_is_linked_anew(remembering):
    remembering.sync()
    change(
        remembering,
        "UPDATE users SET name = 'Ada B' WHERE id = 10",
        "UPDATE users SET team_id = 1 WHERE id = 11",
        "INSERT INTO forms VALUES (3, 2)",
    )
    report = remembering.sync()
    assert counts(report) == {
        "companies": Counts(stored=1, unchanged=1),
        "users": Counts(stored=1, unchanged=3),
        "links": Counts(stored=1, unchanged=1, skipped=1),
    }
    assert report.requests == 3
    assert remembering.server.store.user("11")["company_id"] == "1"
    assert remembering.server.store.company("2")["context"]["metrics"]["value"] == {"forms": 1}
    assert remembering.sync().requests == 0


def test_a_new_plan_starts_from_nothing_and_so_does_another_workspace(remembering):
    remembering.sync()
    remembering.use_plan("name: other\n" + remembering.plan_text)
    assert remembering.sync().requests == 6
    assert [plan_ledger.plan for plan_ledger in remembering.ledger.plans()] == ["halo", "other"]


def test_a_changed_label_sends_again_and_a_changed_comment_in_the_sql_does_not(remembering):
    remembering.sync()
    remembering.use_plan(remembering.plan_text.replace("FROM teams", "FROM /* all of them */ teams"))
    assert remembering.sync().requests == 0
    remembering.use_plan(remembering.plan_text.replace("Product Metrics", "Numbers"))
    assert counts(remembering.sync())["companies"] == Counts(stored=2)
    assert remembering.server.store.company("1")["context"]["metrics"]["label"] == "Numbers"


def test_a_changed_mapping_sends_again(remembering):
    remembering.sync()
    remembering.use_plan(remembering.plan_text.replace("version: 1", "version: 1\nnulls: omit"))
    assert counts(remembering.sync()) == {
        "companies": Counts(stored=2),
        "users": Counts(stored=4),
        "links": Counts(unchanged=2, skipped=1),
    }


def test_runs_of_some_parts_and_of_all_know_of_each_other(remembering):
    remembering.sync()
    assert remembering.sync(only=("companies.traits", "users.context")).requests == 0
    change(remembering, "UPDATE teams SET name = 'Acme 2' WHERE id = 1", "INSERT INTO forms VALUES (3, 2)")
    report = remembering.sync(only=("companies.traits",))
    assert report.companies == Counts(stored=1, unchanged=1)
    # The form of team 2 is not sent yet; the name of team 1 needn't be sent again.
    report = remembering.sync()
    assert report.companies == Counts(stored=1, unchanged=1)
    assert remembering.server.store.company("2")["context"]["metrics"]["value"] == {"forms": 1}
    assert remembering.sync(only=("companies.context",)).requests == 0
    assert remembering.sync().requests == 0


def test_data_that_goes_back_is_sent_back(remembering):
    remembering.sync()
    change(remembering, "UPDATE teams SET plan = 'free' WHERE id = 1")
    remembering.sync(only=("companies.traits",))
    change(remembering, "UPDATE teams SET plan = 'pro' WHERE id = 1")
    assert remembering.sync().companies == Counts(stored=1, unchanged=1)
    assert remembering.server.store.company("1")["traits"]["plan"] == "pro"


def test_full_sends_everything_again(remembering):
    remembering.sync()
    report = remembering.sync(full=True)
    assert (counts(report)["users"], report.requests) == (Counts(stored=4), 6)
    assert remembering.sync().requests == 0


def test_a_dry_run_tells_what_has_changed_and_leaves_no_trace(remembering):
    remembering.sync()
    change(remembering, "UPDATE users SET name = 'Ada B' WHERE id = 10")
    report = remembering.sync(dry_run=True)
    assert (report.users, report.requests) == (Counts(skipped=1, unchanged=3), 1)
    assert remembering.sync().users == Counts(stored=1, unchanged=3)
    assert len(remembering.plan_ledger().runs.last(10)) == 2


def test_a_request_whose_fate_is_unknown_is_sent_again_even_if_the_data_goes_back(app_of):
    # The server stores what it is sent and drops the connection before it answers, each time.
    app = app_of(max_retry_seconds=0.3)
    app.with_ledger().fill(teams=TEAMS)
    app.sync()
    change(app, "UPDATE teams SET name = 'Acme 2' WHERE id = 1")
    app.server.faults.set([parse_fault("reset_after")])
    with stopped_by(HaloUnavailable):
        app.sync()
    app.server.faults.set([])
    assert app.server.store.company("1")["traits"]["name"] == "Acme 2"
    change(app, "UPDATE teams SET name = 'Acme' WHERE id = 1")
    assert app.sync().companies == Counts(stored=1, unchanged=1)
    assert app.server.store.company("1")["traits"]["name"] == "Acme"


def test_what_halo_refuses_is_not_tried_again_until_it_or_the_plan_changes(app_of):
    app = app_of()
    app.with_ledger().fill(teams=TEAMS, users=USERS)
    app.server.faults.set([parse_fault('400:path=users/update,contains="user_id":"11"')])
    first = app.sync()
    assert first.users == Counts(stored=3, rejected=1)
    second = app.sync()
    assert (second.users, second.requests) == (Counts(unchanged=3, rejected=1), 0)
    assert second.rejects == [
        Problem(
            "users",
            "11",
            "",
            "was refused before, and neither it nor the plan has changed: HTTP 400, an HTML page",
        )
    ]
    # A user who is refused with context is tried once without it, since that isn't documented.
    assert app.sync(retry_rejected=True).requests == 2
    change(app, "UPDATE users SET name = 'Bea B' WHERE id = 11")
    assert app.sync().requests == 2
    app.use_plan(app.plan_text.replace("FROM users\n  context", "FROM users WHERE id > 0\n  context"))
    assert app.sync().requests == 2
    (reject,) = app.plan_ledger().rejects.listed(5)[1]
    assert (reject.problem.key, reject.attempts, reject.problem.reason) == snapshot(
        (
            "11",
            4,
            "Halo refuses it: HTTP 400, an HTML page",
        )
    )
    app.server.faults.set([])
    assert app.sync(retry_rejected=True).users == Counts(stored=1, unchanged=3)
    assert app.plan_ledger().rejects.listed(5) == (0, [])


def test_a_record_that_cannot_be_sent_is_on_record_until_a_run_finds_it_mended(remembering):
    change(remembering, "UPDATE teams SET name = x'00ff' WHERE id = 2")
    report = remembering.sync_and_close()
    assert report.companies == Counts(stored=1, rejected=1)
    (reject,) = remembering.plan_ledger().rejects.listed(5)[1]
    assert (reject.problem.field, reject.size, reject.attempts) == ("traits.name", None, 1)
    change(remembering, "DELETE FROM teams WHERE id = 2")
    remembering.sync_and_close()
    assert remembering.plan_ledger().rejects.listed(5) == (0, [])


def test_users_that_halo_skipped_without_saying_which_are_not_remembered(app_of):
    app = app_of()
    app.with_ledger().fill(teams=TEAMS, users=USERS)
    app.server.store.identify_user("10", {"traits": {}})
    report = app.sync(update_only=True, only=("users",))
    assert report.users == Counts(stored=1, skipped=3)
    # User 10 was in a request with another one, 12 alone in one, which was skipped whole.
    assert app.sync(only=("users",)).users == Counts(stored=4)


def test_somebody_elses_write_is_set_right_by_the_next_sync(remembering):
    remembering.sync()
    remembering.server.store.identify_company("1", {"traits": {"name": "By hand"}}, None)
    assert remembering.sync().requests == 0
    remembering.ledger.forget(remembering.settings, "companies", ["1", "no such company"])
    assert remembering.sync().companies == Counts(stored=1, unchanged=1)
    assert remembering.server.store.company("1")["traits"]["name"] == "Acme"


def test_a_user_who_is_present_is_identified_whatever_the_ledger_has(remembering):
    from airflow_provider_halo.source.planning import batch_for

    remembering.sync()
    batch = batch_for(remembering.plan, remembering.sources, user_id=10)
    assert remembering.sync_batch(batch, activity=True).users == Counts(stored=1)
    assert remembering.server.store.user("10")["last_seen"] is not None
    assert remembering.sync_batch(batch).users == Counts(stored=1)  # by the other call, once
    assert remembering.sync_batch(batch).users == Counts(unchanged=1)


def test_a_run_stops_when_a_query_no_longer_returns_rows(remembering):
    remembering.sync(key="last week")
    change(remembering, "DELETE FROM forms")
    with pytest.raises(UnlikelyChange) as stopped:
        remembering.sync()
    assert str(stopped.value) == (
        f"The query companies.context.metrics ({remembering.plan.path}, line 11) no longer returns rows; the last run (last "
        "week) had 1 companies with it. Nothing was sent, so Halo keeps what it has. If there really are none, run it with "
        "force (--force)."
    )
    assert remembering.server.store.company("1")["context"]["metrics"]["value"] == {"forms": 2}
    report = remembering.sync(force=True)
    assert report.companies == Counts(stored=1, unchanged=1)
    assert remembering.sync().requests == 0  # that there are none is what the last run had


@pytest.fixture
def large(app):
    app.with_ledger().fill(
        teams=[(team, f"Team {team}", "pro") for team in range(1, 101)],
        users=[(user, user % 100 + 1, f"User {user}", "e", 1) for user in range(1, 1_901)],
    )
    app.sync(link_users=False)
    return app


@pytest.mark.parametrize(
    ("change_made", "told"),
    [
        (
            "UPDATE users SET name = name || '!'",
            "Of 1,900 users that Halo is known to have, 1,900 (100%) would change or are no longer there; more than ",
        ),
        # All of them gone, as many new ones there.
        ("UPDATE users SET id = id + 10000", "Of 1,900 users that Halo was sent, 1,900 (100%) are gone (1, 10, 100, "),
        ("DELETE FROM users WHERE id > 700", "Of 1,900 users that Halo was sent, 1,200 (63%) are gone (1000, 1001, "),
        ("DELETE FROM users WHERE id > 950", "Of 1,900 users that Halo was sent, 950 (50%) are gone (1000, 1001, "),
        ("DELETE FROM teams WHERE id > 49", "Of 100 companies that Halo was sent, 51 (51%) are gone (100, 50, 51, "),
    ],
    ids=["changed", "under other keys", "gone", "half of the users gone", "companies gone"],
)
def test_a_run_stops_when_more_of_one_scope_would_change_than_is_likely(large, change_made, told):
    before = large.server.requests.describe()["total"]
    change(large, change_made)
    with pytest.raises(UnlikelyChange) as stopped:
        large.sync(max_changed="50%", batch_size=300)
    assert str(stopped.value).startswith(told)
    assert large.server.requests.describe()["total"] == before
    assert large.sync(max_changed="50%", force=True, link_users=False).stopped == ""


@pytest.mark.parametrize(
    "change_made",
    [
        "UPDATE users SET name = name || '!' WHERE id <= 900",
        "INSERT INTO users SELECT id + 10000, team_id, name, email, 1 FROM users",
    ],
    ids=["less than half has changed", "twice as many, and the old ones as they were"],
)
def test_a_run_goes_on_when_the_change_is_a_likely_one(large, change_made):
    change(large, change_made)
    assert large.sync(max_changed="50%", batch_size=300, link_users=False).total("stored") in {900, 1_900}


def test_what_leaves_the_plan_is_reported_and_can_be_emptied_and_come_back(remembering):
    text = remembering.plan_text
    remembering.sync_and_close()
    without = text.replace("id AS team_id, name, plan FROM", "id AS team_id, name FROM").replace(
        text[text.index("  context:\n    activity") :], ""
    )
    remembering.use_plan(without)
    report = remembering.sync_and_close()
    assert report.companies == Counts(stored=2)  # their traits are others now
    assert report.users == Counts(unchanged=4)  # an entry that isn't sent changes nothing
    assert {kind: count for kind, count in report.warnings.items() if "no longer" in kind} == snapshot(
        {
            "companies.traits.plan is no longer in the plan, and stays in Halo (halo retire empties it)": 2,
            "users.context.activity is no longer in the plan, and stays in Halo (halo retire empties it)": 4,
        }
    )
    plan_ledger = remembering.plan_ledger()
    gone = retirable(remembering.plan, plan_ledger.retired_parts.retired(), remembering.sources)
    assert [one.name for one in gone] == ["companies.traits.plan", "users.context.activity"]
    report = retire(remembering.run(whole=False), gone, remembering.settings)
    assert counts(report) == {"companies": Counts(stored=2), "users": Counts(stored=4), "links": Counts()}
    assert remembering.server.store.company("1")["traits"] == {"name": "Acme", "plan": None}
    assert remembering.server.store.user("10")["context"]["activity"]["value"] == {}
    assert remembering.sync().requests == 0  # what is left of the records is known all the same
    remembering.use_plan(text)
    assert retirable(remembering.plan, plan_ledger.retired_parts.retired(), remembering.sources) == []
    report = remembering.sync()
    assert (report.companies, report.users) == (Counts(stored=2), Counts(stored=4))
    assert remembering.server.store.user("10")["context"]["activity"]["value"] == {"visits": 5}


def test_batches_at_once_share_one_ledger(app):
    app.with_ledger().fill(
        teams=[(team, f"Team {team}", "pro") for team in range(1, 41)],
        users=[(user, user % 40 + 1, "N", "e", 1) for user in range(1, 801)],
    )
    first = app.sync(batch_size=50, jobs=4)
    assert counts(first) == {
        "companies": Counts(stored=40),
        "users": Counts(stored=800),
        "links": Counts(stored=800),
    }
    assert app.sync(batch_size=70, jobs=4).requests == 0


def test_a_batch_that_is_run_again_sends_only_what_was_not_acknowledged(app_of):
    app = app_of(max_retry_seconds=0.3)
    app.with_ledger().fill(
        teams=[(team, f"Team {team}", "pro") for team in range(1, 61)],
        users=[(user, user % 60 + 1, "N", "e", 1) for user in range(1, 301)],
    )
    (batch, _) = app.batches()
    run = app.run(key="backfill")
    app.server.faults.set([parse_fault("500:first=101")])  # it goes down in the middle
    with stopped_by(HaloUnavailable) as down:
        app.sync_batch(batch, run=run)
    app.server.faults.set([])
    stored = down.value.report.total("stored")
    assert stored == 60 + 300 + 39  # 60 companies and one request of users, and 39 links
    report = app.sync_batch(batch, run=run)
    assert counts(report) == {
        "companies": Counts(unchanged=60),
        "users": Counts(unchanged=300),
        "links": Counts(stored=261, unchanged=39),
    }
    (row,) = app.plan_ledger().runs.last(5)
    assert (row.run_key, row.batches, row.stored, row.unchanged, row.state) == ("backfill", 1, 261, 399, "running")
    assert row.requests > 400 - 39  # those of both attempts


def test_a_run_is_written_down_with_its_counts_and_its_reason(remembering):
    report = remembering.sync(key="week 1")
    close_run(remembering.last_run, report, reason="2 of 7 records were rejected")
    (row,) = remembering.plan_ledger().runs.last(5)
    assert msgspec.structs.asdict(row) | {"started_at": None, "ended_at": None, "seconds": 0} == {
        "run_key": "week 1",
        "whole": True,
        "state": "failed",
        "reason": "2 of 7 records were rejected",
        "started_at": None,
        "ended_at": None,
        "stored": 8,
        "partial": 0,
        "unchanged": 0,
        "skipped": 1,
        "rejected": 0,
        "failed": 0,
        "requests": 6,
        "retries": 0,
        "bytes": report.bytes,
        "seconds": 0,
        "batches": 2,
        "batches_done": 2,
        "report": report.to_dict(),
    }


def test_a_ledger_that_goes_away_stops_the_run_and_what_it_missed_is_sent_once_more(remembering):
    remembering.sync()
    change(remembering, "UPDATE users SET name = name || '!'")
    ledger = remembering.folder / "ledger.db"
    aside = ledger.rename(ledger.with_name("aside.db"))
    ledger.mkdir()  # nothing can be opened there
    remembering.ledger_engine.dispose()
    with pytest.raises(LedgerError, match=r"^The ledger database \(connection 'ledger'\) can't be used: "):
        remembering.sync()
    ledger.rmdir()
    aside.rename(ledger)
    assert remembering.sync().users == Counts(stored=4)


def test_a_second_backfill_at_the_same_time_does_not_send_what_the_first_has_brought(app_of):
    app = app_of()
    app.with_ledger().fill(
        teams=[(team, f"Team {team}", "pro") for team in range(1, 61)],
        users=[(user, user % 60 + 1, "N", "e", 1) for user in range(1, 301)],
    )
    app.server.faults.set([parse_fault("delay:seconds=0.05,contains=user_id")])  # users and links take their time
    with ThreadPoolExecutor(max_workers=1) as other:
        first = other.submit(app.sync, key="first")
        deadline = time.monotonic() + 20
        while app.plan_ledger().acknowledged.counts(["users"]) < 300 and time.monotonic() < deadline:
            time.sleep(0.01)
        second = app.sync(key="second")
        assert counts(first.result()) == {
            "companies": Counts(stored=60),
            "users": Counts(stored=300),
            "links": Counts(stored=300),
        }
    assert (second.companies, second.users) == (Counts(unchanged=60), Counts(unchanged=300))
    assert second.links.total == 300
    # Of what both had on the way at once it doesn't matter which came last: it was the same.
    assert app.sync().requests == 0


def test_the_ledger_does_not_pile_up_what_it_knew_of_entries_that_have_left_the_plan(app):
    app.with_ledger().fill(teams=TEAMS[:1])
    lengths = []
    for number in range(3):
        app.use_plan(app.plan_text.replace("metrics:", f"metrics_{number}:"))
        assert app.sync().companies == Counts(stored=1)
        with app.ledger_engine.connect() as connection:
            (parts,) = connection.exec_driver_sql("SELECT parts FROM halo_ledger_records").scalars()
        lengths.append(len(parts))
        app.use_plan(app.plan_text.replace(f"metrics_{number}:", "metrics:"))
    assert len(set(lengths)) == 1
