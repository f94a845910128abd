"""Rows that mean harm: stored as what they mean, or rejected one by one, with nothing of the value in the reason."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError, SourceError
from airflow_provider_halo.records.payload import Company, payload_of
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.records.values import to_json_value

MB = 2**20
POSTGRESQL = [pytest.param(driver, marks=pytest.mark.databases) for driver in ("psycopg", "psycopg2")]
# The one database whose JSON comes as values.
on_postgresql = pytest.mark.parametrize("each_driver", POSTGRESQL, indirect=True)
COMPANIES = "companies:\n  key: team_id\n  traits:\n    sql: {}\n"
THINGS = "  context:\n    things:\n      label: Things\n      {}\n      sql: SELECT * FROM things\n"


def test_a_text_of_50_mb_costs_its_row_and_a_few_times_its_size(sqlite, deliver, sandbox):
    sqlite.table("teams", "team_id INT, name TEXT", [(1, "one"), (2, "x" * 50 * MB), (3, "three")])
    tracemalloc.start()
    report = deliver(sqlite)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.companies == Counts(stored=2, rejected=1)
    assert report.rejects == [
        Problem("companies", "2", "traits.name", "52,428,811 bytes of traits and context; Halo takes 50,000")
    ]
    assert sandbox.store.find("companies") == ["1", "3"]
    assert peak < 50 * MB * 5  # the row, its JSON, and copies while it is made; not one for each stage


@pytest.mark.parametrize(
    "number",
    [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    ids=["2^53", "2^53+1", "-2^53-1", "2^63-1", "-2^63"],
)
def test_a_whole_number_is_sent_to_the_last_digit_however_large(database, deliver, sandbox, number):
    """JSON's integers have no end, and these are exact; a reader that takes them for doubles rounds them itself."""
    database.table("teams", "team_id INT, seats BIGINT", [(1, number)])
    assert deliver(database).companies == Counts(stored=1)
    assert sandbox.store.company("1")["traits"] == {"seats": number}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (2**64, 2**64),
        (-(10**30), -(10**30)),
        (Decimal(10**30 + 1), 10**30 + 1),
        (Decimal("0." + "1" * 10_000), 0.1111111111111111),
        (Decimal("1" * 300 + "." + "3" * 10_000), float("1" * 300)),
        (Decimal("1E-10000"), 0.0),
        (Decimal("-0"), 0),
        (Decimal("sNaN"), None),
        (Decimal("-Infinity"), None),
        (float("nan"), None),
        (5e-324, 5e-324),
        (date(1, 1, 1), "0001-01-01"),
        (date(9999, 12, 31), "9999-12-31"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-14))), "0001-01-01T14:00:00+00:00"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=14))), "9999-12-31T09:00:00+00:00"),
        (timedelta.max, "P999999999DT23H59M59.999999S"),
        ({"a" * 1_000: {"b": [None] * 1_000}}, {"a" * 1_000: {"b": [None] * 1_000}}),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_at_an_edge_is_sent_as_what_it_is_or_as_null(value, sent):
    payload = payload_of(Company(company_id="c", traits={"v": to_json_value(value, Counter())}))
    assert json.loads(payload.traits) == {"v": sent}


def test_the_first_keys_whose_values_were_changed_are_in_the_log(sqlite, deliver, caplog):
    sqlite.table("teams", "team_id TEXT, mrr, score REAL", [(f"t{at}", 1, 1.5) for at in range(1, 8)])
    sqlite.run("UPDATE teams SET score = 9e999 WHERE team_id <> 't4'")
    sqlite.run("UPDATE teams SET mrr = 'n/a' WHERE team_id = 't4'")
    deliver(sqlite, COMPANIES.format("SELECT * FROM teams") + "    types: warn\n")
    assert [message for message in caplog.messages if message.startswith("companies.traits: ")] == [
        "companies.traits: mrr of another type than Halo documents sent as it is; the first: companies t4",
        "companies.traits: NaN or infinity sent as null; the first: companies t1, t2, t3, t5, t6",
    ]


def selecting(names) -> str:
    columns = ", ".join(f'{at} AS "{name.replace(chr(34), chr(34) * 2)}"' for at, name in enumerate(names))
    return COMPANIES.format(json.dumps(f"SELECT 1 AS team_id, {columns}", ensure_ascii=False))


@pytest.mark.parametrize(
    "names",
    [
        ["", " ", "\t"],
        ["a.b", "a'b", 'a"b', "a`b", "a;b", "a:b", "a%b", "a%sb", "{a}", "a:1"],
        ["__proto__", "constructor", "toString", "$where", "\u200b", "\U0001f600"],
    ],
    ids=ascii,
)
def test_odd_names_of_columns_are_names_of_traits(sqlite, deliver, sandbox, names):
    assert deliver(sqlite, selecting(names)).companies == Counts(stored=1)
    assert sandbox.store.company("1")["traits"] == {name: at for at, name in enumerate(names)}


