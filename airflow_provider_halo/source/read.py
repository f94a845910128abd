"""Reads the records of one scope and batch: rows of the traits query, joined with entries, become payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, repeat
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import Payload, payloads_of
from airflow_provider_halo.records.problem import InvalidRecords, InvalidValue, Problem
from airflow_provider_halo.records.values import plain_keys, to_key
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.blocks import Block, blocks
from airflow_provider_halo.source.cells import ReadRows, Row, RowReader
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.entries import EntryValues, contexts_of
from airflow_provider_halo.source.entry_rows import EntryRows
from airflow_provider_halo.source.join import Join, Lookup
from airflow_provider_halo.source.matches import COMPANY_AS_WRITTEN, Matches
from airflow_provider_halo.source.spellings import Spellings
from airflow_provider_halo.source.sql import (
    Companies,
    Part,
    Range,
    Records,
    narrowed,
    range_of,
    records_of,
    sorts_like_python,
)
from airflow_provider_halo.source.streams import CHUNK_ROWS, Stream, Streams

__all__ = ["ReadStats", "read_keys", "read_payloads"]

Warn = Callable[[str, int], None]

KEYS_AT_ONCE: Final = 500  # keys in one IN list: below every database's limit on parameters (SQLite's was 999 for long)
_LOOKUPS_AT_ONCE: Final = 4

NO_KEY: Final = "{0}: rows without a key dropped"
NO_COMPANY_KEY: Final = "{0}: users whose company's key can't be used are sent without a company"


class ReadStats:
    """What a reading learns of the queries on the way.

    ``records``: how many records each query had rows for. ``traits``: names of the traits that a scope's query gives.
    """

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.traits: dict[QueryScope, tuple[str, ...]] = {}


def read_payloads(  # noqa: PLR0917 (what is read, by which plan, from where: no one of them has a default)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    stats: ReadStats | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Generator[Sequence[Payload | Problem], None, None]:
    """Read one scope of a batch, many records at once. Closing the generator cancels its queries and closes connections.

    :param selection: which entries are read, and whether traits are sent.
    :param sources: gives the engine of a connection id.
    :param warn: is told what was changed or dropped on the way, as ``(kind, how often)``.
    :param stats: filled in while the records are read.
    :param chunk_rows: rows that are read of a query at once, at most.
    :return: each record, or the `Problem` that keeps it from being sent; in the order of the keys' texts within a batch's
        range. Keys that a batch names (``companies``, ``user``) and the traits query doesn't give are problems too.
    :raises PlanError: when a result lacks a column that the plan names, or has one that Halo reserves.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    matches = Matches(plan, sources, batch.plain)
    query = matches.traits(scope)
    if query is None:
        return
    entries = selection.entries(scope)
    warnings: Counter[str] = Counter()
    stats = stats or ReadStats()
    parts, first_rows = _parts(scope, batch), _picks_first_rows(scope, batch)
    told: set[str] | None = set() if len(parts) > 1 else None
    for part in parts:
        reader = PartReader(
            query, part, sources, warnings, matches, first_rows=first_rows, told=told, chunk_rows=chunk_rows
        )
        payloads = reader.payloads(entries, stats, sends_traits=selection.traits(scope))
        with closing(payloads) as payload_blocks:
            for payload_block in payload_blocks:
                for kind, count in warnings.items():
                    warn(kind, count)
                warnings.clear()
                yield payload_block


def read_keys(scope: QueryScope, plan: LoadedPlan, batch: Batch, sources: Sources) -> Generator[str, None, None]:
    """Read which records a batch has: those of one row each, all of whose values have a form in JSON.

    :param sources: gives the engine of a connection id.
    :raises PlanError: when the result lacks a column that the plan names, or has one that Halo reserves.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    matches = Matches(plan, sources, batch.plain)
    query = matches.traits(scope)
    if query is None:
        return
    for part in _parts(scope, batch):
        reader = PartReader(query, part, sources, Counter(), matches, first_rows=_picks_first_rows(scope, batch))
        with closing(reader.keys()) as keys:
            yield from keys


def _parts(scope: QueryScope, batch: Batch) -> Sequence[Part]:
    """What a batch asks of a scope, in parts that one query each can answer."""
    if scope == "users" and batch.user is not None:
        return [Records((batch.bind(batch.user, batch.user_key_type),))]
    if batch.companies is not None:
        return _named_companies(batch) if scope == "companies" or batch.users_too else []
    has_none = batch.user is not None or (batch.no_company and scope == "companies")
    return [] if has_none else [range_of(batch)]


def _picks_first_rows(scope: QueryScope, batch: Batch) -> bool:
    """Whether a user may have rows that the batch doesn't cover, so that its first one is looked for in all of them."""
    return scope == "users" and batch.repeated_users is not False


