"""Amounts and lists, as locales and databases write them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.records.values import to_json_value
from airflow_provider_halo.source.database import read_only
from airflow_provider_halo.source.written import NoList, amount, fraction_digits, list_of, moment


@pytest.mark.parametrize(
    ("specimen", "written", "number"),
    [
        ("$12,345,678.91", "$1,234.50", 1234.5),
        ("$12,345,678.91", "-$1,234.00", -1234),
        ("$12,345,678.91", "($0.05)", -0.05),
        ("12.345.678,91 €", "1.234,50 €", 1234.5),
        ("12 345 678,91 €", "-1 234,50 €", -1234.5),
        ("￥12,345,679", "￥1,234", 1234),
        ("د.ك 12,345,678.910", "د.ك 1,234.500", 1234.5),
    ],
)
def test_an_amount_is_a_number_however_its_locale_writes_it(specimen, written, number):
    result = amount(written, fraction_digits(specimen, "12345678"))
    assert (result, type(result)) == (number, type(number))


@pytest.mark.parametrize("text", ["", "a", "{", "}", "{a", "{a}}", "{a}{b}", "[0:1]", '{"a}', "{}x"])
def test_what_is_no_list_is_told(text):
    with pytest.raises(NoList):
        list_of(text, str)


nested = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1)


@pytest.mark.databases
@pytest.mark.parametrize("each_database", ["psycopg"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=nested)
def test_any_list_that_postgresql_writes_is_read(database, items):
    with database.engine.connect() as connection:
        written = connection.execute(
            sa.text("SELECT CAST(CAST(:items AS text[]) AS text)"), {"items": items}
        ).scalar_one()
    assert list_of(written, str) == items


zones = st.none() | st.integers(-15 * 60 + 1, 15 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.databases
@pytest.mark.parametrize("each_database", ["psycopg", "pymysql"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.lists(st.datetimes(), min_size=1, max_size=20), zone=zones)
def test_any_moment_that_a_database_writes_is_the_one_that_python_would_make_of_it(database, moments, zone):
    postgresql = database.engine.dialect.name == "postgresql"
    if not postgresql:
        zone, moments = None, [max(point, datetime(1000, 1, 1)) for point in moments]  # noqa: DTZ001 (naive is the case)
    given = [point.replace(tzinfo=zone) for point in moments]
    kind = "DATETIME(6)" if not postgresql else "timestamp" if zone is None else "timestamptz"
    columns = ", ".join(
        f"CAST(CAST('{point.isoformat(' ')}' AS {kind}) AS {'text' if postgresql else 'CHAR'})" for point in given
    )
    with read_only(database.engine) as connection:
        (written,) = connection.exec_driver_sql(f"SELECT {columns}")
    expected = [to_json_value(point, Counter()) for point in given]
    assert [to_json_value(moment(text), Counter()) for text in written] == expected
