"""Values given by hand, to the hook and the operators, for the traits whose types Halo documents."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from airflow_provider_halo.hooks.records import payload_from
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem

BOOLEAN, NUMBER, TEXT = "true or false", "a number", "a text"
NO_NUMBER = "holds a text that is no number, where Halo takes one"
NO_DATE = "holds a text that is no date or time (ISO 8601)"
EPOCH = "holds a number where a date or time is due; in a plan, `epochs:` says what it counts"


def made(traits, scope="company"):
    warnings: Counter[str] = Counter()
    payload = payload_from({f"{scope}_id": "1", "traits": traits}, warnings)
    return (json.loads(payload.traits) if isinstance(payload, Payload) else payload), warnings


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("on_contract", 1, True),
        ("on_contract", 0.0, False),
        ("on_contract", Decimal(1), True),
        ("on_contract", "t", True),
        ("on_contract", " NO ", False),
        ("on_contract", "", None),
        ("mrr", "1234.50", 1234.5),
        ("arr", " 17 ", 17),
        ("monthly_spend", "-1e3", -1000),
        ("employee_count", Decimal("12.00"), 12),
        ("employee_count", "", None),
        ("name", 17, "17"),
        ("name", Decimal("1.50"), "1.5"),
        ("plan", UUID(int=17), "00000000-0000-0000-0000-000000000011"),
        ("industry", None, None),
        ("signed_up_at", date(2025, 3, 1), "2025-03-01"),
        ("renewal_date", "2025-03-01 10:00", "2025-03-01T10:00:00+00:00"),
        ("contract_term", "annual", "annual"),
        ("role", True, True),  # of companies no trait of Halo's, so it may be anything
    ],
)
def test_what_fits_the_type_of_a_documented_trait_is_converted(name, given, sent):
    result, warnings = made({name: given})
    assert (result, type(result[name]), warnings) == ({name: sent}, type(sent), {})


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("on_contract", 2, f"holds a number where Halo takes {BOOLEAN}"),
        ("on_contract", "signed", f"holds a text where Halo takes {BOOLEAN}"),
        ("on_contract", [True], f"holds a list where Halo takes {BOOLEAN}"),
        ("mrr", "1,234.50", NO_NUMBER),
        ("mrr", "$12", NO_NUMBER),
        ("arr", "n/a", NO_NUMBER),
        ("employee_count", True, f"holds true or false where Halo takes {NUMBER}"),
        ("monthly_spend", {"eur": 1}, f"holds an object where Halo takes {NUMBER}"),
        ("mrr", "1e999", "holds a number beyond the range of a double"),
        ("name", False, f"holds true or false where Halo takes {TEXT}"),
        ("domain", ["a.example"], f"holds a list where Halo takes {TEXT}"),
        ("signed_up_at", "now", NO_DATE),
        ("renewal_date", "2024-W05", NO_DATE),
        ("signed_up_at", 1_700_000_000, EPOCH),
        ("renewal_date", True, "holds no date or time"),
        ("payment_terms", 30, "is none of monthly, quarterly, annual, bi_annual"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(name, given, reason):
    assert made({name: given})[0] == Problem("companies", "1", f"traits.{name}", reason)


def test_the_types_are_those_of_the_scope():
    assert made({"role": 1, "employee_count": "many"}, scope="user")[0] == {"role": "1", "employee_count": "many"}
