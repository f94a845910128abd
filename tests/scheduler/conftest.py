"""A real Airflow for these tests: API server, scheduler and DAG processor on their own ports, in a temporary folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
import pytest
from recording import KEY, SECRET

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from demo.airflow_home import USER, AirflowHome, airflow
from demo.processes import Processes, listed

DAGS = Path(__file__).parents[2] / "dags"
TEAMS, USERS_OF_A_TEAM = 12, 10
PATIENCE = 90.0  # seconds for Airflow to do one thing; it takes a few, and CI machines are slow

PLAN = """
version: 1
source: shop
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name FROM teams
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, email FROM users
"""

MORE_DAGS = Path(__file__).parent / "more_dags.py"
LIMITED = ("limited", "limited_by_ledger")
RATE = 10  # requests per second of each


@dataclass(frozen=True)
class Part:
    """One of Airflow's processes: the words of its command, and settings of its own."""

    words: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)


PARTS = {name: Part([name]) for name in ("api-server", "scheduler", "dag-processor")}


@dataclass(frozen=True)
class Airflow:
    """An Airflow that runs, by its REST API and its files.

    :param limited: the Halos of the DAGs whose connections have a limit, by DAG.
    """

    home: Path
    halo: SandboxServer
    client: httpx.Client
    processes: Processes
    settings: Mapping[str, str]
    parts: Mapping[str, Part]
    starts: Counter[str] = field(default_factory=Counter)
    limited: Mapping[str, SandboxServer] = field(default_factory=dict)

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(f"/api/v2/{path}", params=params).raise_for_status().json()

    def queue(self, dag_id: str, **conf: Any) -> str:
        """Make a run, which begins once its DAG is unpaused."""
        made = self.client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        return made.raise_for_status().json()["dag_run_id"]

    def unpause(self, dag_id_pattern: str) -> None:
        """Let the DAGs of this pattern (``%`` for all) run, and what is queued begin."""
        found = self.client.patch(
            "/api/v2/dags", params={"dag_id_pattern": dag_id_pattern}, json={"is_paused": False}
        ).raise_for_status()
        assert found.json()["total_entries"] > 0

    def is_healthy(self) -> bool:
        """Whether the API server answers, and has heard of the others."""
        try:
            parts = self.client.get("/api/v2/monitor/health").json()
        except (httpx.TransportError, ValueError):
            return False
        return all(parts[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))

    def start(self, name: str) -> None:
        """Start one of its parts: the first time, or once more after `kill`."""
        part = self.parts[name]
        self.starts[name] += 1
        self.processes.start(self._current(name), airflow(*part.words), {**self.settings, **part.settings})

    def kill(self, name: str) -> None:
        """``kill -9`` of one of its parts and of all that it has started, as a container ends, or a service of systemd."""
        (pid,) = [started.pid for started in listed(self.processes.folder) if started.name == self._current(name)]
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def said(self, name: str) -> str:
        """What a part has printed, as far as it runs now."""
        return (self.processes.folder / f"{self._current(name)}.log").read_text(encoding="utf-8")

    def _current(self, name: str) -> str:
        return f"{name} {self.starts[name]}"

    def outcome(self, dag_id: str, run_id: str) -> str:
        """The state that a run ends in."""

        def ended() -> str | None:
            state = self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in {"success", "failed"} else None

        return wait_for(ended, f"{dag_id} to end")

    def tasks(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """The instances of one task, in the order of their map index."""
        found = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return sorted((task for task in found if task["task_id"] == task_id), key=lambda task: task["map_index"])

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task left in XCom."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, deserialize=True)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The log files of a task, all tries."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.log")))


def wait_for(ready: Callable[[], Any], what: str) -> Any:
    """Poll until something is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        time.sleep(0.5)
    pytest.fail(f"waited {PATIENCE:.0f} s for {what}")


@pytest.fixture(scope="module")
def part() -> type[Part]:
    """What `start_airflow` takes as a further part."""
    return Part


@pytest.fixture(scope="module")
def start_airflow(tmp_path_factory) -> Iterator[Callable[..., Airflow]]:
    """Starts an Airflow that knows a sandbox and the DAGs of a folder; at the end of the module it is stopped."""
    with ExitStack() as stack:

        def start(
            halo: SandboxServer,
            dags: Path,
            *,
            count: int,
            environment: Mapping[str, str],
            parts: Mapping[str, Part] = MappingProxyType({}),
        ) -> Airflow:
            folder = tmp_path_factory.mktemp("airflow")
            home = AirflowHome(
                folder=folder / "home",
                database=folder / "unused.db",
                sandbox_url=halo.url,
                widget_key=KEY,
                identity_secret=SECRET,
                batch_size=1_000,
            )
            home.create()
            settings = {**home.environment(), "AIRFLOW__CORE__DAGS_FOLDER": str(dags), **environment}
            processes = stack.enter_context(Processes(folder / "processes"))
            processes.run("migrate", airflow("db", "migrate"), settings)
            client = stack.enter_context(httpx.Client(base_url=home.url, timeout=30, trust_env=False))
            made = Airflow(home.folder, halo, client, processes, settings, {**PARTS, **parts})
            for name in made.parts:
                made.start(name)
            _wait_until_healthy(made, home, count)
            return made

        yield start


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory, start_airflow) -> Iterator[Airflow]:
    """An Airflow with the shipped DAGs and some more, a shop of 12 teams and 120 users, and a Halo."""
    folder = tmp_path_factory.mktemp("scheduler")
    _make_shop(folder / "shop.db")
    (folder / "halo.yaml").write_text(PLAN, encoding="utf-8")
    dags = folder / "dags"
    shutil.copytree(DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(MORE_DAGS, dags)
    config = SandboxConfig(widget_key=KEY, identity_secret=SECRET)
    with ExitStack() as stack:
        halo = stack.enter_context(SandboxServer(config))
        limited = {name: stack.enter_context(SandboxServer(config)) for name in LIMITED}
        environment = {
            **{f"AIRFLOW_CONN_HALO_{name.upper()}": _limited_connection(server) for name, server in limited.items()},
            "AIRFLOW_CONN_HALO_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
            "AIRFLOW__HALO__PLAN": str(folder / "halo.yaml"),
            "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(folder / "shop.db")}),
        }
        made = start_airflow(halo, dags, count=8, environment=environment)
        _add_connections(made)
        yield replace(made, limited=limited)


def _limited_connection(server: SandboxServer) -> str:
    extra = {"identity_secret": SECRET, "requests_per_second": RATE}
    return json.dumps({"conn_type": "halo", "host": server.url, "password": KEY, "extra": extra})


def _wait_until_healthy(made: Airflow, home: AirflowHome, count: int) -> None:
    wait_for(made.is_healthy, "Airflow to start")
    token = made.client.post("/auth/token", json={"username": USER, "password": home.password}).raise_for_status()
    made.client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    wait_for(lambda: made.get("dags")["total_entries"] == count, "the DAGs to be read")
    assert made.get("importErrors")["import_errors"] == []


def _add_connections(made: Airflow) -> None:
    """Connections in the metadata database, as the form saves them."""
    broken = {
        "halo_wrong": {"host": made.halo.url, "password": "ab_live_no_such_key", "extra": {"identity_secret": SECRET}},
        "halo_down": {
            "host": "http://127.0.0.1:9",
            "password": KEY,
            "extra": {"identity_secret": SECRET, "max_retry_seconds": 0.5},
        },
    }
    for conn_id, fields in broken.items():
        body = {"connection_id": conn_id, "conn_type": "halo", **fields, "extra": json.dumps(fields["extra"])}
        made.client.post("/api/v2/connections", json=body).raise_for_status()


def _make_shop(path: Path) -> None:
    teams = [(team, f"Team {team}") for team in range(1, TEAMS + 1)]
    users = [
        (user, (user - 1) // USERS_OF_A_TEAM + 1, f"User {user}", f"user{user}@private.test")
        for user in range(1, TEAMS * USERS_OF_A_TEAM + 1)
    ]
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT)")
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER, name TEXT, email TEXT)")
        database.executemany("INSERT INTO teams VALUES (?, ?)", teams)
        database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", users)
    database.close()
