"""Rows of a context query become the values of its entry, and entries the context of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import Any, Final, TypeAlias

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.model import Query, ordering
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.records.problem import BROKEN_TEXT, InvalidValue
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.source.blocks import Block
from airflow_provider_halo.source.cells import Row, RowReader, Values, without_nulls

EntryValue: TypeAlias = "Json | bytes | LeftOut | InvalidValue"
"""What an entry's rows came to for one record: a value (as JSON bytes where such are asked for), nothing to send, or the
reason why the record can't be sent."""


class LeftOut:
    """In place of an entry's value: the entry isn't sent, the rest of the record is. The warning says why."""


LEFT_OUT: Final = LeftOut()
NULL_NAME = "{0}: rows without a name dropped"
MANY_ROWS = "{0} left out: more than one row where one is due"
SAME_NAME = "{0} left out: two rows of one name"

# A record is at most 50,000 bytes, and no row of an array is shorter than the three of `{},`. What comes after so many
# rows can't be sent any more; keeping it would only let one record eat the memory.
_MOST_ROWS = 20_000
_MOST_BEFORE_CUT = 1_000  # rows that are gathered before a `limit` is applied for the first time


class EntryReader:
    """Turns all rows of one record into the value of a context entry.

    :param encodes: give the values as JSON bytes, made many at once where nothing is wrong with them.
    """

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str], *, encodes: bool) -> None:
        if query.entry is None:
            message = f"{query.name} is no context entry"
            raise ValueError(message)
        self._query = query
        self._warnings = warnings
        self._encodes = encodes
        self._shape = query.shape
        self._name = query.entry.name or ""
        self._value_column = query.entry.value or ""
        self._limit = query.entry.limit
        self._order = [ordering(item) for item in query.entry.order_by]
        # Only an object is read in one go: names, orders and a scalar's null are looked at before nulls are left out.
        self._omit_nulls = query.nulls == "omit"
        self._read = RowReader(query, names, warnings, omit_nulls=self._omit_nulls and query.shape == "object")
        self._most = _MOST_ROWS
        if query.shape in {"object", "scalar"}:
            self._most = 2
        elif self._limit is not None:
            self._most = max(_MOST_BEFORE_CUT, 4 * self._limit)

    def keep(self, rows: list[Row], row: Row) -> None:
        """Add a row to those of its record, unless it can't matter any more."""
        if len(rows) < self._most:
            rows.append(row)
        elif len(rows) == self._most and self._limit is not None and self._most > self._limit:
            rows.append(row)
            # With a row that can't be sent, nor can the record: it is left as it is, and whoever asks is told why.
            with suppress(InvalidValue):
                rows[:] = [kept for kept, _ in self._ordered(rows, map(self._row, rows))[: self._limit]]

    def found(self, block: Block) -> list[EntryValue]:
        """What the rows of each record of a block come to; what a record without rows gets isn't decided here."""
        flat = block.flat
        values: list[Values] | None = None
        # Where one row is due, blocks with more than that are looked at one by one: those rows aren't even read.
        if self._encodes and (flat is not None or self._shape not in {"object", "scalar"}):
            if flat is not None and self._shape == "object":
                encoded = self._read.encoded(flat)
                if encoded is not None:
                    return [*encoded]
            values = self._read.many(flat if flat is not None else list(chain.from_iterable(block.rows)))
        if values is None:
            return [self._found(rows) for rows in block.rows]
        left = iter(values)
        return [self._found(rows, list(islice(left, len(rows)))) for rows in block.rows]

    def _found(self, rows: list[Row], values: Iterable[Values] | None = None) -> EntryValue:
        if len(rows) > 1 and self._shape in {"object", "scalar"}:
            self._warnings[MANY_ROWS.format(self._query.name)] += 1
            return LEFT_OUT
        try:
            value = self._value(rows, map(self._row, rows) if values is None else values)
            return value if isinstance(value, LeftOut) or not self._encodes else to_json(value)
        except InvalidValue as problem:
            return problem
        except UnicodeEncodeError:
            return InvalidValue(BROKEN_TEXT, f"context.{self._query.entry_key}")

    def _value(self, rows: list[Row], values: Iterable[Values]) -> Json | LeftOut:
        if self._shape == "map":
            return self._map(values)
        if self._shape == "array":
            return [self._finished(item) for _, item in self._ordered(rows, values)[: self._limit]]
        (only,) = values
        return only[self._value_column] if self._shape == "scalar" else only

    def _map(self, rows: Iterable[Values]) -> Json | LeftOut:
        value: Values = {}
        for values in rows:
            name = values.pop(self._name)
            if name is None:
                self._warnings[NULL_NAME.format(self._query.name)] += 1
                continue
            text = name if isinstance(name, str) else self._text(name)
            if text in value:
                self._warnings[SAME_NAME.format(self._query.name)] += 1
                return LEFT_OUT
            value[text] = self._finished(values)
        if not value:  # rows without a name say what no row says: there is nothing
            return self._query.empty if self._query.sends_empty else LEFT_OUT
        return dict(sorted(value.items()))

    def _text(self, name: Json) -> str:
        try:
            return to_json(name).decode()
        except UnicodeEncodeError:
            raise InvalidValue(BROKEN_TEXT, f"context.{self._query.entry_key}") from None

    def _ordered(self, rows: list[Row], values: Iterable[Values]) -> list[tuple[Row, Values]]:
        """The rows with their values, in the plan's order.

        Rows that this leaves equal come in the order of their values: a database gives them in any order, and the same
        data must give the same bytes.
        """
        pairs = list(zip(rows, values, strict=True))
        if len(pairs) > 1:
            pairs.sort(key=lambda pair: _bytes_of(pair[1]))
            for column, descending in reversed(self._order):
                _sort(pairs, column, descending=descending)
        return pairs

    def _row(self, row: Row) -> Values:
        try:
            return self._read(row)
        except InvalidValue as problem:
            reason = f"column {problem.field!r} {problem.reason}"
            raise InvalidValue(reason, f"context.{self._query.entry_key}") from None

    def _finished(self, values: Values) -> Values:
        return without_nulls(values) if self._omit_nulls else values


