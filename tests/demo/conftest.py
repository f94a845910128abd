"""The demo's product in a database, and what brings it to a sandbox without Airflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.sample.data import open_database
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.run import sync_plan
from demo.rest import SandboxApi

SECRET = "ha_secret_for_tests_that_is_long_enough"
URLS = {
    "postgresql": "postgresql+psycopg2://" + os.environ.get("HALO_TEST_POSTGRESQL", "postgres@127.0.0.1:5432/test"),
    "mariadb": "mysql+pymysql://" + os.environ.get("HALO_TEST_MARIADB", "root@127.0.0.1:3306/test"),
}


class Halo:
    """A sandbox, and the demo's plan to fill it by."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.api = SandboxApi(server.root)
        self.settings = HaloSettings(widget_key="ab_live_sandbox", identity_secret=SECRET, base_url=server.url)

    def sync(self, engine: sa.Engine) -> Report:
        return sync_plan(load_plan(PLAN), sources=lambda _: engine, settings=self.settings, batch_size=100)

    def digest(self) -> str:
        return self.server.store.digest()


@pytest.fixture
def halo() -> Iterator[Halo]:
    with SandboxServer(SandboxConfig(identity_secret=SECRET)) as server:
        halo = Halo(server)
        yield halo
        halo.api.close()


@pytest.fixture
def server_database() -> Iterator[Callable[[str], sa.Engine]]:
    """Makes an empty database on a server of this machine; skips where the server doesn't answer."""
    made: list[tuple[sa.Engine, sa.Engine, str]] = []

    def make(name: str) -> sa.Engine:
        url = sa.make_url(URLS[name])
        server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        own = f"halo_demo_{os.getpid()}"
        try:
            with server.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {own}")
                connection.exec_driver_sql(f"CREATE DATABASE {own}")
        except sa.exc.OperationalError:
            pytest.skip(f"{name} doesn't answer at {url.host}:{url.port}")
        engine = open_database(url.set(database=own))
        made.append((server, engine, own))
        return engine

    yield make
    for server, engine, own in made:
        engine.dispose()
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {own}")
        server.dispose()
