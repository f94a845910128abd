"""Databases that the sample product is written to, for the tests of the sample and of the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_halo.sample.data import open_database, write_sample


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Callable[..., sa.Engine]]:
    """Writes the sample to a new SQLite database: ``product(companies=3, users=40)``."""
    engines: list[sa.Engine] = []

    def make(**numbers: int) -> sa.Engine:
        engine = open_database(f"sqlite:///{tmp_path}/{len(engines)}.db")
        engines.append(engine)
        write_sample(engine, **numbers)
        return engine

    yield make
    for engine in engines:
        engine.dispose()
