"""Rows of several queries at once, each read a few chunks ahead where its database is another process."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.breaks import Breaks, Given, Rows
from airflow_provider_halo.source.columns import check_columns
from airflow_provider_halo.source.database import (
    Sources,
    canceller,
    close_cursors_quietly,
    discard,
    engine_of,
    explained,
    open_for_long,
    read_only,
)
from airflow_provider_halo.source.drivers import decoder, texts_undecoded
from airflow_provider_halo.source.errors import source_changed
from airflow_provider_halo.source.sql import own_columns, without_rows
from airflow_provider_halo.source.sqlite_types import broken_texts, is_broken_text

__all__ = ["CHUNK_ROWS", "Stream", "Streams"]

log = logging.getLogger(__name__)

CHUNK_ROWS: Final = 250  # enough that what a chunk costs by itself doesn't count; four times as many take 8 MB more
_FIRST_ROWS: Final = 10  # of a chunk, until it is known how heavy rows are
_CHUNK_BYTES: Final = 500_000  # of texts in a chunk, about: heavy rows come in small chunks
_SAMPLE: Final = 10  # rows of a chunk that are weighed
_CHUNKS_AHEAD: Final = 3  # of each query: enough that reading and sending overlap, little enough that memory stays flat

_CANCEL_EVERY = 0.2  # seconds between two tries to cancel a query
_CANCEL_FOR = 10  # seconds after which a database that doesn't react is left alone; the thread is a daemon


class Streams:
    """Queries that are being read. Leaving the ``with`` block cancels what still runs and waits until all is closed.

    The first error of any query is raised from whichever stream is asked next, so a failure doesn't wait for its turn.

    :param chunk_rows: rows in a chunk, at most.
    """

    def __init__(self, sources: Sources, *, chunk_rows: int = CHUNK_ROWS) -> None:
        self._sources = sources
        self.chunk_rows = chunk_rows
        # One condition for all: who waits for a chunk of one query must wake up for the failure of another.
        self.changed = threading.Condition()
        self.failure: BaseException | None = None
        self.closed = False
        self._open: list[Stream] = []

    def __enter__(self) -> Streams:  # noqa: PYI034 (typing.Self is of Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for stream in self._open:
            stream.end()

    def engine(self, query: Query) -> sa.Engine:
        """The engine of a query's database."""
        return engine_of(query, self._sources)

    def open(self, query: Query, statement: sa.Executable, *, goes_on: bool = False) -> Stream:
        """Begin to read a statement of a query.

        :param goes_on: after a break the statement is read again, from the record on whose rows came last. For statements
            whose rows come in the order of their keys' texts, and for those who know `AGAIN`.
        :raises SourceError: when the database's driver isn't installed.
        """
        self._open = [stream for stream in self._open if stream.is_alive]
        engine = self.engine(query)
        close_cursors_quietly(engine)
        stream: DirectStream | ThreadedStream
        if engine.dialect.name == "sqlite":
            stream = DirectStream(self, query, engine, statement)
        else:
            stream = ThreadedStream(self, query, engine, statement, goes_on=goes_on)
        self._open.append(stream)
        return stream


