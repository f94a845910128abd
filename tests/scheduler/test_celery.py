"""The shipped backfill on the CeleryExecutor, with two workers, of which one is killed in the middle of a run.

Redis and PostgreSQL are this test's own, and Celery has the settings of docker-compose.yaml's profile, but for the
addresses. How often a batch was given to a worker is read in what the workers print.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import pytest
from backfills import DELAYS, TABLE_HEAD, TEAMS, USERS, Backfills, Outage, faster
from celery_profile import WORKERS, celery_settings

from demo.airflow_home import free_ports

pytestmark = [pytest.mark.scheduler, pytest.mark.databases]

SLOTS = 4  # of the pool halo_api, as the provider makes it
SCOPES = ("companies", "users", "links")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The address of a Redis of this test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not in PATH")
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("redis")
    with (folder / "log").open("wb") as log:
        words = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
        server = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def story(tmp_path_factory, start_airflow, start_cluster, recording_sandbox, broker, part):
    """A run without outages, and what each worker ran of it; and a run in which a worker is killed for good."""
    metadata, source, ledger = (start_cluster() for _ in range(3))
    folder = tmp_path_factory.mktemp("celery")
    with recording_sandbox(DELAYS) as halo:
        backfills = Backfills(folder, halo, source, ledger)
        database = metadata.url.render_as_string()
        environment = faster(
            {
                **backfills.environment,
                **celery_settings(),
                "AIRFLOW__CELERY__BROKER_URL": broker,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__PARALLELISM": "32",  # as by default: it is the pool that bounds
            }
        )
        workers = {
            name: part(
                ("celery", "worker", "--celery-hostname", f"{name}@halo", "--pid", str(folder / f"{name}.pid")),
                {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(port)},
            )
            for name, port in zip(WORKERS, free_ports(len(WORKERS)), strict=True)
        }
        airflow = start_airflow(halo, backfills.dags, count=1, environment=environment, parts=workers)
        backfills.connect(airflow)
        undisturbed = backfills.run(airflow)
        shares = [len(re.findall(r"task_id='sync'", airflow.said(name))) for name in WORKERS]
        victim = WORKERS[1]
        disturbed = backfills.run(
            airflow, Outage(f"Celery {victim}, for good", 0.25, 0, lambda: airflow.kill(victim), lambda: None)
        )
        yield undisturbed, shares, disturbed


def test_two_workers_bring_everything_to_halo_no_more_batches_at_once_than_the_pool_has_slots(story):
    run, shares, _ = story
    assert (run.state, run.stored, run.seen) == ("success", run.undisturbed, 0)
    assert run.tries("sync").keys() == {1}
    assert set(run.sent.values()) == {1}
    assert all(shares), shares
    assert 1 < run.at_once <= SLOTS


def test_a_worker_that_is_killed_costs_its_batches_another_try_on_the_other_one(story, capsys):
    _, _, run = story
    with capsys.disabled():
        print(f"\n{TABLE_HEAD}\n{run.row()}")
    assert (run.state, run.stored, run.seen) == ("success", run.undisturbed, 0)
    counted = {scope: run.report[scope]["stored"] + run.report[scope]["unchanged"] for scope in SCOPES}
    assert counted == {"companies": TEAMS, "users": USERS, "links": USERS}
    (loss,) = run.losses
    assert loss.acknowledged
    assert run.acknowledged_and_sent_again(loss) == frozenset()
    assert run.tries("sync")[2] > 0
    assert run.tries("report") == Counter({1: 1})
