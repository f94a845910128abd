from __future__ import annotations

import asyncio
import inspect
import json
import tracemalloc
from datetime import datetime, timezone
from decimal import Decimal
from typing import get_args

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from inline_snapshot import snapshot

from airflow_provider_halo.contract import CONTEXT_TYPES
from airflow_provider_halo.delivery.report import Counts, Report
from airflow_provider_halo.exceptions import (
    HaloUnavailable,
    RecordsNotStored,
    SecretMissing,
    SetupError,
    WidgetKeyRefused,
)
from airflow_provider_halo.hooks import ContextType, HaloHook, RecordProblem, ReportDict, StatusCounts
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.sandbox.faults import parse_fault


def stored(scope, count=1, **more):
    """The report of a call that stored all of its records, without the figures that differ from run to run."""
    none = {"stored": 0, "partial": 0, "unchanged": 0, "skipped": 0, "rejected": 0, "failed": 0}
    scopes = {name: {**none} for name in ("companies", "users", "links")}
    scopes[scope]["stored"] = count
    return {**scopes, "requests": 1, "retries": 0, "warnings": {}, "rejects": [], "left_out": [], **more}


def without_figures(report):
    """A report without its bytes and seconds."""
    return {name: value for name, value in report.items() if name not in {"bytes", "seconds"}}


def test_users_of_any_number_are_stored_and_nobody_is_marked_as_active(halo):
    users = ({"user_id": number, "traits": {"score": Decimal(number)}} for number in range(2_500))
    report = HaloHook().update_users(users)
    assert without_figures(report) == stored("users", 2_500, requests=3)
    user = halo.store.user("2499")
    assert (user["traits"], user["last_seen"]) == ({"score": 2499}, None)
    assert halo.requests.describe()["by_path"] == {"users/update": {"200": 3}}


BAD_USERS = [
    {"user_id": "u1", "traits": {"name": "Ada"}},
    {"user_id": "u2", "traits": {"created_at": "2025-01-01"}},
    {"user_id": "u3", "name": "Bob"},
    {"company_id": "c1"},
]
REJECTS = [
    {
        "scope": "users",
        "key": "u2",
        "field": "traits.created_at",
        "reason": "is a name that Halo reserves; give it another name",
    },
    {
        "scope": "users",
        "key": "u3",
        "field": "",
        "reason": "has unknown keys (name); give traits under `traits`, context entries under `context`",
    },
    {"scope": "users", "key": "", "field": "user_id", "reason": "is missing"},
]


def test_a_rejected_user_is_raised_with_the_report_once_the_others_are_stored(halo):
    with pytest.raises(RecordsNotStored) as caught:
        HaloHook().update_users(BAD_USERS)
    assert str(caught.value) == snapshot(
        "3 of 4 records were rejected, more than max_rejected=0; the first: users u2: traits.created_at: is a name that "
        "Halo reserves; give it another name; users u3: has unknown keys (name); give traits under `traits`, context "
        "entries under `context`; users : user_id: is missing"
    )
    report = stored("users", rejects=REJECTS)
    report["users"]["rejected"] = 3
    assert without_figures(caught.value.report) == report
    assert halo.store.counts()["users"] == 1


@pytest.mark.parametrize("limit", [3, "75%", None])
def test_a_limit_lets_some_be_rejected_and_the_report_names_them(halo, limit):
    report = HaloHook().update_users(BAD_USERS, max_rejected=limit)
    assert (report["users"]["stored"], report["users"]["rejected"], report["rejects"]) == (1, 3, REJECTS)


def test_users_that_could_not_be_delivered_are_raised_whatever_may_be_rejected(halo, set_halo):
    # One request is never taken, while the others are, so it isn't Halo that is down.
    secret = "ha_secret_provider_tests_that_is_long_enough"
    set_halo(extra={"identity_secret": secret, "max_retry_seconds": 0.5, "max_in_flight": 2})
    halo.faults.set([parse_fault("503:path=users/update,contains=bad"), parse_fault("delay:seconds=0.1")])
    users = ({"user_id": "bad" if number == 0 else number} for number in range(12_000))
    with pytest.raises(RecordsNotStored, match=r"1,000 of 12,000 records could not be delivered") as caught:
        HaloHook().update_users(users, max_rejected=None)
    counts = caught.value.report["users"]
    assert (counts["stored"], counts["rejected"], counts["failed"]) == (11_000, 0, 1_000)
    assert [failure["key"] for failure in caught.value.report["failures"]] == ["bad"]


