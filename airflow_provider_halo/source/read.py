"""Reads the records of one scope and batch, and makes payloads of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, TypeAlias

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import Company, ContextEntry, Payload, User, payload_of, within_limits
from airflow_provider_halo.records.problem import InvalidValue, Problem
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.blocks import Block, blocks, keys_of
from airflow_provider_halo.source.cells import Row, RowReader
from airflow_provider_halo.source.collations import same_range
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.entries import LEFT_OUT, EntryValue, LeftOut, contexts_of
from airflow_provider_halo.source.join import UNKNOWN_ROWS, Join, Lookup, Merge
from airflow_provider_halo.source.sql import Companies, Part, Range, Records, narrowed, range_of, sorts_like_python
from airflow_provider_halo.source.streams import CHUNK_ROWS, Streams

Warn = Callable[[str, int], None]

KEYS_AT_ONCE: Final = 500  # keys in one IN list: below every database's limit on parameters (SQLite's was 999 for long)
# Connections that one batch holds at once, at most: below the 15 that SQLAlchemy's pool gives, and so few that a dozen
# batches fit under PostgreSQL's 100. Entries beyond them are looked up block by block.
_STREAMS: Final = 8
_LOOKUPS_AT_ONCE: Final = 4

NO_KEY: Final = "{0}: rows without a key dropped"


class ReadStats:
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
    entries: Sequence[tuple[Query, dict[str, EntryValue]]]


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
        notes: ReadStats,
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

    def _found(self, block: Block, joins: Sequence[Join]) -> Iterator[tuple[Query, dict[str, EntryValue]]]:
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
        except InvalidValue as problem:
            reason = f"column {driver.key!r}: {problem.reason}"
            self.refused.append(Problem(driver.scope, ascii(raw)[:60], "", reason))


def _keep_two(rows: list[Row], row: Row) -> None:
    """One row a record is due; the second is kept to say what is wrong, a third says no more."""
    if len(rows) < 2:
        rows.append(row)


NO_COMPANY_KEY: Final = "{0}: users whose company's key can't be used are sent without a company"

Record: TypeAlias = "Company | User | Problem"


class Maker:
    """Makes records or payloads of the rows of one scope."""

    def __init__(self, scope: QueryScope, selection: Selection, warnings: Counter[str]) -> None:
        self._scope = scope
        self._warnings = warnings
        self._sends_traits = selection.traits(scope)

    def payloads(self, rows: Rows) -> Sequence[Payload | Problem]:
        """The payloads of a block, and the problems of the records that can't be sent."""
        whole = self._whole(rows)
        if whole is not None:
            return whole
        return [record if isinstance(record, Problem) else payload_of(record) for record in self.records(rows)]

    def _whole(self, rows: Rows) -> list[Payload] | None:
        """All payloads, made column by column; None where one of the records takes a closer look."""
        keys, flat = rows.heads.keys, rows.heads.flat
        if flat is None:
            return None
        contexts = contexts_of(keys, rows.entries)
        if contexts is None:
            return None
        counted = self._warnings.copy()
        traits = rows.traits.encoded(flat) if self._sends_traits else [b""] * len(keys)
        if traits is None or not within_limits(self._scope, traits, contexts):
            self._warnings.clear()  # the closer look counts them again
            self._warnings.update(counted)
            return None
        if b"{}" in traits:
            traits = [b"" if one == b"{}" else one for one in traits]
        if self._scope == "companies":
            return list(map(Payload, repeat(self._scope), keys, traits, contexts))
        return list(map(Payload, repeat(self._scope), keys, traits, contexts, self._companies(rows, flat)))

    def records(self, rows: Rows) -> list[Record]:
        """The records of a block, and the problems of those that can't be sent."""
        heads = rows.heads
        return [self._record(key, found, rows) for key, found in zip(heads.keys, heads.rows, strict=True)]

    def _record(self, key: str, found: list[Row], rows: Rows) -> Record:
        scope = self._scope
        if len(found) > 1:
            return Problem(scope, key, "", self._twice(rows, found))
        context = {}
        try:
            values = rows.traits(found[0]) if self._sends_traits else {}
            for query, entries in rows.entries:
                value = entries.get(key, query.empty if query.sends_empty else LEFT_OUT)
                if isinstance(value, InvalidValue):
                    raise value
                if not isinstance(value, LeftOut) and query.entry is not None and query.entry_key is not None:
                    sent = msgspec.Raw(value) if isinstance(value, bytes) else value
                    context[query.entry_key] = ContextEntry(query.entry.label, sent, query.entry.type)
        except InvalidValue as problem:
            return Problem(scope, key, problem.field, problem.reason)
        if scope == "companies":
            return Company(company_id=key, traits=values, context=context)
        return User(user_id=key, company_id=self._company(rows, found[0]), traits=values, context=context)

    def _companies(self, rows: Rows, flat: Sequence[Row]) -> Sequence[str | None]:
        keys = keys_of([row[rows.company_at] for row in flat])
        return keys if keys is not None else [self._company(rows, row) for row in flat]

    def _company(self, rows: Rows, row: Row) -> str | None:
        raw = row[rows.company_at]
        if raw is None:
            return None
        try:
            return to_key(raw)
        except InvalidValue:
            self._warnings[NO_COMPANY_KEY.format(rows.query.name)] += 1
            return None

    def _twice(self, rows: Rows, found: Sequence[Row]) -> str:
        name = rows.query.name
        if self._scope == "companies":
            return f"has more than one row in the companies query ({name}); one is due"
        companies = sorted({self._company(rows, row) or "none" for row in found})
        of = "of company" if len(companies) == 1 else "of companies"
        return f"has more than one row in the users query ({name}), {of} {' and '.join(companies)}; one is due"


