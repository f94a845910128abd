"""The engine of a database hook: it connects as the hook itself does, by all extras of the Airflow connection."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowOptionalProviderFeatureException
from sqlalchemy.engine.interfaces import Dialect

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks.mysql import MySqlLogin, speaks_tls

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection

__all__ = ["WRITING_EXTRAS", "hook_engine"]

Arguments: TypeAlias = "Callable[[dict[str, Any]], dict[str, Any]]"
"""What a driver is called with, made of what SQLAlchemy would call it with, anew for each connection."""

# Extras of every SQL hook that say how it writes rows. Nothing is written here.
WRITING_EXTRAS = frozenset(
    {
        "placeholder",
        "insert_statement_format",
        "replace_statement_format",
        "escape_word_format",
        "escape_column_names",
        "dialect",
    }
)
# Extras that PostgresHook doesn't hand to libpq, if its release doesn't say so itself. `cursor` says what a row looks like
# to a task that reads by the hook; here rows are read by their columns' places, whatever it is.
_NOT_LIBPQ = frozenset(
    {
        "iam",
        "redshift",
        "redshift-serverless",
        "cursor",
        "cluster-identifier",
        "workgroup-name",
        "aws_conn_id",
        "azure_conn_id",
        "sqlalchemy_scheme",
        "sqlalchemy_query",
    }
)
_LIBPQ_DRIVERS = ("psycopg", "psycopg2")
# Between two fetches a connection is silent for as long as Halo pauses, and firewalls forget those that are. Seconds.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10}


def hook_engine(hook: DbApiHook, connection: Connection, where: str, engine_options: dict[str, Any]) -> sa.Engine:
    """The engine of a hook's database.

    PostgreSQL, MySQL, MariaDB and SQLite: the URL that Airflow's hooks make for SQLAlchemy lacks what they themselves
    connect with (TLS, session options), so that is added. Other hooks make their engines themselves.

    :param where: the connection in an error, as the start of a sentence.
    :raises SetupError: for an extra that can't be honoured.
    """
    kind = _kind(hook)
    if kind == "MySqlHook":
        login = MySqlLogin.of(connection, where, ignored=WRITING_EXTRAS)
        mysql = sa.create_engine(login.url, **engine_options)
        _connect_with(mysql, lambda arguments: {**arguments, **login.arguments, **_iam(hook, connection)}, where)
        if login.needs_tls:
            sa.event.listen(mysql, "connect", lambda driver, _: _refuse_plain_text(driver, where))
        return mysql
    if kind == "SqliteHook":
        return sa.create_engine(_sqlite_url(hook.get_uri()), **engine_options)
    try:
        engine: sa.Engine = hook.get_sqlalchemy_engine(engine_options)
    except AirflowOptionalProviderFeatureException:
        if not connection.extra_dejson.get("iam"):
            raise
        raise _no_cloud(where) from None
    if kind == "PostgresHook":
        extras = _libpq_extras(hook, connection)
        if extras and engine.dialect.driver not in _LIBPQ_DRIVERS:
            raise SetupError(
                f"{where} has extras that the driver {engine.dialect.driver} doesn't know ({', '.join(sorted(extras))}): "
                "take sqlalchemy_scheme out of its extras, or give them in sqlalchemy_query as that driver calls them."
            )
        if engine.dialect.driver in _LIBPQ_DRIVERS:
            _connect_with(
                engine, lambda arguments: {**_KEEPALIVES, **arguments, **_iam(hook, connection), **extras}, where
            )
    return engine


def _kind(hook: DbApiHook) -> str:
    """The name of the hook's class in Airflow's own provider; empty for one that makes its engine in its own way."""
    for cls in type(hook).__mro__:
        if cls.__module__.startswith("airflow.providers."):
            return cls.__name__
        if "get_sqlalchemy_engine" in vars(cls):
            return ""
    return ""


def _libpq_extras(hook: DbApiHook, connection: Connection) -> dict[str, Any]:
    ignored = _NOT_LIBPQ | WRITING_EXTRAS | frozenset(getattr(hook, "ignored_extra_options", ()))
    return {name: value for name, value in connection.extra_dejson.items() if name not in ignored}


def _iam(hook: Any, connection: Connection) -> dict[str, Any]:
    """Login by a cloud's token, where the connection asks for one. It lives for minutes, so each connection gets its own."""
    if not connection.extra_dejson.get("iam"):
        return {}
    token = hook.get_iam_token(deepcopy(connection))
    if len(token) == 2:  # MySqlHook's: a password and a port
        return {"password": token[0], "port": int(token[1])}
    return dict(zip(("user", "password", "port"), token, strict=True))


def _no_cloud(where: str) -> SetupError:
    return SetupError(
        f"{where} logs in by a cloud's token (iam), for which Airflow's provider of that cloud is not installed: pip install "
        "apache-airflow-providers-amazon (for azure_conn_id: -microsoft-azure), wherever tasks run."
    )


def _connect_with(engine: sa.Engine, arguments_of: Arguments, where: str) -> None:
    """From now on the engine's connections are opened with these arguments.

    They come as the connection is opened, not in the engine's own, which SQLAlchemy and Airflow may write to a log.
    """

    def connect(dialect: Dialect, _: Any, positional: Any, named: dict[str, Any]) -> Any:
        driver_errors = () if dialect.loaded_dbapi is None else (dialect.loaded_dbapi.Error,)
        try:
            return dialect.connect(*positional, **arguments_of(named))
        except (*driver_errors, SetupError):
            raise
        except (AirflowOptionalProviderFeatureException, ImportError):
            raise _no_cloud(where) from None
        except Exception as error:  # noqa: BLE001 (not swallowed; whatever a driver raises before it asks the server)
            # From None, and without its text: arguments are in it, the password among them.
            raise SetupError(
                f"{where} can't be opened, a {type(error).__name__} is raised before the database is asked: check login, "
                "password and extras, and that the files which they name exist."
            ) from None

    sa.event.listen(engine, "do_connect", connect)


def _refuse_plain_text(driver: Any, where: str) -> None:
    if not speaks_tls(driver):
        raise SetupError(
            f"{where} asks for TLS by its extras, and its server answered in plain text, so nothing was read: turn TLS on in "
            "the server, or take ssl and ssl_mode out of the extras."
        )


def _sqlite_url(uri: str) -> str:
    """A URL that SQLAlchemy reads as SqliteHook reads its own: what is behind the ``?`` is for SQLite (``mode=ro``)."""
    path, mark, parameters = uri.partition("?")
    return f"{path.replace('sqlite:///', 'sqlite:///file:', 1)}?{parameters}&uri=true" if mark else uri