def test_what_was_stored_before_halo_went_away_is_in_the_log(halo, set_halo, capsys):
    secret = "ha_secret_provider_tests_that_is_long_enough"
    set_halo(extra={"identity_secret": secret, "max_retry_seconds": 0.3, "max_in_flight": 1})
    halo.faults.set([parse_fault("503:path=users/update,first=2")])
    with pytest.raises(HaloUnavailable):
        HaloHook().update_users({"user_id": number} for number in range(3_000))
    assert halo.store.counts()["users"] == 1_000
    said = capsys.readouterr().out
    assert "Stopped early; until then" in said
    assert " 0 requests" not in said


def test_the_first_twenty_rejects_are_kept_and_all_are_counted(halo):
    users = [{"user_id": number, "traits": {"id": 1}} for number in range(50)]
    report = HaloHook().update_users(users, max_rejected=None)
    assert (report["users"]["rejected"], [reject["key"] for reject in report["rejects"]]) == (
        50,
        [str(number) for number in range(20)],
    )


def test_what_was_changed_in_values_is_a_warning_of_the_report(halo):
    report = HaloHook().update_users([{"user_id": 1, "traits": {"name": "A\0da", "mrr": float("nan")}}])
    assert report["warnings"] == {"NUL characters removed": 1, "NaN or infinity sent as null": 1}


def test_a_report_is_json_with_keys_that_a_type_checker_knows(halo):
    report = HaloHook().update_users([{"user_id": 1, "traits": {"name": "Ada"}}])
    assert json.loads(json.dumps(report)) == report
    assert BaseXCom.serialize_value(report) == report  # XCom takes it as it is
    assert ReportDict.__required_keys__ == set(report)
    assert ReportDict.__required_keys__ | ReportDict.__optional_keys__ == set(Report.__struct_fields__)
    assert StatusCounts.__required_keys__ == set(Counts.__struct_fields__)
    assert RecordProblem.__required_keys__ == set(Problem.__struct_fields__)
    assert get_args(ContextType) == CONTEXT_TYPES
    assert "Ada" not in json.dumps(report)


@pytest.mark.parametrize("users", ["abc", b"abc", {"user_id": "u1"}, 7, None])
def test_something_else_than_an_iterable_of_records_is_a_type_error(halo, users):
    with pytest.raises(TypeError) as caught:
        HaloHook().update_users(users)
    assert str(caught.value) == (
        "users must be an iterable of records, such as [{'user_id': 'u1', 'traits': {'plan': 'pro'}}], "
        f"not a {type(users).__name__}."
    )
    assert halo.requests.describe()["by_path"] == {}


@pytest.mark.parametrize("user", ["u1", 7, ["u1"], None])
def test_a_record_that_is_no_object_is_a_reject_that_says_so(halo, user):
    with pytest.raises(RecordsNotStored, match=f"users : is a {type(user).__name__}, and no object with user_id"):
        HaloHook().update_users([user])
    assert halo.requests.describe()["by_path"] == {}


def test_a_limit_that_is_none_is_told_before_anything_is_sent(halo):
    with pytest.raises(
        SetupError, match="max_rejected must be a count such as 20, or a share such as 1%, or none, not 'few'"
    ):
        HaloHook().update_users([{"user_id": "u1"}], max_rejected="few")
    assert halo.store.counts()["users"] == 0


def test_an_error_in_the_caller_s_generator_is_raised_as_it_is(halo):
    def users():
        yield {"user_id": "u1"}
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        HaloHook().update_users(users())


