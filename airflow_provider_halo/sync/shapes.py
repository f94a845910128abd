"""What the rows of one record become: traits, or the value of a context entry by its shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.query import Query
from airflow_provider_halo.plan.schema import ordering
from airflow_provider_halo.records.problem import Unsendable
from airflow_provider_halo.records.values import Json, to_boolean, to_json_value, to_moment

Row: TypeAlias = "Sequence[Any]"
Values: TypeAlias = "dict[str, Json]"
Convert: TypeAlias = "Callable[[Any, Counter[str]], Json]"


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
_PLAIN = frozenset({int, bool, type(None)})


class RowReader:
    """Reads one row of a query as JSON values by column, without the key and company columns. ``names``: what it gives.

    :param names: the result's columns, already held against the plan (`columns.check_columns`).
    :param warnings: counts what was changed on the way, by kind.
    :param omit_nulls: leave columns out that are null.
    """

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str], *, omit_nulls: bool) -> None:
        positions = [(name, at) for at, name in enumerate(names) if name not in {query.key, query.company}]
        self.names = tuple(name for name, _ in positions)
        self._pick = _picker([at for _, at in positions])
        self._prefix = "traits." if query.entry is None else ""
        self._warnings = warnings
        self._omit_nulls = omit_nulls
        self._special: dict[str, Convert] = {}
        for name in self.names:
            if name in query.timestamps:
                self._special[name] = to_moment
            elif name in query.booleans or name.startswith(("has_", "is_")):
                self._special[name] = to_boolean

    def __call__(self, row: Row) -> Values:
        """The row's values by column.

        :raises Unsendable: for a value that has no form in JSON; ``field`` names the column.
        """
        values: Values = {}
        special = self._special
        for name, value in zip(self.names, self._pick(row)):  # noqa: B905 (one position a name; strict= costs a tenth)
            kind = type(value)
            # Most values are plain texts and whole numbers, which their type alone tells, without a call.
            if name not in special and (kind in _PLAIN or (kind is str and "\0" not in value)):
                values[name] = value
                continue
            try:
                values[name] = special.get(name, to_json_value)(value, self._warnings)
            except Unsendable as problem:
                raise Unsendable(problem.reason, self._prefix + name) from None
        return without_nulls(values) if self._omit_nulls else values


class EntryReader:
    """Turns all rows of one record into the value of a context entry."""

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str]) -> None:
        if query.entry is None:
            message = f"{query.name} is no context entry"
            raise ValueError(message)
        self._query = query
        self._warnings = warnings
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
        """Add a row to those of its record, unless it can't matter any more.

        :raises Unsendable: as `value` does.
        """
        if len(rows) < self._most:
            rows.append(row)
        elif self._limit is not None and self._most > self._limit:
            rows.append(row)
            rows[:] = [kept for kept, _ in self._ordered(rows)[: self._limit]]

    def value(self, rows: list[Row]) -> Json | LeftOut:
        """The entry's value; what a record without rows gets (``Query.empty``) isn't decided here.

        :param rows: at least one, as `keep` left them.
        :raises Unsendable: for a value that has no form in JSON; ``field`` names the entry.
        """
        if self._shape == "map":
            return self._map(rows)
        if self._shape == "array":
            return [self._finished(values) for _, values in self._ordered(rows)[: self._limit]]
        if len(rows) > 1:
            self._warnings[MANY_ROWS.format(self._query.name)] += 1
            return LEFT_OUT
        values = self._row(rows[0])
        return values[self._value_column] if self._shape == "scalar" else values

    def _map(self, rows: list[Row]) -> Json | LeftOut:
        value: Values = {}
        for row in rows:
            values = self._row(row)
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
            reason = "holds text that is no Unicode (a lone surrogate)"
            raise Unsendable(reason, f"context.{self._query.entry_key}") from None

    def _ordered(self, rows: list[Row]) -> list[tuple[Row, Values]]:
        """The rows with their values, in the plan's order.

        Rows that this leaves equal come in the order of their values: a database gives them in any order, and the same
        data must give the same bytes.
        """
        pairs = [(row, self._row(row)) for row in rows]
        if len(pairs) > 1:
            pairs.sort(key=lambda pair: _bytes_of(pair[1]))
            for column, descending in reversed(self._order):
                _sort(pairs, column, descending=descending)
        return pairs

    def _row(self, row: Row) -> Values:
        try:
            return self._read(row)
        except Unsendable as problem:
            reason = f"column {problem.field!r} {problem.reason}"
            raise Unsendable(reason, f"context.{self._query.entry_key}") from None

    def _finished(self, values: Values) -> Values:
        return without_nulls(values) if self._omit_nulls else values


def without_nulls(values: Values) -> Values:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def _picker(positions: list[int]) -> Callable[[Row], Sequence[Any]]:
    """What takes the values at these positions out of a row."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda row: [row[at] for at in positions]


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
