"""A task that Airflow ends: SIGTERM reaches the operator's `on_kill`, as Airflow's task runner passes it on."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter

import pytest
from airflow.sdk.exceptions import AirflowException

from airflow_provider_halo.operators import IdentifyOperator, PlanBatchesOperator, ReportOperator, SyncOperator
from airflow_provider_halo.sandbox.faults import parse_fault

LINKS = 60


@pytest.fixture
def many_users(shop):
    """More than is brought to Halo in a moment."""
    path = shop.execute("PRAGMA database_list").fetchone()[2]
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM users")
        database.executemany("INSERT INTO users VALUES (?, 1, 'X', 'x@x.test')", [(user,) for user in range(LINKS)])
    database.close()


@pytest.fixture
def terminated_when():
    """Sends this process SIGTERM as soon as something is true; the handler is that of Airflow's task runner."""
    threads: list[threading.Thread] = []
    before = signal.getsignal(signal.SIGTERM)

    def arrange(operator, ready):
        signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())

        def send():
            while not ready():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        threads.append(threading.Thread(target=send))
        threads[-1].start()

    yield arrange
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGTERM, before)


def requests_of(halo, path="companies/identify"):
    return sum(halo.requests.describe()["by_path"].get(path, {}).values())


def test_a_task_that_is_ended_stops_sending_and_its_next_try_goes_on_there(
    halo, plan, ledger, many_users, run, task_instance, counts, terminated_when
):
    instance = task_instance(run_id="w1")
    (batch, *_) = run(PlanBatchesOperator(task_id="plan_batches"), ti=instance)
    halo.faults.set([parse_fault("delay:seconds=0.3,path=companies/identify")])
    first = SyncOperator(task_id="sync", batch=batch)
    terminated_when(first, lambda: requests_of(halo) >= LINKS // 2)
    with pytest.raises(AirflowException, match="told to stop"):
        run(first, ti=instance)
    time.sleep(2)  # long enough for all of them
    assert requests_of(halo) < LINKS
    halo.faults.set([])
    second = counts(run(SyncOperator(task_id="sync", batch=batch), ti=instance))
    assert (second["companies"], second["users"]) == ({"unchanged": 3}, {"unchanged": LINKS})
    assert Counter(second["links"]).total() == LINKS
    assert second["links"]["unchanged"] > 0
    assert {halo.store.user(str(user))["company_id"] for user in range(LINKS)} == {"1"}


def test_records_by_hand_stop_too_whatever_fail_open_says(halo, run, terminated_when):
    halo.faults.set([parse_fault("delay:seconds=0.3")])
    companies = [{"company_id": f"c{number}", "traits": {}} for number in range(LINKS)]
    operator = IdentifyOperator(task_id="i", records=companies, fail_open=True)
    terminated_when(operator, lambda: requests_of(halo) >= LINKS // 2)
    with pytest.raises(AirflowException, match="told to stop"):
        run(operator)
    assert len(halo.store.find("companies")) < LINKS


@pytest.mark.parametrize(
    "operator",
    [PlanBatchesOperator(task_id="p"), ReportOperator(task_id="r", reports=[])],
)
def test_a_task_that_sends_nothing_ends_where_it_is(operator):
    with pytest.raises(SystemExit):
        operator.on_kill()