def _named_companies(batch: Batch) -> list[Part]:
    keys = [batch.bind(key) for key in dict.fromkeys(batch.companies or ())]
    return [Companies(tuple(keys[at : at + KEYS_AT_ONCE])) for at in range(0, len(keys), KEYS_AT_ONCE)]


class PartReader:
    """Reads the records of one part of a batch.

    :param query: the traits query, which tells which records there are.
    :param warnings: counts, by kind, what was changed or dropped on the way.
    :param matches: how rows of entries are matched to records.
    :param first_rows: whether a record's first row is looked for in the whole query.
    :param told: keys of records that were told to have several rows; another part needn't tell them again.
    """

    def __init__(
        self,
        query: Query,
        part: Part,
        sources: Sources,
        warnings: Counter[str],
        matches: Matches,
        *,
        first_rows: bool = False,
        told: set[str] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._query = query
        self._part = part
        self._sources = sources
        self._warnings = warnings
        self._matches = matches
        self._picks_first_rows = first_rows
        self._told = told
        self._chunk_rows = chunk_rows
        self._refused_keys: list[Problem] = []
        self._entry_rows = EntryRows(query, part, matches, warnings, first_rows=first_rows)

    def payloads(
        self, entries: Sequence[Query], stats: ReadStats, *, sends_traits: bool
    ) -> Generator[list[Payload | Problem], None, None]:
        """The part's records, block by block; last the keys that can't be used, and those that the part names in vain."""
        missing = dict.fromkeys(self._named_keys())
        with Streams(self._sources, chunk_rows=self._chunk_rows) as streams:
            stream = self._open_records(streams)
            joins = self._entry_rows.joins(entries, streams)
            builder = self._builder(stream, streams, entries, sends_traits=sends_traits)
            builder.company_spellings = self._matches.company_spellings(self._query.scope)
            stats.traits[self._query.scope] = builder.trait_names
            others = False
            for block in self._blocks(stream, joins):
                entry_values = list(self._entry_values(block, stream, joins))
                stats.records[self._query.name] += len(block.keys)
                for query, values in entry_values:
                    stats.records[query.name] += len(values)
                if missing or others:
                    others = others or not missing.keys() >= set(block.keys)
                    for key in block.keys:
                        missing.pop(key, None)
                yield builder.payloads(block, entry_values)
            for join in joins:
                join.finish()
        if others:
            missing = dict.fromkeys(key for key in missing if not self._is_there(key))
        reason = f"is not in the {self._query.scope} query ({self._query.name})"
        yield [*self._refused_keys, *(Problem(self._query.scope, key, "", reason) for key in missing)]

    def keys(self) -> Generator[str, None, None]:
        """The keys of the part's records, without those whose rows can't be sent."""
        with Streams(self._sources) as streams:
            stream = self._open_records(streams)
            builder = self._builder(stream, streams, (), sends_traits=True)
            for block in self._blocks(stream, ()):
                yield from builder.keys(block)

    def _repeated(self, streams: Streams) -> frozenset[str]:
        dialect = streams.engine(self._query).dialect
        part = Range() if dialect.name == "sqlite" else self._part
        return self._matches.repeated(self._query, records_of(self._query, part, dialect))

    def _named_keys(self) -> list[str]:
        """The records that the part names by their own keys, so that those without a row can be told."""
        part = self._part
        if isinstance(part, Records) or (isinstance(part, Companies) and self._query.scope == "companies"):
            return list(map(to_key, part.keys))
        return []

    def _builder(
        self, stream: Stream, streams: Streams, entries: Sequence[Query], *, sends_traits: bool
    ) -> PayloadBuilder:
        return PayloadBuilder(
            self._query,
            stream.names,
            entries,
            self._warnings,
            self._repeated(streams),
            sends_traits=sends_traits,
            first_rows=self._picks_first_rows,
            told=self._told,
        )

    def _is_there(self, key: str) -> bool:
        """Whether a key that the part names is a record's, though that is spelled differently."""
        part = self._part
        assert isinstance(part, (Records, Companies))  # noqa: S101 (for mypy: only these name keys)
        named = tuple(raw for raw in part.keys if to_key(raw) == key)
        engine = engine_of(self._query, self._sources)
        records = records_of(self._query, Records(named), engine.dialect)
        return bool(ask(engine, self._query, sa.select(records.c[self._query.key]).limit(1)))

    def _open_records(self, streams: Streams) -> Stream:
        dialect = streams.engine(self._query).dialect
        statement = narrowed(self._query, self._part, dialect, first_rows=self._picks_first_rows)
        return streams.open(self._query, statement, goes_on=sorts_like_python(dialect))

    def _blocks(self, stream: Stream, joins: Sequence[Join]) -> Iterator[Block]:
        """The part's records, as many at once as their entries can be looked up for."""
        most = KEYS_AT_ONCE if any(isinstance(join, Lookup) for join in joins) else 2 * self._chunk_rows
        ordered = sorts_like_python(self._sources(self._query.source).dialect)
        in_order = blocks(stream, _add_second_row, ordered=ordered, refuse_key=self._refuse_key)
        return chain.from_iterable(block.cut(most) for block in in_order)

    def _refuse_key(self, key: Any, problem: InvalidValue) -> None:
        query = self._query
        if key is None:
            self._warnings[NO_KEY.format(query.name)] += 1
        else:
            reason = f"column {query.key!r}: {problem.reason}"
            self._refused_keys.append(Problem(query.scope, ascii(key)[:60], "", reason))

    def _entry_values(self, block: Block, stream: Stream, joins: Sequence[Join]) -> Iterator[EntryValues]:
        if not joins:
            return
        key_at, company_at = stream.names.index(self._query.key), stream.names.index(self._query.company)
        rows = block.first_rows()
        companies = None if self._picks_first_rows else tuple(row[company_at] for row in rows)
        records = Records(tuple(row[key_at] for row in rows), companies)
        for at in range(0, len(joins), _LOOKUPS_AT_ONCE):
            together = joins[at : at + _LOOKUPS_AT_ONCE]
            for join in together:
                join.begin(records)
            for join in together:
                values = join.values(block.keys)
                values.update(self._entry_rows.unassigned(join.query, block.keys))
                yield EntryValues(join.query, values)


def _add_second_row(rows: list[Row], row: Row) -> None:
    """One row a record is due; the second is kept to say what is wrong, a third says no more."""
    if len(rows) < 2:
        rows.append(row)


class PayloadBuilder:
    """Makes payloads of the rows of a traits query and of the entries' values. ``trait_names``: the traits it has.

    :param names: the result's columns, already held against the plan.
    :param entries: the queries of the entries, in the order of the plan.
    :param warnings: counts, by kind, what was changed or dropped on the way.
    :param repeated: keys of records that have several rows, whatever a block shows.
    :param first_rows: whether the rows are first ones, which tell how many there are alike (`sql.narrowed`).
    :param told: keys of records that were told to have several rows; none is told again.
    """

    def __init__(
        self,
        query: Query,
        names: Sequence[str],
        entries: Sequence[Query],
        warnings: Counter[str],
        repeated: frozenset[str],
        *,
        sends_traits: bool,
        first_rows: bool,
        told: set[str] | None,
    ) -> None:
        self._query = query
        self._company_at = names.index(query.company)
        self._written_at = names.index(COMPANY_AS_WRITTEN) if COMPANY_AS_WRITTEN in names else None
        self._entry_keys = [entry.entry_key or "" for entry in entries]
        self._warnings = warnings
        self._repeated_keys = repeated
        self._sends_traits = sends_traits
        self._alike_at = len(names) if first_rows else None
        self._told = told
        self._reader = RowReader(query, names, omit_nulls=query.nulls == "omit")
        self.trait_names: Final = self._reader.names
        self.company_spellings: Spellings | None = None  # where the companies are of another database

    def payloads(self, block: Block, entries: Sequence[EntryValues]) -> list[Payload | Problem]:
        """The payloads of a block, and the problems of the records that can't be sent."""
        if block.counts is None and not self._repeated_keys and not self._has_repeated(block.rows):
            return self._of_single_rows(block.keys, block.rows, entries)
        told = self._told or ()
        groups = [(key, rows) for key, rows in zip(block.keys, block.groups(), strict=True) if key not in told]
        single = [(key, rows[0]) for key, rows in groups if not self._is_repeated(key, rows)]
        made = iter(self._of_single_rows([key for key, _ in single], [row for _, row in single], entries))
        return [self._repeated(key, rows) if self._is_repeated(key, rows) else next(made) for key, rows in groups]

    def keys(self, block: Block) -> list[str]:
        """The keys of a block's records that have one row, in which all values have a form in JSON."""
        groups = zip(block.keys, block.groups(), strict=True)
        single = [(key, rows[0]) for key, rows in groups if not self._is_repeated(key, rows)]
        read = self._reader.read([row for _, row in single])
        return [key for place, (key, _) in enumerate(single) if place not in read.invalid]

    def _of_single_rows(
        self, keys: list[str], rows: Sequence[Row], entries: Sequence[EntryValues]
    ) -> list[Payload | Problem]:
        read = self._reader.read(rows) if self._sends_traits else ReadRows(len(rows))
        read.count_changes(self._warnings)
        invalid = read.invalid
        contexts, left_out = contexts_of(keys, entries)
        invalid.add_from(contexts)
        company_ids = self._company_ids(rows, invalid)
        payloads = payloads_of(
            self._query.scope,
            keys,
            self._reader.encode(read) if self._sends_traits else [b""] * len(rows),
            contexts,
            company_ids,
            invalid,
            trait_names=self.trait_names,
            entry_keys=self._entry_keys,
        )
        for place, problems in left_out.items():
            payload = payloads[place]
            if isinstance(payload, Payload):
                payloads[place] = msgspec.structs.replace(payload, left_out=problems)
        return payloads

    def _company_ids(self, rows: Sequence[Row], invalid: InvalidRecords) -> Iterable[str | None]:
        if self._query.scope == "companies":
            return repeat(None)
        raw = self._companies(rows)
        company_ids: Sequence[str | None] = plain_keys(raw) or [
            None if place in invalid else self._company_id(value) for place, value in enumerate(raw)
        ]
        if self.company_spellings is None:
            return company_ids
        spelled = self.company_spellings.spelled(sorted({key for key in company_ids if key is not None}))
        return [key if key is None else spelled.get(key, key) for key in company_ids] if spelled else company_ids

    def _companies(self, rows: Sequence[Row]) -> list[Any]:
        """The companies' keys: where the companies query has no such company, as the users query has them."""
        written, at = self._written_at, self._company_at
        if written is None:
            return [row[at] for row in rows]
        return [row[written] if row[at] is None else row[at] for row in rows]

    def _company_id(self, raw: Any) -> str | None:
        if raw is None:
            return None
        try:
            return to_key(raw)
        except InvalidValue:
            self._warnings[NO_COMPANY_KEY.format(self._query.name)] += 1
            return None

    def _has_repeated(self, rows: Sequence[Row]) -> bool:
        at = self._alike_at
        return at is not None and any(row[at] > 1 for row in rows)

    def _is_repeated(self, key: str, rows: Sequence[Row]) -> bool:
        return len(rows) > 1 or key in self._repeated_keys or self._has_repeated(rows)

    def _repeated(self, key: str, rows: Sequence[Row]) -> Problem:
        if self._told is not None:
            self._told.add(key)
        scope, name = self._query.scope, self._query.name
        reason = f"has more than one row in the {scope} query ({name})"
        if scope == "users":
            raw = self._companies(rows)
            if self._alike_at is not None:
                raw += [row[self._alike_at + 1] for row in rows]
            companies = sorted({self._company_id(company) or "none" for company in raw})
            reason += f", of {'company' if len(companies) == 1 else 'companies'} {' and '.join(companies)}"
        if self._query.prefer:
            return Problem(scope, key, "", f"{reason}; users.prefer puts none of them first")
        return Problem(scope, key, "", f"{reason}; one is due")