@pytest.mark.parametrize("names", [["Name", "name", "NAME"], ["x", "Team_ID", "TEAM_ID"], ["a", "A"]], ids=ascii)
def test_names_of_columns_that_differ_in_case_alone_are_told_and_not_numbered(sqlite, deliver, names):
    """SQLite would have them as `name:1`, which would then be a trait's name."""
    with pytest.raises(PlanError, match="columns named"):
        deliver(sqlite, selecting(names))


def test_more_columns_than_halo_takes_are_a_rejection(sqlite, deliver):
    columns = ", ".join(f"'{'x' * 30}' AS c{number}" for number in range(1_900))
    report = deliver(sqlite, COMPANIES.format(f"SELECT 1 AS team_id, {columns}"))
    assert report.companies == Counts(rejected=1)


def test_more_columns_than_a_database_has_are_its_error_in_one_sentence(sqlite, deliver):
    columns = ", ".join(f"{number} AS c{number}" for number in range(10_000))
    with pytest.raises(SourceError) as refused:
        deliver(sqlite, COMPANIES.format(f"SELECT 1 AS team_id, {columns}"))
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("batch_size", [1, 2, 300, 5_000])
@pytest.mark.parametrize("broken", [1, 2, 260, 600])
def test_a_text_that_is_no_utf8_costs_its_record(sqlite, deliver, sandbox, broken, batch_size):
    rows = 10 if batch_size < 300 else 600
    if broken > rows:
        pytest.skip("more records than so small batches are tried with")
    sqlite.table("teams", "team_id INT, name TEXT", [(at, f"Team {at}") for at in range(1, rows + 1)])
    sqlite.run(f"UPDATE teams SET name = CAST(x'ff80' AS TEXT) WHERE team_id IN ({broken}, {rows - 3})")
    report = deliver(sqlite, batch_size=batch_size)
    assert report.companies == Counts(stored=rows - 2, rejected=2)
    assert sorted(int(problem.key) for problem in report.rejects) == sorted([broken, rows - 3])
    assert {problem.reason for problem in report.rejects} == {"holds text that is no Unicode (a lone surrogate)"}
    assert len(sandbox.store.find("companies")) == rows - 2


@pytest.mark.parametrize("batch_size", [1, 2, 5_000])
@pytest.mark.parametrize("broken", [1, 2, 5])
def test_a_key_that_is_no_utf8_costs_its_record(sqlite, deliver, sandbox, broken, batch_size):
    sqlite.table("teams", "team_id TEXT, name TEXT", [(f"t{at}", "x") for at in range(1, 6)])
    sqlite.run(f"UPDATE teams SET team_id = CAST(x'74ff' AS TEXT) WHERE team_id = 't{broken}'")
    report = deliver(sqlite, batch_size=batch_size)
    assert report.companies == Counts(stored=4, rejected=1)
    assert [problem.key for problem in report.rejects] == [r"'t\udcff'"]
    assert sandbox.store.find("companies") == [f"t{at}" for at in range(1, 6) if at != broken]


@on_postgresql
@pytest.mark.parametrize(
    ("options", "rejected"),
    [("name: label", 2), ("rows: many", 2), ("rows: many\n      order_by: [label]\n      limit: 1", 2)],
    ids=["map", "list", "ordered list"],
)
def test_half_a_unicode_pair_anywhere_in_json_costs_its_record(any_driver, deliver, options, rejected):
    any_driver.table("teams", "team_id INT, name TEXT", [(1, "a"), (2, "b"), (3, "c")])
    any_driver.table("things", "team_id INT, label JSON, v INT")
    any_driver.run("""INSERT INTO things VALUES (1, '{"x": "\\ud800"}', 1), (2, '"\\ud800"', 2), (3, '"fine"', 3)""")
    report = deliver(any_driver, COMPANIES.format("SELECT * FROM teams") + THINGS.format(options))
    assert report.companies == Counts(stored=3 - rejected, rejected=rejected)
    assert {problem.reason for problem in report.rejects} == {"holds text that is no Unicode (a lone surrogate)"}


@on_postgresql
@pytest.mark.parametrize(
    ("json_text", "sent"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1e999", None),
        ("-0.0", -0.0),
        ("[" * 60 + "]" * 60, ...),
        ("[" * 70 + "]" * 70, "is nested deeper than 64 levels"),
        ("[" * 3_000 + "]" * 3_000, "is nested deeper than 64 levels"),
        ('{"k":' * 3_000 + "1" + "}" * 3_000, "is nested deeper than 64 levels"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_json_column_is_stored_rejected_or_named(any_driver, deliver, sandbox, json_text, sent):
    any_driver.table("teams", "team_id INT, doc JSON", [(1, None)])
    any_driver.run(f"INSERT INTO teams VALUES (2, '{json_text}')")
    report = deliver(any_driver)
    if isinstance(sent, str):
        assert report.rejects == [Problem("companies", "2", "traits.doc", sent)]
        return
    assert report.companies == Counts(stored=2)
    if sent is not ...:
        assert sandbox.store.company("2")["traits"] == {"doc": sent}
