"""Records as the bytes that leave."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_halo.records.payload import (
    Company,
    ContextEntry,
    Payload,
    User,
    identify_body,
    link_body,
    payload_of,
    users_update_body,
)
from airflow_provider_halo.records.problem import Problem


def test_a_user_is_encoded_once_with_sorted_keys_and_its_own_bytes_are_what_is_sent():
    user = User(
        user_id="u1",
        company_id="c1",
        traits={"name": "Zoë", "email": "zoe@example.com"},
        context={"onboarding": ContextEntry(label="Onboarding", type="status", value={"forms": 2})},
    )
    payload = payload_of(user)
    assert payload == Payload(
        "users",
        "u1",
        '{"email":"zoe@example.com","name":"Zoë"}'.encode(),
        b'{"onboarding":{"label":"Onboarding","type":"status","value":{"forms":2}}}',
        "c1",
    )
    assert json.loads(users_update_body([payload, payload], token="t", update_only=True)) == {
        "update_only": True,
        "user_token": "t",
        "users": [
            {
                "user_id": "u1",
                "traits": {"name": "Zoë", "email": "zoe@example.com"},
                "context": {"onboarding": {"label": "Onboarding", "type": "status", "value": {"forms": 2}}},
            }
        ]
        * 2,
    }


def test_a_body_leaves_out_what_a_record_has_not():
    assert json.loads(identify_body(payload_of(Company(company_id="c1", traits={"name": "A"})))) == {
        "company_id": "c1",
        "traits": {"name": "A"},
    }
    assert json.loads(identify_body(payload_of(User(user_id="u1")), token="t", session_id="s")) == {
        "user_id": "u1",
        "user_token": "t",
        "session_id": "s",
    }
    assert json.loads(link_body("u1", "c1", token="t")) == {"company_id": "c1", "user_id": "u1", "user_token": "t"}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (
            User(user_id="u", traits={"name": "x", "created_at": "2025"}),
            Problem("users", "u", "traits.created_at", "is a name that Halo reserves; give it another name"),
        ),
        (
            Company(company_id="c", traits={"team_size": 3}),
            Problem("companies", "c", "traits.team_size", "is a name that Halo reserves; give it another name"),
        ),
        (
            Company(company_id="c", traits={"contract_term": "yearly"}),
            Problem("companies", "c", "traits.contract_term", "is none of monthly, quarterly, annual, bi_annual"),
        ),
        (
            User(user_id="u", traits={"name": "x", "bio": "y" * 30_000}),
            Problem("users", "u", "traits.bio", "30,021 bytes of traits and context; Halo takes 20,000"),
        ),
        (
            Company(company_id="c", context={"log": ContextEntry(label="Log", value=["z" * 50_000])}),
            Problem("companies", "c", "context.log", "50,036 bytes of traits and context; Halo takes 50,000"),
        ),
        (
            Company(company_id="c", traits={"name": "n" * 9_000, "note": "ü" * 10_000}),
            Problem("companies", "c", "traits.note", "10,011 characters of custom fields; Halo takes 10,000"),
        ),
        (
            User(user_id="u", traits={"name": "\ud800"}),
            Problem("users", "u", "traits.name", "holds text that is no Unicode (a lone surrogate)"),
        ),
    ],
)
def test_a_record_that_halo_would_refuse_is_a_problem_that_names_the_field_and_not_the_value(record, problem):
    assert payload_of(record) == problem


def test_the_limits_are_what_the_bytes_say_to_the_last_one():
    frame = len('{"k":{"label":"L","value":""}}')
    fits = payload_of(User(user_id="u", context={"k": ContextEntry(label="L", value="é" * ((20_000 - frame) // 2))}))
    assert isinstance(fits, Payload)
    assert fits.size == 20_000
    over = User(user_id="u", context={"k": ContextEntry(label="LL", value="é" * ((20_000 - frame) // 2))})
    assert payload_of(over) == Problem(
        "users", "u", "context.k", "20,001 bytes of traits and context; Halo takes 20,000"
    )
    # Columns don't count as custom fields: 10,000 characters of them are exactly what fits.
    custom = {"note": "x" * (10_000 - len('{"note":""}'))}
    assert isinstance(payload_of(Company(company_id="c", traits={"name": "n" * 5_000, **custom})), Payload)
    assert isinstance(payload_of(Company(company_id="c", traits={"note": custom["note"] + "x"})), Problem)


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    )
)
def test_any_traits_are_a_payload_that_holds_just_them_or_a_problem(traits):
    made = payload_of(User(user_id="u", traits=traits))
    if isinstance(made, Problem):
        assert made.key == "u"
        str(made).encode()
    else:
        body = json.loads(identify_body(made))
        assert set(body.get("traits", {})) == set(traits)