class Stream(Protocol):
    """One statement that is being read; iterating gives its rows in chunks."""

    query: Query

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; waits until the database has answered."""

    @property
    def is_alive(self) -> bool:
        """Whether there is something to end."""

    def __iter__(self) -> Iterator[Rows]:
        """The rows, in chunks."""

    def end(self) -> None:
        """End what still runs. Called once the streams are closed."""


class DirectStream:
    """A statement that is read by who takes its rows, in the same thread: the way for SQLite.

    SQLite's queries run in the thread that asks for a row, and for each row it lets go of Python's lock. Threads of their
    own would take that lock from each other row by row, which costs more than there is to gain.
    """

    def __init__(self, streams: Streams, query: Query, engine: sa.Engine, statement: sa.Executable) -> None:
        self.query = query
        self._chunk_rows = streams.chunk_rows
        self._engine = engine
        self._statement = statement
        self._resources = ExitStack()
        with self._explaining():
            self._connection = self._resources.enter_context(read_only(engine))
            # What is wrong with a query is told before another one has taken its time.
            self.names = tuple(self._connection.execute(without_rows(query)).keys())
            check_columns(query, self.names)

    @property
    def is_alive(self) -> bool:
        """Always: its connection is to be closed."""
        return True

    def __iter__(self) -> Iterator[Rows]:
        with self._explaining():
            given, last = 0, None
            try:
                for chunk in self._read():
                    given, last = given + len(chunk), chunk[-1]
                    yield chunk
            except exc.OperationalError as error:
                if not is_broken_text(error):
                    raise
                # Rows with a text that is no Unicode cost their record, as with other databases, not the reading.
                with broken_texts(self._connection):
                    yield from _after(self._read(), given, last, error)
        self._resources.close()

    def _read(self) -> Iterator[Rows]:
        with self._connection.execution_options(stream_results=True).execute(self._statement) as result:
            yield from _chunks(result, self._chunk_rows)

    def end(self) -> None:
        """Close the connection, and with it the query."""
        self._resources.close()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # also an early end of the iteration: whatever it was, the connection goes back
            self._resources.close()
            if isinstance(error, HaloError) or not isinstance(error, Exception):
                raise
            # Not chained: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
            raise explained(error, self._engine, self.query) from None


class ThreadedStream:
    """A statement that a thread of its own reads, a few chunks ahead of who takes them.

    Who takes them may wait for Halo for minutes, with the statement half read: see `open_for_long`. What breaks nevertheless
    is read again.
    """

    def __init__(
        self, streams: Streams, query: Query, engine: sa.Engine, statement: sa.Executable, *, goes_on: bool
    ) -> None:
        self.query = query
        self._streams = streams
        self._engine = engine
        self._statement = statement
        self._goes_on = goes_on
        self._given: Given | None = None
        self._chunks: deque[Rows] = deque()
        self._names: tuple[str, ...] | None = None
        self._done = False
        self._cancel: Callable[[], None] | None = None
        # A daemon: a task that is killed while a database thinks for an hour must be able to end.
        self._thread = threading.Thread(target=self._read, name=f"halo-{query.name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; waits until the database has answered."""
        with self._streams.changed:
            self._wait(lambda: self._names is not None)
            return self._names or ()

    def __iter__(self) -> Iterator[Rows]:
        while True:
            with self._streams.changed:
                self._wait(lambda: bool(self._chunks) or self._done)
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._streams.changed.notify_all()
            yield chunk

    def end(self) -> None:
        """Cancel what still runs and wait for the thread. Called once the streams are closed."""
        give_up = time.monotonic() + _CANCEL_FOR
        while self.is_alive and time.monotonic() < give_up:
            with self._streams.changed:
                # Under the lock, which the thread needs to give its connection back: else it might be another's by now.
                if self._cancel is not None:
                    self._cancel()
            # Again and again, since a query that is only about to be sent isn't there yet to be cancelled.
            self._thread.join(_CANCEL_EVERY)
        if self.is_alive:
            log.warning("%s: its database didn't end the query within %d s; not waiting", self.query.name, _CANCEL_FOR)

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._streams.changed.wait_for(lambda: ready() or self._streams.failure is not None)
        if self._streams.failure is not None:
            raise self._streams.failure

    def _read(self) -> None:
        breaks = Breaks(self._engine)
        try:
            while not self._is_read(breaks):
                pass
        except BaseException as error:  # noqa: BLE001 (not swallowed: it is raised again in the thread that takes rows)
            self._fail(error)

    def _is_read(self, breaks: Breaks) -> bool:
        """Read to the end, or to a break, and then wait until it is time for the next try."""
        before = None if self._given is None else self._given.last_key
        try:
            with read_only(self._engine) as connection:
                open_for_long(connection)
                self._fetch(connection)
        except exc.SQLAlchemyError as error:
            if self._done:
                return True  # it broke as it was given back: all rows are here
            if self._given is not None and self._given.last_key != before:
                breaks.progress()
            pause = breaks.pause(error) if self._can_go_on() else None
            if pause is None:
                raise
            log.warning("%s: the connection to its database broke; reading it again in %.1f s", self.query.name, pause)
            with self._streams.changed:
                return self._streams.changed.wait_for(lambda: self._streams.closed, pause)
        return True

    def _can_go_on(self) -> bool:
        if self._given is None or not self._given.is_begun:
            return True
        return self._goes_on and self._given.last_key is not None

    def _fetch(self, connection: sa.Connection) -> None:
        streams = self._streams
        cancel = canceller(connection, self._engine)
        with streams.changed:
            if streams.closed:
                return
            self._cancel = cancel
        try:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=streams.chunk_rows)
            with texts_undecoded(connection), streaming.execute(self._statement) as result:
                names = own_columns(map(str, result.keys()))  # SQLAlchemy gives a kind of its own for labels
                check_columns(self.query, names)
                if self._names not in {None, names}:
                    raise source_changed(self.query)
                with streams.changed:
                    self._names = names
                    streams.changed.notify_all()
                self._given = self._given or Given(names.index(self.query.key))
                for chunk in self._given.new(_chunks(result, streams.chunk_rows)):
                    with streams.changed:
                        streams.changed.wait_for(lambda: streams.closed or len(self._chunks) < _CHUNKS_AHEAD)
                        if streams.closed:
                            discard(result)
                            return
                        self._chunks.append(chunk)
                        streams.changed.notify_all()
        finally:
            with streams.changed:
                self._cancel = None
        with streams.changed:
            self._done = True
            streams.changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        streams = self._streams
        with streams.changed:
            if streams.closed:
                return  # cancelled: nobody waits for these rows
        if not isinstance(error, HaloError) and isinstance(error, Exception):
            # Not chained: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
            error = explained(error, self._engine, self.query)
        with streams.changed:
            streams.failure = streams.failure or error
            streams.changed.notify_all()


def _after(chunks: Iterator[Rows], given: int, last: Sequence[Any] | None, error: Exception) -> Iterator[Rows]:
    """What comes after rows that were given already, of a result that is read once more.

    :raises Exception: the error for which it is read again, where other rows come now.
    """
    for chunk in chunks:
        if given > len(chunk):
            given -= len(chunk)
            continue
        if given and chunk[given - 1] != last:
            raise error
        if chunk[given:]:
            yield chunk[given:]
        given = 0


def _chunks(result: sa.CursorResult[Any], most: int) -> Iterator[Rows]:
    """The rows of a result, decoded: as many at once as their weight allows."""
    decode = decoder(result)
    size = min(_FIRST_ROWS, most)
    while rows := result.fetchmany(size):
        sample = rows[:: max(1, len(rows) // _SAMPLE)]
        weight = sum(len(value) for row in sample for value in row if isinstance(value, (str, bytes)))
        size = min(most, max(1, _CHUNK_BYTES * len(sample) // (weight + 1)))
        yield rows if decode is None else decode(rows)
