"""Who was erased stays so: whatever the run, the batch size, the plan, the ledger's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import own_url
from product import PLAN, change

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.ledger.acknowledged import Acknowledgement
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.source.planning import batch_for
from airflow_provider_halo.sync.erase import allow, erase, subjects_of
from airflow_provider_halo.sync.run import close_run

TEAMS = [(1, "Acme", "pro"), (2, "Bolt", "free"), (3, "Cord", "free")]
USERS = [
    (10, 1, "Ada", "ada@example.com", 5),
    (11, 2, "Bea", "bea@example.com", 0),
    (12, None, "Cid", "cid@example.com", 1),
    (13, 2, "Dan", "dan@example.com", 2),
]
NOBODY = {"companies": 0, "users": 0, "links": 0}
USER = "users skipped: erased by halo erase, whose --allow takes it back"
COMPANY = "companies skipped: erased by halo erase, whose --allow takes it back"
LINK = "links skipped: the company was erased by halo erase, whose --allow takes it back"
EMPTY_ADA = ({"name": None, "email": None}, {})


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, by the driver that the test names."""
    yield from own_url(request.param, tmp_path, "ledger_erased")


@pytest.fixture
def synced(app):
    """A product that was synced once."""
    return filled(app.with_ledger())


def filled(app):
    app.fill(teams=TEAMS, users=USERS, forms=[(1, 1), (2, 1), (3, 3)])
    app.sync_and_close()
    return app


def subjects(app, keys_by_scope):
    return subjects_of(
        app.plan,
        {scope: [key] for scope, key in keys_by_scope.items()},
        plan_ledger=app.plan_ledger(),
        of_workspace=app.ledger.plans(settings=app.settings),
        sources=app.sources,
    )


def erase_one(app, **keys_by_scope):
    """Erase a record; what became of it."""
    found = subjects(app, keys_by_scope)
    run = app.run(whole=False)
    of_workspace = app.ledger.plans(settings=app.settings)
    report, statuses = erase(found, run=run, of_workspace=of_workspace, settings=app.settings)
    close_run(run, report, reason=None)
    return statuses


def allow_one(app, **keys_by_scope):
    found = subjects(app, keys_by_scope)
    allow(found, plan_ledger=app.plan_ledger(), of_workspace=app.ledger.plans(settings=app.settings))


def held(app, user):
    """What Halo holds of a user: traits and the entry's value."""
    stored = app.server.store.user(user)
    return stored["traits"], stored["context"]["activity"]["value"]


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
@pytest.mark.parametrize(
    "ledger_url",
    ["sqlite", *(pytest.param(driver, marks=pytest.mark.databases) for driver in ("psycopg2", "psycopg", "pymysql"))],
    indirect=True,
)
def test_no_run_sends_an_erased_user_until_it_is_allowed(app, ledger_url, batch_size):
    filled(app.with_ledger(ledger_url))
    assert erase_one(app, users="10") == {("users", "10"): "stored"}
    assert held(app, "10") == EMPTY_ADA
    assert app.server.store.user("10")["last_seen"] is None
    for full in (False, True):
        report = app.sync_and_close(batch_size=batch_size, full=full)
        assert (report.users.skipped, report.users.total, report.warnings[USER]) == (1, 4, 1)
        assert (report.gone, report.links.total) == (NOBODY, 2)
    assert held(app, "10") == EMPTY_ADA
    allow_one(app, users="10")
    report = app.sync_and_close(batch_size=batch_size)
    assert (report.users, report.links) == (Counts(stored=1, unchanged=3), Counts(stored=1, unchanged=2))
    assert held(app, "10") == ({"name": "Ada", "email": "ada@example.com"}, {"visits": 5})
    assert app.sync_and_close(batch_size=batch_size).requests == 0


