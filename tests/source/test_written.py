"""Amounts and lists, as locales and databases write them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.source.written import NoList, amount, fraction_digits, list_of


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
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=nested)
def test_any_list_that_postgresql_writes_is_read(database, items):
    with database.engine.connect() as connection:
        written = connection.execute(
            sa.text("SELECT CAST(CAST(:items AS text[]) AS text)"), {"items": items}
        ).scalar_one()
    assert list_of(written, str) == items
