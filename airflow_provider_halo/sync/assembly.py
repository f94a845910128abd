"""Records of a batch: the traits query drives, each context entry is joined to it while both stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from airflow_provider_halo.plan.query import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.model import Company, ContextEntry, User
from airflow_provider_halo.records.problem import Problem, Unsendable
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.sync.batch import Batch
from airflow_provider_halo.sync.collations import same_range
from airflow_provider_halo.sync.groups import groups
from airflow_provider_halo.sync.joins import UNKNOWN_ROWS, Found, Join, Lookup, Merge
from airflow_provider_halo.sync.narrowing import (
    Companies,
    Part,
    Range,
    Records,
    narrowed,
    range_of,
    sorts_like_python,
)
from airflow_provider_halo.sync.rows import Streams
from airflow_provider_halo.sync.shapes import LEFT_OUT, LeftOut, Row, RowReader
from airflow_provider_halo.sync.source import Sources

Warn = Callable[[str, int], None]

KEYS_AT_ONCE = 500  # keys in one IN list: below every database's limit on parameters (SQLite's was 999 for long)
# Connections that one batch holds at once, at most: below the 15 that SQLAlchemy's pool gives, and so few that a dozen
# batches fit under PostgreSQL's 100. Entries beyond them are looked up block by block.
_STREAMS = 8
_LOOKUPS_AT_ONCE = 4

NO_KEY = "{0}: rows without a key dropped"
NO_COMPANY_KEY = "{0}: users whose company's key can't be used are sent without a company"
_NO_ROWS: Final[Any] = object()

Head: TypeAlias = "tuple[str, list[Row]]"
"""One record as its traits query gives it: its key, and its rows, of which there should be one."""


class Notes:
    """What a reading learns of the queries on the way, for whoever remembers it.

    ``found``: how many records each query had rows for. ``traits``: names of the traits that a scope's query gives.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.traits: dict[QueryScope, tuple[str, ...]] = {}