def read_records(  # noqa: PLR0917 (what is read, by which plan, from where: no one of them has a default)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    notes: ReadStats | None = None,
) -> Generator[Record, None, None]:
    """Read one scope of a batch, record by record. Closing the generator cancels its queries and closes its connections.

    :param selection: which entries are read, and whether traits are part of the records.
    :param sources: gives the engine of a connection id.
    :param warn: is told what was changed or dropped on the way, as ``(kind, how often)``.
    :param notes: filled in while the records are read.
    :return: each record, or the `Problem` that keeps it from being sent; in the order of the keys' texts within a batch's
        range. Keys that a batch names (``companies``, ``user``) and the traits query doesn't give are problems too.
    :raises PlanError: when a result lacks a column that the plan names, or has one that Halo reserves.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    counts: Counter[str] = Counter()
    maker = Maker(scope, selection, counts)
    read = _read(scope, plan, selection, batch, sources, notes or ReadStats(), counts, encodes=False)
    with closing(read) as blocks:
        for rows in blocks:
            records = [rows] if isinstance(rows, Problem) else maker.records(rows)
            _tell(counts, warn)
            yield from records


def read_payloads(  # noqa: PLR0917 (as of `read_records`)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    notes: ReadStats | None = None,
) -> Generator[Sequence[Payload | Problem], None, None]:
    """Read one scope of a batch as what is sent of it: what `payload_of` makes of `read_records`, many at once.

    Where nothing is wrong with a block of records, as is the rule, they are made column by column.
    """
    counts: Counter[str] = Counter()
    maker = Maker(scope, selection, counts)
    read = _read(scope, plan, selection, batch, sources, notes or ReadStats(), counts, encodes=True)
    with closing(read) as blocks:
        for rows in blocks:
            payloads = [rows] if isinstance(rows, Problem) else maker.payloads(rows)
            _tell(counts, warn)
            yield payloads


def _read(  # noqa: PLR0917 (as of `read_records`)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    notes: ReadStats,
    counts: Counter[str],
    *,
    encodes: bool,
) -> Generator[Rows | Problem, None, None]:
    driver = plan.traits(scope)
    if driver is None:
        return
    for part in _parts(scope, batch):
        missing = _named(scope, part)
        reading = Reading(driver, selection, part, sources, counts, notes, encodes=encodes)
        with closing(reading.rows()) as blocks:
            for rows in blocks:
                for key in rows.heads.keys if missing else ():
                    missing.pop(key, None)
                yield rows
        yield from reading.refused
        for key in missing:
            yield Problem(scope, key, "", f"is not in the {scope} query ({driver.name})")


def _tell(counts: Counter[str], warn: Warn) -> None:
    for kind, count in counts.items():
        warn(kind, count)
    counts.clear()


def _parts(scope: QueryScope, batch: Batch) -> list[Part]:
    """What a batch asks of a scope, in parts that one query each can answer."""
    if scope == "users" and batch.user is not None:
        return [Records((batch.bind(batch.user, batch.user_key_type),))]
    if batch.companies is not None:
        if scope == "users" and not batch.users_too:
            return []
        keys = [batch.bind(key) for key in dict.fromkeys(batch.companies)]
        return [Companies(tuple(keys[at : at + KEYS_AT_ONCE])) for at in range(0, len(keys), KEYS_AT_ONCE)]
    if batch.user is not None or (batch.no_company and scope == "companies"):
        return []
    return [range_of(batch)]


def _named(scope: QueryScope, part: Part) -> dict[str, None]:
    """The records that a part names by their own keys, so that those without a row can be told."""
    if isinstance(part, Records) or (isinstance(part, Companies) and scope == "companies"):
        return {to_key(key): None for key in part.keys}
    return {}
