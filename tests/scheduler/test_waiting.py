"""Waiting for Halo on a real Airflow: a long pause in the triggerer, a hanging request until Airflow's own time-out."""

from __future__ import annotations

import json
import sqlite3

import pytest
from recording import KEY, SECRET

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.sandbox.server import SandboxServer

pytestmark = pytest.mark.scheduler

PAUSE = 8
PLAN = """
version: 1
source: shop
companies: {key: team_id, traits: {sql: "SELECT id AS team_id, name FROM teams"}}
users: {key: user_id, company: team_id, traits: {sql: "SELECT id AS user_id, team_id FROM users"}}
"""
DAG_FILE = """
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_halo.operators import IdentifyOperator, SyncOperator


def note(context):
    error = context["exception"]
    Path({folder!r}, "callback.txt").write_text(f"{{type(error).__module__}}.{{type(error).__name__}}: {{error}}")


with DAG("long_pause", schedule=None):
    SyncOperator(task_id="sync", company_id=1, user_id=1, deferrable=True, ledger_conn_id="halo_ledger")

with DAG("time_out", schedule=None):
    IdentifyOperator(
        task_id="identify", user_id="u1", execution_timeout=timedelta(seconds=3), on_failure_callback=note, fail_open=True,
        max_retry_seconds=100,
    )
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, start_airflow, part):
    folder = tmp_path_factory.mktemp("waiting")
    with sqlite3.connect(folder / "shop.db") as database:
        database.executescript(
            "CREATE TABLE teams (id INTEGER, name TEXT); INSERT INTO teams VALUES (1, 'Acme');"
            "CREATE TABLE users (id INTEGER, team_id INTEGER); INSERT INTO users VALUES (1, 1);"
        )
    database.close()
    (folder / "halo.yaml").write_text(PLAN, encoding="utf-8")
    (folder / "dags").mkdir()
    (folder / "dags" / "waiting.py").write_text(DAG_FILE.format(folder=str(folder)), encoding="utf-8")
    environment = {
        "AIRFLOW__HALO__PLAN": str(folder / "halo.yaml"),
        "AIRFLOW__HALO__DEFER_AFTER": "2",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(folder / "shop.db")}),
        "AIRFLOW_CONN_HALO_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
    }
    with SandboxServer(SandboxConfig(widget_key=KEY, identity_secret=SECRET)) as halo:
        made = start_airflow(
            halo, folder / "dags", count=2, environment=environment, parts={"triggerer": part(["triggerer"])}
        )
        yield made, folder


def test_a_long_pause_is_sat_out_by_the_triggerer_and_the_task_goes_on_where_it_was(airflow):
    made, _ = airflow
    made.halo.faults.set([parse_fault(f"429:path=users/update,retry_after={PAUSE}")])
    run = ("long_pause", made.queue("long_pause"))
    made.unpause("long_pause")
    states = watch(made, run)
    assert "deferred" in states
    assert made.outcome(*run) == "success"
    report = made.returned(*run, "sync")
    stored = {"stored": 1, "partial": 0, "unchanged": 0, "skipped": 0, "rejected": 0, "failed": 0}
    assert (report["companies"], report["users"], report["links"]) == (stored, stored, stored)
    assert made.halo.requests.describe()["by_path"]["companies/identify"] == {"200": 2}
    (task,) = made.tasks(*run, "sync")
    assert task["try_number"] == 1
    assert "Halo asked to wait for 8 s: deferred until then" in made.log(*run, "sync")


def test_a_time_out_is_airflow_s_own_in_the_callback(airflow):
    made, folder = airflow
    made.halo.faults.set([parse_fault("delay:seconds=60")])
    run = ("time_out", made.queue("time_out"))
    made.unpause("time_out")
    assert made.outcome(*run) == "failed"
    told = (folder / "callback.txt").read_text(encoding="utf-8")
    assert told.startswith("airflow.sdk.exceptions.AirflowTaskTimeout: Timeout, PID: ")
    assert told.endswith(": not done within the task's execution_timeout, and stopped")
    assert "Timed out: not done within its execution_timeout of 0:00:03" in made.log(*run, "identify")


def watch(made, run):
    """The states of the run's task until it was deferred; the fault is gone by then."""
    import time

    states = set()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not states & {"deferred", "success", "failed"}:
        states |= {task["state"] for task in made.tasks(*run, "sync")}
        time.sleep(0.3)
    made.halo.faults.set([])
    return states
