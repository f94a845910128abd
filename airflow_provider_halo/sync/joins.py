"""A context entry's values for the records of a block: from a stream read alongside, or looked up block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

from airflow_provider_halo.plan.query import Query
from airflow_provider_halo.records.problem import Unsendable
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.sync.groups import groups
from airflow_provider_halo.sync.narrowing import Records, narrowed
from airflow_provider_halo.sync.rows import Stream, Streams
from airflow_provider_halo.sync.shapes import EntryReader, LeftOut, Row

UNKNOWN_ROWS = "{0}: rows of {1} that {2} doesn't have dropped"

Found: TypeAlias = "Json | LeftOut | Unsendable"
"""What an entry's rows came to for one record: a value, nothing to send, or the reason why the record can't be sent."""


class Join(Protocol):
    """Gives the values of one entry, block after block of records."""

    query: Query

    def begin(self, records: Records) -> None:
        """Start to fetch what a block needs."""

    def values(self, keys: Sequence[str]) -> dict[str, Found]:
        """The values for the block's keys, in their ascending order; a key without rows is missing."""

    def finish(self) -> None:
        """Count what is left when the last block is through."""


class Merge:
    """Walks along: the entry's rows come in the order of the records', narrowed to the same batch.

    :param unknown: the warning for rows of records that the traits query doesn't give.
    """

    def __init__(self, stream: Stream, warnings: Counter[str], unknown: str) -> None:
        self.query = stream.query
        self._warnings = warnings
        self._unknown = unknown
        self._values = _values(stream, warnings, unknown, ordered=True)
        self._ahead: tuple[str, Found, int] | None = None

    def begin(self, records: Records) -> None:
        """Nothing: the stream is being read already."""

    def values(self, keys: Sequence[str]) -> dict[str, Found]:
        """The values for the block's keys."""
        found: dict[str, Found] = {}
        ahead = self._ahead or next(self._values, None)
        for key in keys:
            while ahead is not None and ahead[0] < key:
                self._warnings[self._unknown] += ahead[2]
                ahead = next(self._values, None)
            if ahead is not None and ahead[0] == key:
                found[key] = ahead[1]
                ahead = next(self._values, None)
        self._ahead = ahead
        return found

    def finish(self) -> None:
        """Read to the end: the rows after the last record belong to none."""
        if self._ahead is not None:
            self._warnings[self._unknown] += self._ahead[2]
        for _, _, rows in self._values:
            self._warnings[self._unknown] += rows


class Lookup:
    """Asks for the rows of each block's records by their keys, where a batch's range can't be trusted to name them."""

    def __init__(self, query: Query, streams: Streams, warnings: Counter[str]) -> None:
        self.query = query
        self._streams = streams
        self._engine = streams.engine(query)
        self._warnings = warnings
        self._stream: Stream | None = None

    def begin(self, records: Records) -> None:
        """Send the block's query; a thread reads it."""
        self._stream = self._streams.open(self.query, narrowed(self.query, records, self._engine.dialect))

    def values(self, keys: Sequence[str]) -> dict[str, Found]:
        """The values for the block's keys."""
        if self._stream is None:
            return {}
        wanted = frozenset(keys)
        # A collation without case gives rows of other keys too; they come again with the block that asks for them.
        values = _values(self._stream, self._warnings, None, ordered=False)
        return {key: value for key, value, _ in values if key in wanted}

    def finish(self) -> None:
        """Nothing: what wasn't asked for wasn't read."""


def _values(
    stream: Stream, warnings: Counter[str], unknown: str | None, *, ordered: bool
) -> Iterator[tuple[str, Found, int]]:
    reader = EntryReader(stream.query, stream.names, warnings)

    def unusable(_: Row) -> None:
        if unknown is not None:
            warnings[unknown] += 1

    for key, rows in groups(stream, reader.keep, ordered=ordered, unusable=unusable):
        try:
            yield key, reader.value(rows), len(rows)
        except Unsendable as problem:
            yield key, problem, len(rows)
