"""A ledger in a database of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from databases import DRIVERS, own_url

from airflow_provider_halo.ledger.acknowledged import AcknowledgedRecords
from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger
from airflow_provider_halo.ledger.schema import METADATA
from airflow_provider_halo.settings import HaloSettings


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=[] if name == "sqlite" else [pytest.mark.databases]) for name in ("sqlite", *DRIVERS)
    ],
)
def own_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of this session's own: of each kind, by each driver."""
    # No character set: a ledger must not depend on what its database was made with.
    yield from own_url(request.param, tmp_path_factory.mktemp("ledger"), "ledger")


@pytest.fixture
def engine(own_database: str) -> Iterator[sa.Engine]:
    """A database without tables."""
    engine = sa.create_engine(own_database)
    yield engine
    METADATA.drop_all(engine)
    engine.dispose()


@pytest.fixture
def halo() -> HaloSettings:
    return HaloSettings(widget_key="ab_live_test")


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    return Ledger(engine, "ledger", patience=20)


@pytest.fixture
def plan_ledger(ledger: Ledger, halo: HaloSettings) -> PlanLedger:
    return ledger.of_plan("halo", halo)


@pytest.fixture
def acknowledged(plan_ledger: PlanLedger) -> AcknowledgedRecords:
    return plan_ledger.acknowledged
