"""Rows of a context query become the values of its entry, and entries the context of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.model import Query, ordering
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.records.problem import BROKEN_TEXT, InvalidValue, Problem
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.source.blocks import Block
from airflow_provider_halo.source.cells import ReadRows, Row, RowReader, Values, without_nulls

__all__ = ["Contexts", "EntryReader", "EntryValue", "EntryValues", "contexts_of", "numbered"]

EntryValue: TypeAlias = "bytes | NotSent | LeftOut | InvalidValue"
"""What an entry's rows came to for one record: a value as JSON, nothing to send, or why it or the record can't be sent."""


class NotSent:
    """In place of an entry's value: there is nothing to send, by the plan's word (`empty: omit`)."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """In place of an entry's value: it can't be sent as the database has it. The rest of the record is sent.

    :param reason: why, and where the query stands.
    :param value: what is sent of it all the same, as JSON; None for nothing.
    """

    reason: str
    value: bytes | None = None


class EntryValues(NamedTuple):
    """The values of one entry, by the key of the record; one without rows is missing."""

    query: Query
    by_key: Mapping[str, EntryValue]


class Contexts(NamedTuple):
    """The contexts of some records.

    :param encoded: each as JSON; empty bytes for a record without any entry, or why it can't be sent.
    :param left_out: what was left out of records, by their place among them.
    """

    encoded: list[bytes | InvalidValue]
    left_out: dict[int, tuple[Problem, ...]]


NOT_SENT: Final = NotSent()
NULL_NAME = "{0}: rows without a name dropped"
MANY_ROWS = "{0} left out: more than one row where one is due"
SAME_NAME = "{0} left out: two rows of one name"
NOT_CONNECTED = "{0}: rows whose `connected` is no boolean, and Halo documents none without"

# A record is at most 50,000 bytes, and no row of an array is shorter than the three of `{},`. What comes after so many
# rows can't be sent any more; keeping it would only let one record eat the memory.
_MOST_ROWS = 20_000
_FIRST: Final = itemgetter(0)
_MOST_BEFORE_CUT = 1_000  # rows that are gathered before a `limit` is applied for the first time


class EntryReader:
    """Turns all rows of one record into the value of a context entry.

    :param names: the result's columns, already held against the plan.
    :param warnings: counts what was changed or left out on the way, by kind.
    """

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str]) -> None:
        if query.entry is None:
            message = f"{query.name} is no context entry"
            raise ValueError(message)
        self._query = query
        self._warnings = warnings
        self._one_row = query.shape in {"object", "scalar"}
        self._name = query.entry.name or ""
        self._value_column = query.entry.value or ""
        self._numbers_names = query.entry.duplicates == "number"
        self._needs_connected = query.entry.type == "integration"
        self._limit = query.entry.limit
        self._order = [ordering(item) for item in query.entry.order_by]
        # Only an object is read in one go: names, orders and a scalar's null are looked at before nulls are left out.
        self._omit_nulls = query.nulls == "omit"
        self._reader = RowReader(query, names, omit_nulls=self._omit_nulls and query.shape == "object")
        self._most = _MOST_ROWS
        if self._one_row:
            self._most = 2
        elif self._limit is not None:
            self._most = max(_MOST_BEFORE_CUT, 4 * self._limit)

    def add_row(self, rows: list[Row], row: Row) -> None:
        """Add a row to those of its record, unless it can't matter any more."""
        if len(rows) < self._most:
            rows.append(row)
        elif len(rows) == self._most and self._limit is not None:
            rows.append(row)
            self._cut(rows, self._limit)

    def values(self, block: Block) -> list[EntryValue]:
        """What the rows of each record of a block come to; what a record without rows gets isn't decided here."""
        if not self._one_row:
            return self._of_many_rows(block)
        if block.counts is None:
            return self._of_single_rows(block.rows)
        # Where one row is due, more than one aren't even read.
        single_rows = [rows[0] for rows in block.groups() if len(rows) == 1]
        values = iter(self._of_single_rows(single_rows))
        return [next(values) if count == 1 else self._many_rows() for count in block.counts]

    def _of_single_rows(self, rows: Sequence[Row]) -> list[EntryValue]:
        read = self._reader.read(rows)
        read.count_changes(self._warnings)
        if self._query.shape == "scalar":
            return [*self._reader.encode_column(read, self._value_column)]
        return [*self._reader.encode(read)]

    def _of_many_rows(self, block: Block) -> list[EntryValue]:
        counts = [1] * len(block.keys) if block.counts is None else block.counts
        read = self._reader.read(block.rows)
        self._count_changes(read, counts)
        values = iter(self._reader.by_name(read))
        value_of = self._array
        if self._query.shape == "map":
            value_of = self._plain_map if self._is_plain(read) else self._map
        return [value_of(list(islice(values, count))) for count in counts]

    def _is_plain(self, read: ReadRows) -> bool:
        """Whether nothing about the rows of a map has to be looked at one by one but whether two have one name."""
        columns = dict(zip(self._reader.names, read.columns, strict=True))
        if read.invalid or self._numbers_names or {*map(type, columns[self._name])} != {str}:
            return False
        return not self._needs_connected or {*map(type, columns.get("connected", (None,)))} == {bool}

    def _plain_map(self, rows: list[Any]) -> EntryValue:
        """As `_map`, of plain rows."""
        name = self._name
        value = {row.pop(name): row for row in rows}
        if len(value) < len(rows):
            return self._same_name()
        if self._omit_nulls:
            value = {text: without_nulls(row) for text, row in value.items()}
        try:
            return to_json(dict(sorted(value.items())))
        except UnicodeEncodeError:
            return self._broken_text()

    def _count_changes(self, read: ReadRows, counts: Iterable[int]) -> None:
        """Count what was changed in the rows of each record until one that can't be sent: those after it don't count."""
        not_counted: set[int] = set()
        if read.invalid and read.changes:
            end = 0
            for count in counts:
                start, end = end, end + count
                invalid = next((row for row in range(start, end) if row in read.invalid), end)
                not_counted.update(range(invalid + 1, end))
        read.count_changes(self._warnings, except_for=not_counted)

    def _map(self, rows: list[Values | InvalidValue]) -> EntryValue:
        """The rows of one record as an object of objects, by their names."""
        values = _all_valid(rows)
        if isinstance(values, InvalidValue):
            return values
        if self._numbers_names:
            values = [values[at] for at in self._in_order(values)]
        names = [row.pop(self._name) for row in values]
        lost = 0
        if None in names:
            if len(rows) == self._most:
                return LeftOut(f"it has more than {self._most:,} rows, some without a {self._name} {self._where}")
            names, values, lost = self._with_names(names, values)
        if self._needs_connected:
            self._check_connected(values)
        try:
            return self._by_any_name(names, values, lost)
        except UnicodeEncodeError:
            return self._broken_text()

    def _with_names(self, names: list[Json], rows: list[Values]) -> tuple[list[Json], list[Values], int]:
        """The names and rows without those that have none; and how many of these say something."""
        without = [row for name, row in zip(names, rows, strict=True) if name is None]
        self._warnings[NULL_NAME.format(self._query.name)] += len(without)
        named = [(name, row) for name, row in zip(names, rows, strict=True) if name is not None]
        # A row of nothing at all is what an outer join gives where there is none.
        lost = sum(any(row.values()) for row in without)
        return [name for name, _ in named], [row for _, row in named], lost

    def _check_connected(self, rows: Iterable[Values]) -> None:
        values = [row.get("connected") for row in rows]
        if {*map(type, values)} - {bool}:
            unclear = sum(not isinstance(value, bool) for value in values)
            self._warnings[NOT_CONNECTED.format(self._query.name)] += unclear

    def _by_any_name(self, names: list[Json], rows: list[Values], lost: int) -> EntryValue:
        """As `_by_name`, where names may be no texts, and several the same."""
        texts = [name if isinstance(name, str) else to_json(name).decode() for name in names]
        if len(frozenset(texts)) < len(texts):
            if not self._numbers_names:
                return self._same_name()
            texts = numbered(texts)
        return self._by_name(texts, rows, lost)

    def _by_name(self, names: list[str], rows: list[Values], lost: int) -> EntryValue:
        """Rows as an object of objects.

        :param lost: how many rows there are besides.
        """
        finished = map(without_nulls, rows) if self._omit_nulls else rows
        value = dict(sorted(zip(names, finished, strict=True), key=_FIRST))
        if lost:
            # What is thrown away mustn't look as if it weren't there: never `empty` in its place.
            return self._without_names(lost, to_json(value) if value else None)
        if value or self._query.sends_empty:
            return to_json(value or self._query.empty)
        return NOT_SENT

    def _array(self, rows: list[Values | InvalidValue]) -> EntryValue:
        """The rows of one record as a list of objects."""
        values = _all_valid(rows)
        if isinstance(values, InvalidValue):
            return values
        try:
            return to_json([self._finished(values[at]) for at in self._in_order(values)[: self._limit]])
        except UnicodeEncodeError:
            return self._broken_text()

    def _cut(self, rows: list[Row], limit: int) -> None:
        """Keep as many rows of a record as are sent; all of them where one can't be sent, and so the record can't."""
        read = self._reader.read(rows)
        self._count_changes(read, [len(rows)])
        values = _all_valid(self._reader.by_name(read))
        if not isinstance(values, InvalidValue):
            rows[:] = [rows[at] for at in self._in_order(values)[:limit]]

    def _in_order(self, values: Sequence[Values]) -> Sequence[int]:
        """The places of rows in the plan's order.

        Rows that this leaves equal come in the order of their values: a database gives them in any order, and the same
        data must give the same bytes.
        """
        places = list(range(len(values)))
        if len(places) > 1:
            places.sort(key=[_bytes_of(row) for row in values].__getitem__)
            for column, descending in reversed(self._order):
                _sort(places, [row[column] for row in values], descending=descending)
        return places

    def _finished(self, values: Values) -> Values:
        return without_nulls(values) if self._omit_nulls else values

    def _many_rows(self) -> LeftOut:
        self._warnings[MANY_ROWS.format(self._query.name)] += 1
        way_out = "make it one in the SQL, or a list by `rows: many`"
        return LeftOut(f"it has more than one row where one is due {self._where}; {way_out}")

    def _same_name(self) -> LeftOut:
        self._warnings[SAME_NAME.format(self._query.name)] += 1
        way_out = "make it one row each in the SQL, or number them by `duplicates: number`"
        return LeftOut(f"two of its rows have the same {self._name} {self._where}; {way_out}")

    def _without_names(self, count: int, value: bytes | None) -> LeftOut:
        rows = "1 row of it has" if count == 1 else f"{count:,} rows of it have"
        what = f"its rows have no {self._name}" if value is None else f"{rows} no {self._name}"
        return LeftOut(f"{what} {self._where}; give each row a name in the SQL, or leave it out there", value)

    @property
    def _where(self) -> str:
        return f"({self._query.file}, line {self._query.line})"

    def _broken_text(self) -> InvalidValue:
        return InvalidValue(BROKEN_TEXT, f"context.{self._query.entry_key}")


