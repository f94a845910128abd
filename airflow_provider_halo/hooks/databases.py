"""The source databases of a plan: from an Airflow connection id to an SQLAlchemy engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowOptionalProviderFeatureException

from airflow_provider_halo.exceptions import ConnectionMissing, SetupError

if TYPE_CHECKING:
    import sqlalchemy
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection

    from airflow_provider_halo.source.database import Sources

__all__ = ["airflow_sources", "engine_of", "missing_connection"]

# Connection types whose provider package isn't named after them.
_PACKAGES = {
    "databricks_sql": "databricks",
    "duckdb": "airflow-provider-duckdb",
    "gcpbigquery": "google",
    "hiveserver2": "apache-hive",
    "mssql": "microsoft-mssql",
    "redshift": "amazon",
}


@contextmanager
def airflow_sources() -> Iterator[Sources]:
    """What gives the engine of a connection id; at the end, engines are disposed of.

    The engine is made on first use, from any thread, and keeps no pool: a batch runs a handful of long queries at once,
    each on a connection of its own. Where a connection can't be used, a `SetupError` names what is missing and how to fix it.
    """
    import sqlalchemy

    engines: dict[str, sqlalchemy.Engine] = {}
    lock = threading.Lock()

    def source(conn_id: str) -> sqlalchemy.Engine:
        with lock:
            if conn_id not in engines:
                engines[conn_id] = engine_of(conn_id, "The source connection", poolclass=sqlalchemy.NullPool)
            return engines[conn_id]

    try:
        yield source
    finally:
        for engine in engines.values():
            engine.dispose()


def missing_connection(conn_id: str, what: str) -> ConnectionMissing:
    """The error for a connection that Airflow doesn't know.

    :param what: what it is needed for, as the start of a sentence.
    """
    return ConnectionMissing(
        f"{what} {conn_id!r} is not there: create it in Airflow (Admin > Connections), or set the environment variable "
        f"AIRFLOW_CONN_{conn_id.upper()}."
    )


def engine_of(conn_id: str, what: str, **engine_options: Any) -> sqlalchemy.Engine:
    """The engine of a connection's database, which is connected to as its own hook does it, extras included.

    :param what: what the connection is for, as the start of a sentence.
    :param engine_options: for SQLAlchemy.
    :raises SetupError: naming what is missing and how to fix it.
    """
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    from airflow_provider_halo.hooks.engines import hook_engine

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id, what) from None
    hook = _sql_hook(connection, conn_id, what)
    try:
        engine: sqlalchemy.Engine = hook_engine(hook, connection, f"{what} {conn_id!r}", engine_options)
    except (ImportError, AirflowOptionalProviderFeatureException, NoSuchModuleError) as error:
        raise _driver_missing(connection, conn_id, what, error) from None
    # AirflowException: from PostgreSQL's provider before 7.1. Their text may show the URL, password included.
    except (AirflowException, ArgumentError, TypeError, ValueError):
        raise SetupError(
            f"{what} {conn_id!r} makes no usable database URL: check its host, port, schema and extras."
        ) from None
    return engine


def _sql_hook(connection: Connection, conn_id: str, what: str) -> DbApiHook:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    kind = connection.conn_type
    if not kind or kind in {"generic", "email", "mesos_framework-id"}:
        raise SetupError(
            f"{what} {conn_id!r} has the type {kind or 'none'!r}: give it the type of its database, "
            "for example postgres."
        )
    try:
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]  # Airflow's method has no types
    except ImportError as error:
        raise _driver_missing(connection, conn_id, what, error) from None
    except AirflowException:  # Airflow knows no hook for the type, so its provider isn't installed
        raise SetupError(
            f"{what} {conn_id!r} has the type {kind!r}, which no installed Airflow provider knows: "
            f"pip install {_package(kind)}, wherever tasks run."
        ) from None
    if not isinstance(hook, DbApiHook):
        raise SetupError(f"{what} {conn_id!r} has the type {kind!r}, which is no SQL database.")
    return hook


def _driver_missing(connection: Connection, conn_id: str, what: str, error: Exception) -> SetupError:
    missing = getattr(error, "name", None)
    package = f"the Python package {missing!r}" if missing else "the SQLAlchemy driver"
    return SetupError(
        f"{what} {conn_id!r} needs {package} of its database, which is not installed: "
        f"pip install {_package(connection.conn_type)} with the driver that its documentation names, wherever tasks run."
    )


def _package(conn_type: str | None) -> str:
    package = _PACKAGES.get(conn_type or "", (conn_type or "common_sql").replace("_", "-"))
    return package if package.startswith("airflow-provider") else f"apache-airflow-providers-{package}"
