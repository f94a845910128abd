"""Rows that mean harm: stored as what they mean, or rejected one by one, with nothing of the value in the reason."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from product import stopped_by

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError, SourceError
from airflow_provider_halo.records.payload import Company, payload_of
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.records.values import to_json_value

MB = 2**20
POSTGRESQL = [pytest.param(driver, marks=pytest.mark.databases) for driver in ("psycopg", "psycopg2")]
# The one database whose driver gives JSON as values, and moments that Python's calendar lacks.
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
        (timedelta.max, 86400000000000.0),  # the nearest double
        ({"a" * 1_000: {"b": [None] * 1_000}}, {"a" * 1_000: {"b": [None] * 1_000}}),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_at_an_edge_is_sent_as_what_it_is_or_as_null(value, sent):
    payload = payload_of(Company(company_id="c", traits={"v": to_json_value(value, Counter())}))
    assert json.loads(payload.traits) == {"v": sent}


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


def test_a_text_that_is_no_utf8_is_the_database_s_error_in_one_sentence(sqlite, deliver):
    sqlite.table("teams", "team_id INT, name TEXT")
    sqlite.run("INSERT INTO teams VALUES (1, CAST(x'ff80' AS TEXT))")
    with stopped_by(SourceError, match="decode to UTF-8"):
        deliver(sqlite)


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
        ("[" * 3_000 + "]" * 3_000, SourceError),
        ('{"k":' * 3_000 + "1" + "}" * 3_000, SourceError),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_json_column_is_stored_rejected_or_named(any_driver, deliver, sandbox, json_text, sent):
    any_driver.table("teams", "team_id INT, doc JSON", [(1, None)])
    any_driver.run(f"INSERT INTO teams VALUES (2, '{json_text}')")
    if sent is SourceError:  # beyond what Python's own parser takes: the driver can't give the row, so the run stops
        with stopped_by(SourceError, match="the driver raised a RecursionError"):
            deliver(any_driver)
        return
    report = deliver(any_driver)
    if isinstance(sent, str):
        assert report.rejects == [Problem("companies", "2", "traits.doc", sent)]
        return
    assert report.companies == Counts(stored=2)
    if sent is not ...:
        assert sandbox.store.company("2")["traits"] == {"doc": sent}


@pytest.mark.parametrize("each_driver", POSTGRESQL[:1], indirect=True)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, value) for kind in ("timestamptz", "date") for value in ("infinity", "4713-01-01 BC")),
        ("timestamptz", "9999-12-31 23:59:59-14"),
        ("timestamptz", "294276-01-01"),
        ("time with time zone", "24:00:00+14"),
    ],
)
def test_a_moment_that_the_driver_can_t_read_stops_the_run_with_the_query_s_name(any_driver, deliver, kind, value):
    any_driver.table("teams", f"team_id INT, at {kind}")
    any_driver.run(f"INSERT INTO teams VALUES (1, '{value}')")
    with stopped_by(SourceError, match=r"companies.traits .* failed on connection 'app': ") as stopped:
        deliver(any_driver)
    assert value not in str(stopped.value)


@pytest.mark.parametrize("each_driver", POSTGRESQL[1:], indirect=True)
def test_psycopg2_reads_infinity_as_the_last_day_that_python_knows(any_driver, deliver, sandbox):
    """As its documentation says; what is stored is that day, for the value that would tell it isn't in our hands."""
    any_driver.table("teams", "team_id INT, day DATE")
    any_driver.run("INSERT INTO teams VALUES (1, 'infinity'), (2, '-infinity')")
    assert deliver(any_driver).companies == Counts(stored=2)
    assert [sandbox.store.company(key)["traits"]["day"] for key in ("1", "2")] == ["9999-12-31", "0001-01-01"]
