"""The ledger's tables, and how they come to be: made by the package, with a schema version, on three kinds of database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from airflow_provider_halo.records.problem import STATUSES

__all__ = [
    "BATCHES",
    "DIALECTS",
    "ERASED",
    "GONE",
    "KEY_LENGTH",
    "METADATA",
    "NAMES",
    "PLANS",
    "RATES",
    "RECORDS",
    "REJECTS",
    "RUNS",
    "SCHEMA",
    "VERSION",
    "NewerSchema",
    "kept_key",
    "kept_text",
    "prepare",
]

VERSION: Final = 5
KEY_LENGTH: Final = 500  # characters of a key; a record with a longer one is sent each time, and not remembered
DIALECTS: Final = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})


class _Utf8(sa.types.TypeDecorator[str]):
    """A text that MySQL and MariaDB compare byte by byte: their own collations take ``a`` and ``a `` for the same key."""

    impl = mysql.VARBINARY
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> bytes | None:  # noqa: ARG002 (SQLAlchemy's signature)
        return None if value is None else value.encode()

    def process_result_value(self, value: Any, dialect: Any) -> str | None:  # noqa: ARG002 (SQLAlchemy's signature)
        return None if value is None else bytes(value).decode()


def _text_key(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(_Utf8(length * 4), "mysql", "mariadb")
    )


def _bytes(length: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


# Numbers that a row is given by its database. SQLite counts up in a column of its own kind only.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

METADATA: Final = sa.MetaData()

SCHEMA: Final = sa.Table(
    "halo_ledger_schema",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # always 1: the table has one row
    sa.Column("version", sa.Integer, nullable=False),
)

# A plan in a workspace: the same plan brought to another workspace starts from nothing there.
PLANS: Final = sa.Table(
    "halo_ledger_plans",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("workspace", _text_key(16), nullable=False),  # a digest of base URL and widget key, never these
    sa.Column("name", _text_key(KEY_LENGTH), nullable=False),
    sa.UniqueConstraint("workspace", "name", name="halo_ledger_plans_name"),
)

# A record is unknown (no row, or no fingerprint) or acknowledged (with the fingerprint of what Halo has). A record that
# has been acknowledged and is about to be sent again is made unknown first: should the process end before the answer
# is in, nobody takes the old fingerprint for what Halo has.
RECORDS: Final = sa.Table(
    "halo_ledger_records",
    METADATA,
    sa.Column("plan_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("scope", _text_key(16), primary_key=True),
    sa.Column("key", _text_key(KEY_LENGTH), primary_key=True),
    sa.Column("fingerprint", _bytes(16)),
    # See records.fingerprint. Without a fingerprint: what they were, for the one whose token the row has.
    sa.Column("parts", sa.LargeBinary()),
    sa.Column("refused", _bytes(16)),  # of what Halo refused last: the fingerprint of the payload and of the plan
    # Changes with every write. Who read a row and writes it later finds out whether somebody else did in between.
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("run_id", _ID),
    # The last time that Halo did, also where what it has isn't known by now. UTC, like all moments here.
    sa.Column("acknowledged_at", sa.DateTime),
)

REJECTS: Final = sa.Table(
    "halo_ledger_rejects",
    METADATA,
    sa.Column("plan_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("scope", _text_key(16), primary_key=True),
    sa.Column("key", _text_key(KEY_LENGTH), primary_key=True),
    sa.Column("field", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer),  # bytes of traits and context; null when it came to no payload
    sa.Column("first_seen", sa.DateTime, nullable=False),
    sa.Column("last_seen", sa.DateTime, nullable=False),
    sa.Column("run_id", _ID, nullable=False),
)


def _counts() -> list[sa.Column[Any]]:
    names = (*STATUSES, "requests", "retries", "bytes")
    return [sa.Column(name, sa.BigInteger, nullable=False, default=0) for name in names]


RUNS: Final = sa.Table(
    "halo_ledger_runs",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("plan_id", _ID, nullable=False),
    sa.Column("run_key", _text_key(KEY_LENGTH), nullable=False),  # of Airflow: DAG and run; of the command: made up
    sa.Column("whole", sa.Boolean, nullable=False),  # of the whole plan and all companies
    sa.Column("state", sa.String(16), nullable=False),  # running, done, failed
    sa.Column("reason", sa.Text),  # why it failed
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    *_counts(),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("report", _LONG),  # JSON: counts and keys, as in XCom
    sa.Column("gone", sa.Text),  # JSON: how many records of each scope the source no longer gives; null: not known
    sa.UniqueConstraint("plan_id", "run_key", name="halo_ledger_runs_key"),
    sa.Index("halo_ledger_runs_started", "plan_id", "started_at"),
)

BATCHES: Final = sa.Table(
    "halo_ledger_batches",
    METADATA,
    sa.Column("run_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("task", _text_key(250), primary_key=True),  # of a DAG, which may have several that sync; else empty
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("label", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    *_counts(),  # of the last attempt; requests, retries, bytes and seconds of all of them
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("report", _LONG),
    sa.Column("found", _LONG),  # JSON: how many records each query had rows for
)

# Every trait and entry that was ever sent: one that leaves the plan stays in Halo.
NAMES: Final = sa.Table(
    "halo_ledger_names",
    METADATA,
    sa.Column("plan_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("name", _text_key(KEY_LENGTH), primary_key=True),  # companies.traits.mrr, users.context.onboarding
    sa.Column("entry", _LONG),  # JSON of an entry's label, type and empty value; null for a trait
    sa.Column("run_id", _ID, nullable=False),  # the last run that sent it
    sa.Column("retired_at", sa.DateTime),  # when a run of the whole plan first went without it
)

# Records that Halo was sent and that the source no longer gives.
GONE: Final = sa.Table(
    "halo_ledger_gone",
    METADATA,
    sa.Column("plan_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("scope", _text_key(16), primary_key=True),
    sa.Column("key", _text_key(KEY_LENGTH), primary_key=True),
    sa.Column("since", sa.DateTime, nullable=False),  # when a run missed it first
    sa.Column("last_seen", sa.DateTime),  # when the source was known to give it last
    sa.Column("run_id", _ID, nullable=False),  # the last run that missed it; 0 once it was emptied, or has returned
    # JSON: the traits that say in Halo that it is gone, to be taken back when it is sent again. Written before they are sent.
    sa.Column("marked", sa.Text),
)

# Records that were erased, of all plans of a workspace: they are not to be sent again.
ERASED: Final = sa.Table(
    "halo_ledger_erased",
    METADATA,
    sa.Column("workspace", _text_key(16), primary_key=True),
    sa.Column("scope", _text_key(16), primary_key=True),
    sa.Column("key", _text_key(32), primary_key=True),  # a digest of the record's key, never the key
    sa.Column("erased_at", sa.DateTime, nullable=False),
)

# Of each workspace with a limit of requests per second: until when the time is reserved for requests, in microseconds
# since 1970 by the database's clock.
RATES: Final = sa.Table(
    "halo_ledger_rates",
    METADATA,
    sa.Column("workspace", _text_key(16), primary_key=True),
    sa.Column("reserved_until", sa.BigInteger, nullable=False),
)


def _add_rates(connection: sa.Connection) -> None:
    RATES.create(connection, checkfirst=True)  # there already, where a process was killed after making it


def _add_gone(connection: sa.Connection) -> None:
    GONE.create(connection, checkfirst=True)
    # Looked up, as there is no "if not exists" for columns: MySQL keeps what a killed process had made.
    if all(column["name"] != RUNS.c.gone.name for column in sa.inspect(connection).get_columns(RUNS.name)):
        connection.execute(sa.text(f"ALTER TABLE {RUNS.name} ADD COLUMN {RUNS.c.gone.name} TEXT"))


def _add_partial(connection: sa.Connection) -> None:
    """The count of records that are stored in part, of runs and batches."""
    column_type = sa.BigInteger().compile(connection.dialect)
    for table in (RUNS, BATCHES):
        # There already, where a process was killed after adding it.
        if "partial" not in {column["name"] for column in sa.inspect(connection).get_columns(table.name)}:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN partial {column_type} DEFAULT 0 NOT NULL")


def _add_erased(connection: sa.Connection) -> None:
    ERASED.create(connection, checkfirst=True)


# What brings a ledger from a version to the next one. Each takes a connection that is in a transaction.
_MIGRATIONS: Mapping[int, Callable[[sa.Connection], None]] = {
    1: _add_rates,
    2: _add_gone,
    3: _add_partial,
    4: _add_erased,
}


def kept_text(text: str, length: int) -> str:
    """A text as every database takes it: no NUL, no broken Unicode, no more characters than there is room for."""
    clean = text.replace("\0", "").encode("utf-8", "replace").decode()
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def kept_key(text: str) -> str:
    """A text that names a row, such as a DAG and its run: where it is too long, its end gives way to a digest of it."""
    if len(text) <= KEY_LENGTH:
        return text
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{text[: KEY_LENGTH - len(digest) - 1]}…{digest}"


class NewerSchema(Exception):
    """The tables were made by a newer version of this package.

    :param version: of the tables.
    """

    def __init__(self, version: int) -> None:
        super().__init__(f"schema version {version}, known is {VERSION}")
        self.version = version


def prepare(connection: sa.Connection) -> None:
    """Make the tables where they aren't, and bring older ones up to date. Takes a connection in a transaction.

    Of several processes that do it at once, all but one may get an error of the database: ask again then.

    :raises NewerSchema: for tables of a newer version.
    """
    _lock(connection)
    if not sa.inspect(connection).has_table(SCHEMA.name):
        # That of the schema last, in whose presence all are there: SQLite and MySQL make tables one by one, for all to
        # see, and another process may look, or this one may end, between two of them.
        METADATA.create_all(connection, [table for table in METADATA.sorted_tables if table is not SCHEMA])
        SCHEMA.create(connection)
    version = connection.scalar(sa.select(SCHEMA.c.version))
    if version is None:
        connection.execute(sa.insert(SCHEMA).values(id=1, version=VERSION))
        return
    if version > VERSION:
        raise NewerSchema(version)
    for step in range(version, VERSION):
        _MIGRATIONS[step](connection)
        connection.execute(sa.update(SCHEMA).values(version=step + 1))


def _lock(connection: sa.Connection) -> None:
    """Let one process at a time make tables, where the database can do that; it ends with the transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4817203344)")
