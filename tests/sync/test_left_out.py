"""What can't be sent as the plan says is told by key, and its record is stored in part: never as a whole, never unchanged."""

from __future__ import annotations

import re

import pytest

from airflow_provider_halo.delivery.report import Counts, failure_of
from airflow_provider_halo.limit import NO_LIMIT, Limit

PLAN = """\
version: 1
source: app
companies:
  key: team_id
  traits: {sql: "SELECT id AS team_id, name FROM teams"}
  context:
    integrations:
      label: Connected Integrations
      type: integration
      name: service
      sql: SELECT team_id, service, connected, status FROM integrations
    usage: {label: Usage, type: metric, sql: "SELECT team_id, forms FROM usage_of_teams"}
users:
  key: user_id
  company: team_id
  traits: {sql: "SELECT id AS user_id, team_id, name FROM people"}
  context:
    steps: {label: Steps, type: status, sql: "SELECT user_id, team_id, step FROM steps", empty: omit}
"""
TEAMS = "id INT, name VARCHAR(20)"
INTEGRATIONS = "team_id INT, service VARCHAR(20), connected SMALLINT, status VARCHAR(20)"
USAGE = "team_id INT, forms INT"
PEOPLE = "id INT, team_id INT, name VARCHAR(20)"
STEPS = "user_id INT, team_id INT, step VARCHAR(20)"


@pytest.fixture
def product(app, database):
    """Six teams and two people; of the entries of four of them something can't be sent."""
    app.engine = database.engine
    database.table("teams", TEAMS, [(team, f"Team {team}") for team in range(1, 7)])
    database.table(
        "integrations",
        INTEGRATIONS,
        [
            (1, "hubspot", 1, "active"),
            (2, "s3", 1, "active"),
            (2, "s3", 0, "error"),
            (2, "hubspot", 1, "active"),
            (4, "slack", 1, "active"),
            (4, None, 1, "active"),
            (5, None, 1, None),
            (6, None, 0, None),  # what an outer join gives where there is nothing
        ],
    )
    database.table("usage_of_teams", USAGE, [(1, 10), (2, 20), (3, 30), (3, 31), (4, 40)])
    database.table("people", PEOPLE, [(10, 1, "Ada"), (11, 2, "Bea")])
    database.table("steps", STEPS, [(10, 1, "form"), (10, 1, "meeting")])
    app.use_plan(PLAN)
    app.database = database
    return app


def run(app, **options):
    report = app.sync(**options)
    return (
        (report.companies, report.users, report.links),
        sorted(
            (problem.scope, problem.key, problem.field, problem.reason.replace(f"{app.folder}/", ""))
            for problem in report.left_out
        ),
    )


def contexts(app):
    """What Halo has of each company's entries."""
    return {
        key: {name: entry["value"] for name, entry in app.server.store.company(key)["context"].items()}
        for key in map(str, range(1, 7))
    }


LEFT_OUT = [
    (
        "companies",
        "2",
        "context.integrations",
        "two of its rows have the same service (halo.yaml, line 11); make it one row each in the SQL, or number them by `duplicates: number`",
    ),
    (
        "companies",
        "3",
        "context.usage",
        "it has more than one row where one is due (halo.yaml, line 12); make it one in the SQL, or a list by `rows: many`",
    ),
    (
        "companies",
        "4",
        "context.integrations",
        "1 row of it has no service (halo.yaml, line 11); give each row a name in the SQL, or leave it out there",
    ),
    (
        "companies",
        "5",
        "context.integrations",
        "its rows have no service (halo.yaml, line 11); give each row a name in the SQL, or leave it out there",
    ),
    (
        "users",
        "10",
        "context.steps",
        "it has more than one row where one is due (halo.yaml, line 18); make it one in the SQL, or a list by `rows: many`",
    ),
]
HAS = {
    "1": {"integrations": {"hubspot": {"connected": True, "status": "active"}}, "usage": {"forms": 10}},
    "2": {"usage": {"forms": 20}},
    "3": {"integrations": {}},
    "4": {"integrations": {"slack": {"connected": True, "status": "active"}}, "usage": {"forms": 40}},
    "5": {"usage": {}},
    "6": {"integrations": {}, "usage": {}},
}


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_a_record_without_an_entry_that_the_database_has_is_stored_in_part(product, batch_size):
    for _ in range(2):  # without a ledger, all is sent each time
        assert run(product, batch_size=batch_size) == (
            (Counts(stored=2, partial=4), Counts(stored=1, partial=1), Counts(stored=2)),
            LEFT_OUT,
        )
        assert contexts(product) == HAS


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_with_a_ledger_it_is_told_again_and_sent_only_when_it_can_be(product, batch_size):
    product.with_ledger()
    assert run(product, batch_size=batch_size)[1] == LEFT_OUT
    before = product.server.requests.describe()["by_path"]
    assert run(product, batch_size=batch_size) == (
        (Counts(unchanged=2, partial=4), Counts(unchanged=1, partial=1), Counts(unchanged=2)),
        LEFT_OUT,
    )
    assert product.server.requests.describe()["by_path"] == before

    product.database.run("UPDATE integrations SET service = 's3 old' WHERE team_id = 2 AND status = 'error'")
    product.database.run("DELETE FROM steps WHERE step = 'form'")
    counts, left_out = run(product, batch_size=batch_size)
    assert counts == (Counts(stored=1, unchanged=2, partial=3), Counts(stored=1, unchanged=1), Counts(unchanged=2))
    assert left_out == [told for told in LEFT_OUT if told[1] not in {"2", "10"}]
    assert contexts(product)["2"]["integrations"] == {
        "hubspot": {"connected": True, "status": "active"},
        "s3": {"connected": True, "status": "active"},
        "s3 old": {"connected": False, "status": "error"},
    }


