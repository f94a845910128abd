"""Opens the rows of entries for the records of a part, whichever way leads each of them to its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import to_keys
from airflow_provider_halo.source.entries import EntryValue
from airflow_provider_halo.source.join import Join, Lookup, Merge
from airflow_provider_halo.source.matches import Matches
from airflow_provider_halo.source.sql import Part, Records, narrowed, records_of, sorts_like_python
from airflow_provider_halo.source.streams import Streams

__all__ = ["UNASSIGNED", "EntryRows"]

# Connections that one batch holds at once, at most: below the 15 that SQLAlchemy's pool gives, and so few that a dozen
# batches fit under PostgreSQL's 100. Entries beyond them are looked up block by block.
_STREAMS: Final = 8

UNASSIGNED: Final = "has rows whose key its database takes for that of several records; spell the key as one of them"


class EntryRows:
    """The rows of a part's entries.

    :param query: the traits query, which tells which records there are.
    :param matches: how rows are matched to records.
    :param warnings: counts, by kind, what was changed or dropped on the way.
    :param first_rows: whether a record's first row is looked for in the whole query.
    """

    def __init__(self, query: Query, part: Part, matches: Matches, warnings: Counter[str], *, first_rows: bool) -> None:
        self._query = query
        self._part = part
        self._matches = matches
        self._warnings = warnings
        self._first_rows = first_rows
        self._unassigned: dict[str, AbstractSet[str]] = {}  # by entry, keys of records whose rows can't be told apart

    def joins(self, entries: Sequence[Query], streams: Streams) -> list[Join]:
        """Begin to read the entries, or make ready to look them up."""
        joins: list[Join] = []
        for entry in entries:
            dialect = streams.engine(entry).dialect
            statement_of = self._statement_of(entry, dialect)
            if len(joins) < _STREAMS - 1 and self._streams_alongside(entry, dialect):
                stream = streams.open(entry, statement_of(self._part), goes_on=True)
                joins.append(Merge(stream, self._query, self._warnings))
            else:
                joins.append(Lookup(entry, statement_of, streams, self._warnings))
            if self._matches.is_joined(entry):
                records = self._records_of(self._part, dialect)
                self._unassigned[entry.name] = self._matches.ambiguous(entry, records)
        return joins

    def unassigned(self, entry: Query, keys: Sequence[str]) -> Mapping[str, EntryValue]:
        """Why those of a block's records can't be sent among which an entry has rows that can't be assigned."""
        unassigned = self._unassigned.get(entry.name)
        if not unassigned:
            return {}
        return {key: InvalidValue(UNASSIGNED, f"context.{entry.entry_key}") for key in keys if key in unassigned}

    def _streams_alongside(self, entry: Query, dialect: Dialect) -> bool:
        """Whether all rows of the part's records can be read in the records' order."""
        if isinstance(self._part, Records) or not sorts_like_python(dialect):
            return False
        return entry.source == self._query.source

    def _statement_of(self, entry: Query, dialect: Dialect) -> Callable[[Part], sa.Executable]:
        """Gives the statement of the entry's rows of the records of a part."""
        spellings = self._matches.spellings(entry)
        if spellings is None:
            return partial(self._statement, entry, dialect)
        self._unassigned[entry.name] = spellings.unassigned

        def by_keys(part: Part) -> sa.Executable:
            assert isinstance(part, Records)  # noqa: S101 (for mypy: a range isn't read alongside another database's)
            return spellings.rows_of([key for key in to_keys(part.keys) if isinstance(key, str)])

        return by_keys

    def _statement(self, entry: Query, dialect: Dialect, part: Part) -> sa.Executable:
        if self._matches.is_joined(entry):
            return self._matches.joined(entry, self._records_of(part, dialect), part)
        if entry.scope == "users" and isinstance(part, Records):
            part = Records(part.keys)  # whatever company the rows name
        return narrowed(entry, part, dialect)

    def _records_of(self, part: Part, dialect: Dialect) -> sa.Subquery:
        return records_of(self._query, part, dialect, first_rows=self._first_rows)
