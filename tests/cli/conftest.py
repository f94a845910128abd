"""A product's database, its plan, and Airflow's connections in the environment, for the command as a person types it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxConfig()) as server:
        yield server


@pytest.fixture
def make_plan(tmp_path, monkeypatch, sandbox) -> Callable[..., Path]:
    """Writes a plan, and the product that it reads by the connection ``app``."""

    def make(text: str, *, product: str) -> Path:
        with sqlite3.connect(tmp_path / "app.db") as database:
            database.executescript(product)
        database.close()
        halo = {
            "conn_type": "halo",
            "password": "ab_live_sandbox",
            "host": sandbox.url,
            "extra": {"identity_secret": "ha_secret_sandbox"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_HALO_DEFAULT", json.dumps(halo))
        monkeypatch.setenv("AIRFLOW_CONN_APP", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "app.db")}))
        path = tmp_path / "halo.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return make
