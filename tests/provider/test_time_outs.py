"""`execution_timeout`: what Airflow's own time-out becomes, wherever the task is when it comes."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.hooks import HaloHook
from airflow_provider_halo.operators import IdentifyOperator, PlanBatchesOperator, SyncOperator
from airflow_provider_halo.sandbox.faults import parse_fault

SECRET = "ha_secret_provider_tests_that_is_long_enough"


def as_airflow_does(operator, context, seconds):
    """What Airflow's task runner does with a task that has an `execution_timeout`."""
    try:
        with timeout(seconds):
            operator.execute(context)
    except AirflowTaskTimeout:
        operator.on_kill()
        raise


@pytest.fixture
def timed_out(task_instance):
    """Runs an operator as Airflow's task runner does, with an `execution_timeout` that is too short; gives what callbacks get."""

    def run_too_long(operator, seconds=0.5):
        operator.execution_timeout = timedelta(seconds=seconds)
        context = {"ti": task_instance(), "params": {}}
        operator.render_template_fields(context)
        began = time.monotonic()
        with pytest.raises(AirflowTaskTimeout) as caught:
            as_airflow_does(operator, context, seconds)
        assert time.monotonic() - began < seconds + 3
        return caught.value

    return run_too_long


@pytest.mark.parametrize("fail_open", [False, True])
@pytest.mark.parametrize("fault", ["delay:seconds=20", "503", "429:retry_after=100"])
def test_a_time_out_reaches_callbacks_as_airflow_s_own_and_says_that_it_was_one(
    halo, set_halo, timed_out, capsys, fault, fail_open
):
    halo.faults.set([parse_fault(fault)])
    set_halo(extra={"identity_secret": SECRET})
    operator = IdentifyOperator(task_id="t", user_id="u1", fail_open=fail_open, max_retry_seconds=200)
    error = timed_out(operator)
    assert "not done within the task's execution_timeout" in str(error)
    assert (error.__cause__, error.__suppress_context__) == (None, True)
    said = capsys.readouterr().out
    assert "Timed out: not done within its execution_timeout of 0:00:00.500000" in said
    assert "Told to stop" not in said


@pytest.mark.usefixtures("plan")
def test_what_was_stored_until_then_is_in_the_ledger(halo, ledger, run, timed_out, task_instance, counts):
    halo.faults.set([parse_fault("delay:seconds=20,path=companies/identify,contains=user_id")])
    (batch, *_) = run(PlanBatchesOperator(task_id="p"), ti=task_instance())
    timed_out(SyncOperator(task_id="sync", batch=batch), seconds=1.5)
    halo.faults.set([])
    report = counts(run(SyncOperator(task_id="sync", batch=batch), ti=task_instance()))
    assert (report["companies"], report["users"]) == ({"unchanged": 3}, {"unchanged": 4})
    assert report["links"] == {"stored": 4}


def test_the_hook_in_a_task_of_one_s_own_ends_by_it(halo):
    halo.faults.set([parse_fault("delay:seconds=20")])
    began = time.monotonic()
    with pytest.raises(AirflowTaskTimeout), timeout(0.3):
        HaloHook().update_users([{"user_id": "u1"}])
    assert time.monotonic() - began < 3


def test_the_hook_in_an_event_loop_ends_by_it_too(halo):
    halo.faults.set([parse_fault("delay:seconds=20")])

    async def in_a_loop():
        HaloHook().update_users([{"user_id": "u1"}])

    began = time.monotonic()
    with pytest.raises(AirflowTaskTimeout), timeout(0.3):
        asyncio.run(in_a_loop())
    assert time.monotonic() - began < 3


def test_a_handler_that_was_there_is_there_again():
    async def nothing():
        return 7

    def ours(*_):
        raise AssertionError

    before = signal.signal(signal.SIGALRM, ours)
    try:
        assert run_blocking(nothing()) == 7
        assert signal.getsignal(signal.SIGALRM) is ours
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_during_any_callback_is_not_lost():
    async def busy():
        while True:
            asyncio.get_running_loop().call_soon(
                time.sleep, 0.01
            )  # the alarm comes in a callback, whose errors a loop logs
            await asyncio.sleep(0)

    with pytest.raises(AirflowTaskTimeout), timeout(0.3):
        run_blocking(busy())


def test_other_threads_know_no_alarm():
    async def nothing():
        return 7

    results = []
    thread = threading.Thread(target=lambda: results.append(run_blocking(nothing())))
    thread.start()
    thread.join()
    assert results == [7]