def test_users_are_read_as_they_are_sent_and_not_kept(halo, set_halo):
    secret = "ha_secret_provider_tests_that_is_long_enough"
    set_halo(extra={"identity_secret": secret, "max_in_flight": 2})  # at most five thousand are held at once

    def peak(users):
        tracemalloc.start()
        try:
            # The same thousand again and again, for the sandbox, which is in this process, keeps what it is sent.
            report = HaloHook().update_users({"user_id": n % 1_000, "traits": {"n": n}} for n in range(users))
            assert report["users"]["stored"] == users
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(6_000)  # what is imported and cached once
    assert peak(24_000) < 1.5 * peak(6_000)  # kept, they would be five times as much


def test_identify_user_marks_the_one_who_is_present(halo):
    report = HaloHook().identify_user(
        7, {"name": "Ada", "signed_up_at": datetime(2025, 3, 1, 12, tzinfo=timezone.utc)}, session_id="s1"
    )
    assert without_figures(report) == stored("users")
    user = halo.store.user("7")
    assert user["traits"] == {"name": "Ada", "signed_up_at": "2025-03-01T12:00:00+00:00"}
    assert user["last_seen"] is not None


def test_identify_company_stores_traits_and_context(halo):
    entry = {"label": "Connected Integrations", "type": "integration", "value": {"hubspot": {"connected": True}}}
    report = HaloHook().identify_company("c1", {"name": "Acme"}, {"integrations": entry})
    assert without_figures(report) == stored("companies")
    company = halo.store.company("c1")
    assert (company["traits"], company["context"]) == ({"name": "Acme"}, {"integrations": entry})


def test_link_user_links(halo):
    hook = HaloHook()
    hook.update_users([{"user_id": "u1"}])
    assert without_figures(hook.link_user("u1", "c1")) == stored("links")
    assert halo.store.members("c1") == ["u1"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda hook: hook.identify_user("u1", {"last_seen": 1}),
            Problem("users", "u1", "traits.last_seen", "is a name that Halo reserves; give it another name"),
        ),
        (lambda hook: hook.identify_company("  ", {}), Problem("companies", "", "company_id", "the key is blank")),
        (lambda hook: hook.link_user("u1", None), Problem("links", "u1", "company_id", "is missing")),
        (lambda hook: hook.link_user(None, "c1"), Problem("links", "", "user_id", "the key is empty")),
        (lambda hook: hook.identify_user(None), Problem("users", "", "user_id", "the key is empty")),
    ],
)
def test_a_record_that_can_t_be_stored_is_raised_with_its_problem(halo, call, problem):
    with pytest.raises(RecordsNotStored) as caught:
        call(HaloHook())
    assert str(caught.value) == str(problem)
    assert caught.value.report["rejects"] == [
        {"scope": problem.scope, "key": problem.key, "field": problem.field, "reason": problem.reason}
    ]
    assert caught.value.report[problem.scope]["rejected"] == 1
    assert halo.requests.describe()["by_path"] == {}


def test_a_record_that_halo_refuses_is_raised_too(halo):
    halo.faults.set([parse_fault("400:path=companies/identify")])
    with pytest.raises(RecordsNotStored) as caught:
        HaloHook().identify_company("c1", {"name": "Acme"})
    (reject,) = caught.value.report["rejects"]
    assert (reject["scope"], reject["key"]) == ("companies", "c1")
    assert (caught.value.report["companies"]["rejected"], caught.value.report["requests"]) == (1, 1)


def test_the_hook_s_own_methods_give_nothing_but_public_types():
    public = {name: inspect.signature(method).return_annotation for name, method in public_methods()}
    assert public == {
        "get_conn": "HaloClient",  # asynchronous, and not covered by the stability policy
        "identify_company": "ReportDict",
        "identify_user": "ReportDict",
        "link_user": "ReportDict",
        "test_connection": "tuple[bool, str]",
        "update_users": "ReportDict",
    }


def public_methods():
    """The methods that HaloHook itself defines, by name."""
    return sorted(
        (name, value) for name, value in vars(HaloHook).items() if inspect.isfunction(value) and name[0] != "_"
    )


def test_the_methods_work_where_an_event_loop_runs_already(halo):
    async def in_a_loop():
        return HaloHook().identify_company("c1", {"name": "Acme"})

    assert without_figures(asyncio.run(in_a_loop())) == stored("companies")


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
