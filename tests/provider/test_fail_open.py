"""What `fail_open` lets pass, what it doesn't, how long it waits, and what its XCom says."""

from __future__ import annotations

import time

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import HaloUnavailable, RecordsNotStored, WidgetKeyRefused
from airflow_provider_halo.hooks import ReportDict
from airflow_provider_halo.operators import ContextOperator, IdentifyOperator
from airflow_provider_halo.sandbox.faults import parse_fault

SECRET = "ha_secret_provider_tests_that_is_long_enough"
NOBODY_LISTENS = "http://127.0.0.1:9"


def identify(**arguments):
    return IdentifyOperator(**({"task_id": "t", "user_id": "u1", "traits": {"name": "Ada"}} | arguments))


def context(**arguments):
    return ContextOperator(task_id="t", user_id="u1", key="k", label="L", value=1, **arguments)


@pytest.fixture
def away(halo, set_halo):
    """A Halo that nobody reaches."""
    set_halo(host=NOBODY_LISTENS, extra={"identity_secret": SECRET, "max_retry_seconds": 0.3})


@pytest.mark.parametrize("operator", [identify, context])
def test_a_halo_that_is_away_is_a_warning_and_a_whole_report(away, run, capsys, operator):
    report = run(operator(fail_open=True))
    assert ReportDict.__required_keys__ | {"delivered", "reason"} <= report.keys()
    assert report.keys() - {"delivered", "reason"} <= ReportDict.__required_keys__ | ReportDict.__optional_keys__
    assert (report["delivered"], report["users"]["failed"]) == (False, 1)
    assert "took no request" in report["reason"] == report["stopped"]
    assert report["requests"] > 1
    assert report["retries"] == report["requests"] - 1
    assert "Not delivered, and fail_open lets the flow go on" in capsys.readouterr().out


@pytest.mark.usefixtures("away")
def test_tries_that_nobody_took_are_counted_where_the_task_fails(run, capsys):
    with pytest.raises(HaloUnavailable):
        run(identify())
    said = capsys.readouterr().out
    assert "stopped; until then" in said
    assert " 0 requests" not in said


def test_a_refusal_is_a_warning(halo, run):
    halo.faults.set([parse_fault("400:path=users/update")])
    report = run(identify(fail_open=True))
    assert (report["delivered"], report["users"]["rejected"], len(report["rejects"])) == (False, 1, 1)


def test_a_time_out_is_a_warning(halo, set_halo, run):
    set_halo(extra={"identity_secret": SECRET, "timeout": 0.2, "max_retry_seconds": 0.3})
    halo.faults.set([parse_fault("delay:seconds=2")])
    assert run(identify(fail_open=True))["delivered"] is False


RESERVED = "1 of 1 records were rejected, more than max_rejected=0; the first: users u1: traits.id: is a name that Halo reserves; give it another name"


def wrong_key(set_halo):
    set_halo(password="ab_live_wrong")


def no_secret(set_halo):
    set_halo(extra={})


def no_api(set_halo):
    set_halo(host="http://127.0.0.1:9/?x")


@pytest.mark.parametrize(
    ("arguments", "spoil", "message"),
    [
        ({}, wrong_key, "401"),
        ({}, no_secret, "has no identity_secret"),
        ({}, no_api, "its host must be a plain URL"),
        ({"halo_conn_id": "elsewhere"}, None, "'elsewhere' is not there"),
        ({"traits": {"id": 1}}, None, RESERVED),
        ({"max_rejected": "few"}, None, "max_rejected must be"),
        ({"ledger_conn_id": "elsewhere"}, None, "'elsewhere' is not there"),
    ],
)
def test_what_will_not_pass_fails_unless_it_is_always(halo, set_halo, run, arguments, spoil, message):
    if spoil is not None:
        spoil(set_halo)
    with pytest.raises(AirflowException, match=message):
        run(identify(fail_open=True, **arguments))
    report = run(identify(fail_open="always", **arguments))
    assert (report["delivered"], message in report["reason"]) == (False, True)


def test_a_reserved_trait_behind_many_other_rejects_is_none_that_passes(halo, run):
    records = [{"user_id": ""} for _ in range(30)] + [{"user_id": "u1", "traits": {"id": 1}}]
    with pytest.raises(RecordsNotStored):
        run(IdentifyOperator(task_id="t", records=records, fail_open=True))
    assert run(IdentifyOperator(task_id="t", records=records[:30], fail_open=True))["users"]["rejected"] == 30


def test_it_waits_ten_seconds_at_most_where_nothing_else_is_said(halo, set_halo):
    set_halo(extra={"identity_secret": SECRET})
    waits = {
        name: identify(**arguments)._settings().max_retry_seconds
        for name, arguments in {
            "closed": {},
            "open": {"fail_open": True},
            "always": {"fail_open": "always"},
            "its own": {"fail_open": True, "max_retry_seconds": 25},
            "its own, closed": {"max_retry_seconds": 2},
        }.items()
    }
    assert waits == snapshot({"closed": 300, "open": 10.0, "always": 10.0, "its own": 25.0, "its own, closed": 2.0})
    set_halo(extra={"identity_secret": SECRET, "max_retry_seconds": 3})
    assert identify(fail_open=True)._settings().max_retry_seconds == 3


def test_a_request_that_hangs_does_not_make_the_wait_longer(halo, run):
    halo.faults.set([parse_fault("delay:seconds=5")])
    began = time.monotonic()
    assert run(identify(fail_open=True, max_retry_seconds=0.5))["delivered"] is False
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fail_open": "yes"}, "fail_open must be True, False or \"always\", not 'yes'."),
        ({"max_retry_seconds": 0}, "max_retry_seconds must be a number of seconds above 0, not 0."),
        ({"max_retry_seconds": "10"}, "max_retry_seconds must be a number of seconds above 0, not '10'."),
    ],
)
@pytest.mark.parametrize("operator", [identify, context])
def test_words_that_can_t_be_used_are_told_when_the_dag_is_read(operator, arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        operator(**arguments)
    assert str(caught.value) == message


class Patient(IdentifyOperator):
    """A team's own operator, which catches what it can mend."""

    def execute(self, context):
        try:
            return super().execute(context)
        except WidgetKeyRefused as error:
            return {"mended": error.status}
        except RecordsNotStored as error:
            return {"rejected": error.report["users"]["rejected"]}


def test_errors_are_caught_around_execute_by_their_own_types(halo, set_halo, run):
    rejected = Patient(task_id="t", user_id="u1", traits={"id": 1})
    assert run(rejected) == {"rejected": 1}
    set_halo(password="ab_live_wrong")
    assert run(Patient(task_id="t", user_id="u1")) == {"mended": 401}


def test_they_are_airflow_s_too_and_carry_their_facts(halo, set_halo, run):
    set_halo(password="ab_live_wrong")
    with pytest.raises(WidgetKeyRefused) as caught:
        run(identify())
    error = caught.value
    assert (isinstance(error, AirflowFailException), error.status, error.path) == (True, 401, "users/update")
    assert (type(error).__name__, type(error).__module__) == ("WidgetKeyRefused", "airflow_provider_halo.exceptions")
    assert error.__cause__ is None
