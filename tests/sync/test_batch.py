"""A plan's data on its way to Halo, from rows to report, against the sandbox."""

from __future__ import annotations

import socket

import pytest
from inline_snapshot import snapshot
from product import stopped_by

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import (
    HaloError,
    HaloUnavailable,
    PlanError,
    SecretMissing,
    SetupError,
    SystemicRefusal,
    TokenRefused,
    WidgetKeyRefused,
)
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.source.batch import Batch

SECRET = "ha_secret_for_tests_that_is_long_enough"
TEAMS = [(1, "Acme", "pro"), (2, "Bolt", "free")]
USERS = [
    (10, 1, "Ada", "ada@example.com", 5),
    (11, 2, "Bea", "bea@example.com", 0),
    (12, None, "Cid", "cid@example.com", 1),  # belongs to no team
    (13, 99, "Dan", "dan@example.com", 2),  # of a team that isn't in the companies query
]


def test_companies_users_and_links_arrive_as_the_plan_says(app):
    app.fill(teams=TEAMS, users=USERS, forms=[(1, 1), (2, 1)])
    report = app.sync()
    assert report.companies == Counts(stored=2)
    assert report.users == Counts(stored=4)
    assert report.links == Counts(stored=2, skipped=1)
    assert report.warnings == snapshot({"links skipped: its company is not in the companies query": 1})
    acme = app.server.store.company("1")
    assert acme["traits"] == {"name": "Acme", "plan": "pro"}
    assert acme["context"] == {"metrics": {"label": "Product Metrics", "type": "metric", "value": {"forms": 2}}}
    assert app.server.store.company("2")["context"]["metrics"]["value"] == {"forms": 0}
    ada = app.server.store.user("10")
    assert ada["traits"] == {"name": "Ada", "email": "ada@example.com"}
    assert ada["context"] == {"activity": {"label": "Activity", "type": "status", "value": {"visits": 5}}}
    assert (ada["company_id"], app.server.store.user("13")["company_id"]) == ("1", None)
    # 2 companies, 2 requests of users (one batch of the range, one of users without a company), 2 links
    assert app.server.requests.describe()["by_path"] == {
        "companies/identify": {"200": 4},
        "users/update": {"200": 2},
    }
    assert (report.requests, report.retries) == (6, 0)


def test_a_sync_moves_nobodys_last_seen_and_starts_no_automation(app):
    app.fill(teams=TEAMS, users=USERS)
    app.server.store.identify_user("10", {"traits": {"name": "Ada"}})
    before = app.server.store.user("10")["last_seen"]
    automations = app.server.store.counts()["automations"]
    app.sync()
    assert app.server.store.user("10")["last_seen"] == before
    assert app.server.store.user("11")["last_seen"] is None
    assert app.server.store.counts()["automations"] == automations


def test_a_messy_database_loses_only_the_one_user_that_halo_refuses(app_of):
    # 2,000 users: a quarter in one team, some without a team, some of a team that the companies query lacks,
    # and one that the server refuses with a 400 that names nobody.
    app = app_of(sandbox=SandboxConfig(identity_secret=SECRET, poison=frozenset({"1234"})))
    app.fill(
        teams=[(team, f"Team {team}", "pro") for team in range(1, 41)],
        users=[
            (
                user,
                7 if user % 4 == 0 else None if user % 50 == 1 else 999 if user % 50 == 2 else user % 40 + 1,
                "N",
                "e",
                1,
            )
            for user in range(1, 2_001)
        ],
    )
    report = app.sync(batch_size=300)
    assert (report.users, report.companies) == (Counts(stored=1_999, rejected=1), Counts(stored=40))
    assert [(problem.scope, problem.key) for problem in report.rejects] == [("users", "1234")]
    assert report.rejects[0].reason.startswith("Halo refuses it: ")
    assert app.server.store.counts()["users"] == 1_999
    without_team = sum(1 for user in range(1, 2_001) if user % 4 and user % 50 == 1)
    of_no_team = sum(1 for user in range(1, 2_001) if user % 4 and user % 50 == 2)
    assert report.links == Counts(
        stored=2_000 - without_team - of_no_team - (1234 % 50 not in {1, 2}), skipped=of_no_team
    )
    updates = app.server.requests.describe()["by_path"]["users/update"]
    # One poisoned user in a request of up to 1,000 costs at most 2·log2(1,000) requests more.
    assert sum(updates.values()) <= len(app.batches(batch_size=300)) + 20


