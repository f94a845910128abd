"""How another database spells the keys of records: found by asking it, since it can't be joined with theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.values import to_keys
from airflow_provider_halo.source.database import Sources, ask, engine_of, names_of
from airflow_provider_halo.source.equality import canonical
from airflow_provider_halo.source.kinds import KeyKind, Kinds
from airflow_provider_halo.source.sql import (
    Records,
    narrowed,
    quoted,
    records_of,
    sorts_like_python,
    text_order,
    value_of,
)

__all__ = ["Spellings"]


class Spellings:
    """Asks a query's database for rows by keys of records that live in another one.

    :param query: the query whose rows are asked for.
    :param records: the query that gives the records.
    """

    def __init__(self, query: Query, records: Query, sources: Sources, kinds: Kinds) -> None:
        self._query = query
        self._records = records
        self._engine = engine_of(query, sources)
        self._sources = sources
        self._kinds = kinds
        self.unassigned: set[str] = set()  # keys of which rows can't be told from those of other records

    def rows_of(self, keys: Sequence[str]) -> sa.Executable:
        """The statement that gives the rows of records under the keys that those have, equal keys together.

        :param keys: the records' keys as Halo knows them.
        """
        kind = self._kinds.of(self._query, self._query.key)
        asked = _asked_as(keys, kind)
        # A placement names companies: of a user's rows it may be any.
        part = Records(asked, asked if self._query.scope == "companies" else None)
        own_by_spelling = self._own_by_spelling(keys, part, kind) if self._may_differ(kind) else {}
        rows = narrowed(self._query, part, self._engine.dialect)
        return self._renamed(rows, own_by_spelling, kind) if own_by_spelling else rows

    def spelled(self, keys: Sequence[str]) -> dict[str, str]:
        """How the query spells keys, where it does so in one other way.

        :param keys: as another query has them.
        """
        kind = self._kinds.of(self._query, self._query.key)
        if not keys or not self._may_differ(kind):
            return {}
        part = Records(_asked_as(keys, kind))
        found = self._found(part, kind)
        spelled: dict[str, str] = {}
        for spelling, equal in self._equal(sorted(found.difference(keys)), keys, part, kind):
            for key in equal:
                if key not in found:
                    spelled[key] = "" if key in spelled else spelling
        return {key: spelling for key, spelling in spelled.items() if spelling}

    def _found(self, part: Records, kind: KeyKind) -> set[str]:
        """The spellings that the query has of the keys of a part."""
        text: sa.Label[Any] = sa.literal_column(self._text(kind)).label("halo_text")
        statement = sa.select(text).select_from(self._rows(part, [self._query.key])).distinct()
        return {_decoded(row[0]) for row in ask(self._engine, self._query, statement)}

    def _may_differ(self, kind: KeyKind) -> bool:
        return sorts_like_python(self._engine.dialect) and kind.family == "text" and not kind.is_exact

    def _text(self, kind: KeyKind) -> str:
        return canonical(self._engine.dialect.name, f"q.{quoted(self._query.key, self._engine.dialect)}", kind)

    def _own_by_spelling(self, keys: Sequence[str], part: Records, kind: KeyKind) -> dict[str, str]:
        """The keys that the query's other spellings stand for."""
        found = self._found(part, kind)
        others = found.difference(keys)
        # A spelling that is another record's own is that record's.
        others = others - self._records_own(sorted(others)) if others else others
        # A driver gives CHAR(n) with its blanks, which belong to no key.
        own = {key: key for key in found.intersection(keys)} if kind.type == "character" else {}
        for spelling, equal in self._equal(sorted(others), keys, part, kind):
            if len(equal) == 1:
                own[spelling] = equal[0]
            else:
                self.unassigned.update(equal)
        return own

    def _records_own(self, texts: Sequence[str]) -> set[str]:
        engine = engine_of(self._records, self._sources)
        kind = self._kinds.of(self._records, self._records.key)
        own = records_of(self._records, Records(_asked_as(texts, kind)), engine.dialect)
        rows = ask(engine, self._records, sa.select(own.c[self._records.key]))
        return {key for key in to_keys([row[0] for row in rows]) if isinstance(key, str)}

    def _equal(
        self, others: Sequence[str], keys: Sequence[str], part: Records, kind: KeyKind
    ) -> Iterator[tuple[str, list[str]]]:
        """Spellings, each with the keys that the database takes for equal to it."""
        if not others:
            return
        dialect = self._engine.dialect
        rows = self._rows(part, [self._query.key])
        text: sa.ColumnElement[Any] = sa.literal_column(self._text(kind))
        key = rows.c[self._query.key]
        equals = [
            sa.case((key == value_of(asked, dialect), 1), else_=0).label(f"halo_{at}") for at, asked in enumerate(keys)
        ]
        statement = (
            sa.select(text.label("halo_text"), *equals)
            .select_from(rows)
            .where(text.in_([value_of(other, dialect) for other in others]))
            .distinct()
        )
        found: defaultdict[str, set[str]] = defaultdict(set)
        for row in ask(self._engine, self._query, statement):
            spelling, *flags = tuple(row)
            found[_decoded(spelling)].update(key for at, key in enumerate(keys) if flags[at])
        for spelling, equal in found.items():
            yield spelling, sorted(equal)

    def _rows(self, part: Records, names: Sequence[str]) -> sa.Subquery:
        statement = narrowed(self._query, part, self._engine.dialect)
        return statement.columns(*(sa.column(name) for name in names)).subquery("q")

    def _renamed(self, rows: sa.TextClause, own: dict[str, str], kind: KeyKind) -> sa.Executable:
        """The rows with the records' spellings in place of their own."""
        dialect = self._engine.dialect
        names = names_of(self._engine, self._query)
        q = rows.columns(*(sa.column(name) for name in names)).subquery("q")
        text: sa.ColumnElement[Any] = sa.literal_column(self._text(kind))
        spelled = [(text == value_of(other, dialect), value_of(key, dialect)) for other, key in own.items()]
        key = sa.case(*spelled, else_=q.c[self._query.key]).label(self._query.key)
        renamed = sa.select(*(key if name == self._query.key else q.c[name] for name in names)).subquery("r")
        order = text_order(f"r.{quoted(self._query.key, dialect)}", dialect)
        return sa.select(renamed).order_by(sa.text(order))


def _decoded(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def _asked_as(keys: Sequence[str], kind: KeyKind) -> tuple[Any, ...]:
    """Keys as the values that a column of this kind can hold: one that it can't is no key there."""
    numbers = [int(key) for key in keys if _is_number(key)]
    if kind.family == "number":
        return tuple(numbers)
    if kind.family == "uuid":
        return tuple(key for key in keys if _is_uuid(key))
    return tuple(keys) if kind.family == "text" else (*keys, *numbers)


def _is_number(key: str) -> bool:
    return len(key) <= 30 and key.isascii() and key.removeprefix("-").isdecimal() and str(int(key)) == key


def _is_uuid(key: str) -> bool:
    try:
        return str(UUID(key)) == key.lower()
    except ValueError:
        return False
