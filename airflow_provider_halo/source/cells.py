"""Rows of a query become columns of JSON values: many rows at once, in one pass, whether they can be sent or not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from math import isfinite
from operator import contains
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from airflow_provider_halo.contract import DOCUMENTED_BOOLEANS
from airflow_provider_halo.encoding import is_broken, many_to_json, to_json
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.moments import are_moments
from airflow_provider_halo.records.problem import BROKEN_TEXT, InvalidRecords, InvalidValue
from airflow_provider_halo.records.shown import shown_key
from airflow_provider_halo.records.trait_types import Convert, conversion, to_flag, to_number, to_text, told
from airflow_provider_halo.records.values import Json, Warnings, to_boolean, to_json_value, to_moment

__all__ = ["ReadRows", "Row", "RowReader", "Values", "without_nulls"]

Row: TypeAlias = "Sequence[Any]"
Values: TypeAlias = "dict[str, Json]"
T = TypeVar("T")
Unchanged: TypeAlias = "Callable[[Sequence[Any], frozenset[type]], Sequence[Json] | None]"

log = logging.getLogger(__name__)

_KEYS_TOLD: Final = 5  # of records whose values were changed: enough to look at some
_PLAIN: Final = frozenset({int, bool, type(None)})
_TEXTS: Final = frozenset({str, type(None)})
_NUMBERS: Final = frozenset({float})
_NULLS: Final = frozenset({type(None)})
_BOOLEANS: Final[dict[Any, bool | None]] = {0: False, 1: True, None: None}


@dataclass(slots=True)
class ReadRows:
    """The values of many rows, by column.

    :param count: how many rows there are.
    :param columns: the values of each column, in the order of `RowReader.names`.
    :param invalid: why a row can't be sent, by the row's place: its first value, in the order of the columns, that has
        no form in JSON. None stands in place of that value and of those after it, which aren't read.
    :param changes: what was changed in values on the way, by the row's place.
    """

    count: int
    columns: list[Sequence[Json]] = field(default_factory=list)
    invalid: InvalidRecords = field(default_factory=InvalidRecords)
    changes: list[tuple[int, Warnings]] = field(default_factory=list)

    def count_changes(self, warnings: Warnings, *, except_for: Container[int] = ()) -> None:
        """Add up what was changed.

        :param except_for: places of rows that don't count.
        """
        for row, kinds in self.changes:
            if row not in except_for:
                warnings.update(kinds)


class RowReader:
    """Reads rows of a query as JSON values by column, without the key and company columns, and what only serves an order.

    :param names: the result's columns, already held against the plan (`columns.check_columns`). Rows may be longer.
    :param omit_nulls: leave columns out that are null.
    """

    def __init__(self, query: Query, names: Sequence[str], *, omit_nulls: bool) -> None:
        unsent = query.unsent | {query.key, query.company}
        columns = [(name, at) for at, name in enumerate(names) if name not in unsent]
        self.names: Final = tuple(name for name, _ in columns)
        self._query = query
        self._width = len(names)
        self._omit_nulls = omit_nulls
        self._columns = [(name, at, *_conversion(query, name)) for name, at in columns]
        # The order in which the members of an object are encoded.
        self._sorted_names = tuple(sorted(self.names))
        self._sorted = [self.names.index(name) for name in self._sorted_names]
        self._key_at = names.index(query.key) if query.key in names else None
        self._told: set[str] = set()
        self._struct = _struct(self._sorted_names, omit_nulls=omit_nulls)

    def read(self, rows: Sequence[Row]) -> ReadRows:
        """Turn the values of many rows into JSON values."""
        read = ReadRows(len(rows))
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * self._width
        for name, at, convert, unchanged_by_types in self._columns:
            # A column whose types tell how all of its values are sent. A look at each value costs ten times as much.
            unchanged = unchanged_by_types(columns[at], frozenset(map(type, columns[at])))
            read.columns.append(self._converted(columns[at], name, convert, read) if unchanged is None else unchanged)
        if read.changes and self._key_at is not None:
            self._tell(columns[self._key_at], read.changes)
        return read

    def encode(self, read: ReadRows) -> list[bytes | InvalidValue]:
        """Each row as a JSON object, or why it can't be sent."""
        return _with_invalid(_encoded(list(self._objects(read)), lambda row: self._broken_text(read, row)), read)

    def encode_column(self, read: ReadRows, name: str) -> list[bytes | InvalidValue]:
        """Each row's value in one column as JSON, or why the row can't be sent."""
        column = read.columns[self.names.index(name)]
        return _with_invalid(_encoded(column, lambda row: self._broken_text(read, row)), read)

    def by_name(self, read: ReadRows) -> list[Values | InvalidValue]:
        """Each row as a dict of its values, or why it can't be sent."""
        return _with_invalid([*self._dicts(read)], read)

    def _converted(self, column: Sequence[Any], name: str, convert: Convert, read: ReadRows) -> Sequence[Json]:
        """One column's values, looked at one by one."""
        invalid = read.invalid
        values: list[Json] = []
        changes: Warnings = Counter()
        for value in column:
            if value is None or (invalid and len(values) in invalid):
                values.append(None)
                continue
            try:
                converted = convert(value, changes)
            except InvalidValue as problem:
                invalid[len(values)] = self._invalid(name, problem.reason)
                converted = None
            if changes:
                read.changes.append((len(values), changes))
                changes = Counter()
            values.append(converted)
        return values

    def _tell(self, keys: Sequence[Any], changes: Iterable[tuple[int, Warnings]]) -> None:
        """Log the first keys whose values were changed, once for each kind of change: the report has the counts."""
        changed: dict[str, dict[str, None]] = {}
        for row, kinds in changes:
            for kind in kinds:
                if kind not in self._told:
                    changed.setdefault(kind, {})[shown_key(keys[row])] = None
        self._told.update(changed)
        for kind, shown in changed.items():
            where = "" if kind.startswith(f"{self._query.name}: ") else f"{self._query.name}: "
            first = ", ".join(islice(shown, _KEYS_TOLD))
            log.warning("%s%s; the first: %s %s", where, kind, self._query.scope, first)

    def _invalid(self, name: str, reason: str) -> InvalidValue:
        if self._query.entry is None:
            return InvalidValue(reason, f"traits.{name}")
        return InvalidValue(f"column {name!r} {reason}", f"context.{self._query.entry_key}")

    def _broken_text(self, read: ReadRows, row: int) -> InvalidValue:
        if self._query.entry is not None:
            return InvalidValue(BROKEN_TEXT, f"context.{self._query.entry_key}")
        values = zip(self.names, read.columns, strict=True)
        name = next(name for name, column in values if is_broken(column[row]))
        return self._invalid(name, BROKEN_TEXT)

    def _objects(self, read: ReadRows) -> Iterable[Any]:
        """What is encoded as the JSON objects of rows."""
        if self._struct is None or not self._sorted:
            return self._dicts(read)
        return map(self._struct, *[read.columns[at] for at in self._sorted])

    def _dicts(self, read: ReadRows) -> Iterable[Values]:
        if not self._sorted:
            return [{} for _ in range(read.count)]
        rows = zip(*[read.columns[at] for at in self._sorted], strict=True)
        values: Iterable[Values] = map(dict, map(zip, repeat(self._sorted_names), rows))
        return map(without_nulls, values) if self._omit_nulls else values


