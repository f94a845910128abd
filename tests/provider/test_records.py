from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from airflow_provider_halo.hooks.records import payload_from
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


def test_a_user_s_values_become_what_they_mean():
    made = payload_from(
        {
            "user_id": 7,
            "company_id": 1,
            "traits": {
                "signed_up_at": datetime(2025, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
                "renewal_date": "2025-03-01",
                "score": Decimal("1.50"),
                "day": date(2025, 1, 2),
                "tags": ("a", "b"),
            },
            "context": {"usage": {"label": "Usage", "type": "metric", "value": {"forms": Decimal(3)}}},
        },
        Counter(),
    )
    assert made == Payload(
        "users",
        "7",
        b'{"day":"2025-01-02","renewal_date":"2025-03-01","score":1.5,"signed_up_at":"2025-03-01T10:00:00+00:00",'
        b'"tags":["a","b"]}',
        b'{"usage":{"label":"Usage","type":"metric","value":{"forms":3}}}',
        "1",
    )


def test_without_a_user_id_it_is_a_company():
    made = payload_from({"company_id": "c1", "traits": {"name": "Acme"}}, Counter())
    assert made == Payload("companies", "c1", b'{"name":"Acme"}', b"")


def test_what_was_mended_is_counted():
    warnings = Counter()
    payload_from({"user_id": "u", "traits": {"a": float("nan"), "b": "x\0y"}}, warnings)
    assert warnings == {"NaN or infinity sent as null": 1, "NUL characters removed": 1}


def test_connected_of_an_integration_is_a_boolean_and_told_where_it_is_none():
    value = {"a": {"connected": 1}, "b": {"connected": Decimal(0)}, "c": {"connected": "yes"}, "d": {}, "e": "on"}
    warnings = Counter()
    entry = {"label": "Integrations", "type": "integration", "value": value}
    made = payload_from({"company_id": "c1", "context": {"i": entry}}, warnings)
    assert made.context == (
        b'{"i":{"label":"Integrations","type":"integration","value":{"a":{"connected":true},"b":{"connected":false},'
        b'"c":{"connected":"yes"},"d":{},"e":"on"}}}'
    )
    assert warnings == {"integration whose `connected` is no boolean, and Halo documents none without": 2}
    assert value["a"] == {"connected": 1}  # what the caller has stays as it is


TYPES = "list, integration, error, status, config, feature, metric, relationship, custom"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("u1", ("companies", "", "", "is no object with user_id or company_id, traits and context")),
        ({}, ("companies", "", "company_id", "is missing: a record is named by user_id or company_id")),
        ({"user_id": ""}, ("users", "", "user_id", "the key is empty")),
        ({"user_id": True}, ("users", "", "user_id", "a boolean can't be a key")),
        (
            {"user_id": "u", "company_id": b"c"},
            ("users", "u", "company_id", "the key is bytes; cast it to text in the SQL"),
        ),
        ({"user_id": "u", "traits": ["name"]}, ("users", "u", "traits", "must be an object of names and values")),
        (
            {"user_id": "u", "traits": {"a": b"x"}},
            ("users", "u", "traits.a", "holds bytes, which have no form in JSON; cast the column to text in the SQL"),
        ),
        (
            {"user_id": "u", "traits": {"signed_up_at": "last summer"}},
            ("users", "u", "traits.signed_up_at", "holds a text that is no date or time (ISO 8601)"),
        ),
        (
            {"company_id": "c", "traits": {"health_score": 1}},
            ("companies", "c", "traits.health_score", "is a name that Halo reserves; give it another name"),
        ),
        ({"user_id": "u", "context": []}, ("users", "u", "context", "must be an object of keys and entries")),
        (
            {"user_id": "u", "context": {"k": 1}},
            ("users", "u", "context.k", "must be an object with label, value and perhaps type"),
        ),
        (
            {"user_id": "u", "context": {"k": {"value": 1}}},
            ("users", "u", "context.k", "needs a label: it heads the section in the AI's prompt"),
        ),
        ({"user_id": "u", "context": {"k": {"label": "L"}}}, ("users", "u", "context.k", "needs a value")),
        (
            {"user_id": "u", "context": {"k": {"label": "L", "value": 1, "type": "stats"}}},
            ("users", "u", "context.k", f"has a type that is none of {TYPES}"),
        ),
        (
            {"user_id": "u", "context": {"k": {"label": "L", "value": 1, "kind": "list"}}},
            ("users", "u", "context.k", "has unknown keys (kind); an entry has label, value and perhaps type"),
        ),
    ],
)
def test_what_can_t_be_sent_is_a_problem_that_names_the_field(data, problem):
    assert payload_from(data, Counter()) == Problem(*problem)
