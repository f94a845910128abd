"""Connections to source databases: opened read-only, handed back as they were, and cancelled from another thread."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import starmap
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.exceptions import PlanError, SourceError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.breaks import Breaks
from airflow_provider_halo.source.columns import check_columns
from airflow_provider_halo.source.errors import source_error
from airflow_provider_halo.source.sql import without_rows
from airflow_provider_halo.source.sqlite_types import broken_texts

__all__ = [
    "Sources",
    "ask",
    "canceller",
    "close_cursors_quietly",
    "columns_of",
    "discard",
    "engine_of",
    "explained",
    "names_of",
    "open_for_long",
    "read_only",
]

log = logging.getLogger(__name__)

Sources: TypeAlias = "Callable[[str], sa.Engine]"
"""Id of a connection → engine of its database. The one seam to Airflow's connections."""

# Statements that make the transaction they open read-only; it ends when the connection goes back to its pool. What
# PostgreSQL is told of times ends with it: what has no time zone is in UTC, and so is a day that its SQL takes of a moment.
_READ_ONLY = {
    "postgresql": (
        "SET TRANSACTION READ ONLY; SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO'; "
        "SET LOCAL intervalstyle = 'iso_8601'"
    ),
    "mysql": "START TRANSACTION READ ONLY",
    "mariadb": "START TRANSACTION READ ONLY",
}

_DAY = 86_400
_OPEN_FOR_LONG = "halo_open_for_long"
_POSTGRESQL_LIMITS = (((9, 6), "idle_in_transaction_session_timeout"), ((17,), "transaction_timeout"))
# Seconds, but for MySQL's own, which is in milliseconds. 0 is no limit.
_MYSQL_LIMITS = {"net_write_timeout": _DAY, "wait_timeout": _DAY}
_MARIADB_LIMITS = dict.fromkeys(
    ("max_statement_time", "idle_transaction_timeout", "idle_readonly_transaction_timeout"), _DAY
)
_MYSQL_OWN_LIMITS = {"max_execution_time": 1_000 * _DAY}

# Negative: KiB. A batch reads by several connections, its rows in the order of their keys and each page once, for which
# SQLite's 2 MB a connection are of little use.
_SQLITE_CACHE = -512


def engine_of(query: Query, sources: Sources) -> sa.Engine:
    """The engine of a query's database.

    :raises SourceError: when its driver isn't installed. `sources` raises for a connection that doesn't exist.
    """
    try:
        return sources(query.source)
    except (ImportError, exc.NoSuchModuleError) as error:
        raise SourceError(
            f"Connection {query.source!r} needs a database driver that isn't installed ({error}); "
            "install the Airflow provider of that database."
        ) from error


@contextmanager
def read_only(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection on which nothing can be written, as far as the database knows such a thing, and whose times are in UTC."""
    with engine.connect() as connection, _in_utc(connection):
        statement = _READ_ONLY.get(connection.dialect.name)
        if statement is not None:
            connection.exec_driver_sql(statement)
        if connection.dialect.name != "sqlite":
            yield connection
            return
        with _sqlite_pragmas(connection, query_only=1, cache_size=_SQLITE_CACHE):
            yield connection


def open_for_long(connection: sa.Connection) -> None:
    """Have the database bear with a statement whose rows are taken as slowly as Halo takes them: a pause lasts for minutes.

    The session's own limits are raised, never lowered: on an idle transaction (PostgreSQL; its limit on a statement counts
    each fetch by itself, so it is left as it is), and on the time in which rows are taken and a statement is over (MySQL and
    MariaDB, which count the pauses in). They stay with a pooled connection.
    """
    if connection.dialect.name == "postgresql":
        _lift_limits_in_postgresql(connection)
    elif connection.dialect.name in {"mysql", "mariadb"} and not connection.info.get(_OPEN_FOR_LONG):
        connection.info[_OPEN_FOR_LONG] = True
        _raise_limits_in_mysql(connection)


def _lift_limits_in_postgresql(connection: sa.Connection) -> None:
    version = connection.dialect.server_version_info or ()
    names = [name for since, name in _POSTGRESQL_LIMITS if version >= since]
    if names:  # for this transaction only
        connection.exec_driver_sql("SELECT " + ", ".join(f"set_config('{name}', '0', true)" for name in names))


def _raise_limits_in_mysql(connection: sa.Connection) -> None:
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    for limits in (_MYSQL_LIMITS, _MARIADB_LIMITS if is_mariadb else _MYSQL_OWN_LIMITS):
        # Best effort: an old release, or a proxy in front of it, may lack one of them.
        with contextlib.suppress(exc.DBAPIError):
            connection.exec_driver_sql(f"SET SESSION {', '.join(starmap(_raised, limits.items()))}")


def _raised(name: str, least: int) -> str:
    return f"{name} = IF(@@{name} = 0, 0, GREATEST(@@{name}, {least}))"


@contextmanager
def _in_utc(connection: sa.Connection) -> Iterator[None]:
    """MySQL gives a TIMESTAMP in the time zone of the session: in another one than UTC two moments of an autumn night are one."""
    if connection.dialect.name not in {"mysql", "mariadb"}:
        yield
        return
    connection.exec_driver_sql("SET @halo_time_zone = @@time_zone, time_zone = '+00:00'")
    try:
        yield
    finally:
        if not connection.invalidated and not isinstance(connection.engine.pool, sa.NullPool):
            try:
                connection.exec_driver_sql("SET time_zone = @halo_time_zone")
            except exc.SQLAlchemyError:  # cancelled in the middle: not for the pool's next user
                connection.invalidate()


@contextmanager
def _sqlite_pragmas(connection: sa.Connection, **settings: int) -> Iterator[None]:
    """SQLite keeps these for the connection, not the transaction; the pool's next user may want them as they were."""
    before = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in settings}
    try:
        for name, value in settings.items():
            connection.exec_driver_sql(f"PRAGMA {name} = {value}")
        yield
    finally:
        if not connection.invalidated:
            for name, value in before.items():
                connection.exec_driver_sql(f"PRAGMA {name} = {value}")