def _all_valid(rows: list[Values | InvalidValue]) -> list[Values] | InvalidValue:
    """The rows, or the reason of the first that can't be sent."""
    if InvalidValue in frozenset(map(type, rows)):
        return next(row for row in rows if isinstance(row, InvalidValue))
    return rows  # type: ignore[return-value]  # told by the types


def numbered(names: Sequence[str]) -> list[str]:
    """The names, each once: the second of a name becomes ``S3 prod (2)``, or the next number that no other has."""
    taken = set(names)
    next_number: dict[str, int] = {}
    numbered = []
    for name in names:
        number = next_number.get(name)
        if number is None:
            next_number[name] = 2
            numbered.append(name)
            continue
        while f"{name} ({number})" in taken:
            number += 1
        taken.add(f"{name} ({number})")
        next_number[name] = number + 1
        numbered.append(f"{name} ({number})")
    return numbered


def _sort(places: list[int], column: Sequence[Json], *, descending: bool) -> None:
    places.sort(key=lambda at: _rank(column[at]), reverse=descending)
    places.sort(key=lambda at: column[at] is None)  # nulls last, either way


def _rank(value: Json) -> tuple[int, Any]:
    """Orders values of any types: numbers, then texts, then the rest by its JSON."""
    if isinstance(value, (bool, int, float)):
        return 0, value
    if isinstance(value, str):
        return 1, value
    return 2, _bytes_of(value)


