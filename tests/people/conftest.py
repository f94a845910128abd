"""A database of each kind and a sandbox, for people who belong to several companies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from tests.databases import Database
from tests.members import Club
from tests.product import SECRET


@pytest.fixture(scope="session")
def halo() -> Iterator[SandboxServer]:
    """A sandbox for all tests, emptied by each `Club.fill`."""
    with SandboxServer(SandboxConfig(identity_secret=SECRET)) as server:
        yield server


@pytest.fixture
def club(database: Database, halo: SandboxServer, tmp_path: Path) -> Iterator[Club]:
    """Memberships in a database of each kind."""
    halo.store.reset()
    made = Club(database, halo, tmp_path)
    yield made
    if made.app.ledger_engine is not None:
        made.app.ledger_engine.dispose()