def ask(engine: sa.Engine, query: Query, statement: sa.Executable) -> list[sa.Row[Any]]:
    """All rows of a statement that gives few: probes, counts, bounds.

    :raises SourceError: when the database refuses it.
    :raises PlanError: when it does so for a column that the plan names and the query lacks.
    """
    breaks = Breaks(engine)
    while True:
        try:
            with read_only(engine) as connection, broken_texts(connection):
                return list(connection.execute(statement))
        except exc.SQLAlchemyError as error:
            pause = breaks.pause(error)
            if pause is None:
                # From None: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
                raise explained(error, engine, query) from None
        log.warning("%s: the connection to its database broke; asking again in %.1f s", query.name, pause)
        time.sleep(pause)


def columns_of(engine: sa.Engine, query: Query) -> list[str]:
    """The columns of a query that are sent: without the record's key, its company's, and what only serves an order.

    :raises SourceError: when the database refuses it.
    """
    try:
        with read_only(engine) as connection:
            names = list(connection.execute(without_rows(query)).keys())
    except exc.SQLAlchemyError as error:
        raise explained(error, engine, query) from None
    return [name for name in names if name not in query.unsent | {query.key, query.company}]


def names_of(engine: sa.Engine, query: Query) -> tuple[str, ...]:
    """All columns that a query gives, held against the plan.

    :raises SourceError: when the database refuses it.
    :raises PlanError: when it lacks a column that the plan names, or has one that Halo reserves.
    """
    try:
        with read_only(engine) as connection:
            names = tuple(connection.execute(without_rows(query)).keys())
    except exc.SQLAlchemyError as error:
        raise explained(error, engine, query) from None
    check_columns(query, names)
    return names


def explained(error: Exception, engine: sa.Engine, query: Query) -> SourceError | PlanError:
    """What to raise for an error of a query: where the query runs but lacks a column that the plan names, that."""
    if isinstance(error, (exc.ProgrammingError, exc.OperationalError)) and not error.connection_invalidated:
        names = _columns(engine, query)
        if names is not None:
            try:
                check_columns(query, names)
            except PlanError as missing:
                return missing
    return source_error(error, query)


def _columns(engine: sa.Engine, query: Query) -> list[str] | None:
    """The columns of a query; None where it doesn't run at all, for which the caller has an error already."""
    try:
        with read_only(engine) as connection:
            return list(connection.execute(without_rows(query)).keys())
    except exc.SQLAlchemyError:
        return None


def canceller(connection: sa.Connection, engine: sa.Engine) -> Callable[[], None]:
    """What ends, from another thread, whatever the connection is executing; that thread gets an error or a short result.

    Best effort: where it can't be cancelled, a query only ends later, by itself.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name in {"mysql", "mariadb"}:
        # Asked now: mysqlclient refuses the question from another thread. MySQL's own driver has another name for it.
        number = int(driver.thread_id() if hasattr(driver, "thread_id") else driver.connection_id)

        def kill() -> None:
            with contextlib.suppress(exc.SQLAlchemyError), engine.connect() as other:
                other.exec_driver_sql(f"KILL QUERY {number}")

        return kill
    # psycopg and psycopg2: cancel(); sqlite3: interrupt(). Their documentation allows both from another thread.
    end = getattr(driver, "cancel", None) or getattr(driver, "interrupt", None)

    def interrupt() -> None:
        # The reader may close the connection at the same moment, and then there is nothing to end.
        with contextlib.suppress(*_driver_errors(engine.dialect)):
            if end is not None:
                end()

    return interrupt


def discard(result: sa.CursorResult[Any]) -> None:
    """Close a result that was cancelled midway. MySQL's drivers then meet the cancellation once more, as an error."""
    with contextlib.suppress(*_driver_errors(result.connection.dialect)):
        if result.cursor is not None:
            result.cursor.close()


def close_cursors_quietly(engine: sa.Engine) -> None:
    """Close the cursor of a statement that failed before SQLAlchemy does, which would log what a cancelled one says to that.

    mysqlclient's cursor, when it is closed, meets the cancellation that its fetch has met already.
    """
    if not sa.event.contains(engine, "handle_error", _close_cursor):
        sa.event.listen(engine, "handle_error", _close_cursor)


def _close_cursor(context: sa.engine.ExceptionContext) -> None:
    cursor: Any = None if context.execution_context is None else context.execution_context.cursor
    if cursor is None:
        return
    if context.dialect.driver == "pymysql" and not (cursor.connection and cursor.connection.open):
        # The connection is gone, and PyMySQL would read the rest of the rows from it: now, and when it forgets the cursor.
        cursor.connection = None
        if cursor._result is not None:  # noqa: SLF001 (nothing of PyMySQL's says it otherwise)
            cursor._result.unbuffered_active = False  # noqa: SLF001
    with contextlib.suppress(*_driver_errors(context.dialect)):
        cursor.close()


def _driver_errors(dialect: sa.Dialect) -> tuple[type[Exception], ...]:
    return () if dialect.dbapi is None else (dialect.dbapi.Error,)