def test_nothing_is_left_of_an_erased_user_in_the_ledger(synced):
    change(synced, "UPDATE users SET name = x'00ff' WHERE id = 10")
    synced.sync_and_close()
    plan_ledger = synced.plan_ledger()
    assert plan_ledger.rejects.listed(5)[0] == 1
    erase_one(synced, users="10")
    synced.sync_and_close()
    assert plan_ledger.rejects.listed(5) == (0, [])  # skipped, not rejected anew
    assert plan_ledger.acknowledged.known("users", ["10"]) == plan_ledger.acknowledged.known("links", ["10"]) == {}
    assert plan_ledger.gone.listed("users", 5) == (0, [])


@pytest.mark.parametrize("batch_size", [1, 300])
def test_nobody_is_linked_to_an_erased_company(synced, batch_size):
    change(synced, "INSERT INTO users VALUES (14, 2, 'Eva', 'eva@example.com', 1)")
    assert erase_one(synced, companies="2") == {("companies", "2"): "stored"}
    erased = synced.server.store.company("2")
    assert (erased["traits"], erased["context"]["metrics"]["value"]) == ({"name": None, "plan": None}, {"forms": 0})
    for full in (False, True):
        report = synced.sync_and_close(batch_size=batch_size, full=full)
        assert (report.warnings[COMPANY], report.warnings[LINK]) == (1, 3)
        assert (report.companies.skipped, report.users.skipped, report.links.skipped) == (1, 0, 3)
    report = synced.sync(only=("links",), full=True)
    assert (report.links.skipped, report.links.stored) == (3, 1)
    report = synced.sync_batch(batch_for(synced.plan, synced.sources, user_id=14), full=True)
    assert (report.users.stored, report.links) == (1, Counts(skipped=1))
    assert synced.server.store.company("2") == erased
    assert synced.server.store.user("14")["company_id"] is None
    allow_one(synced, companies="2")
    report = synced.sync_and_close(batch_size=batch_size)
    assert report.companies == Counts(stored=1, unchanged=2)
    assert synced.server.store.user("14")["company_id"] == "2"


def test_a_run_that_names_the_record_skips_it_too(synced):
    erase_one(synced, users="10")
    assert synced.sync(company_ids=[1], full=True).users == Counts(skipped=1)
    for options in ({}, {"full": True}, {"activity": True}, {"dry_run": True}):
        report = synced.sync_batch(batch_for(synced.plan, synced.sources, user_id=10), **options)
        assert (report.users, report.links.total, report.requests) == (Counts(skipped=1), 0, 0)
    report = synced.sync(only=("links",), full=True)
    assert report.links == Counts(stored=2, skipped=1)
    assert held(synced, "10") == EMPTY_ADA


def test_all_plans_of_the_workspace_are_emptied_and_skip_the_record(synced):
    traits = "SELECT id AS user_id, team_id, visits AS billing_visits FROM users"
    synced.use_plan(
        f"version: 1\nname: billing\nsource: app\nusers: {{key: user_id, company: team_id, traits: {{sql: {traits!r}}}}}"
    )
    synced.sync_and_close()
    billing = synced.plan
    synced.use_plan(PLAN)
    erase_one(synced, users="10")
    assert held(synced, "10")[0] == {"name": None, "email": None, "billing_visits": None}
    for ledger in synced.ledger.plans(settings=synced.settings):
        assert ledger.acknowledged.known("users", ["10"]) == {}
    synced.plan = billing
    assert synced.sync(full=True).users == Counts(stored=3, skipped=1)


def test_who_is_gone_is_no_longer_told_once_it_was_erased(synced):
    synced.use_plan(f"{PLAN}gone: {{empty: true, set: {{account_status: deleted}}}}\n")
    change(synced, "DELETE FROM users WHERE id IN (10, 11)")
    synced.sync_and_close()
    assert held(synced, "10")[0]["account_status"] == "deleted"
    erase_one(synced, users="10")
    assert held(synced, "10")[0] == {"name": None, "email": None, "account_status": None}
    synced.use_plan(PLAN)
    change(synced, "DELETE FROM users WHERE id = 12")
    erase_one(synced, users="12")
    assert synced.sync_and_close().gone == NOBODY
    change(synced, "INSERT INTO users VALUES (12, NULL, 'Cid', 'cid@example.com', 1)")
    assert synced.sync_and_close().users.skipped == 1