def _bytes_of(value: Any) -> bytes:
    try:
        return to_json(value)
    except UnicodeEncodeError:
        return repr(value).encode("utf-8", "backslashreplace")  # broken Unicode is refused later; here it only sorts


def contexts_of(keys: Sequence[str], entries: Sequence[EntryValues]) -> Contexts:
    """The context of each record.

    :param entries: in the order of the plan: of two that can't be sent the first is told.
    """
    if not entries:
        return Contexts([b""] * len(keys), {})
    columns = [_column(entry, keys) for entry in entries]
    encoding_order = sorted(range(len(entries)), key=lambda at: entries[at].query.entry_key or "")
    templates = [_template(entries[at].query) for at in encoding_order]
    types = frozenset[type]().union(*(map(type, column) for column in columns))
    if types == {bytes}:
        whole = b"{" + b",".join(templates) + b"}"
        return Contexts(list(map(whole.__mod__, zip(*[columns[at] for at in encoding_order], strict=True))), {})
    left_out = _take_left_out(keys, entries, columns) if LeftOut in types else {}
    return Contexts([_context(values, encoding_order, templates) for values in zip(*columns, strict=True)], left_out)


def _take_left_out(
    keys: Sequence[str], entries: Sequence[EntryValues], columns: Sequence[list[EntryValue]]
) -> dict[int, tuple[Problem, ...]]:
    """What is left out of records, by their place; in the columns gives way to what is sent of it all the same."""
    left_out: dict[int, tuple[Problem, ...]] = {}
    for entry, column in zip(entries, columns, strict=True):
        query = entry.query
        for place, value in enumerate(column):
            if isinstance(value, LeftOut):
                problem = Problem(query.scope, keys[place], f"context.{query.entry_key}", value.reason)
                left_out[place] = (*left_out.get(place, ()), problem)
                column[place] = NOT_SENT if value.value is None else value.value
    return left_out


def _column(entry: EntryValues, keys: Sequence[str]) -> list[EntryValue]:
    """An entry's values for these records; for one without rows, the plan's `empty`."""
    query = entry.query
    empty = to_json(query.empty) if query.sends_empty else NOT_SENT
    return list(map(entry.by_key.get, keys, repeat(empty)))


def _context(
    values: Sequence[EntryValue], encoding_order: Sequence[int], templates: Sequence[bytes]
) -> bytes | InvalidValue:
    """The context of one record, some of whose entries aren't sent."""
    for value in values:
        if isinstance(value, InvalidValue):
            return value
    members = [
        template % values[at]
        for template, at in zip(templates, encoding_order, strict=True)
        if isinstance(values[at], bytes)
    ]
    return b"{" + b",".join(members) + b"}" if members else b""


def _template(query: Query) -> bytes:
    """An entry with its key, and a place for its value, which is the last of an entry's members."""
    assert query.entry is not None  # noqa: S101 (for mypy: the queries of entries have one)
    entry = to_json({query.entry_key: ContextEntry(query.entry.label, None, query.entry.type)})
    return entry[1:-1].removesuffix(b"null}").replace(b"%", b"%%") + b"%b}"
