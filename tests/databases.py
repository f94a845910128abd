"""Real databases for the reading side: SQLite always, PostgreSQL and MariaDB where they answer, each by two drivers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Company, ContextEntry, Payload, User
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.read import read_payloads

POSTGRESQL = os.environ.get("HALO_TEST_POSTGRESQL", "postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("HALO_TEST_MARIADB", "root@127.0.0.1:3306/test")
DRIVERS = {
    "psycopg": f"postgresql+psycopg://{POSTGRESQL}",
    "psycopg2": f"postgresql+psycopg2://{POSTGRESQL}",
    "mysqlclient": f"mysql+mysqldb://{MARIADB}?charset=utf8mb4",
    "pymysql": f"mysql+pymysql://{MARIADB}?charset=utf8mb4",
}


class Database:
    """A database of this test session's own, under the connection id ``app``."""

    def __init__(self, name: str, engine: sa.Engine) -> None:
        self.name = name
        self.engine = engine
        self.others: dict[str, sa.Engine] = {}
        self._tables: dict[str, str] = {}

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def sources(self, conn_id: str) -> sa.Engine:
        return {"app": self.engine, **self.others}[conn_id]

    def table(self, name: str, columns: str, rows: Sequence[Sequence[Any]] = ()) -> None:
        """An empty table, then these rows: ``table("teams", "id INT, name VARCHAR(40)", [(1, "One")])``."""
        if self._tables.get(name) == columns:
            self.run(f"DELETE FROM {name}")  # much faster than a new table
        else:
            self.run(f"DROP TABLE IF EXISTS {name}")
            self.run(f"CREATE TABLE {name} ({columns})")
            self._tables[name] = columns
            # Its other connections remember the table that was: SQLite how many columns it had, psycopg of which types.
            self.engine.dispose()
        self.insert(name, rows)

    def insert(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            names = [f"c{at}" for at in range(len(rows[0]))]
            values = ", ".join(f":{column}" for column in names)
            with self.engine.begin() as connection:
                connection.execute(
                    sa.text(f"INSERT INTO {name} VALUES ({values})"),
                    [dict(zip(names, row, strict=True)) for row in rows],
                )

    def run(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    def drop_tables(self) -> None:
        with self.engine.begin() as connection:
            for name in self._tables:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
        self._tables.clear()

    def connections_in_use(self) -> int:
        return sum(engine.pool.checkedout() for engine in (self.engine, *self.others.values()))


def own_url(driver: str, folder: Path, stem: str, charset: str = "") -> Iterator[str]:
    """The URL of a database that is this session's own, while it is needed.

    :param stem: part of its name.
    :param charset: of MariaDB's, as it stands after ``CREATE DATABASE``; without one it is the server's.
    """
    if driver == "sqlite":
        yield f"sqlite:///{folder}/{stem}.db"
        return
    url = sa.make_url(DRIVERS[driver])
    try:
        server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    except ModuleNotFoundError as missing:
        pytest.skip(f"the driver {missing.name} isn't installed (it has to be compiled)")
    own = f"halo_{stem}_{driver}_{os.getpid()}"
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {own}")
            connection.exec_driver_sql(f"CREATE DATABASE {own}{charset if server.dialect.name == 'mysql' else ''}")
    except sa.exc.OperationalError:
        pytest.skip(f"{url.get_backend_name()} doesn't answer at {url.host}:{url.port}")
    yield url.set(database=own).render_as_string(hide_password=False)
    with server.connect() as connection:
        # A test that failed may still hold a connection.
        force = " WITH (FORCE)" if server.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP DATABASE {own}{force}")
    server.dispose()


def _own(name: str, folder: Path, suffix: str = "") -> Iterator[Database]:
    for url in own_url(name, folder, f"reading{suffix}", " CHARACTER SET utf8mb4"):
        engine = sa.create_engine(url)
        yield Database(name, engine)
        engine.dispose()


def _param(name: str) -> Any:
    return pytest.param(name, marks=[] if name == "sqlite" else [pytest.mark.databases])


@pytest.fixture(scope="session", params=[_param(name) for name in ("sqlite", "psycopg", "pymysql")])
def each_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Each database, through one driver, for the whole session."""
    yield from _own(request.param, tmp_path_factory.mktemp("databases"), "_each")


@pytest.fixture(scope="session", params=[_param(name) for name in ("sqlite", *DRIVERS)])
def each_driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Each database, through each driver that Airflow's providers may bring, for the whole session."""
    yield from _own(request.param, tmp_path_factory.mktemp("databases"))


@pytest.fixture
def database(each_database: Database) -> Iterator[Database]:
    """An empty database of each kind."""
    yield each_database
    each_database.drop_tables()
    each_database.others.clear()


@pytest.fixture
def any_driver(each_driver: Database) -> Iterator[Database]:
    """An empty database of each kind, through each driver."""
    yield each_driver
    each_driver.drop_tables()
    each_driver.others.clear()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database."""
    yield from _own("sqlite", tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    """A second database, SQLite, for entries with a source of their own."""
    yield from _own("sqlite", tmp_path, "_other")


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str], LoadedPlan]:
    """Loads a plan from YAML; ``version: 1`` and ``source: app`` are put before it."""

    def load(yaml: str) -> LoadedPlan:
        path = tmp_path / "halo.yaml"
        path.write_text(f"version: 1\nsource: app\n{yaml}", encoding="utf-8")
        return load_plan(path)

    return load


class Read:
    """What reading a batch gave: records and problems in order, warnings by kind."""

    def __init__(self) -> None:
        self.records: list[Company | User | Problem] = []
        self.warnings: Counter[str] = Counter()

    def warn(self, kind: str, count: int) -> None:
        self.warnings[kind] += count


def read_records(*given: Any) -> Iterator[Company | User | Problem]:
    """What `read_payloads` gives, one by one, as the records whose bytes the payloads hold."""
    with closing(read_payloads(*given)) as blocks:
        for block in blocks:
            yield from map(record_of, block)


def record_of(payload: Payload | Problem) -> Company | User | Problem:
    """The record whose bytes a payload holds."""
    if isinstance(payload, Problem):
        return payload
    traits = json.loads(payload.traits or b"{}")
    entries = json.loads(payload.context or b"{}")
    context = {key: ContextEntry(**entry) for key, entry in entries.items()}
    if payload.scope == "companies":
        return Company(company_id=payload.key, traits=traits, context=context)
    return User(user_id=payload.key, company_id=payload.company_id, traits=traits, context=context)


@pytest.fixture
def read() -> Callable[..., Read]:
    """Reads one scope of a batch to the end."""

    def run(
        database: Database, plan: LoadedPlan, scope: QueryScope, batch: Batch | None = None, only: Sequence[str] = ()
    ) -> Read:
        result = Read()
        result.records.extend(
            read_records(scope, plan, select(plan, only), batch or Batch(), database.sources, result.warn)
        )
        assert database.connections_in_use() == 0
        return result

    return run
