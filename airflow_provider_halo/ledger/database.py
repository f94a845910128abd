"""The ledger's database: transactions that are tried again, upserts, and look-ups of many keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, final

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from airflow_provider_halo.exceptions import LedgerError, SetupError
from airflow_provider_halo.ledger.schema import DIALECTS, VERSION, NewerSchema, prepare

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PATIENCE: Final = 60.0  # seconds that a database may be away, or a table locked, before it counts as failed
_LOOKS: Final = 4
# Not "no such" alone: PostgreSQL's Unix socket is "no such file" while the server is down.
_LASTING: Final = (
    *("no such table", "no such column", "unknown database", "does not exist"),
    *("access denied", "authentication", "unable to open"),
)
_BUSY: Final = 20_000  # milliseconds that SQLite itself waits for another process's transaction


@final
class Database:
    """The database behind a ledger. Its methods may be called from any thread.

    What goes wrong for the moment (a lock, a deadlock, a restart) is tried again for a minute. All that is written may
    be written twice: a transaction whose fate isn't known is done again.

    :param conn_id: names it in errors.
    :raises SetupError: for a database that can't hold a ledger.
    """

    def __init__(self, engine: sa.Engine, conn_id: str, *, patience: float = PATIENCE) -> None:
        if engine.dialect.name not in DIALECTS:
            raise SetupError(
                f"The ledger connection {conn_id!r} leads to a database of the kind {engine.dialect.name}; a ledger lives in SQLite, "
                "PostgreSQL, MySQL or MariaDB."
            )
        self.engine = engine
        self.conn_id = conn_id
        self._patience = patience
        self._prepared = False
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _share)

    def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Do something that only reads; ``work`` must take all its rows.

        :raises LedgerError: when the database can't be reached or refuses it.
        """
        return self._patiently(self.engine.connect, work)

    def write(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Do something in one transaction, perhaps more than once.

        :raises LedgerError: when the database can't be reached or refuses it.
        """
        return self._patiently(self.engine.begin, work)

    def id_of(self, table: sa.Table, found: sa.Select[tuple[Any]], made: Mapping[str, Any]) -> int:
        """The id of a row, which is made when it isn't there; several processes may ask for it at once.

        :raises LedgerError: when the database can't be reached or refuses it.
        """
        # In transactions of their own: MySQL's second look in one of them would see what the first one saw.
        row_id = self.read(lambda connection: connection.scalar(found))
        if row_id is None:
            self.write(lambda connection: connection.execute(insert_absent(self.engine.dialect, table, made)))
            row_id = self.read(lambda connection: connection.scalar(found))
        return int(row_id)

    def prepare(self) -> None:
        """Make the tables where they aren't there. The first time, that is; then nothing.

        :raises LedgerError: when the database can't be reached or refuses it.
        :raises SetupError: for tables of a newer version of this package.
        """
        if self._prepared:
            return
        refusals = 0

        def worth_another_try(error: BaseException) -> bool:
            # Several tasks may begin at once; of two that make a table, one is refused, and finds it there when it looks
            # again. So a refusal that would be final elsewhere is worth a few looks here.
            nonlocal refusals
            refusals += 1
            return _is_passing(error) or (isinstance(error, exc.DBAPIError) and refusals < _LOOKS)

        try:
            self._patiently(self.engine.begin, prepare, worth_another_try)
        except NewerSchema as error:
            raise SetupError(
                f"The ledger in {self.conn_id!r} was made by a newer version of airflow-provider-halo (its tables have "
                f"version {error.found}, this package knows {VERSION}): upgrade the package here, too."
            ) from None
        self._prepared = True

    def _patiently(
        self,
        connect: Callable[[], Any],
        work: Callable[[sa.Connection], Result],
        worth_another_try: Callable[[BaseException], bool] | None = None,
    ) -> Result:
        def attempt() -> Result:
            with connect() as connection:
                return work(connection)

        retrying = Retrying(
            retry=retry_if_exception(worth_another_try or _is_passing),
            stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            before_sleep=self._say,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except exc.SQLAlchemyError as error:
            lost = (
                "What Halo has stored and the ledger doesn't know is sent once more by the next run."
                if self._prepared
                else "Check the connection, and that its login may make tables there."
            )
            # From None: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
            raise LedgerError(
                f"The ledger database (connection {self.conn_id!r}) can't be used: {_said(error)}. {lost}"
            ) from None

    def _say(self, state: RetryCallState) -> None:
        if state.attempt_number == 5:  # a lock is over by then
            log.warning("The ledger database (connection %r) doesn't answer; trying again", self.conn_id)


def rows_by_key(
    dialect: sa.Dialect, table: sa.Table, columns: Sequence[str], where: Mapping[str, Any]
) -> sa.Select[Any]:
    """The statement that looks rows up by their keys, which are one parameter, ``keys``, made by `many`.

    One parameter, where the database has a way: a statement of a thousand takes longer to write than to run.

    :param columns: what it gives.
    :param where: further columns of the primary key, and what they must equal.
    """
    wanted = [table.c[name] for name in columns]
    conditions = [table.c[name] == value for name, value in where.items()]
    if dialect.name == "sqlite":
        values = sa.func.json_each(sa.bindparam("keys", type_=sa.Text)).table_valued("value")
        return sa.select(*wanted).where(*conditions, table.c.key.in_(sa.select(values.c.value)))
    if dialect.name == "postgresql":
        # Key by key, which LATERAL with LIMIT says for sure: without statistics, as in a table that has just been
        # filled, the planner reads all of a plan's rows and filters them by an array.
        keys = (
            sa.func.unnest(sa.cast(sa.bindparam("keys", type_=_TEXTS), _TEXTS)).table_valued("key").render_derived("k")
        )
        found = sa.select(*wanted).where(*conditions, table.c.key == keys.c.key).limit(1).lateral("found")
        return sa.select(*(found.c[name] for name in columns)).select_from(keys.join(found, sa.true()))
    return sa.select(*wanted).where(*conditions, table.c.key.in_(sa.bindparam("keys", expanding=True)))


def many(dialect: sa.Dialect, values: Iterable[str]) -> str | list[str]:
    """The keys of a statement of `rows_by_key`."""
    listed = list(values)
    return json.dumps(listed) if dialect.name == "sqlite" else listed


class Upsert:
    """Inserts rows of a table, or changes those whose primary key is there, all in one statement.

    :param columns: that rows give.
    :param change: given the rows that would be inserted, the new values by column, in the order in which they are set:
        MySQL lets a later one see an earlier one's result. No parameters in it, which PyMySQL doesn't take there.
    """

    def __init__(
        self, dialect: sa.Dialect, table: sa.Table, columns: Sequence[str], change: Callable[[Any], Mapping[str, Any]]
    ) -> None:
        self._arrays = dialect.name == "postgresql"
        self._columns = tuple(columns)
        self._statement: sa.Executable
        if dialect.name in {"mysql", "mariadb"}:
            of_mysql = mysql.insert(table).values({name: sa.bindparam(name) for name in columns})
            self._statement = of_mysql.on_duplicate_key_update(list(change(of_mysql.inserted).items()))
            return
        insert: Any
        if self._arrays:
            # An array a column: psycopg2 would send a statement a row, and psycopg takes three times as long.
            arrays = [
                sa.cast(
                    sa.bindparam(name, type_=postgresql.ARRAY(_plain(table.c[name]))),
                    postgresql.ARRAY(_plain(table.c[name])),
                )
                for name in columns
            ]
            rows = sa.func.unnest(*arrays).table_valued(*columns).render_derived("new")
            insert = postgresql.insert(table).from_select(list(columns), sa.select(*(rows.c[name] for name in columns)))
        else:
            insert = sqlite.insert(table).values({name: sa.bindparam(name) for name in columns})
        self._statement = insert.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=dict(change(insert.excluded))
        )

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, each with all columns; no two of them with one primary key."""
        if not rows:
            return
        if self._arrays:
            connection.execute(self._statement, {name: [row[name] for row in rows] for name in self._columns})
        else:
            connection.execute(self._statement, list(rows))


_TEXTS: Final = postgresql.ARRAY(sa.Text())


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Text() if isinstance(column.type, sa.String) else column.type


def insert_absent(dialect: sa.Dialect, table: sa.Table, values: Mapping[str, Any]) -> sa.Executable:
    """The statement that inserts a row, and leaves alone what is there."""
    if dialect.name in {"mysql", "mariadb"}:
        return sa.insert(table).prefix_with("IGNORE").values(dict(values))
    insert: Any = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    return insert.values(dict(values)).on_conflict_do_nothing()  # type: ignore[no-any-return]  # either dialect's


def _share(connection: Any, _: Any) -> None:
    """Let several processes use one SQLite file: writers wait for each other, readers for nobody."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A power failure may then take the last transactions away. They are sent once more: right, only slower.
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()


def _is_passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: a lock, a deadlock, a connection that broke."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        text = str(error.orig).lower()
        return not any(words in text for words in _LASTING)
    return isinstance(error, exc.TimeoutError)


def _said(error: Exception) -> str:
    """What a driver said, on one line and without the values that some put into it."""
    text = str(getattr(error, "orig", None) or type(error).__name__)
    return text.splitlines()[0].split("DETAIL")[0].strip().rstrip(".")[:200]


@final
class ChangedRows:
    """Looks up, by their keys, the rows whose digest isn't the one that is given; those that aren't there are, too.

    Where the database has a way, it compares, and the driver has next to nothing to hand over: in SQLite that is also
    one step outside Python's lock instead of one a row.

    :param digest: the column with the digest.
    :param others: what else is given of a row.
    :param where: further columns of the primary key, and what they must equal.
    """

    def __init__(
        self, dialect: sa.Dialect, table: sa.Table, digest: str, others: Sequence[str], where: Mapping[str, Any]
    ) -> None:
        self._others = len(others)
        self._dialect = dialect
        self._compares = dialect.name in {"sqlite", "postgresql"}
        if not self._compares:
            self._statement = rows_by_key(dialect, table, ["key", digest, *others], where)
            return
        given = sa.bindparam("keys", type_=sa.Text)
        conditions = [table.c[name] == value for name, value in where.items()]
        if dialect.name == "sqlite":
            keys = sa.func.json_each(given).table_valued("key", "value")
            rows = keys.outerjoin(table, sa.and_(*conditions, table.c.key == keys.c.key))
            found: Any = table
            hexadecimal = sa.func.lower(sa.func.hex(table.c[digest]))
        else:
            keys = sa.func.json_each_text(sa.cast(given, postgresql.JSON)).table_valued("key", "value")
            keys = keys.render_derived("k")
            wanted = sa.select(*(table.c[name] for name in (digest, *others)))
            # Key by key, as in `rows_by_key`.
            found = wanted.where(*conditions, table.c.key == keys.c.key).limit(1).lateral("found")
            rows = keys.outerjoin(found, sa.true())
            hexadecimal = sa.func.encode(found.c[digest], "hex")
        self._statement = (
            sa.select(keys.c.key, *(found.c[name] for name in (digest, *others)))
            .select_from(rows)
            .where(sa.or_(found.c[digest].is_(None), hexadecimal != keys.c.value))
        )

    def run(
        self, database: Database, parameters: Mapping[str, Any], digests: Mapping[str, bytes]
    ) -> Iterator[Sequence[Any]]:
        """The key, digest and other columns of the rows that differ; all but the key None of those that aren't there.

        :param digests: by key; an empty one is like none.
        :raises LedgerError: when the database can't be reached or refuses it.
        """
        keys: Any = list(digests)
        if self._compares:
            keys = msgspec.json.encode({key: digest.hex() for key, digest in digests.items()}).decode()
        rows: Sequence[Any] = database.read(
            lambda connection: connection.execute(self._statement, {**parameters, "keys": keys}).all()
        )
        if self._compares:
            yield from rows
            return
        missing = dict.fromkeys(digests)
        for row in rows:
            del missing[row[0]]
            if row[1] != digests[row[0]]:
                yield row
        for key in missing:
            yield (key, None, *[None] * self._others)
