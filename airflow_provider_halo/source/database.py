"""Connections to source databases: opened read-only, handed back as they were, and cancelled from another thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.exceptions import PlanError, SourceError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.columns import check_columns
from airflow_provider_halo.source.errors import source_error
from airflow_provider_halo.source.sql import without_rows

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
    "read_only",
]

Sources: TypeAlias = "Callable[[str], sa.Engine]"
"""Id of a connection → engine of its database. The one seam to Airflow's connections."""

# Statements that make the transaction they open read-only; it ends when the connection goes back to its pool.
_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "START TRANSACTION READ ONLY",
    "mariadb": "START TRANSACTION READ ONLY",
}

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
    """A connection on which nothing can be written, as far as the database knows such a thing."""
    with engine.connect() as connection:
        statement = _READ_ONLY.get(connection.dialect.name)
        if statement is not None:
            connection.exec_driver_sql(statement)
        if connection.dialect.name != "sqlite":
            yield connection
            return
        with _sqlite_pragmas(connection, query_only=1, cache_size=_SQLITE_CACHE):
            yield connection


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
    try:
        with read_only(engine) as connection:
            return list(connection.execute(statement))
    except exc.SQLAlchemyError as error:
        # From None: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
        raise explained(error, engine, query) from None


def columns_of(engine: sa.Engine, query: Query) -> list[str]:
    """The columns that a query gives, without the record's key and its company's.

    :raises SourceError: when the database refuses it.
    """
    try:
        with read_only(engine) as connection:
            names = list(connection.execute(without_rows(query)).keys())
    except exc.SQLAlchemyError as error:
        raise explained(error, engine, query) from None
    return [name for name in names if name not in {query.key, query.company}]


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
        number = int(driver.thread_id())  # asked now: mysqlclient refuses the question from another thread

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
    cursor = None if context.execution_context is None else context.execution_context.cursor
    with contextlib.suppress(*_driver_errors(context.dialect)):
        if cursor is not None:
            cursor.close()


def _driver_errors(dialect: sa.Dialect) -> tuple[type[Exception], ...]:
    return () if dialect.dbapi is None else (dialect.dbapi.Error,)
