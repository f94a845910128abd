"""Writes the sample product into a database, in bulk; replaces only tables that it created itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from airflow_provider_halo.sample.generate import Row, generate_rows
from airflow_provider_halo.sample.spread import DEFAULT_SEED, MAX_COMPANIES, USERS_PER_COMPANY, spread_users
from airflow_provider_halo.sample.tables import METADATA, SAMPLE_INFO

__all__ = ["SampleError", "WrittenRows", "database_error", "open_database", "write_sample"]

_ROWS_PER_INSERT = 10_000
_SECONDS_BETWEEN_PROGRESS = 2.0
_DRIVERS = {"postgresql": "psycopg2-binary (or psycopg)", "mysql": "pymysql (or mysqlclient)", "mariadb": "pymysql"}

Progress = Callable[[str], None]


class SampleError(Exception):
    """The sample can't be written or changed; the text is one sentence that names the remedy."""


@dataclass(slots=True)
class WrittenRows:
    """What was written.

    :param rows: number of rows by table.
    :param seconds: how long it took.
    """

    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        tables = ", ".join(f"{count:,} {name}" for name, count in self.rows.items())
        return f"{tables} in {self.seconds:.1f} s"


def open_database(url: str | URL) -> Engine:
    """An engine for a SQLAlchemy URL.

    :raises SampleError: when the URL can't be read or its driver isn't installed. The URL isn't shown: it may contain a
        password.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except ArgumentError:
        raise SampleError(
            "The database URL can't be read; it looks like sqlite:///forms.db, postgresql+psycopg2://user@host/db "
            "or mysql+pymysql://user@host/db."
        ) from None
    except (NoSuchModuleError, ModuleNotFoundError):
        name = make_url(url).get_backend_name()
        raise SampleError(
            f"No driver for {make_url(url).drivername!r} is installed: pip install {_DRIVERS.get(name, 'its driver')}."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _unsynced)
    return engine


def write_sample(
    engine: Engine,
    companies: int,
    users: int | None = None,
    *,
    seed: int = DEFAULT_SEED,
    progress: Progress | None = None,
) -> WrittenRows:
    """Create the sample's tables and fill them; the same arguments give the same rows everywhere.

    :param companies: 1 to 100,000.
    :param users: users in all, those without a team included; 25 times the companies by default.
    :param progress: is called with a line every few seconds.
    :raises SampleError: when the numbers are out of range, the database can't be reached, or it already has a table of
        the same name that is not the sample's.
    """
    users = companies * USERS_PER_COMPANY if users is None else users
    if not 1 <= companies <= MAX_COMPANIES:
        raise SampleError(f"companies must be 1 to {MAX_COMPANIES:,}, not {companies:,}.")
    if users < 1:
        raise SampleError(f"users must be at least 1, not {users:,}.")
    started = time.monotonic()
    try:
        _replace_tables(engine)
        with engine.begin() as connection:
            writer = _Writer(connection, users, progress)
            for team in generate_rows(spread_users(companies, users, seed), seed):
                writer.add(team.rows)
            writer.flush()
            connection.execute(
                SAMPLE_INFO.insert(), [{"seed": seed, "companies": companies, "users": users, "changes": 0}]
            )
        with engine.begin() as connection:
            for table in METADATA.sorted_tables:
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    index.create(connection)
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("ANALYZE")  # fresh tables have no statistics, and the plan's queries suffer
    except SQLAlchemyError as error:
        raise database_error(engine, error) from None
    return WrittenRows(rows=writer.written, seconds=time.monotonic() - started)


def database_error(engine: Engine, error: SQLAlchemyError) -> SampleError:
    """The error to raise for what a database refused, without the statement and its values."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return SampleError(f"The {engine.dialect.name} database {engine.url.database!r} refused: {lines[0]}")


class _Writer:
    """Collects rows by table and inserts ten thousand of them at a time."""

    def __init__(self, connection: Connection, users: int, progress: Progress | None) -> None:
        self._connection = connection
        self._users = users
        self._progress = progress
        self._waiting: dict[str, list[Row]] = {name: [] for name in METADATA.tables if name != SAMPLE_INFO.name}
        self.written: dict[str, int] = dict.fromkeys(self._waiting, 0)
        self._reported_at = time.monotonic()

    def add(self, rows: dict[str, list[Row]]) -> None:
        for name, more in rows.items():
            waiting = self._waiting[name]
            waiting.extend(more)
            if len(waiting) >= _ROWS_PER_INSERT:
                self._insert(name)

    def flush(self) -> None:
        for name in self._waiting:
            self._insert(name)

    def _insert(self, name: str) -> None:
        rows = self._waiting[name]
        for start in range(0, len(rows), _ROWS_PER_INSERT):
            self._connection.execute(METADATA.tables[name].insert(), rows[start : start + _ROWS_PER_INSERT])
        self.written[name] += len(rows)
        rows.clear()
        now = time.monotonic()
        if self._progress and now - self._reported_at >= _SECONDS_BETWEEN_PROGRESS:
            self._reported_at = now
            self._progress(f"{self.written['users']:,} of {self._users:,} users written")


def _replace_tables(engine: Engine) -> None:
    existing = set(inspect(engine).get_table_names())
    same_names = sorted(existing & METADATA.tables.keys())
    if same_names and SAMPLE_INFO.name not in existing:
        raise SampleError(
            f"The database {engine.url.database!r} already has tables that are not the sample's: "
            f"{', '.join(same_names)}; use an empty database."
        )
    METADATA.drop_all(engine)
    # Indexes come after the rows: building them once is several times faster than keeping them up.
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            bare = table.to_metadata(type(METADATA)())
            bare.indexes.clear()
            bare.create(connection)


def _unsynced(connection: object, _record: object) -> None:
    # The sample is written again in seconds; waiting for the disk at each commit buys nothing.
    connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]  # a DB-API connection has no base type
