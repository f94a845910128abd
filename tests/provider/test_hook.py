from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SecretMissing, WidgetKeyRefused
from airflow_provider_halo.hooks import HaloHook
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.sandbox.faults import parse_fault


def test_users_of_any_number_are_stored_and_nobody_is_marked_as_active(halo):
    users = [{"user_id": number, "traits": {"score": Decimal(number)}} for number in range(2_500)]
    outcomes = HaloHook().update_users(users)
    assert {outcome.status for outcome in outcomes} == {"stored"}
    assert sum(outcome.count for outcome in outcomes) == 2_500
    stored = halo.store.user("2499")
    assert (stored["traits"], stored["last_seen"]) == ({"score": 2499}, None)
    assert halo.requests.describe()["by_path"] == {"users/update": {"200": 3}}


def test_a_bad_user_is_rejected_and_the_others_are_stored(halo):
    outcomes = HaloHook().update_users(
        [
            {"user_id": "u1", "traits": {"name": "Ada"}},
            {"user_id": "u2", "traits": {"created_at": "2025-01-01"}},
            {"user_id": "u3", "name": "Bob"},
            {"company_id": "c1"},
        ]
    )
    assert sum(outcome.count for outcome in outcomes if outcome.status == "stored") == 1
    assert [outcome.problem for outcome in outcomes if outcome.status == "rejected"] == [
        Problem("users", "u2", "traits.created_at", "is a name that Halo reserves; give it another name"),
        Problem(
            "users", "u3", "", "has unknown keys (name); give traits under `traits`, context entries under `context`"
        ),
        Problem("users", "", "user_id", "is missing"),
    ]
    assert halo.store.counts()["users"] == 1


def test_identify_user_marks_the_one_who_is_present(halo):
    outcome = HaloHook().identify_user(
        7, {"name": "Ada", "signed_up_at": datetime(2025, 3, 1, 12, tzinfo=timezone.utc)}, session_id="s1"
    )
    assert (outcome.scope, outcome.status) == ("users", "stored")
    stored = halo.store.user("7")
    assert stored["traits"] == {"name": "Ada", "signed_up_at": "2025-03-01T12:00:00+00:00"}
    assert stored["last_seen"] is not None


def test_identify_company_stores_traits_and_context(halo):
    entry = {"label": "Connected Integrations", "type": "integration", "value": {"hubspot": {"status": "error"}}}
    outcome = HaloHook().identify_company("c1", {"name": "Acme"}, {"integrations": entry})
    assert (outcome.scope, outcome.status) == ("companies", "stored")
    stored = halo.store.company("c1")
    assert (stored["traits"], stored["context"]) == ({"name": "Acme"}, {"integrations": entry})


def test_link_user_links(halo):
    hook = HaloHook()
    hook.update_users([{"user_id": "u1"}])
    assert hook.link_user("u1", "c1").status == "stored"
    assert halo.store.members("c1") == ["u1"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda hook: hook.identify_user("u1", {"last_seen": 1}),
            Problem("users", "u1", "traits.last_seen", "is a name that Halo reserves; give it another name"),
        ),
        (lambda hook: hook.identify_company("  ", {}), Problem("companies", "", "company_id", "the key is empty")),
        (lambda hook: hook.link_user("u1", None), Problem("links", "u1", "company_id", "is missing")),
        (lambda hook: hook.link_user(None, "c1"), Problem("links", "", "user_id", "the key is empty")),
        (lambda hook: hook.identify_user(None), Problem("users", "", "user_id", "the key is empty")),
    ],
)
def test_what_can_t_be_stored_is_an_outcome_with_its_problem(halo, call, problem):
    outcome = call(HaloHook())
    assert (outcome.status, outcome.problem) == ("rejected", problem)


def test_what_halo_refuses_is_an_outcome_too(halo):
    halo.faults.set([parse_fault("400:path=companies/identify")])
    outcome = HaloHook().identify_company("c1", {"name": "Acme"})
    assert (outcome.scope, outcome.status, outcome.problem.key) == ("companies", "rejected", "c1")


def test_the_methods_work_where_an_event_loop_runs_already(halo):
    async def in_a_loop():
        return HaloHook().identify_company("c1", {"name": "Acme"}).status

    assert asyncio.run(in_a_loop()) == "stored"


def test_the_client_is_there_for_asynchronous_code(halo):
    async def test():
        async with HaloHook().get_conn() as client:
            return await client.test()

    assert asyncio.run(test()) == snapshot((True, "The widget key and the identity secret both pass."))


def test_the_test_button_tells_a_wrong_key_from_a_wrong_secret_and_stores_nothing(halo, set_halo):
    assert HaloHook().test_connection() == snapshot((True, "The widget key and the identity secret both pass."))
    set_halo(password="ab_live_wrong")
    passed, text = HaloHook().test_connection()
    assert (passed, "widget key" in text) == (False, True)
    set_halo(extra={"identity_secret": "ha_secret_wrong_but_long_enough_for_hs256"})
    passed, text = HaloHook().test_connection()
    assert (passed, "identity secret" in text) == (False, True)
    set_halo(host="http://127.0.0.1:9")
    passed, text = HaloHook().test_connection()
    assert (passed, "can't be reached" in text) == (False, True)
    set_halo(extra={"timeout": "soon"})
    assert HaloHook().test_connection() == snapshot(
        (
            False,
            "Halo connection 'halo_default': timeout must be a number, or left empty.",
        )
    )
    assert (halo.store.counts()["users"], halo.store.counts()["companies"]) == (0, 0)


def test_a_wrong_key_is_raised_at_once(halo, set_halo):
    set_halo(password="ab_live_wrong")
    with pytest.raises(WidgetKeyRefused):
        HaloHook().update_users([{"user_id": "u1"}])
    assert halo.requests.describe()["by_path"] == {"users/update": {"401": 1}}


def test_updating_users_without_a_secret_names_both_ways_out(halo, set_halo):
    set_halo(extra={})
    with pytest.raises(SecretMissing) as caught:
        HaloHook().update_users([{"user_id": "u1"}])
    assert "set identity_secret" in str(caught.value)
    assert "activity=True" in str(caught.value)