def _sort(pairs: list[tuple[Row, Values]], column: str, *, descending: bool) -> None:
    pairs.sort(key=lambda pair: _rank(pair[1][column]), reverse=descending)
    pairs.sort(key=lambda pair: pair[1][column] is None)  # nulls last, either way


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


def contexts_of(keys: Sequence[str], entries: Sequence[tuple[Query, dict[str, EntryValue]]]) -> list[bytes] | None:
    """The bytes that encoding each record's entries would give; empty ones for a record without any.

    :param entries: what the encoding readers found of each entry, by key.
    :return: in the order of the keys; None where one of the records can't be sent.
    """
    frames: list[bytes] = []
    columns: list[list[bytes | LeftOut]] = []
    kinds: set[type] = {bytes}
    # In the order of their keys, as they are encoded.
    for query, found in sorted(entries, key=lambda entry: entry[0].entry_key or ""):
        empty = to_json(query.empty) if query.sends_empty else LEFT_OUT
        values: list[bytes | LeftOut] = list(map(found.get, keys, repeat(empty)))  # type: ignore[arg-type]  # told below
        kinds.update(map(type, values))
        frames.append(_frame(query))
        columns.append(values)
    if kinds == {bytes}:
        if not columns:
            return [b""] * len(keys)
        whole = b"{" + b",".join(frames) + b"}"
        return list(map(whole.__mod__, zip(*columns, strict=True)))
    if kinds != {bytes, LeftOut}:
        return None
    contexts = []
    for values_of_one in zip(*columns, strict=True):
        sent = [frame % value for frame, value in zip(frames, values_of_one, strict=True) if isinstance(value, bytes)]
        contexts.append(b"{" + b",".join(sent) + b"}" if sent else b"")
    return contexts


def _frame(query: Query) -> bytes:
    """An entry with its key, and a place for its value, which is the last of an entry's members."""
    assert query.entry is not None  # noqa: S101 (for mypy: the queries of entries have one)
    entry = to_json({query.entry_key: ContextEntry(query.entry.label, None, query.entry.type)})
    return entry[1:-1].removesuffix(b"null}").replace(b"%", b"%%") + b"%b}"
