"""Reads the records of one scope and batch: rows of the traits query, joined with entries, become payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import InvalidValue, Problem
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.blocks import Block, blocks
from airflow_provider_halo.source.cells import Row
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.entries import EntryValues
from airflow_provider_halo.source.entry_rows import EntryRows
from airflow_provider_halo.source.join import Join, Lookup
from airflow_provider_halo.source.matches import Matches
from airflow_provider_halo.source.payload_builder import PayloadBuilder
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
        named = _NamedKeys(self._named_keys())
        with Streams(self._sources, chunk_rows=self._chunk_rows) as streams:
            stream = self._open_records(streams)
            joins = self._entry_rows.joins(entries, streams)
            builder = self._builder(stream, streams, entries, sends_traits=sends_traits)
            builder.company_spellings = self._matches.company_spellings(self._query.scope)
            stats.traits[self._query.scope] = builder.trait_names
            for block in self._blocks(stream, joins):
                entry_values = list(self._entry_values(block, stream, joins))
                stats.records[self._query.name] += len(block.keys)
                for query, values in entry_values:
                    stats.records[query.name] += len(values)
                named.meet(block.keys)
                yield builder.payloads(block, entry_values)
            for join in joins:
                join.finish()
        missing = named.missing(self._is_there)
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


class _NamedKeys:
    """The keys by which a part names records, as long as no record with such a key was read."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._missing = dict.fromkeys(keys)
        self._met_others = False  # records whose keys are spelled as none of these

    def meet(self, keys: Sequence[str]) -> None:
        """Take note of records that were read."""
        if self._missing or self._met_others:
            self._met_others = self._met_others or not self._missing.keys() >= set(keys)
            for key in keys:
                self._missing.pop(key, None)

    def missing(self, is_there: Callable[[str], bool]) -> list[str]:
        """The keys that no record has.

        :param is_there: asks whether a record has the key in another spelling; only where some may.
        """
        return [key for key in self._missing if not (self._met_others and is_there(key))]


def _add_second_row(rows: list[Row], row: Row) -> None:
    """One row a record is due; the second is kept to say what is wrong, a third says no more."""
    if len(rows) < 2:
        rows.append(row)
