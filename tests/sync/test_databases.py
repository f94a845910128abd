"""The worked example gives Halo the same state from every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import own_url

from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.sample.data import open_database, write_sample
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.run import sync_plan

SECRET = "ha_secret_for_tests_that_is_long_enough"


@pytest.fixture
def database_url(request, tmp_path) -> Iterator[str]:
    """A database of this test's own, by the driver that the test names."""
    yield from own_url(request.param, tmp_path, "demo")


def _state_from(url: str) -> tuple[str, dict]:
    engine = open_database(url)
    try:
        write_sample(engine, companies=40, users=700)
        with SandboxServer(SandboxConfig(identity_secret=SECRET)) as server:
            settings = HaloSettings(widget_key="ab_live_sandbox", identity_secret=SECRET, base_url=server.url)
            report = sync_plan(load_plan(PLAN), sources=lambda _: engine, settings=settings, batch_size=150)
            return server.store.digest(), {**report.to_dict(), "seconds": 0}
    finally:
        engine.dispose()


@pytest.mark.databases
@pytest.mark.parametrize("database_url", ["psycopg2", "pymysql"], indirect=True)
def test_the_same_plan_gives_the_same_state_as_from_sqlite(database_url, tmp_path):
    from_sqlite = _state_from(f"sqlite:///{tmp_path / 'same.db'}")
    assert from_sqlite[1]["companies"]["stored"] == 40
    assert from_sqlite[1]["users"]["stored"] == 700
    assert _state_from(database_url) == from_sqlite