def test_what_halo_had_of_an_entry_before_it_was_left_out_is_known_when_it_is_back(product):
    product.with_ledger()
    database = product.database

    def sync(*statements):
        for statement in statements:
            database.run(statement)
        return product.sync(only=("companies",)).companies

    assert sync() == Counts(stored=2, partial=4)
    # An entry that Halo has is left out: the other parts are as they are, and it is told.
    assert sync("INSERT INTO integrations VALUES (1, 'hubspot', 0, 'error')") == Counts(unchanged=1, partial=5)
    # Another part changes meanwhile: it is sent, without the entry.
    assert sync("UPDATE teams SET name = 'One' WHERE id = 1") == Counts(unchanged=1, partial=5)
    assert product.server.store.company("1")["traits"] == {"name": "One"}
    assert contexts(product)["1"]["integrations"] == {"hubspot": {"connected": True, "status": "active"}}
    # It comes back as Halo has it, and then as it has it not.
    assert sync("DELETE FROM integrations WHERE team_id = 1 AND status = 'error'") == Counts(unchanged=2, partial=4)
    assert sync("UPDATE integrations SET connected = 0 WHERE team_id = 1") == Counts(stored=1, unchanged=1, partial=4)
    assert contexts(product)["1"]["integrations"] == {"hubspot": {"connected": False, "status": "active"}}


def test_a_dry_run_counts_and_tells_them_too(product):
    assert run(product, dry_run=True) == (
        (Counts(skipped=2, partial=4), Counts(skipped=1, partial=1), Counts(skipped=2)),
        LEFT_OUT,
    )
    assert product.server.store.counts()["companies"] == 0


def test_the_report_of_many_names_the_first_twenty_and_counts_all(product):
    database = product.database
    database.table("teams", TEAMS, [(team, "T") for team in range(30)])
    database.table("integrations", INTEGRATIONS, [(team, "s3", 1, "active") for team in range(25) for _ in range(2)])
    database.table("usage_of_teams", USAGE)
    report = product.sync(batch_size=2, only=("companies",))
    assert (report.companies, len(report.left_out)) == (Counts(stored=5, partial=25), 20)
    assert report.to_text().splitlines()[-1] == "left out: and of 5 records more"
    assert report.warnings == {"companies.context.integrations left out: two rows of one name": 25}


@pytest.mark.parametrize(("limit", "fails"), [("none", False), ("5", False), ("4", True), ("1%", True), ("50%", False)])
def test_more_than_max_left_out_fails_the_run_with_count_key_entry_and_place(product, limit, fails):
    report = product.sync()
    reason = failure_of(report, max_rejected=NO_LIMIT, max_left_out=Limit.parse(limit))
    assert (reason is not None) == fails
    if limit == "4":
        # Records are sent side by side: which of them is told first is up to their answers.
        assert reason.startswith("5 of 10 records were stored in part, more than max_left_out=4; the first: ")
        assert re.search(r"(companies|users) \d+: context\.\w+: .+halo\.yaml, line \d+\)", reason)
    if limit == "1%":
        assert reason.startswith("5 of 10 records were stored in part (50.00%), more than max_left_out=1%; the first: ")


def test_a_user_who_is_linked_or_not_counts_once_and_its_link_is_whole(product):
    product.with_ledger()
    product.sync()
    product.database.run("UPDATE people SET team_id = 3 WHERE id = 10")
    report = product.sync()
    # What is sent of Ada is as it was: only her link has changed.
    assert (report.users, report.links) == (Counts(unchanged=1, partial=1), Counts(stored=1, unchanged=1))
    assert [problem.key for problem in report.left_out if problem.scope == "users"] == ["10"]


def test_the_guard_takes_a_record_in_part_for_one_that_stays_as_it_is(product):
    product.database.table("teams", TEAMS, [(team, "T") for team in range(1_200)])
    product.database.table("integrations", INTEGRATIONS, [(team, "s3", 1, "active") for team in range(1_200)] * 2)
    product.database.table("usage_of_teams", USAGE)
    product.with_ledger()
    product.sync_and_close(only=("companies",))
    report = product.sync(only=("companies",), max_changed="1%")
    assert report.companies == Counts(partial=1_200)


def test_a_plan_that_begins_to_number_names_sends_them(product):
    product.with_ledger()
    product.sync()
    product.use_plan(PLAN.replace("      name: service\n", "      name: service\n      duplicates: number\n"))
    report = product.sync(only=("companies",))
    assert report.companies == Counts(stored=1, unchanged=2, partial=3)
    assert contexts(product)["2"]["integrations"] == {
        "hubspot": {"connected": True, "status": "active"},
        "s3": {"connected": False, "status": "error"},
        "s3 (2)": {"connected": True, "status": "active"},
    }
