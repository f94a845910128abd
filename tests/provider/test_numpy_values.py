"""Values of numpy and pandas, given by hand to the hook and the operators. Neither is a dependency: skipped without them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from airflow_provider_halo.hooks.records import payload_from
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


def made(traits):
    warnings: Counter[str] = Counter()
    payload = payload_from({"company_id": "1", "traits": traits}, warnings)
    return (json.loads(payload.traits) if isinstance(payload, Payload) else payload), warnings


numpy = pytest.importorskip("numpy", reason="numpy isn't installed: it is no dependency")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (numpy.int64(2**53 + 1), 2**53 + 1),
        (numpy.uint8(7), 7),
        (numpy.float64(0.1), 0.1),
        (numpy.float32(0.1), 0.1),
        (numpy.float16(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.str_("x"), "x"),
        (numpy.datetime64("2025-03-01"), "2025-03-01"),
        (numpy.datetime64("2025-03-01T10:00:00.5"), "2025-03-01T10:00:00.500000+00:00"),
        (numpy.datetime64("2025-03-01T10:00:00.123456789"), "2025-03-01T10:00:00.123456+00:00"),
        (numpy.datetime64("NaT"), None),
        (numpy.datetime64("NaT", "ns"), None),
        (numpy.timedelta64(90, "s"), "PT1M30S"),
        (numpy.timedelta64(90, "ns"), "PT0S"),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (numpy.array(["2025-03-01"], dtype="datetime64[ns]"), ["2025-03-01T00:00:00+00:00"]),
        (numpy.array(5), 5),
        ({"a": [numpy.int32(1), numpy.array([True])]}, {"a": [1, [True]]}),
    ],
    ids=repr,
)
def test_a_value_of_numpy_is_what_it_is_in_python(given, sent):
    result, warnings = made({"v": given})
    assert (result, warnings) == ({"v": sent}, {})
    assert type(result["v"]) is type(sent)


def test_numpy_s_nan_is_null_and_told_and_what_json_lacks_is_refused():
    assert made({"v": numpy.float32("nan")}) == ({"v": None}, {"NaN or infinity sent as null": 1})
    assert (
        made({"v": numpy.complex64(1)})[0].reason
        == "holds a complex, which has no form in JSON; cast the column in the SQL"
    )
    assert made({"v": numpy.bytes_(b"x")})[0].field == "traits.v"


def test_keys_and_documented_traits_may_be_numpy_s():
    made = payload_from(
        {
            "user_id": numpy.int64(7),
            "company_id": numpy.int64(1),
            "traits": {"on_contract": numpy.bool_(False), "mrr": numpy.int64(5), "name": numpy.int64(3)},
        },
        Counter(),
    )
    assert made == Payload("users", "7", b'{"mrr":5,"name":"3","on_contract":false}', b"", "1")


pandas = pytest.importorskip("pandas", reason="pandas isn't installed: it is no dependency")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (pandas.NaT, None),
        (pandas.NA, None),
        (pandas.Timestamp("2025-03-01 10:00:00.123456789"), "2025-03-01T10:00:00.123456+00:00"),
        (pandas.Timestamp("2025-03-01 10:00", tz="Europe/Berlin"), "2025-03-01T09:00:00+00:00"),
        (pandas.Timedelta("1 day 2 hours"), "P1DT2H"),
    ],
    ids=repr,
)
def test_a_value_of_pandas_is_what_it_is_in_python(given, sent):
    assert made({"v": given, "signed_up_at": None}) == ({"v": sent, "signed_up_at": None}, {})


def test_a_date_of_pandas_is_one_where_one_is_due():
    given = {"signed_up_at": pandas.Timestamp("2025-03-01 10:00"), "renewal_date": pandas.NaT}
    assert made(given)[0] == {"signed_up_at": "2025-03-01T10:00:00+00:00", "renewal_date": None}


def test_a_key_that_pandas_lacks_is_missing():
    reason = "is missing: a record is named by user_id or company_id"
    assert payload_from({"user_id": pandas.NA, "traits": {}}, Counter()) == Problem("users", "", "user_id", reason)


def test_the_records_of_a_frame_are_sent_as_they_are():
    frame = pandas.DataFrame(
        {
            "user_id": [1, 2],
            "seats": pandas.array([3, None], dtype="Int64"),
            "signed_up_at": pandas.to_datetime(["2025-03-01", None]),
            "active": [True, False],
        }
    )
    records = [{"user_id": row.pop("user_id"), "traits": row} for row in frame.to_dict("records")]
    assert [payload_from(record, Counter()).traits for record in records] == [
        b'{"active":true,"seats":3,"signed_up_at":"2025-03-01T00:00:00+00:00"}',
        b'{"active":false,"seats":null,"signed_up_at":null}',
    ]


def test_a_frame_in_a_trait_is_refused():
    assert made({"v": pandas.DataFrame()})[0].reason == "holds a DataFrame, which has no form in JSON"
