"""A long pause of Halo: the task is deferred, frees its worker, and goes on behind what the ledger knows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize

from airflow_provider_halo.api import adaptive
from airflow_provider_halo.exceptions import HaloUnavailable
from airflow_provider_halo.operators import PlanBatchesOperator, SyncOperator
from airflow_provider_halo.sandbox.faults import parse_fault

SECRET = "ha_secret_provider_tests_that_is_long_enough"
LONG = "429:path=companies/identify,contains=user_id,retry_after=90"  # companies and users pass, links don't


@pytest.fixture
def defer_after(monkeypatch):
    """Sets [halo] defer_after."""
    return lambda seconds: monkeypatch.setenv("AIRFLOW__HALO__DEFER_AFTER", str(seconds))


@pytest.fixture
def batch(plan, ledger, run, task_instance):
    (first, *_) = run(PlanBatchesOperator(task_id="p"), ti=task_instance())
    return first


@pytest.fixture
def deferred(run):
    """Runs a SyncOperator until it is deferred."""

    def run_until(operator):
        with pytest.raises(TaskDeferred) as caught:
            run(operator)
        return caught.value

    return run_until


@pytest.fixture
def resume(run, task_instance):
    """Goes on as Airflow does, with what it kept of the task in its database."""

    def go_on(deferral, operator):
        adaptive._RATES.clear()  # the pause is over by then, and it is another process
        kept = deserialize(serialize(deferral.kwargs))
        context = {"ti": task_instance(), "params": {}}
        operator.render_template_fields(context)
        return operator.resume_execution(deferral.method_name, {**kept, "event": None}, context)

    return go_on


def sync(batch, **arguments):
    return SyncOperator(task_id="sync", batch=batch, **({"deferrable": True} | arguments))


def requests_of(halo):
    return halo.requests.describe()["total"]


def test_a_long_pause_defers_the_task_until_it_is_over(halo, batch, deferred):
    halo.faults.set([parse_fault(LONG)])
    deferral = deferred(sync(batch))
    assert (type(deferral.trigger), deferral.method_name) == (DateTimeTrigger, "resume")
    wait = deferral.trigger.moment - datetime.now(tz=timezone.utc)
    assert timedelta(seconds=80) < wait <= timedelta(seconds=90)


def test_what_is_kept_of_it_holds_counts_and_no_people(halo, batch, deferred):
    halo.faults.set([parse_fault(LONG)])
    kept = deferred(sync(batch)).kwargs
    assert kept["earlier"]["users"]["stored"] == 4
    assert not [name for name in ("Ada", "acme.test") if name in str(kept)]


def test_it_goes_on_behind_what_the_ledger_knows_and_each_record_counts_once(halo, batch, deferred, resume, counts):
    halo.faults.set([parse_fault(LONG)])
    deferral = deferred(sync(batch))
    halo.faults.set([])
    halo.requests.reset()
    report = resume(deferral, sync(batch))
    assert counts(report) == {"companies": {"stored": 3}, "users": {"stored": 4}, "links": {"stored": 4}}
    assert halo.requests.describe()["by_path"] == {"companies/identify": {"200": 4}}
    assert report["requests"] > 4
    assert "stopped" not in report


def test_it_may_be_deferred_again_and_the_waits_add_up_to_the_budget(halo, set_halo, batch, deferred, resume):
    set_halo(extra={"identity_secret": SECRET, "max_retry_seconds": 200, "max_in_flight": 1})
    halo.faults.set([parse_fault("429:retry_after=90")])
    first = deferred(sync(batch))
    assert 90 <= first.kwargs["unanswered"] < 92
    with pytest.raises(TaskDeferred) as second:
        resume(first, sync(batch))
    assert 180 <= second.value.kwargs["unanswered"] < 184
    with pytest.raises(HaloUnavailable, match=r"took no request for 18\d s") as given_up:
        resume(second.value, sync(batch))
    assert isinstance(given_up.value, AirflowException)


def test_an_answer_begins_the_budget_anew(halo, set_halo, batch, deferred, resume):
    set_halo(extra={"identity_secret": SECRET, "max_retry_seconds": 200, "max_in_flight": 1})
    halo.faults.set([parse_fault("429:retry_after=90")])
    first = deferred(sync(batch))
    halo.faults.set([parse_fault(LONG)])
    with pytest.raises(TaskDeferred) as second:
        resume(first, sync(batch))
    assert 90 <= second.value.kwargs["unanswered"] < 95


def test_one_company_by_name_is_deferred_too(halo, plan, ledger, deferred, resume, counts):
    halo.faults.set([parse_fault("503:retry_after=61")])
    deferral = deferred(SyncOperator(task_id="sync", company_id=1, deferrable=True))
    halo.faults.set([])
    assert counts(resume(deferral, SyncOperator(task_id="sync", company_id=1))) == {"companies": {"stored": 1}}


def test_the_configuration_says_whether_where_the_task_does_not(halo, batch, deferred, monkeypatch):
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    halo.faults.set([parse_fault(LONG)])
    deferred(sync(batch, deferrable=None))


@pytest.fixture
def passing_fault(halo):
    """A Halo that asks for two seconds, once."""
    halo.faults.set([parse_fault("429:path=companies/identify,times=1,retry_after=2")])


@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        ({"deferrable": None}, 1),
        ({"ledger_conn_id": "none"}, 1),
        ({"full": True}, 1),
        ({}, 0),
    ],
)
@pytest.mark.usefixtures("passing_fault")
def test_else_a_pause_is_sat_out(batch, run, defer_after, counts, arguments, after):
    defer_after(after)
    assert counts(run(sync(batch, **arguments)))["companies"] == {"stored": 3}


@pytest.mark.usefixtures("passing_fault")
def test_a_pause_that_is_longer_than_the_setting_is_not(batch, deferred, defer_after):
    defer_after(1)
    deferred(sync(batch))


@pytest.mark.usefixtures("halo", "batch")
def test_a_setting_that_is_no_number_is_told(batch, run, defer_after):
    defer_after("soon")
    with pytest.raises(AirflowException, match=r"^\[halo\] defer_after must be a whole number from 0, not 'soon'"):
        run(sync(batch))