def read_records(  # noqa: PLR0917 (what is read, by which plan, from where: no one of them has a default)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    notes: Notes | None = None,
) -> Generator[Company | User | Problem, None, None]:
    """Read one scope of a batch. Closing the generator cancels its queries and closes its connections.

    :param selection: which entries are read, and whether traits are part of the records.
    :param sources: gives the engine of a connection id.
    :param warn: is told what was changed or dropped on the way, as ``(kind, how often)``.
    :param notes: filled in while the records are read.
    :return: each record, or the `Problem` that keeps it from being sent; in the order of the keys' texts within a batch's
        range. Keys that a batch names (``companies``, ``user``) and the traits query doesn't give are problems too.
    :raises PlanError: when a result lacks a column that the plan names, or has one that Halo reserves.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    driver = plan.traits(scope)
    if driver is None:
        return
    for part in _parts(scope, batch):
        missing = _named(scope, part)
        for record in _Reading(driver, selection, part, sources, warn, notes or Notes()).records():
            missing.pop(_key_of(record), None)
            yield record
        for key in missing:
            yield Problem(scope, key, "", f"is not in the {scope} query ({driver.name})")


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


def _key_of(record: Company | User | Problem) -> str:
    if isinstance(record, User):
        return record.user_id
    return record.company_id if isinstance(record, Company) else record.key


class _Reading:
    """One part of a batch being read: the driver's rows, and the entries joined to them."""

    def __init__(  # noqa: PLR0917 (as of `read_records`)
        self, driver: Query, selection: Selection, part: Part, sources: Sources, warn: Warn, notes: Notes
    ) -> None:
        self._notes = notes
        self._driver = driver
        self._scope = driver.scope
        self._part = part
        self._sources = sources
        self._warn = warn
        self._warnings: Counter[str] = Counter()
        self._sends_traits = selection.traits(driver.scope)
        self._entries = selection.entries(driver.scope)
        self._refused: list[Problem] = []
        self._key_at = 0
        self._company_at = 0

    def records(self) -> Iterator[Company | User | Problem]:
        """The records and problems of the part."""
        driver = self._driver
        with Streams(self._sources) as streams:
            dialect = streams.engine(driver).dialect
            stream = streams.open(driver, narrowed(driver, self._part, dialect))
            joins = self._joins(streams)
            names = stream.names
            self._key_at, self._company_at = names.index(driver.key), names.index(driver.company)
            traits = RowReader(driver, names, self._warnings, omit_nulls=driver.nulls == "omit")
            self._notes.traits[self._scope] = traits.names
            heads = groups(stream, _keep_two, ordered=sorts_like_python(dialect), unusable=self._unusable)
            while block := list(islice(heads, KEYS_AT_ONCE)):
                found = list(self._found(block, joins))
                self._notes.found[driver.name] += len(block)
                for query, entries in found:
                    self._notes.found[query.name] += len(entries)
                records = [self._record(key, rows, traits, found) for key, rows in block]
                self._flush()
                yield from records
            for join in joins:
                join.finish()
            self._flush()
            yield from self._refused

    def _joins(self, streams: Streams) -> list[Join]:
        joins: list[Join] = []
        own = streams.engine(self._driver)
        for query in self._entries:
            engine = streams.engine(query)
            if len(joins) < _STREAMS - 1 and self._streams_alongside(query, engine, own):
                unknown = UNKNOWN_ROWS.format(query.name, self._scope, self._driver.name)
                stream = streams.open(query, narrowed(query, self._part, engine.dialect))
                joins.append(Merge(stream, self._warnings, unknown))
            else:
                joins.append(Lookup(query, streams, self._warnings))
        return joins

    def _streams_alongside(self, query: Query, engine: sa.Engine, own: sa.Engine) -> bool:
        """Whether narrowing to the part gives the rows of the driver's records and of no others, in the driver's order."""
        if isinstance(self._part, Records) or not sorts_like_python(engine.dialect):
            return False
        if not isinstance(self._part, Range):
            return True
        shared = own if query.source == self._driver.source else None
        return same_range(self._part, self._driver, query, shared)

    def _found(self, block: Sequence[Head], joins: Sequence[Join]) -> Iterator[tuple[Query, dict[str, Found]]]:
        keys = [key for key, _ in block]
        records = Records(
            tuple(rows[0][self._key_at] for _, rows in block), tuple(rows[0][self._company_at] for _, rows in block)
        )
        for at in range(0, len(joins), _LOOKUPS_AT_ONCE):
            some = joins[at : at + _LOOKUPS_AT_ONCE]
            for join in some:
                join.begin(records)
            for join in some:
                yield join.query, join.values(keys)

    def _record(
        self, key: str, rows: list[Row], traits: RowReader, found: Sequence[tuple[Query, dict[str, Found]]]
    ) -> Company | User | Problem:
        scope = self._scope
        if len(rows) > 1:
            return Problem(scope, key, "", self._twice(rows))
        context = {}
        try:
            values = traits(rows[0]) if self._sends_traits else {}
            for query, entries in found:
                value = entries.get(key, _NO_ROWS)
                if value is _NO_ROWS:
                    value = query.empty if query.sends_empty else LEFT_OUT
                if isinstance(value, Unsendable):
                    raise value
                if not isinstance(value, LeftOut) and query.entry is not None and query.entry_key is not None:
                    context[query.entry_key] = ContextEntry(query.entry.label, value, query.entry.type)
        except Unsendable as problem:
            return Problem(scope, key, problem.field, problem.reason)
        if scope == "companies":
            return Company(company_id=key, traits=values, context=context)
        return User(user_id=key, company_id=self._company(rows[0]), traits=values, context=context)

    def _company(self, row: Row) -> str | None:
        raw = row[self._company_at]
        if raw is None:
            return None
        try:
            return to_key(raw)
        except Unsendable:
            self._warnings[NO_COMPANY_KEY.format(self._driver.name)] += 1
            return None

    def _twice(self, rows: list[Row]) -> str:
        if self._scope == "companies":
            return f"has more than one row in the companies query ({self._driver.name}); one is due"
        companies = sorted({self._company(row) or "none" for row in rows})
        of = "of company" if len(companies) == 1 else "of companies"
        return f"has more than one row in the users query ({self._driver.name}), {of} {' and '.join(companies)}; one is due"

    def _unusable(self, row: Row) -> None:
        raw = row[self._key_at]
        if raw is None:
            self._warnings[NO_KEY.format(self._driver.name)] += 1
            return
        try:
            to_key(raw)
        except Unsendable as problem:
            self._refused.append(
                Problem(self._scope, ascii(raw)[:60], "", f"column {self._driver.key!r}: {problem.reason}")
            )

    def _flush(self) -> None:
        for kind, count in self._warnings.items():
            self._warn(kind, count)
        self._warnings.clear()


def _keep_two(rows: list[Row], row: Row) -> None:
    """One row a record is due; the second is kept to say what is wrong, a third says no more."""
    if len(rows) < 2:
        rows.append(row)
