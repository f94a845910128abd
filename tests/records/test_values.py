"""What a database value becomes in JSON."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import to_boolean, to_json_value, to_key, to_moment

NO_DATE = "date or time that no calendar has (infinity, BC, zero) sent as null"
BERLIN_SUMMER = timezone(timedelta(hours=2))
ID = UUID("0b9b7c0e-6a55-4c1e-9a0a-2f6f6c2b8a11")


@pytest.mark.parametrize(
    ("value", "expected", "warnings"),
    [
        ("O'Brien", "O'Brien", {}),
        ("a\0b", "ab", {"NUL characters removed": 1}),
        (True, True, {}),
        (2**53 + 1, 2**53 + 1, {}),
        (0.1, 0.1, {}),
        (math.nan, None, {"NaN or infinity sent as null": 1}),
        (-math.inf, None, {"NaN or infinity sent as null": 1}),
        (Decimal("12"), 12, {}),
        (Decimal("12.000"), 12, {}),
        (Decimal("1E+3"), 1000, {}),
        (Decimal("99999999999999999999"), 99999999999999999999, {}),
        (Decimal("12.50"), 12.5, {}),
        (Decimal("0.12345678901234567890"), 0.12345678901234568, {"decimal rounded to a double": 1}),
        (Decimal("NaN"), None, {"NaN or infinity sent as null": 1}),
        (date(2025, 3, 1), "2025-03-01", {}),
        (datetime(2025, 3, 1, 10, 0), "2025-03-01T10:00:00+00:00", {}),  # noqa: DTZ001 (naive is the case)
        (datetime(2025, 7, 1, 10, 0, 0, 5, tzinfo=BERLIN_SUMMER), "2025-07-01T08:00:00.000005+00:00", {}),
        (time(9, 30), "09:30:00", {}),
        (timedelta(minutes=1, milliseconds=500), "PT1M0.5S", {}),
        (timedelta(days=1, hours=2, minutes=3), "P1DT2H3M", {}),
        (timedelta(hours=-25), "P-1DT-1H", {}),
        (timedelta(), "PT0S", {}),
        (datetime(1, 1, 1, tzinfo=BERLIN_SUMMER), None, {NO_DATE: 1}),
        (ip_address("10.0.0.1"), "10.0.0.1", {}),
        (ip_interface("10.0.0.1/24"), "10.0.0.1/24", {}),
        (ip_network("2001:db8::/32"), "2001:db8::/32", {}),
        (ID, str(ID), {}),
        ({"a": [Decimal("1.5"), {"b": date(2025, 3, 1)}], 2: None}, {"a": [1.5, {"b": "2025-03-01"}], "2": None}, {}),
        ((1, "x"), [1, "x"], {}),
        (frozenset({"b", "a"}), ["a", "b"], {}),
    ],
)
def test_a_value_means_in_json_what_it_means_in_the_database(value, expected, warnings):
    seen: Counter[str] = Counter()
    result = to_json_value(value, seen)
    assert (result, type(result), dict(seen)) == (expected, type(expected), warnings)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"x", "holds bytes, which have no form in JSON; cast the column to text in the SQL"),
        (memoryview(b"x"), "holds bytes, which have no form in JSON; cast the column to text in the SQL"),
        (object(), "holds a object, which has no form in JSON; cast the column in the SQL"),
        (Decimal("1E+400"), "holds a number beyond the range of a double"),
    ],
)
def test_a_value_without_a_form_in_json_is_refused_with_the_reason(value, reason):
    with pytest.raises(InvalidValue) as refused:
        to_json_value(value, Counter())
    assert refused.value.reason == reason


def test_a_value_nested_without_end_is_refused_before_the_stack_ends():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidValue, match="is nested deeper than 64 levels"):
        to_json_value(value, Counter())


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.decimals()
        | st.text()
        | st.datetimes()
        | st.dates()
        | st.uuids()
        | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_is_either_refused_or_can_be_encoded_and_comes_out_the_same_a_second_time(value):
    try:
        plain = to_json_value(value, Counter())
        encoded = to_json(plain)
    except (InvalidValue, UnicodeEncodeError):
        return
    assert to_json(to_json_value(plain, Counter())) == encoded


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (17, "17"),
        (-3, "-3"),
        ("Acme", "Acme"),
        (" x ", " x "),
        (Decimal("17.0"), "17"),
        (ID, str(ID)),
        ("Zoë/ü", "Zoë/ü"),
        (7.0, "7"),
        ("007", "007"),
        ("a\nb", "a\nb"),
        ("a\u200d\xa0b", "a\u200d\xa0b"),
        ("\u200d", "\u200d"),
        ("x" * 300, "x" * 300),
    ],
)
def test_a_key_becomes_the_text_that_halo_knows_the_record_by(value, key):
    assert to_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "\n\xa0",
        "a\0",
        "\ud800",
        True,
        1.5,
        2.0**60,
        float("nan"),
        float("inf"),
        Decimal("1.5"),
        Decimal("NaN"),
        b"x",
        None,
    ],
)
def test_what_can_not_be_a_key_is_refused(value):
    with pytest.raises(InvalidValue):
        to_key(value)


@pytest.mark.parametrize(
    ("value", "expected", "warned"),
    [
        (0, False, 0),
        (1, True, 0),
        (Decimal(1), True, 0),
        (True, True, 0),
        (None, None, 0),
        (2, 2, 1),
        (-1.5, -1.5, 1),
        ("yes", "yes", 0),
    ],
)
def test_zero_and_one_become_booleans_and_other_numbers_stay_with_a_warning(value, expected, warned):
    seen: Counter[str] = Counter()
    result = to_boolean(value, seen)
    assert (result, type(result), seen.total() if hasattr(seen, "total") else sum(seen.values())) == (
        expected,
        type(expected),
        warned,
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-01", "2025-03-01"),
        ("2025-03-01 10:00:00", "2025-03-01T10:00:00+00:00"),
        ("2025-03-01T10:00:00.5+02:00", "2025-03-01T08:00:00.500000+00:00"),
        ("2025-03-01T10:00:00Z", "2025-03-01T10:00:00+00:00"),
        ("2025-03-01T10:00:00,123456789-0330", "2025-03-01T13:30:00.123456+00:00"),
        ("2025-03-01 10:00z", "2025-03-01T10:00:00+00:00"),
        ("2025-03-01T10", "2025-03-01T10:00:00+00:00"),
        ("20250301", "2025-03-01"),
        ("20250301T100000Z", "2025-03-01T10:00:00+00:00"),
        ("1883-11-18 12:00:00-07:52:58", "1883-11-18T19:52:58+00:00"),
        ("0001-01-01T00:00:00+02:00", None),
        ("  ", None),
    ],
)
def test_a_text_that_holds_a_moment_gets_an_offset_and_a_date_stays_a_date(text, moment):
    assert to_moment(text, Counter()) == moment


@pytest.mark.parametrize(
    "text",
    ["now", "today", "2024-W05", "2024-W05-1T10:00", "2024-060", "2024-01", "2024", "2025/01/02", "1/2/2025", "12:30",
     "1700000000", "2024-02-30", "2024-01-01T24:00:00", "2024-01-01T10:00:60", "2024-01-01T10:00+25:00", "0000-00-00"],
)  # fmt: skip
def test_what_is_no_whole_date_is_refused(text):
    with pytest.raises(InvalidValue, match=r"holds a text that is no date or time \(ISO 8601\)"):
        to_moment(text, Counter())


@pytest.mark.parametrize(
    ("value", "unit", "moment"),
    [
        (1_700_000_000, "seconds", "2023-11-14T22:13:20+00:00"),
        (1_700_000_000.5, "seconds", "2023-11-14T22:13:20.500000+00:00"),
        (Decimal("1700000000"), "seconds", "2023-11-14T22:13:20+00:00"),
        ("1700000000", "seconds", "2023-11-14T22:13:20+00:00"),
        (1_700_000_000_123, "milliseconds", "2023-11-14T22:13:20.123000+00:00"),
        (-1, "milliseconds", "1969-12-31T23:59:59.999000+00:00"),
        (1_700_000_000_123_456, "microseconds", "2023-11-14T22:13:20.123456+00:00"),
        ("2025-03-01", "seconds", "2025-03-01"),
        (datetime(2025, 3, 1, 10), "seconds", "2025-03-01T10:00:00+00:00"),  # noqa: DTZ001 (naive is the case)
        (10**17, "seconds", None),
        (math.nan, "seconds", None),
    ],
)
def test_a_number_is_the_moment_that_the_plan_says_it_counts(value, unit, moment):
    assert to_moment(value, Counter(), unit) == moment


@pytest.mark.parametrize("value", [1_700_000_000, 1.5, Decimal(3), True, ["2025-03-01"], {}, time(9, 30)])
def test_what_is_no_date_is_refused_where_one_is_due(value):
    with pytest.raises(InvalidValue):
        to_moment(value, Counter())


@given(st.text())
def test_any_text_in_a_timestamp_column_is_read_or_refused(text):
    refusal = None
    try:
        moment = to_moment(text, Counter())
    except InvalidValue as refused:
        moment, refusal = None, refused.reason
    assert refusal in {None, "holds a text that is no date or time (ISO 8601)"}
    assert moment is None or isinstance(moment, str)
