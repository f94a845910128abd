"""The ledger's database: transactions that are tried again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, final

import sqlalchemy as sa
from sqlalchemy import exc
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from airflow_provider_halo.exceptions import LedgerError, SetupError
from airflow_provider_halo.ledger.schema import DIALECTS, VERSION, NewerSchema, prepare
from airflow_provider_halo.ledger.statements import insert_absent

__all__ = ["PATIENCE", "Database"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PATIENCE: Final = 60.0  # seconds that a database may be away, or a table locked, before it counts as failed
_ATTEMPTS_TO_PREPARE: Final = 4
# Not "no such" alone: PostgreSQL's Unix socket is "no such file" while the server is down.
_PERMANENT: Final = (
    *("no such table", "no such column", "unknown database", "does not exist"),
    *("access denied", "authentication", "unable to open"),
)
_BUSY_TIMEOUT: Final = 20_000  # milliseconds that SQLite itself waits for another process's transaction


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
            sa.event.listen(engine, "connect", _share_file)

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

    def id_of(self, table: sa.Table, query: sa.Select[tuple[Any]], values: Mapping[str, Any]) -> int:
        """The id of a row, which is made when it isn't there; several processes may ask for it at once.

        :param query: gives the id; ``values``: of the row that is made.
        :raises LedgerError: when the database can't be reached or refuses it.
        """
        # In transactions of their own: MySQL's second look in one of them would see what the first one saw.
        row_id = self.read(lambda connection: connection.scalar(query))
        if row_id is None:
            self.write(lambda connection: connection.execute(insert_absent(self.engine.dialect, table, values)))
            row_id = self.read(lambda connection: connection.scalar(query))
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
            return _is_transient(error) or (isinstance(error, exc.DBAPIError) and refusals < _ATTEMPTS_TO_PREPARE)

        try:
            self._patiently(self.engine.begin, prepare, worth_another_try)
        except NewerSchema as error:
            raise SetupError(
                f"The ledger in {self.conn_id!r} was made by a newer version of airflow-provider-halo (its tables have "
                f"version {error.version}, this package knows {VERSION}): upgrade the package here, too."
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
            retry=retry_if_exception(worth_another_try or _is_transient),
            stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            before_sleep=self._log_wait,
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
                f"The ledger database (connection {self.conn_id!r}) can't be used: {_message_of(error)}. {lost}"
            ) from None

    def _log_wait(self, state: RetryCallState) -> None:
        if state.attempt_number == 5:  # a lock is over by then
            log.warning("The ledger database (connection %r) doesn't answer; trying again", self.conn_id)


def _share_file(connection: Any, _: Any) -> None:
    """Let several processes use one SQLite file: writers wait for each other, readers for nobody."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A power failure may then take the last transactions away. They are sent once more: right, only slower.
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()


def _is_transient(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: a lock, a deadlock, a connection that broke."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        text = str(error.orig).lower()
        return not any(words in text for words in _PERMANENT)
    return isinstance(error, exc.TimeoutError)


def _message_of(error: Exception) -> str:
    """What a driver said, on one line and without the values that some put into it."""
    text = str(getattr(error, "orig", None) or type(error).__name__)
    return text.splitlines()[0].split("DETAIL")[0].strip().rstrip(".")[:200]