def test_a_dry_run_says_what_it_would_take_and_sends_nothing(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync(dry_run=True)
    assert (report.companies, report.users, report.links) == (
        Counts(skipped=2),
        Counts(skipped=4),
        Counts(skipped=3),
    )
    assert (report.requests, report.dry_run) == (6, True)
    assert app.server.requests.describe()["total"] == 0


def test_users_need_the_identity_secret_and_companies_do_not(app_of):
    app = app_of(sandbox=SandboxConfig(identity_secret=SECRET, verify_identity=False), identity_secret=None)
    app.fill(teams=TEAMS, users=USERS)
    with pytest.raises(SecretMissing) as missing:
        app.sync()
    assert str(missing.value) == snapshot(
        "Halo connection 'halo_default' has no identity_secret, and users/update, the call that marks nobody as active, "
        "needs one: put it into the connection's extras; or, for one user who is present now, opt in to activity=True. "
        "Companies alone need no secret: only=companies."
    )
    assert app.server.requests.describe()["total"] == 0
    assert app.sync(only=("companies",)).companies == Counts(stored=2)


def test_only_chosen_parts_are_sent(app):
    app.fill(teams=TEAMS, users=USERS, forms=[(1, 2)])
    report = app.sync(only=("companies.context.metrics",))
    assert (report.companies, report.users, report.links) == (Counts(stored=2), Counts(), Counts())
    assert app.server.store.company("2")["traits"] == {}
    assert app.server.store.company("2")["context"]["metrics"]["value"] == {"forms": 1}


def test_links_alone_are_sent_to_companies_that_the_plan_knows_and_to_no_others(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync(only=("links",))
    assert (report.companies, report.users, report.links) == (Counts(), Counts(), Counts(stored=2, skipped=1))
    assert app.server.store.company("99") is None


def test_chosen_companies_bring_their_users_and_no_others(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync(company_ids=["2", "77"])
    assert (report.companies, report.users) == (Counts(stored=1, rejected=1), Counts(stored=1))
    assert report.rejects == [Problem("companies", "77", "", "is not in the companies query (companies.traits)")]


def test_the_link_of_a_rejected_user_or_to_a_rejected_company_is_skipped(app):
    app.fill(teams=[(1, "Acme", "x" * 60_000), (2, "Bolt", "free")], users=[*USERS[:2], (14, 2, "y" * 30_000, "e", 0)])
    report = app.sync()
    assert (report.companies, report.users) == (Counts(stored=1, rejected=1), Counts(stored=2, rejected=1))
    assert report.links == Counts(stored=1, skipped=1)
    assert report.warnings == snapshot({"links skipped: its company was not stored": 1})
    assert [(problem.key, problem.field) for problem in report.rejects] == [("1", "traits.plan"), ("14", "traits.name")]


def test_one_user_is_updated_and_linked_on_an_event_and_only_then_may_be_marked_active(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync_batch(Batch(user=10))
    assert (report.companies, report.users, report.links) == (Counts(), Counts(stored=1), Counts(stored=1))
    assert app.server.store.user("10")["last_seen"] is None
    report = app.sync_batch(Batch(user=10, companies=(1,)), activity=True)
    assert (report.companies, report.users, report.links) == (Counts(stored=1), Counts(stored=1), Counts(stored=1))
    assert app.server.store.user("10")["last_seen"] is not None
    with pytest.raises(SetupError, match="activity=True marks every user it sends as active now"):
        app.sync_batch(Batch(), activity=True)


def test_a_user_that_is_not_there_is_a_rejection_and_not_a_green_nothing(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync_batch(Batch(user=4711))
    assert report.rejects == [Problem("users", "4711", "", "is not in the users query (users.traits)")]


def test_a_company_alone_is_updated_without_its_users(app):
    app.fill(teams=TEAMS, users=USERS)
    report = app.sync_batch(Batch(companies=(1,), users_too=False))
    assert (report.companies, report.users, report.links) == (Counts(stored=1), Counts(), Counts())


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"widget_key": "ab_live_wrong"}, WidgetKeyRefused), ({"identity_secret": "ha_secret_wrong"}, TokenRefused)],
)
def test_a_wrong_credential_stops_the_run_at_once_and_says_what_was_stored(app_of, wrong, error):
    app = app_of(**wrong)
    app.fill(users=[(user, 1, "N", "e", 0) for user in range(1, 5_001)])
    with stopped_by(error) as stopped:
        app.sync()
    assert stopped.value.report.users.stored == 0
    assert "ab_live" not in str(stopped.value)
    assert "ha_secret" not in str(stopped.value)
    assert app.server.requests.describe()["total"] <= 2 * app.settings.max_in_flight


def test_when_halo_is_down_for_good_the_run_ends_after_its_budget_with_what_was_and_was_not_delivered(app_of):
    app = app_of(max_retry_seconds=1)
    app.fill(teams=TEAMS, users=USERS)
    app.server.stop()
    with socket.socket() as held:
        held.bind(("127.0.0.1", app.server.port))  # and doesn't listen: no test beside this one answers there instead
        with stopped_by(
            HaloUnavailable, match=r"took no request for \d s; the last cause: companies/identify: no answer"
        ) as down:
            app.sync()
    assert down.value.report.companies == Counts(failed=2)
    assert sorted(failure.key for failure in down.value.report.failures) == ["1", "2"]


def test_an_outage_in_the_middle_costs_time_and_no_record(app):
    app.fill(
        teams=[(team, "T", "p") for team in range(1, 31)],
        users=[(u, u % 30 + 1, "N", "e", 0) for u in range(1, 301)],
    )
    app.server.faults.set(map(parse_fault, ("503:every=29", "429:every=41,retry_after=0", "reset_after:every=53")))
    report = app.sync()
    assert (report.companies, report.users, report.links) == (
        Counts(stored=30),
        Counts(stored=300),
        Counts(stored=300),
    )
    assert report.retries >= 330 // 53
    disturbed = app.server.store.digest()
    app.server.faults.set([])
    app.server.store.reset()
    app.sync()
    assert app.server.store.digest() == disturbed


def test_a_reserved_column_stops_the_run_before_anything_is_sent(app):
    app.use_plan(
        "version: 1\nsource: app\nusers:\n  key: user_id\n  company: team_id\n  traits:\n"
        "    sql: SELECT id AS user_id, team_id, u.* FROM users u\n"
    )
    app.fill(users=USERS)
    with pytest.raises(PlanError, match=r"halo.yaml, line 7: users.traits.sql: "):
        app.sync()
    assert app.server.requests.describe()["total"] == 0


def test_twenty_refusals_for_one_cause_are_the_plan_and_stop_the_run(app_of):
    app = app_of(sandbox=SandboxConfig(identity_secret=SECRET, poison=frozenset(str(user) for user in range(1, 501))))
    app.fill(users=[(user, 1, "N", "e", 0) for user in range(1, 501)])
    with stopped_by(SystemicRefusal, match="Halo refused 20 users in a row for the same cause") as stopped:
        app.sync()
    assert stopped.value.report.users.rejected >= 20
    assert stopped.value.report.users.total == 500


def test_batches_at_once_bring_the_same_state_as_one_after_another(app):
    app.fill(
        teams=[(team, "T", "p") for team in range(1, 51)],
        users=[(u, u % 50 + 1, "N", "e", 0) for u in range(1, 501)],
    )
    one = app.sync(batch_size=60)
    digest = app.server.store.digest()
    app.server.store.reset()
    three = app.sync(batch_size=60, jobs=3)
    assert app.server.store.digest() == digest
    assert (one.companies, one.users, one.links) == (three.companies, three.users, three.links)


def test_heavy_users_go_in_bodies_that_a_proxy_takes_without_being_told(app):
    app.fill(teams=[(1, "One", "pro")], users=[(n, 1, "x" * 15_000, "a@b.test", 1) for n in range(1_000)])
    report = app.sync(link_users=False)
    assert report.users.stored == 1_000
    assert report.requests == 1 + 17  # the team; 60 users a body instead of 1,000
    assert report.bytes / 17 < 1_000_000


def test_a_run_that_stops_in_a_later_batch_reports_the_batches_before_it_too(app):
    app.fill(teams=TEAMS, users=USERS)
    app.server.faults.set([parse_fault("401:path=users/update,nth=2"), parse_fault("401:path=users/update,nth=3")])
    with stopped_by(WidgetKeyRefused) as stopped:
        app.sync(batch_size=1, link_users=False)
    assert (stopped.value.report.companies, stopped.value.report.users) == (
        Counts(stored=2),
        Counts(stored=1, failed=1),
    )


def test_a_dry_run_that_stops_says_what_it_had_counted(app):
    app.use_plan(
        "version: 1\nsource: app\ncompanies:\n  key: team_id\n  traits:\n    sql: SELECT id AS team_id, name FROM teams\n"
        "users:\n  key: user_id\n  company: team_id\n  traits:\n    sql: SELECT id AS user_id, team_id, u.* FROM users u\n"
    )
    app.fill(teams=TEAMS, users=USERS)
    with stopped_by(PlanError) as stopped:
        app.sync_batch(Batch(), dry_run=True)  # one that was planned before the query changed
    assert stopped.value.report.dry_run
    assert stopped.value.report.companies == Counts(skipped=2)
    assert app.server.requests.describe()["total"] == 0


def test_what_is_wrong_before_the_first_batch_begins_is_raised_as_it_is(app_of):
    app = app_of(identity_secret=None)
    app.fill(teams=TEAMS, users=USERS)
    with pytest.raises(HaloError) as missing:
        app.sync()
    assert type(missing.value) is SecretMissing