def test_what_was_never_sent_is_not_made_by_erasing_it(synced):
    change(synced, "INSERT INTO teams VALUES (9, 'New', 'free')", "INSERT INTO users VALUES (19, 9, 'N', 'n', 1)")
    assert erase_one(synced, companies="9", users="19") == {("users", "19"): "skipped"}
    assert erase_one(synced, companies="77", users="not-a-number") == {}
    report = synced.sync_and_close()
    assert (report.companies.skipped, report.users.skipped) == (1, 1)
    for key in ("9", "77"):
        assert synced.server.store.company(key) is None
    for key in ("19", "not-a-number"):
        assert synced.server.store.user(key) is None


def test_what_was_sent_before_there_was_a_ledger_is_emptied_by_the_names_of_the_plan(app):
    app.fill(teams=TEAMS, users=USERS)
    app.sync()
    app.with_ledger()
    assert erase_one(app, users="10", companies="1") == {("users", "10"): "stored", ("companies", "1"): "stored"}
    assert held(app, "10")[0] == {"name": None, "email": None}
    assert app.server.store.company("1")["traits"] == {"name": None, "plan": None}


def test_what_a_run_under_way_wrote_down_after_it_is_emptied_by_erasing_again_and_not_taken_for_true(synced):
    plan_ledger = synced.plan_ledger()
    ((_, known),) = plan_ledger.acknowledged.known("users", ["10"]).items()
    erase_one(synced, users="10")
    late = Acknowledgement(scope="users", key="10", token=known.token, fingerprint=known.fingerprint)
    plan_ledger.acknowledged.database.write(
        lambda connection: plan_ledger.acknowledged.acknowledge(connection, 1, [late])
    )
    assert erase_one(synced, users="10") == {("users", "10"): "stored"}
    plan_ledger.acknowledged.database.write(
        lambda connection: plan_ledger.acknowledged.acknowledge(connection, 1, [late])
    )
    allow_one(synced, users="10")
    assert synced.sync_and_close().users.stored == 1
    assert held(synced, "10")[0]["name"] == "Ada"


def test_a_key_is_what_the_database_takes_for_equal(app):
    app.with_ledger()
    with app.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE people (id TEXT COLLATE NOCASE PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql("INSERT INTO people VALUES ('Ada', 'Ada L'), ('Bea', 'Bea B')")
    users = "{key: user_id, company: team_id, traits: {sql: 'SELECT id AS user_id, NULL AS team_id, name FROM people'}}"
    app.use_plan(f"version: 1\nsource: app\nusers: {users}\n")
    app.sync_and_close()
    assert erase_one(app, users="ADA") == {("users", "Ada"): "stored"}
    assert app.server.store.user("Ada")["traits"] == {"name": None}
    assert app.server.store.user("ADA") is None
    assert app.sync_and_close(full=True).users == Counts(stored=1, skipped=1)


def test_a_source_that_is_away_keeps_nobody_from_being_erased(synced):
    change(synced, "ALTER TABLE users RENAME TO elsewhere")
    (subject,) = subjects(synced, {"users": "10"})
    assert (subject.is_given, subject.is_sent) == (None, True)
    assert erase_one(synced, users="10") == {("users", "10"): "stored"}
    assert held(synced, "10") == EMPTY_ADA


def test_another_workspace_is_none_of_its_business(synced):
    erase_one(synced, users="10")
    other = Ledger(synced.ledger_engine, "ledger")
    settings = type(synced.settings)(widget_key="ab_live_other", base_url=synced.server.url)
    assert other.erased(settings).among("users", ["10"]) == set()
    assert other.erased(synced.settings).among("users", ["10", "11"]) == {"10"}
