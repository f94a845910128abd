"""Rows in key order, cut into blocks of records: all rows of one record together, by the text of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from operator import eq, lt
from typing import Any, TypeAlias, final

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import plain_keys, to_keys
from airflow_provider_halo.source.breaks import AGAIN
from airflow_provider_halo.source.cells import Row
from airflow_provider_halo.source.streams import Stream

__all__ = ["Block", "RefuseKey", "blocks"]

AddRow: TypeAlias = "Callable[[list[Row], Row], None]"
RefuseKey: TypeAlias = "Callable[[Any, InvalidValue], None]"


@final
class Block:
    """Some records as a stream gives them.

    :param keys: the texts of their keys.
    :param rows: the rows of all of them, those of one record together.
    :param counts: how many rows each record has, at least one; None where each has just one, as is the rule.
    """

    __slots__ = ("counts", "keys", "rows")

    def __init__(self, keys: list[str], rows: Sequence[Row], counts: list[int] | None = None) -> None:
        self.keys = keys
        self.rows = rows
        self.counts = counts

    @classmethod
    def of_groups(cls, keys: list[str], groups: Sequence[Sequence[Row]]) -> Block:
        """The block of records whose rows are given one record at a time."""
        rows = list(chain.from_iterable(groups))
        return cls(keys, rows, None if len(rows) == len(keys) else list(map(len, groups)))

    def groups(self) -> Iterator[list[Row]]:
        """The rows of each record."""
        rows = iter(self.rows)
        counts = repeat(1, len(self.keys)) if self.counts is None else self.counts
        return (list(islice(rows, count)) for count in counts)

    def first_rows(self) -> Sequence[Row]:
        """The first row of each record."""
        return self.rows if self.counts is None else [rows[0] for rows in self.groups()]

    def cut(self, most: int) -> Iterator[Block]:
        """The block in parts of so many records, at most."""
        if len(self.keys) <= most:
            yield self
            return
        groups = list(self.groups())
        for at in range(0, len(self.keys), most):
            yield Block.of_groups(self.keys[at : at + most], groups[at : at + most])


def blocks(stream: Stream, add_row: AddRow, *, ordered: bool, refuse_key: RefuseKey) -> Iterator[Block]:
    """The records of a stream, at most one more than a chunk's rows at once.

    :param add_row: adds a row to those of its record, unless it can't matter any more; a record's first row is always kept.
    :param ordered: hold the order of the keys against Python's own; a join of streams would go wrong without a word.
    :param refuse_key: is given each key that is null or can't be one, and why.
    :raises SourceError: when the rows aren't in the order that was asked for.
    """
    at = stream.names.index(stream.query.key)
    last = OpenRecord(stream.query, add_row, ordered=ordered)
    for chunk in stream:
        if chunk is AGAIN:
            last.begin_again()
            continue
        raw = [row[at] for row in chunk]
        keys = plain_keys(raw)
        if keys is not None and last.is_followed_by(keys):
            yield from last.then_one_row_each(keys, chunk)
        else:
            yield from last.then(_usable(keys or to_keys(raw), chunk, raw, refuse_key))
    yield from last.complete()


class OpenRecord:
    """The last record of a stream so far, which may go on in the next chunk."""

    def __init__(self, query: Query, add_row: AddRow, *, ordered: bool) -> None:
        self._query = query
        self._add_row = add_row
        self._ordered = ordered
        self._key = ""
        self._rows: list[Row] = []

    def is_followed_by(self, keys: Sequence[str]) -> bool:
        """Whether each of these keys begins another record, and in the order that is asked for."""
        if self._ordered:
            return self._key < keys[0] and all(map(lt, keys, islice(keys, 1, None)))
        return self._key != keys[0] and not any(map(eq, keys, islice(keys, 1, None)))

    def begin_again(self) -> None:
        """Forget its rows: they come once more."""
        self._rows = []

    def then_one_row_each(self, keys: list[str], rows: Sequence[Row]) -> Iterator[Block]:
        """Give what is complete when these records follow, of which each has one row until now."""
        if len(self._rows) == 1:
            yield Block([self._key, *keys[:-1]], [self._rows[0], *rows[:-1]])
        else:
            yield from self.complete()
            if len(keys) > 1:
                yield Block(keys[:-1], rows[:-1])
        self._key, self._rows = keys[-1], [rows[-1]]

    def complete(self) -> Iterator[Block]:
        """Give it: nothing follows."""
        if self._rows:
            yield Block.of_groups([self._key], [self._rows])

    def then(self, rows: Iterator[tuple[str, Row]]) -> Iterator[Block]:
        """Give what is complete when these rows follow, each with its key, looked at one by one."""
        keys: list[str] = []
        groups: list[list[Row]] = []
        for key, row in rows:
            if key == self._key and self._rows:
                self._add_row(self._rows, row)
                continue
            if self._ordered and key < self._key:
                raise SourceError(_disorder(self._query))
            if self._rows:
                keys.append(self._key)
                groups.append(self._rows)
            self._key, self._rows = key, [row]
        if keys:
            yield Block.of_groups(keys, groups)


def _usable(
    keys: Sequence[str | InvalidValue], rows: Sequence[Row], raw: Sequence[Any], refuse_key: RefuseKey
) -> Iterator[tuple[str, Row]]:
    """The rows whose key can be one, each with its key."""
    for key, row, value in zip(keys, rows, raw, strict=True):
        if isinstance(key, InvalidValue):
            refuse_key(value, key)
        else:
            yield key, row


def _disorder(query: Query) -> str:
    return (
        f"{query.name} ({query.file}, line {query.line}): connection {query.source!r} gave its keys in an order that "
        f"can't be followed, so nothing was joined; cast {query.key} to text in the SQL."
    )
