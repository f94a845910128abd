"""pretix's database, filled, and Halo's sandbox beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import POSTGRESQL
from products.build import migrate
from products.organisers import Organisers

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

PLAN = Path(__file__).with_name("pretix.yaml")
_DATABASE = "halo_pretix"


@dataclass
class Product:
    """A product in use, and the command that brings it to Halo."""

    engine: sa.Engine
    organisers: Organisers
    sandbox: SandboxServer
    folder: Path
    environment: dict[str, str]
    plan: Path = PLAN

    def halo(self, *words: str, succeeds: bool = True) -> str:
        """What a ``halo`` command prints."""
        command = [sys.executable, "-m", "airflow_provider_halo", *words]
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) is succeeds, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def sync(self, *words: str, plan: Path | None = None, succeeds: bool = True) -> dict[str, Any]:
        """The report of a run with the ledger."""
        path = self.folder / "report.json"
        self.halo(
            "sync", str(plan or self.plan), "--ledger", "ledger", "--report", str(path), *words, succeeds=succeeds
        )
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report


@pytest.fixture(scope="session")
def pretix_python() -> Path:
    python = os.environ.get("HALO_TEST_PRETIX_PYTHON")
    if not python:
        pytest.skip("needs an environment with pretix: make test-product makes it")
    return Path(python).absolute()


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("sqlite", "postgresql")],
)
def migrated(request, tmp_path_factory, pretix_python) -> Iterator[sa.URL]:
    """A database with pretix's tables and nothing in them, which tests copy."""
    if request.param == "sqlite":
        url = sa.make_url(f"sqlite:///{tmp_path_factory.mktemp('pretix') / 'pretix.db'}")
        migrate(url, pretix_python)
        yield url
        return
    server = sa.create_engine(f"postgresql+psycopg2://{POSTGRESQL}", isolation_level="AUTOCOMMIT")
    url = server.url.set(database=f"{_DATABASE}_template")
    try:
        _make(server, url.database)
    except sa.exc.OperationalError as error:
        pytest.skip(f"PostgreSQL doesn't answer: {str(error.orig).splitlines()[0]}")
    migrate(url, pretix_python)
    yield url
    _drop(server, url.database)


@pytest.fixture
def product(migrated, tmp_path) -> Iterator[Product]:
    if migrated.get_backend_name() == "sqlite":
        url = migrated.set(database=str(tmp_path / "pretix.db"))
        shutil.copy(migrated.database, url.database)
        connection = {"conn_type": "sqlite", "host": url.database}
    else:
        url = migrated.set(database=_DATABASE)
        server = sa.create_engine(f"postgresql+psycopg2://{POSTGRESQL}", isolation_level="AUTOCOMMIT")
        _make(server, _DATABASE, template=migrated.database)
        connection = {
            "conn_type": "postgres",
            "host": url.host,
            "port": url.port,
            "login": url.username,
            "password": url.password,
            "schema": url.database,
        }
    engine = sa.create_engine(url)
    organisers = Organisers(engine)
    organisers.fill()
    with SandboxServer(SandboxConfig()) as sandbox:
        halo = {
            "conn_type": "halo",
            "password": "ab_live_sandbox",
            "host": sandbox.url,
            "extra": {"identity_secret": "ha_secret_sandbox"},
        }
        environment = {
            "AIRFLOW_CONN_PRETIX": json.dumps(connection),
            "AIRFLOW_CONN_HALO_DEFAULT": json.dumps(halo),
            "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}),
        }
        yield Product(engine, organisers, sandbox, tmp_path, environment)
    engine.dispose()
    if migrated.get_backend_name() != "sqlite":
        _drop(server, _DATABASE)


def _make(server: sa.Engine, name: str, *, template: str = "template0") -> None:
    _drop(server, name)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")


def _drop(server: sa.Engine, name: str) -> None:
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
