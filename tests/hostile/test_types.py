"""Each type of a database, by each of its drivers: what Halo holds is what the value means, and what is lost is told."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.records.problem import Problem

COMPANIES = "companies:\n  key: team_id\n  traits:\n    sql: {}\n"
NO_DATE = "date or time that no calendar has (infinity, BC, zero) sent as null"


def drivers(*names):
    params = [pytest.param(name, marks=pytest.mark.databases) for name in names]
    return pytest.mark.parametrize("each_driver", params, indirect=True)


on_postgresql = drivers("psycopg", "psycopg2")
on_mysql = drivers("pymysql", "mysqlclient")


def select(expressions):
    """A query of one company whose traits are these expressions, named a, b, …"""
    columns = ", ".join(f"{expression} AS v{at}" for at, expression in enumerate(expressions))
    return COMPANIES.format(json.dumps(f"SELECT 1 AS team_id, {columns}"))


def held(sandbox, expressions):
    traits = sandbox.store.company("1")["traits"]
    return {expression: traits[f"v{at}"] for at, expression in enumerate(expressions)}


POSTGRESQL = {
    "date '2025-03-01'": "2025-03-01",
    "timestamp '2025-03-01 10:00'": "2025-03-01T10:00:00+00:00",
    "timestamp '2025-03-01 10:00:00.5'": "2025-03-01T10:00:00.500000+00:00",
    "timestamptz '2025-03-01 10:00+05:30'": "2025-03-01T04:30:00+00:00",
    "timestamptz '2025-10-26 00:30+00'": "2025-10-26T00:30:00+00:00",
    "timestamptz '2025-10-26 01:30+00'": "2025-10-26T01:30:00+00:00",
    "timestamptz '2025-03-01 23:30-05'::date": "2025-03-02",
    "time '09:30'": "09:30:00",
    "time '09:30:00.25'": "09:30:00.250000",
    "time '24:00'": "24:00:00",
    "timetz '09:30+02'": "09:30:00+02:00",
    "timetz '24:00:00+14'": "24:00:00+14:00",
    "interval '1 month 2 days 03:04:05.5'": "P1M2DT3H4M5.5S",
    "interval '-25 hours'": "PT-25H",
    "interval '0'": "PT0S",
    "money '1234.5'": 1234.5,
    "money '-1234567'": -1234567,
    "inet '10.0.0.1'": "10.0.0.1",
    "inet '10.0.0.1/24'": "10.0.0.1/24",
    "cidr '10.0.0.0/8'": "10.0.0.0/8",
    "int4range(1, 5)": "[1,5)",
    "daterange('2025-01-01', null)": "[2025-01-01,)",
    "int4multirange(int4range(1, 5))": "{[1,5)}",
    "point(1, 2)": "(1,2)",
    "'a b'::tsvector": "'a' 'b'",
    "'<a/>'::xml": "<a/>",
    '\'"a"=>"1"\'::hstore': {"a": "1"},
    "B'101'": "101",
    "'{\"a\": [1.5, null]}'::jsonb": {"a": [1.5, None]},
    "row(1, 'a')": "(1,a)",
    "numeric '12.50'": 12.5,
    "true": True,
    "'open'::state": "open",
    "'Ab'::citext": "Ab",
    "'x@y'::email": "x@y",
    "'{open,closed}'::state[]": ["open", "closed"],
    '\'{Ab,"c,d",NULL,"e\\"f"}\'::citext[]': ["Ab", "c,d", None, 'e"f'],
    "'{x@y}'::email[]": ["x@y"],
    "'{1,2}'::positive[]": [1, 2],
    "'{{open},{closed}}'::state[]": [["open"], ["closed"]],
    "'[0:1]={open,closed}'::state[]": ["open", "closed"],
    "'{}'::state[]": [],
    "array[1, null, 3]": [1, None, 3],
    "array['a', null]": ["a", None],
    "array[true]": [True],
    "array[1.5, 2]": [1.5, 2],
    "array[date '2025-03-01']": ["2025-03-01"],
    "array[timestamptz '2025-03-01 10:00+02', null]": ["2025-03-01T08:00:00+00:00", None],
    "array[interval '1 month']": ["P1M"],
    "array['{\"a\": 1}'::jsonb]": [{"a": 1}],
    "array['00000000-0000-0000-0000-000000000011'::uuid]": ["00000000-0000-0000-0000-000000000011"],
    "array[inet '10.0.0.1']": ["10.0.0.1"],
    "array[money '1.5']": [1.5],
    "array[int4range(1, 5)]": ["[1,5)"],
}


@on_postgresql
def test_what_a_value_of_postgresql_means(any_driver, deliver, sandbox):
    create_types(any_driver)
    report = deliver(any_driver, select(POSTGRESQL))
    assert (report.companies, dict(report.warnings)) == (Counts(stored=1), {})
    assert held(sandbox, POSTGRESQL) == POSTGRESQL


def create_types(database):
    database.run("CREATE EXTENSION IF NOT EXISTS citext")
    database.run("CREATE EXTENSION IF NOT EXISTS hstore")
    database.run("DROP TYPE IF EXISTS state; CREATE TYPE state AS ENUM ('open', 'closed')")
    database.run("DROP DOMAIN IF EXISTS email; CREATE DOMAIN email AS text")
    database.run("DROP DOMAIN IF EXISTS positive; CREATE DOMAIN positive AS int CHECK (value > 0)")
    database.engine.dispose()  # SQLAlchemy looks for hstore when it connects for the first time


@on_postgresql
def test_what_no_calendar_has_is_null_and_told_and_the_other_companies_are_stored(any_driver, deliver, sandbox, caplog):
    lost = {
        f"{kind} '{value}'": None
        for kind in ("date", "timestamp", "timestamptz")
        for value in ("infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "29427-01-01")
    } | {"timestamptz '9999-12-31 23:59:59-14'": None, "array[date 'infinity', '2025-03-01']": [None, "2025-03-01"]}
    report = deliver(any_driver, select(lost))
    assert (report.companies, dict(report.warnings)) == (Counts(stored=1), {NO_DATE: len(lost)})
    assert held(sandbox, lost) == lost
    assert f"companies.traits: {NO_DATE}; the first: companies 1" in caplog.messages


@on_postgresql
def test_a_number_in_json_that_python_doesn_t_read_costs_its_record(any_driver, deliver):
    any_driver.table("teams", "team_id INT, doc JSON", [(1, None)])
    any_driver.run(f"INSERT INTO teams VALUES (2, '{'1' * 5_000}')")
    report = deliver(any_driver)
    assert (report.companies, report.rejects) == (
        Counts(stored=1, rejected=1),
        [Problem("companies", "2", "traits.doc", "holds JSON that can't be read")],
    )


@on_postgresql
def test_a_role_s_own_time_zone_and_styles_change_nothing(any_driver, deliver, sandbox):
    name = any_driver.engine.url.database
    settings = {"timezone": "America/St_Johns", "datestyle": "German", "intervalstyle": "sql_standard"}
    for setting, value in settings.items():
        any_driver.run(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    any_driver.engine.dispose()
    expressions = {
        "timestamptz '2025-03-01 10:00+00'": "2025-03-01T10:00:00+00:00",
        "(timestamptz '2025-03-01 02:00+00')::timestamp": "2025-03-01T02:00:00+00:00",
        "(timestamptz '2025-03-01 02:00+00')::date": "2025-03-01",
        "interval '1 month -2 days'": "P1M-2D",
    }
    try:
        assert deliver(any_driver, select(expressions)).companies == Counts(stored=1)
        assert held(sandbox, expressions) == expressions
        with any_driver.engine.connect() as connection:  # given back as it was
            assert connection.exec_driver_sql("SHOW timezone").scalar_one() == settings["timezone"]
            day = connection.exec_driver_sql("SELECT date '2025-03-01'").scalar_one()
            assert not isinstance(day, str)
    finally:
        for setting in settings:
            any_driver.run(f"ALTER DATABASE {name} RESET {setting}")
        any_driver.engine.dispose()


MYSQL = {
    "one_bit BIT(1)": ("1", True),
    "no_bit BIT(1)": ("0", False),
    "bits BIT(8)": ("5", 5),
    "all_bits BIT(64)": ("18446744073709551615", 2**64 - 1),
    "flag BOOLEAN": ("1", 1),
    "is_flag BOOLEAN": ("1", True),
    "opens TIME": ("'09:30:00'", "09:30:00"),
    "opens_at TIME(3)": ("'09:30:00.5'", "09:30:00.500000"),
    "whole TIME(3)": ("'09:30:00'", "09:30:00"),
    "negative TIME": ("'-01:30:00'", "-01:30:00"),
    "longest TIME": ("'838:59:59'", "838:59:59"),
    "day DATE": ("'2025-03-01'", "2025-03-01"),
    "moment DATETIME(3)": ("'2025-03-01 10:00:00.5'", "2025-03-01T10:00:00.500000+00:00"),
    "stamp TIMESTAMP NULL": ("'2025-03-01 10:00:00'", "2025-03-01T10:00:00+00:00"),
    "y YEAR": ("2025", 2025),
    "e ENUM('a', 'b')": ("'b'", "b"),
    "s SET('x', 'y')": ("'x,y'", "x,y"),
    "doc JSON": ("'{\"a\": 1}'", '{"a": 1}'),
    "many BIGINT UNSIGNED": ("18446744073709551615", 2**64 - 1),
    "amount DECIMAL(9, 2)": ("12.50", 12.5),
    "id16 UUID": ("'00000000-0000-0000-0000-000000000011'", "00000000-0000-0000-0000-000000000011"),
    "address INET6": ("'::1'", "::1"),
}


@on_mysql
def test_what_a_value_of_mariadb_means(any_driver, deliver, sandbox):
    any_driver.table("teams", f"team_id INT, {', '.join(MYSQL)}")
    any_driver.run(f"INSERT INTO teams VALUES (1, {', '.join(written for written, _ in MYSQL.values())})")
    any_driver.run("INSERT INTO teams (team_id) VALUES (2)")
    report = deliver(any_driver)
    assert (report.companies, dict(report.warnings)) == (Counts(stored=2), {})
    meant = {column.split()[0]: value for column, (_, value) in MYSQL.items()}
    assert sandbox.store.company("1")["traits"] == meant
    assert sandbox.store.company("2")["traits"] == dict.fromkeys(meant)


@on_mysql
@pytest.mark.parametrize("kind", ["DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP NULL"])
def test_a_zero_date_is_null_and_told(any_driver, deliver, sandbox, kind):
    any_driver.table("teams", f"team_id INT, signed_up_at {kind}")
    zeros = ["'0000-00-00'"] if kind == "TIMESTAMP NULL" else ["'0000-00-00'", "'2024-00-12'", "'2024-02-00'"]
    rows = ", ".join(f"({at}, {zero})" for at, zero in enumerate(zeros, start=2))
    with any_driver.engine.begin() as connection:
        connection.exec_driver_sql("SET sql_mode = ''")
        connection.exec_driver_sql(f"INSERT INTO teams VALUES (1, NULL), {rows}")
        connection.exec_driver_sql("SET sql_mode = DEFAULT")
    report = deliver(any_driver)
    assert (report.companies, dict(report.warnings)) == (Counts(stored=1 + len(zeros)), {NO_DATE: len(zeros)})
    assert sandbox.store.company("2")["traits"] == {"signed_up_at": None}


@on_mysql
@pytest.mark.parametrize("batch_size", [1, 5_000])
def test_a_timestamp_is_in_utc_whatever_the_session_s_time_zone(any_driver, deliver, sandbox, batch_size):
    """Two moments of the night in which clocks are put back are one to a session in that time zone."""
    any_driver.table("teams", "team_id INT, signed_up_at TIMESTAMP NULL, joined TIMESTAMP NULL")
    moments = [1761438600, 1761442200]  # 2025-10-26, 02:30 in Berlin, twice
    any_driver.run(
        f"INSERT INTO teams VALUES (1, from_unixtime({moments[0]}), NULL), (2, from_unixtime({moments[1]}), NULL)"
    )
    any_driver.run("UPDATE teams SET joined = signed_up_at")
    zoned = sa.create_engine(any_driver.engine.url, connect_args={"init_command": "SET time_zone = '+02:00'"})
    any_driver.others["zoned"] = zoned
    try:
        report = deliver(
            any_driver, f"companies: {{key: team_id, traits: {{source: zoned, sql: {SELECT}}}}}", batch_size=batch_size
        )
        assert report.companies == Counts(stored=2)
        for key, moment in zip("12", moments, strict=True):
            text = datetime.fromtimestamp(moment, timezone.utc).isoformat()
            assert sandbox.store.company(key)["traits"] == {"signed_up_at": text, "joined": text}
        with zoned.connect() as connection:  # given back as it was
            assert connection.exec_driver_sql("SELECT @@time_zone").scalar_one() == "+02:00"
            assert isinstance(connection.exec_driver_sql("SELECT joined FROM teams").first()[0], datetime)
    finally:
        zoned.dispose()


SELECT = "SELECT * FROM teams"
