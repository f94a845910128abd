"""A ledger in a database of each kind; and the product, its plan and its Halo as the engine's tests have them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_halo.ledger.book import Book
from airflow_provider_halo.ledger.ledger import Ledger, Pages
from airflow_provider_halo.ledger.schema import METADATA
from airflow_provider_halo.settings import HaloSettings

# By its path: test folders are no packages, so one can't import from another.
_SPEC = importlib.util.spec_from_file_location(
    "halo_tests_engine", Path(__file__).parents[1] / "engine" / "conftest.py"
)
_engine = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _engine
_SPEC.loader.exec_module(_engine)

app_of = _engine.app_of

POSTGRESQL = os.environ.get("HALO_TEST_POSTGRESQL", "postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("HALO_TEST_MARIADB", "root@127.0.0.1:3306/test")
DRIVERS = {
    "psycopg": f"postgresql+psycopg://{POSTGRESQL}",
    "psycopg2": f"postgresql+psycopg2://{POSTGRESQL}",
    "mysqlclient": f"mysql+mysqldb://{MARIADB}?charset=utf8mb4",
    "pymysql": f"mysql+pymysql://{MARIADB}?charset=utf8mb4",
}


def _own_database(driver: str, folder: Path) -> Iterator[str]:
    if driver == "sqlite":
        yield f"sqlite:///{folder}/ledger.db"
        return
    url = sa.make_url(DRIVERS[driver])
    try:
        server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    except ModuleNotFoundError as missing:
        pytest.skip(f"the driver {missing.name} isn't installed (it has to be compiled)")
    own = f"halo_ledger_{driver}_{os.getpid()}"
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {own}")
            # No character set: a ledger must not depend on what its database was made with.
            connection.exec_driver_sql(f"CREATE DATABASE {own}")
    except sa.exc.OperationalError:
        pytest.skip(f"{url.get_backend_name()} doesn't answer at {url.host}:{url.port}")
    yield url.set(database=own).render_as_string(hide_password=False)
    with server.connect() as connection:
        # A test that failed may still hold a connection.
        force = " WITH (FORCE)" if server.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP DATABASE {own}{force}")
    server.dispose()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=[] if name == "sqlite" else [pytest.mark.databases]) for name in ("sqlite", *DRIVERS)
    ],
)
def own_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of this session's own: of each kind, by each driver."""
    yield from _own_database(request.param, tmp_path_factory.mktemp("ledger"))


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
def pages(ledger: Ledger, halo: HaloSettings) -> Pages:
    return ledger.pages("halo", halo)


@pytest.fixture
def book(pages: Pages) -> Book:
    return pages.book
