"""The pool of the shipped DAGs makes itself, on a real metadata database."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_halo.plugin.pool import PoolMaker


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory):
    """The environment of an Airflow whose metadata database is there, and nothing in it."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    # initdb() makes today's tables at once; `airflow db migrate` walks through all versions, for twice the time.
    code = "from airflow.utils.db import initdb; initdb()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, timeout=120)
    return environment


@pytest.fixture
def migrated(airflow_home, tmp_path):
    """The same, with a copy of the database for this test alone: the pools of one test would be there for the next."""
    database = shutil.copy(Path(airflow_home["AIRFLOW_HOME"]) / "airflow.db", tmp_path)
    return airflow_home | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}


# Constructs what the scheduler constructs when it starts, once with each setting, and tells the pools afterwards.
STARTS = """
import json, os, sys
from airflow.jobs.job import Job
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select

for settings in json.loads(sys.argv[1]):
    os.environ.update(settings)
    Job()
    with create_session() as session:
        pools = session.scalars(select(Pool).where(Pool.pool != "default_pool"))
        found = {pool.pool: [pool.slots, pool.description, pool.include_deferred] for pool in pools}
    print("POOLS", json.dumps(found), flush=True)
"""


def start(environment, *settings):
    """Start Airflow's part once with each of the settings: [(the pools then, what was said until then)]."""
    given = [{f"AIRFLOW__HALO__{name}": value for name, value in one.items()} for one in settings]
    done = subprocess.run(
        [sys.executable, "-c", STARTS, json.dumps(given)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    told, said = [], ""
    for line in done.stdout.splitlines():
        if line.startswith("POOLS "):
            told.append((json.loads(line.removeprefix("POOLS ")), said))
            said = ""
        else:
            said += line + "\n"
    return told


DESCRIPTION = "Batches that talk to HaloAgents at once"
COMMAND = f'airflow pools set halo_api 4 "{DESCRIPTION}"'


def test_the_pool_is_made_as_it_is_configured_and_one_that_exists_is_left_alone(migrated):
    (off, _), (first, said), (again, silent), (other, _) = start(
        migrated, {"CREATE_POOL": "False"}, {"CREATE_POOL": "True"}, {"POOL_SLOTS": "9"}, {"POOL": "my_pool"}
    )
    assert off == {}
    assert first == {"halo_api": [4, DESCRIPTION, False]} == again
    assert "Made the pool 'halo_api' with 4 slots" in said
    assert "pool" not in silent
    assert other == {"halo_api": [4, DESCRIPTION, False], "my_pool": [9, DESCRIPTION, False]}


def test_a_setting_that_can_t_be_used_does_not_keep_airflow_from_starting(migrated):
    told = start(migrated, {"POOL": "a_pool", "POOL_SLOTS": "many"}, {"POOL_SLOTS": "0"}, {"CREATE_POOL": "perhaps"})
    for pools, said in told:
        assert "a_pool" not in pools
        assert COMMAND.replace("halo_api", "a_pool") in said


def test_a_database_that_is_not_there_does_not_either(migrated, tmp_path):
    settings = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/empty.db"}
    code = "from airflow.jobs.job import Job; Job(); print('started')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=migrated | settings, capture_output=True, text=True, check=True, timeout=60
    )
    assert "started" in done.stdout
    assert COMMAND in done.stdout + done.stderr


def test_processes_that_start_at_once_make_one_pool_and_none_complains(migrated):
    with ThreadPoolExecutor() as executor:
        told = list(executor.map(lambda _: start(migrated, {"POOL": "raced"}), range(2)))
    for ((pools, said),) in told:
        assert pools["raced"] == [4, DESCRIPTION, False]
        assert "could not be made" not in said


def test_a_task_process_does_nothing(caplog):
    class TaskRunnerMarker:
        """What Airflow passes when a task process starts; it has no access to the metadata database."""

    with caplog.at_level(logging.DEBUG):
        PoolMaker().on_starting(TaskRunnerMarker())
    assert caplog.text == ""
