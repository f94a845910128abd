"""A context entry's values for the records of a block: from a stream read alongside, or looked up block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.blocks import blocks
from airflow_provider_halo.source.cells import Row
from airflow_provider_halo.source.entries import EntryReader, EntryValue
from airflow_provider_halo.source.sql import Records, narrowed
from airflow_provider_halo.source.streams import Stream, Streams

UNKNOWN_ROWS = "{0}: rows of {1} that {2} doesn't have dropped"


class Join(Protocol):
    """Gives the values of one entry, block after block of records."""

    query: Query

    def begin(self, records: Records) -> None:
        """Start to fetch what a block needs."""

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys, in their ascending order; a key without rows is missing."""

    def finish(self) -> None:
        """Count what is left when the last block is through."""


class Merge:
    """Walks along: the entry's rows come in the order of the records', narrowed to the same batch.

    :param unknown: the warning for rows of records that the traits query doesn't give.
    """

    def __init__(self, stream: Stream, warnings: Counter[str], unknown: str, *, encodes: bool) -> None:
        self.query = stream.query
        self._warnings = warnings
        self._unknown = unknown
        self._parts = _parts(stream, warnings, unknown, ordered=True, encodes=encodes)
        self._ahead = _Part({}, {}, "")  # what the records haven't come to yet

    def begin(self, records: Records) -> None:
        """Nothing: the stream is being read already."""

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys."""
        found: dict[str, EntryValue] = {}
        wanted, last = frozenset(keys), keys[-1]
        part: _Part | None = self._ahead
        while part is not None:
            self._ahead = self._taken(part, wanted, last, found)
            if part.last >= last:
                break
            part = next(self._parts, None)
        return found

    def _taken(self, part: _Part, wanted: frozenset[str], last: str, found: dict[str, EntryValue]) -> _Part:
        """Take what is wanted; what is left is of records that are still to come."""
        if part.values.keys() <= wanted:
            found.update(part.values)
            return _Part({}, {}, part.last)
        ahead: dict[str, EntryValue] = {}
        for key, value in part.values.items():
            if key in wanted:
                found[key] = value
            elif key > last:
                ahead[key] = value
            else:
                self._warnings[self._unknown] += part.rows.get(key, 1)
        return _Part(ahead, part.rows, part.last)

    def finish(self) -> None:
        """Read to the end: the rows after the last record belong to none."""
        for part in chain([self._ahead], self._parts):
            if part.values:
                self._warnings[self._unknown] += sum(part.rows.get(key, 1) for key in part.values)


class Lookup:
    """Asks for the rows of each block's records by their keys, where a batch's range can't be trusted to name them."""

    def __init__(self, query: Query, streams: Streams, warnings: Counter[str], *, encodes: bool) -> None:
        self.query = query
        self._encodes = encodes
        self._streams = streams
        self._engine = streams.engine(query)
        self._warnings = warnings
        self._stream: Stream | None = None

    def begin(self, records: Records) -> None:
        """Send the block's query; where its database is another process, a thread reads it."""
        self._stream = self._streams.open(self.query, narrowed(self.query, records, self._engine.dialect))

    def values(self, keys: Sequence[str]) -> dict[str, EntryValue]:
        """The values for the block's keys."""
        if self._stream is None:
            return {}
        wanted = frozenset(keys)
        # A collation without case gives rows of other keys too; they come again with the block that asks for them.
        parts = _parts(self._stream, self._warnings, None, ordered=False, encodes=self._encodes)
        return {key: value for part in parts for key, value in part.values.items() if key in wanted}

    def finish(self) -> None:
        """Nothing: what wasn't asked for wasn't read."""


class _Part(NamedTuple):
    """Some of an entry's values by key; how many rows those had that have more than one; and the last key."""

    values: dict[str, EntryValue]
    rows: dict[str, int]
    last: str


def _parts(
    stream: Stream, warnings: Counter[str], unknown: str | None, *, ordered: bool, encodes: bool
) -> Iterator[_Part]:
    reader = EntryReader(stream.query, stream.names, warnings, encodes=encodes)

    def unusable(_: Row) -> None:
        if unknown is not None:
            warnings[unknown] += 1

    for block in blocks(stream, reader.keep, ordered=ordered, unusable=unusable):
        if not block.keys:
            continue
        values = dict(zip(block.keys, reader.found(block), strict=True))
        rows = {} if block.flat is not None else dict(zip(block.keys, map(len, block.rows), strict=True))
        yield _Part(values, rows, block.keys[-1])
