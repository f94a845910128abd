"""The traits whose types Halo documents, from each database: converted, refused, or sent and told by the plan's word."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.records.problem import Problem

COLUMNS = (
    "team_id INT, name VARCHAR(40), on_contract INT, mrr VARCHAR(20), employee_count VARCHAR(20), "
    "contract_term VARCHAR(20), signed_up_at BIGINT, renewal_date VARCHAR(40)"
)
ROWS = [
    (1, "One", 1, "1234.50", "12", "annual", 1_700_000_000, "2025-03-01"),
    (2, "Two", 0, "", None, None, None, " "),
    (3, "Three", 2, "7", "7", "monthly", None, None),
    (4, "Four", None, "n/a", "7", "monthly", None, None),
    (5, "Five", None, None, "7", "fortnightly", None, None),
    (6, "Six", None, None, "7", "monthly", None, "now"),
    (7, "Seven", None, None, "7", "monthly", None, "2024-W05"),
]
RIGHT = {
    "name": "One",
    "on_contract": True,
    "mrr": 1234.5,
    "employee_count": 12,
    "contract_term": "annual",
    "signed_up_at": "2023-11-14T22:13:20+00:00",
    "renewal_date": "2025-03-01",
}
BLANK = {"name": "Two", "on_contract": False} | dict.fromkeys(list(RIGHT)[2:])
NO_DATE = "holds a text that is no date or time (ISO 8601)"


def companies(options):
    return f"companies:\n  key: team_id\n  traits:\n    sql: SELECT * FROM teams\n    {options}\n"


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
def test_what_fits_is_converted_and_what_does_not_costs_its_record(database, deliver, sandbox, batch_size):
    database.table("teams", COLUMNS, ROWS)
    report = deliver(database, companies("epochs: {signed_up_at: seconds}"), batch_size=batch_size)
    assert report.companies == Counts(stored=2, rejected=5)
    assert sorted(report.rejects, key=str) == [
        Problem("companies", "3", "traits.on_contract", "holds a number where Halo takes true or false"),
        Problem("companies", "4", "traits.mrr", "holds a text that is no number, where Halo takes one"),
        Problem("companies", "5", "traits.contract_term", "is none of monthly, quarterly, annual, bi_annual"),
        Problem("companies", "6", "traits.renewal_date", NO_DATE),
        Problem("companies", "7", "traits.renewal_date", NO_DATE),
    ]
    assert {key: sandbox.store.company(key)["traits"] for key in sandbox.store.find("companies")} == {
        "1": RIGHT,
        "2": BLANK,
    }


@pytest.mark.parametrize("batch_size", [2, 5_000])
def test_by_the_plan_s_word_what_does_not_fit_is_sent_and_told(database, deliver, batch_size):
    database.table("teams", COLUMNS, ROWS)
    report = deliver(database, companies("types: warn"), batch_size=batch_size)
    # The sandbox, as Halo may, refuses what it takes for wrong: what is asked here is what is sent and told.
    assert report.companies.failed == 0
    assert dict(report.warnings) == {
        f"companies.traits: {name} of another type than Halo documents sent as it is": count
        for name, count in {
            "on_contract": 1,
            "mrr": 1,
            "contract_term": 1,
            "signed_up_at": 1,
            "renewal_date": 2,
        }.items()
    }


def test_an_epoch_that_the_plan_says_nothing_of_costs_its_record(database, deliver):
    database.table("teams", "team_id INT, signed_up_at BIGINT, renewal_date BIGINT", [(1, 1_700_000_000, None)])
    report = deliver(database)
    assert report.rejects == [
        Problem(
            "companies",
            "1",
            "traits.signed_up_at",
            "holds a number where a date or time is due; in a plan, `epochs:` says what it counts",
        )
    ]


def test_epochs_of_any_column_and_of_entries_are_moments(database, deliver, sandbox):
    database.table("teams", "team_id INT, seen BIGINT", [(1, 1_700_000_000_123), (2, None), (3, 10**17)])
    report = deliver(
        database,
        companies("epochs: {seen: milliseconds}")
        + "  context:\n    x: {label: X, sql: SELECT * FROM teams, epochs: {seen: microseconds}}\n",
    )
    assert (report.companies, dict(report.warnings)) == (
        Counts(stored=3),
        {"date or time that no calendar has (infinity, BC, zero) sent as null": 1},
    )
    assert [sandbox.store.company(key)["traits"]["seen"] for key in "123"] == [
        "2023-11-14T22:13:20.123000+00:00",
        None,
        None,
    ]
    assert sandbox.store.company("1")["context"]["x"]["value"] == {"seen": "1970-01-20T16:13:20.000123+00:00"}


def test_the_types_of_a_plan_without_ledger_and_with_one_are_the_same(app):
    app.with_ledger()
    app.use_plan(
        "version: 1\nsource: app\ncompanies:\n  key: team_id\n  traits:\n"
        "    sql: SELECT id AS team_id, name, plan AS mrr FROM teams\n"
    )
    app.fill(teams=[(1, "One", "12.50"), (2, "Two", "n/a")])
    reports = [app.sync_and_close() for _ in range(2)]
    assert [report.companies for report in reports] == [Counts(stored=1, rejected=1), Counts(unchanged=1, rejected=1)]
    assert app.server.store.company("1")["traits"] == {"name": "One", "mrr": 12.5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "epochs: {signed_up_at: days}",
            snapshot(
                "halo.yaml, line 7: companies.traits.epochs.signed_up_at: is 'days', but must be seconds, milliseconds or microseconds."
            ),
        ),
        (
            "epochs: {is_there: seconds}\n    booleans: [is_there]",
            snapshot(
                "halo.yaml, line 7: companies.traits.epochs: is_there is listed under booleans too. Keep it in one of them."
            ),
        ),
        (
            "epochs: [signed_up_at]",
            snapshot("halo.yaml, line 7: companies.traits.epochs: is a list, but must be a mapping."),
        ),
        ("types: drop", snapshot("halo.yaml, line 7: companies.traits.types: is 'drop', but must be reject or warn.")),
    ],
    ids=["unit", "boolean", "list", "types"],
)
def test_wrong_words_are_told_with_their_line(tmp_path, options, message):
    path = tmp_path / "halo.yaml"
    path.write_text(f"version: 1\nsource: app\n{companies(options)}", encoding="utf-8")
    with pytest.raises(PlanError) as refused:
        load_plan(path)
    assert str(refused.value).replace(f"{path}", "halo.yaml") == message


def test_a_column_of_epochs_that_the_query_lacks_is_told(database, deliver):
    database.table("teams", "team_id INT, name VARCHAR(9)", [(1, "One")])
    with pytest.raises(PlanError, match="gives no column 'seen', which is listed under epochs"):
        deliver(database, companies("epochs: {seen: seconds}"))
