"""A context entry's values for the records of a block: from a stream read alongside, or looked up block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.source.blocks import blocks
from airflow_provider_halo.source.entries import EntryReader, EntryValue
from airflow_provider_halo.source.sql import Records, sorts_like_python
from airflow_provider_halo.source.streams import Stream, Streams

__all__ = ["Join", "Lookup", "Merge"]

UNKNOWN_ROWS = "{0}: rows of {1} that {2} doesn't have dropped"


class Join(Protocol):
    """Gives the values of one entry, block after block of records."""

    query: Query

    def begin(self, records: Records) -> None:
        """Start to fetch what a block needs."""

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys, in their ascending order; a key without rows is missing."""

    def finish(self) -> None:
        """Count what remains when the last block is through."""


class Merge:
    """Walks along: the entry's rows come in the order of the records', narrowed to the same batch.

    :param stream: the entry's rows.
    :param records: the query that gives the records; rows of others are dropped and counted.
    """

    def __init__(self, stream: Stream, records: Query, warnings: Counter[str]) -> None:
        self.query = stream.query
        self._warnings = warnings
        self._unknown = UNKNOWN_ROWS.format(self.query.name, records.scope, records.name)
        self._chunks = _chunks(stream, warnings, self._unknown, ordered=True)
        self._ahead = _EntryChunk({}, {}, "")  # what the records haven't come to yet

    def begin(self, records: Records) -> None:
        """Nothing: the stream is being read already."""

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys."""
        values: dict[str, EntryValue] = {}
        wanted, last = frozenset(keys), keys[-1]
        chunk: _EntryChunk | None = self._ahead
        while chunk is not None:
            self._ahead = self._take(chunk, wanted, last, values)
            if chunk.last_key >= last:
                break
            chunk = next(self._chunks, None)
        return values

    def _take(
        self, chunk: _EntryChunk, wanted: frozenset[str], last: str, values: dict[str, EntryValue]
    ) -> _EntryChunk:
        """Move the values that are wanted, and give those of records that are still to come."""
        if chunk.values.keys() <= wanted:
            values.update(chunk.values)
            return _EntryChunk({}, {}, chunk.last_key)
        ahead: dict[str, EntryValue] = {}
        for key, value in chunk.values.items():
            if key in wanted:
                values[key] = value
            elif key > last:
                ahead[key] = value
            else:
                self._warnings[self._unknown] += chunk.rows_of(key)
        return _EntryChunk(ahead, chunk.row_counts, chunk.last_key)

    def finish(self) -> None:
        """Read to the end: the rows after the last record belong to none."""
        for chunk in chain([self._ahead], self._chunks):
            if chunk.values:
                self._warnings[self._unknown] += sum(map(chunk.rows_of, chunk.values))


class Lookup:
    """Asks for the rows of each block's records by their keys, where a batch's range can't be trusted to name them."""

    def __init__(
        self, query: Query, statement_of: Callable[[Records], sa.Executable], streams: Streams, warnings: Counter[str]
    ) -> None:
        self.query = query
        self._statement_of = statement_of
        self._streams = streams
        self._warnings = warnings
        self._stream: Stream | None = None

    def begin(self, records: Records) -> None:
        """Send the block's query; where its database is another process, a thread reads it."""
        goes_on = sorts_like_python(self._streams.engine(self.query).dialect)
        self._stream = self._streams.open(self.query, self._statement_of(records), goes_on=goes_on)

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys."""
        if self._stream is None:
            return {}
        wanted = frozenset(keys)
        # A collation without case gives rows of other keys too; they come again with the block that asks for them.
        chunks = _chunks(self._stream, self._warnings, None, ordered=False)
        return {key: value for chunk in chunks for key, value in chunk.values.items() if key in wanted}

    def finish(self) -> None:
        """Nothing: what wasn't asked for wasn't read."""


class _EntryChunk(NamedTuple):
    """Some of an entry's values by key, how many rows those had that have more than one, and the last key."""

    values: dict[str, EntryValue]
    row_counts: dict[str, int]
    last_key: str

    def rows_of(self, key: str) -> int:
        return self.row_counts.get(key, 1)


def _chunks(stream: Stream, warnings: Counter[str], unknown: str | None, *, ordered: bool) -> Iterator[_EntryChunk]:
    """An entry's values as its stream gives them.

    :param unknown: the warning for rows whose key can't be any record's; None doesn't count them.
    """
    reader = EntryReader(stream.query, stream.names, warnings)

    def refuse_key(_: Any, __: InvalidValue) -> None:
        if unknown is not None:
            warnings[unknown] += 1

    for block in blocks(stream, reader.add_row, ordered=ordered, refuse_key=refuse_key):
        values = dict(zip(block.keys, reader.values(block), strict=True))
        row_counts = {} if block.counts is None else dict(zip(block.keys, block.counts, strict=True))
        yield _EntryChunk(values, row_counts, block.keys[-1])
