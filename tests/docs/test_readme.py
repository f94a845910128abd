"""The README can't go stale: its plans load, its DAGs build, its commands run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from airflow_provider_halo.cli.commands import COMMANDS
from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_plan_in_the_readme_loads(text, tmp_path):
    path = tmp_path / "halo.yaml"
    path.write_text(text, encoding="utf-8")
    assert lint(load_plan(path))


@pytest.mark.parametrize("text", blocks("sql"))
def test_the_sql_in_the_readme_is_what_a_plan_takes(text, tmp_path):
    (tmp_path / "q.sql").write_text(text, encoding="utf-8")
    plan = (
        blocks("yaml")[0]
        .replace('"SELECT team_id, service, status FROM integrations"', "q.sql")
        .replace("type: integration, name: service,", "type: metric,")
    )
    (tmp_path / "halo.yaml").write_text(plan, encoding="utf-8")
    (query,) = load_plan(tmp_path / "halo.yaml").entries("companies")
    assert query.statement.placements == ("f.team_id",)


@pytest.mark.parametrize("text", blocks("python"))
def test_the_python_in_the_readme_builds_what_it_says(text, tmp_path):
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "readme_dag.py").write_text(text, encoding="utf-8")
    bag = DagBag(tmp_path, safe_mode=False)
    assert bag.import_errors == {}
    assert [len(dag.tasks) for dag in bag.dags.values()] == ([3] if "DAG(" in text else [])


@pytest.mark.parametrize("text", blocks("json"))
def test_the_report_in_the_readme_is_one(text):
    assert Report.from_dict(json.loads(text)).to_dict() == json.loads(text)


def test_every_command_and_flag_setting_and_field_is_in_the_readme():
    for command in COMMANDS:
        assert f"`halo {command.name}" in README
    info = get_provider_info()
    for option in info["config"]["halo"]["options"]:
        assert f"`{option}`" in README
    for field in info["connection-types"][0]["conn-fields"]:
        assert f"`{field}`" in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)$", README, re.MULTILINE)) | {"help"}))
def test_every_make_target_in_the_readme_is_one(target):
    made = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def _free_port() -> int:
    """A port below those that a system gives by itself: no test beside this one gets it before the sandbox does."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _commands() -> list[str]:
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    # Installing, the make targets, and what needs a running Airflow have tests of their own.
    return [line for line in lines if not line.startswith(("pip ", "make ", "curl ", "airflow "))]


def test_the_ten_minutes_run_as_they_are_written(tmp_path):
    port = str(_free_port())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    commands = [line.replace("8484", port).replace("/absolute/path/of", str(tmp_path)) for line in _commands()]
    # The database comes first: in the README it stands last, for those who have none.
    commands.sort(key=lambda line: not line.startswith("halo sample "))
    sandbox = None
    seen = {}
    try:
        for line in commands:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                environment[name] = shlex.split(value)[0]
            elif line.startswith("halo sandbox"):
                sandbox = subprocess.Popen(shlex.split(line), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
                _wait_for(f"http://127.0.0.1:{port}/_sandbox/state")
            else:
                done = subprocess.run(
                    shlex.split(line), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                seen[line] = done.stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_sandbox/state") as answer:
            state = json.load(answer)
    finally:
        if sandbox is not None:
            sandbox.terminate()
            sandbox.wait(timeout=20)
    assert "dry run, nothing sent" in seen["halo sync my_dags/halo.yaml --dry-run"]
    assert "Halo is known to have 20 companies" in seen["halo status"]
    assert state["companies"] == 20
    assert state["users"] > 100
    assert sorted(path.name for path in (tmp_path / "my_dags").glob("*.py")) == sorted(
        path.name for path in (ROOT / "dags").glob("*.py")
    )


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"nothing answers at {url}")
