"""One part of a batch being read: the traits query drives, each context entry is joined to it while both stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import sqlalchemy as sa

from airflow_provider_halo.plan.query import Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.problem import Problem, Unsendable
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.blocks import Block, blocks
from airflow_provider_halo.source.cells import Row, RowReader
from airflow_provider_halo.source.collations import same_range
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.entries import Found
from airflow_provider_halo.source.join import UNKNOWN_ROWS, Join, Lookup, Merge
from airflow_provider_halo.source.sql import Part, Range, Records, narrowed, sorts_like_python
from airflow_provider_halo.source.streams import CHUNK_ROWS, Streams

Warn = Callable[[str, int], None]

KEYS_AT_ONCE: Final = 500  # keys in one IN list: below every database's limit on parameters (SQLite's was 999 for long)
# Connections that one batch holds at once, at most: below the 15 that SQLAlchemy's pool gives, and so few that a dozen
# batches fit under PostgreSQL's 100. Entries beyond them are looked up block by block.
_STREAMS: Final = 8
_LOOKUPS_AT_ONCE: Final = 4

NO_KEY: Final = "{0}: rows without a key dropped"


class Notes:
    """What a reading learns of the queries on the way, for whoever remembers it.

    ``found``: how many records each query had rows for. ``traits``: names of the traits that a scope's query gives.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.traits: dict[QueryScope, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Rows:
    """Some records of the part, as the queries gave them.

    :param query: the traits query; ``traits`` reads its rows.
    :param company_at: the place of the company's key in these.
    :param heads: the records' keys and rows, which may be none.
    :param entries: what each entry has of them, by key.
    """

    query: Query
    traits: RowReader
    company_at: int
    heads: Block
    entries: Sequence[tuple[Query, dict[str, Found]]]


class Reading:
    """Reads one part. ``refused``: problems of keys that can't be any, once all is read.

    :param encodes: whether the entries' values are given as JSON bytes.
    :param warnings: counts, by kind, what was changed or dropped on the way.
    """

    def __init__(  # noqa: PLR0917 (what is read, from where, by what: no one of them has a default)
        self,
        driver: Query,
        selection: Selection,
        part: Part,
        sources: Sources,
        warnings: Counter[str],
        notes: Notes,
        *,
        encodes: bool,
    ) -> None:
        self._driver = driver
        self._entries = selection.entries(driver.scope)
        self._part = part
        self._sources = sources
        self._warnings = warnings
        self._notes = notes
        self._encodes = encodes
        self.refused: list[Problem] = []
        self._key_at = 0
        self._company_at = 0

    def rows(self) -> Generator[Rows, None, None]:
        """The part's records, block by block; what their entries have more is counted at the end."""
        driver = self._driver
        with Streams(self._sources) as streams:
            dialect = streams.engine(driver).dialect
            stream = streams.open(driver, narrowed(driver, self._part, dialect))
            joins = self._joins(streams)
            names = stream.names
            self._key_at, self._company_at = names.index(driver.key), names.index(driver.company)
            traits = RowReader(driver, names, self._warnings, omit_nulls=driver.nulls == "omit")
            self._notes.traits[driver.scope] = traits.names
            most = KEYS_AT_ONCE if any(isinstance(join, Lookup) for join in joins) else 2 * CHUNK_ROWS
            heads = blocks(stream, _keep_two, ordered=sorts_like_python(dialect), unusable=self._unusable)
            for block in chain.from_iterable(block.cut(most) for block in heads):
                entries = list(self._found(block, joins))
                self._notes.found[driver.name] += len(block.keys)
                for query, found in entries:
                    self._notes.found[query.name] += len(found)
                yield Rows(driver, traits, self._company_at, block, entries)
            for join in joins:
                join.finish()
            # Without records, for those who tell what was counted on the way.
            yield Rows(driver, traits, self._company_at, Block([], rows=[]), ())

    def _joins(self, streams: Streams) -> list[Join]:
        joins: list[Join] = []
        own = streams.engine(self._driver)
        for query in self._entries:
            engine = streams.engine(query)
            if len(joins) < _STREAMS - 1 and self._streams_alongside(query, engine, own):
                unknown = UNKNOWN_ROWS.format(query.name, self._driver.scope, self._driver.name)
                stream = streams.open(query, narrowed(query, self._part, engine.dialect))
                joins.append(Merge(stream, self._warnings, unknown, encodes=self._encodes))
            else:
                joins.append(Lookup(query, streams, self._warnings, encodes=self._encodes))
        return joins

    def _streams_alongside(self, query: Query, engine: sa.Engine, own: sa.Engine) -> bool:
        """Whether narrowing to the part gives the rows of the driver's records and of no others, in the driver's order."""
        if isinstance(self._part, Records) or not sorts_like_python(engine.dialect):
            return False
        if not isinstance(self._part, Range):
            return True
        shared = own if query.source == self._driver.source else None
        return same_range(self._part, self._driver, query, shared)

    def _found(self, block: Block, joins: Sequence[Join]) -> Iterator[tuple[Query, dict[str, Found]]]:
        if not joins:
            return
        rows = block.flat if block.flat is not None else [rows[0] for rows in block.rows]
        records = Records(tuple(row[self._key_at] for row in rows), tuple(row[self._company_at] for row in rows))
        for at in range(0, len(joins), _LOOKUPS_AT_ONCE):
            some = joins[at : at + _LOOKUPS_AT_ONCE]
            for join in some:
                join.begin(records)
            for join in some:
                yield join.query, join.values(block.keys)

    def _unusable(self, row: Row) -> None:
        driver = self._driver
        raw = row[self._key_at]
        if raw is None:
            self._warnings[NO_KEY.format(driver.name)] += 1
            return
        try:
            to_key(raw)
        except Unsendable as problem:
            reason = f"column {driver.key!r}: {problem.reason}"
            self.refused.append(Problem(driver.scope, ascii(raw)[:60], "", reason))


def _keep_two(rows: list[Row], row: Row) -> None:
    """One row a record is due; the second is kept to say what is wrong, a third says no more."""
    if len(rows) < 2:
        rows.append(row)
