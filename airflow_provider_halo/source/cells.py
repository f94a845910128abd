"""Rows of a query as JSON values by column: one row at a time, or many at once, column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from itertools import repeat
from math import isfinite
from operator import contains
from typing import Any, Final, TypeAlias

import msgspec

from airflow_provider_halo.contract import ENUMERATIONS
from airflow_provider_halo.encoding import many_to_json
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import Json, are_moments, to_boolean, to_json_value, to_moment

Row: TypeAlias = "Sequence[Any]"
Values: TypeAlias = "dict[str, Json]"
Convert: TypeAlias = "Callable[[Any, Counter[str]], Json]"

_PLAIN: Final = frozenset({int, bool, type(None)})
_TEXTS: Final = frozenset({str, type(None)})
_NUMBERS: Final = frozenset({float})
_BOOLEANS: Final[dict[Any, bool | None]] = {0: False, 1: True, None: None}


class RowReader:
    """Reads rows of a query as JSON values by column, without the key and company columns. ``names``: what it gives.

    :param names: the result's columns, already held against the plan (`columns.check_columns`).
    :param warnings: counts what was changed on the way, by kind.
    :param omit_nulls: leave columns out that are null.
    """

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str], *, omit_nulls: bool) -> None:
        self._columns = [(name, at) for at, name in enumerate(names) if name not in {query.key, query.company}]
        self.names = tuple(name for name, _ in self._columns)
        self._prefix = "traits." if query.entry is None else ""
        self._warnings = warnings
        self._omit_nulls = omit_nulls
        self._special: dict[str, Convert] = {}
        for name in self.names:
            if name in query.timestamps:
                self._special[name] = to_moment
            elif name in query.booleans or name.startswith(("has_", "is_")):
                self._special[name] = to_boolean
        # Many rows are read in the order in which columns are encoded.
        self._sorted = sorted(self._columns)
        self._sorted_names = tuple(name for name, _ in self._sorted)
        enumerated = ENUMERATIONS if query.entry is None else {}
        self._allowed = [(at, enumerated[name]) for at, name in enumerate(self._sorted_names) if name in enumerated]
        self._struct = _struct(self._sorted_names, omit_nulls=omit_nulls)

    def __call__(self, row: Row) -> Values:
        """The row's values by column.

        :raises InvalidValue: for a value that has no form in JSON; ``field`` names the column.
        """
        values: Values = {}
        special = self._special
        for name, at in self._columns:
            try:
                values[name] = special.get(name, to_json_value)(row[at], self._warnings)
            except InvalidValue as problem:
                raise InvalidValue(problem.reason, self._prefix + name) from None
        return without_nulls(values) if self._omit_nulls else values

    def many(self, rows: Sequence[Row]) -> list[Values] | None:
        """The values of many rows, as a call for each would give them.

        :return: None where one of them can't be sent: a call for each tells which.
        """
        warnings: Counter[str] = Counter()
        columns = self._converted(rows, warnings)
        if columns is None:
            return None
        self._warnings.update(warnings)
        return self._by_name(columns, len(rows))

    def encoded(self, rows: Sequence[Row]) -> list[bytes] | None:
        """What `many` gives, encoded: column by column too, since it needn't be made first.

        :return: None where one of them can't be sent, or holds what Halo doesn't take for a trait.
        """
        warnings: Counter[str] = Counter()
        columns = self._converted(rows, warnings)
        if columns is None or not all(_are_among(columns[at], allowed) for at, allowed in self._allowed):
            return None
        try:
            if self._struct is not None and columns:
                encoded = many_to_json(map(self._struct, *columns))
            else:
                encoded = many_to_json(self._by_name(columns, len(rows)))
        except UnicodeEncodeError:  # a lone surrogate
            return None
        self._warnings.update(warnings)
        return encoded

    def _by_name(self, columns: Sequence[Sequence[Json]], count: int) -> list[Values]:
        if not columns:
            return [{} for _ in range(count)]
        values: list[Values] = list(map(dict, map(zip, repeat(self._sorted_names), zip(*columns, strict=True))))
        return list(map(without_nulls, values)) if self._omit_nulls else values

    def _converted(self, rows: Sequence[Row], warnings: Counter[str]) -> list[Sequence[Json]] | None:
        """The values column by column, in the order of `_sorted`."""
        if not rows:
            return [()] * len(self._sorted)
        columns = list(zip(*rows, strict=True))
        special = self._special.get
        try:
            return [_column(columns[at], special(name, to_json_value), warnings) for name, at in self._sorted]
        except InvalidValue:
            return None


def without_nulls(values: Values) -> Values:
    """The values that aren't null."""
    return {name: value for name, value in values.items() if value is not None}


def _column(column: Sequence[Any], convert: Convert, warnings: Counter[str]) -> Sequence[Json]:
    """One column's values. What its types alone tell is told by them; a look at each value costs ten times as much."""
    kinds = frozenset(map(type, column))
    if convert is to_json_value:
        if kinds <= _PLAIN:
            return column
        if kinds <= _TEXTS and not any(map(contains, filter(None, column), repeat("\0"))):
            return column
        if kinds == _NUMBERS and all(map(isfinite, column)):
            return column
    elif convert is to_boolean and kinds <= _PLAIN and _BOOLEANS.keys() >= frozenset(column):
        return list(map(_BOOLEANS.__getitem__, column))
    elif convert is to_moment and kinds <= _TEXTS and are_moments([text for text in column if text is not None]):
        return column
    return [None if value is None else convert(value, warnings) for value in column]


def _are_among(values: Sequence[Json], allowed: Container[Json]) -> bool:
    return all(value is None or value in allowed for value in values)


def _struct(names: Sequence[str], *, omit_nulls: bool) -> type[msgspec.Struct] | None:
    """What is encoded as an object of these names, from values in their order: sooner made and encoded than a dict."""
    fields = [(f"_{at}", Any, None) for at in range(len(names))]
    renamed = {field: name for (field, _, _), name in zip(fields, names, strict=True)}
    try:
        return msgspec.defstruct("Row", fields, rename=renamed, omit_defaults=omit_nulls, frozen=True, gc=False)
    except ValueError:  # a name with a quote or the like
        return None