def without_nulls(values: Values) -> Values:
    """The values that aren't null."""
    return {name: value for name, value in values.items() if value is not None}


def _conversion(query: Query, name: str) -> tuple[Convert, Unchanged]:
    """How the values of a column are converted, and what tells by their types that they needn't be."""
    convert: Convert = to_json_value
    if query.entry is None:
        convert = conversion(query.scope, name) or to_json_value
    if name in query.timestamps:
        convert = partial(to_moment, epoch=query.epochs.get(name))
        unchanged: Unchanged = _plain_moments
    elif convert is to_json_value and _is_flag(query, name):
        return to_boolean, _plain_booleans
    else:
        unchanged = _BY_TYPES.get(convert, _nothing_known)
    if query.types == "warn" and query.entry is None and conversion(query.scope, name) is not None:
        convert = told(convert, f"{query.name}: {name}")
    return convert, unchanged


def _is_flag(query: Query, name: str) -> bool:
    """Whether a column holds booleans: by its name, by the plan's word, or since Halo documents it so."""
    documented = DOCUMENTED_BOOLEANS.get(query.entry.type or "", ()) if query.entry is not None else ()
    return name in query.booleans or name in documented or name.startswith(("has_", "is_"))


def _plain_values(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    if types <= _PLAIN:
        return column
    if types <= _TEXTS and not any(map(contains, filter(None, column), repeat("\0"))):
        return column
    return column if types == _NUMBERS and all(map(isfinite, column)) else None


def _plain_texts(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    return _plain_values(column, types) if types <= _TEXTS else None


def _plain_numbers(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    return None if bool in types or str in types else _plain_values(column, types)


def _nothing_known(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    return column if types == _NULLS else None


def _plain_booleans(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    if types <= _PLAIN and _BOOLEANS.keys() >= frozenset(column):
        return list(map(_BOOLEANS.__getitem__, column))
    return None


def _plain_moments(column: Sequence[Any], types: frozenset[type]) -> Sequence[Json] | None:
    return column if types <= _TEXTS and are_moments([text for text in column if text is not None]) else None


_BY_TYPES: Final[dict[Convert, Unchanged]] = {
    to_json_value: _plain_values,
    to_flag: _plain_booleans,
    to_number: _plain_numbers,
    to_text: _plain_texts,
}


def _encoded(values: Sequence[Any], broken_text: Callable[[int], InvalidValue]) -> list[bytes | InvalidValue]:
    """Values as JSON.

    :param broken_text: what stands for a value that holds broken Unicode, by its position.
    """
    try:
        return [*many_to_json(values)]
    except UnicodeEncodeError:
        return [broken_text(position) if is_broken(value) else to_json(value) for position, value in enumerate(values)]


def _with_invalid(column: list[T | InvalidValue], read: ReadRows) -> list[T | InvalidValue]:
    """A column in which each row that can't be sent has the reason in place of its value."""
    for row, problem in read.invalid.items():
        column[row] = problem
    return column


def _struct(names: Sequence[str], *, omit_nulls: bool) -> type[msgspec.Struct] | None:
    """What is encoded as an object of these names, from values in their order: sooner made and encoded than a dict."""
    fields = [(f"_{at}", Any, None) for at in range(len(names))]
    renamed = {field: name for (field, _, _), name in zip(fields, names, strict=True)}
    try:
        return msgspec.defstruct("Row", fields, rename=renamed, omit_defaults=omit_nulls, frozen=True, gc=False)
    except ValueError:  # a name with a quote or the like
        return None
