"""A small shop in SQLite, its plan, a Halo on a loopback port, and Airflow's connections to both in the environment."""

from __future__ import annotations

import json
import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy

from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

KEY = "ab_live_provider_tests"
SECRET = "ha_secret_provider_tests_that_is_long_enough"

PLAN = """
version: 1
source: shop
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name, plan FROM teams
  context:
    integrations:
      label: Connected Integrations
      type: integration
      name: service
      sql: SELECT team_id, service, 1 AS connected, status FROM integrations
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, email FROM users
"""

SHOP = """
CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT, plan TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER, name TEXT, email TEXT);
CREATE TABLE integrations (team_id INTEGER, service TEXT, status TEXT);
INSERT INTO teams VALUES (1, 'Acme', 'pro'), (2, 'Globex', 'free'), (3, 'Initech', 'free');
INSERT INTO users VALUES (10, 1, 'Ada', 'ada@acme.test'), (11, 1, 'Bob', 'bob@acme.test'),
  (20, 2, 'Cy', 'cy@globex.test'), (30, 3, 'Di', 'di@initech.test'), (90, NULL, 'Zed', 'zed@nowhere.test');
INSERT INTO integrations VALUES (1, 'hubspot', 'error'), (2, 'slack', 'active');
"""


class TaskInstance(SimpleNamespace):
    """Airflow's side of a running task: what it pushed, and what others have."""

    def __init__(self, xcoms: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(**{"map_index": -1, "dag_id": "halo_weekly_sync", "run_id": "manual", **more})
        self.pushed: dict[str, Any] = {}
        self._xcoms = xcoms or {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, **_: Any) -> Any:
        return self._xcoms[task_ids]


@pytest.fixture(scope="module")
def _server():
    with SandboxServer(SandboxConfig(widget_key=KEY, identity_secret=SECRET)) as server:
        yield server


@pytest.fixture
def halo(_server, monkeypatch):
    """A Halo that knows nobody yet, as the connection halo_default."""
    _server.store.reset()
    _server.requests.reset()
    _server.faults.set(())
    connect(monkeypatch, host=_server.url)
    return _server


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str = "halo_default", **fields: Any) -> None:
    """Set a Halo connection; the right keys, unless others are given."""
    connection = {"conn_type": "halo", "password": KEY, "extra": {"identity_secret": SECRET}} | fields
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


@pytest.fixture
def set_halo(monkeypatch, _server):
    """Changes the connection halo_default."""

    def set_fields(**fields: Any) -> None:
        connect(monkeypatch, **({"host": _server.url} | fields))

    return set_fields


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The product's database, as the connection shop."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.executescript(SHOP)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    yield database
    database.close()


@pytest.fixture
def plan(tmp_path, monkeypatch, shop):
    """The plan of the shop, configured as [halo] plan."""
    path = tmp_path / "halo.yaml"
    path.write_text(PLAN, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__HALO__PLAN", str(path))
    return path


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger, configured as [halo] ledger_conn_id."""
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_HALO_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__HALO__LEDGER_CONN_ID", "halo_ledger")
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    yield Ledger(engine, "halo_ledger")
    engine.dispose()


@pytest.fixture
def run():
    """Runs an operator as Airflow does, without a scheduler: (what it returned, what it pushed)."""

    def run_operator(operator: Any, **context: Any) -> Any:
        context = {"ti": TaskInstance(), "params": {}, **context}
        operator.render_template_fields(context)
        task = context.get("task", operator)
        return task.execute(context)

    return run_operator


@pytest.fixture
def task_instance():
    """Makes a task instance that remembers what is pushed."""
    return TaskInstance


@pytest.fixture
def counts():
    """The counts of a report, without the zeros."""

    def nonzero(report: dict[str, Any]) -> dict[str, dict[str, int]]:
        scopes = {scope: report[scope] for scope in ("companies", "users", "links")}
        found = {scope: {name: count for name, count in given.items() if count} for scope, given in scopes.items()}
        return {scope: given for scope, given in found.items() if given}

    return nonzero
