"""Rows in key order, cut into blocks of records: all rows of one record together, by the text of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import eq, lt
from typing import Any, Final, final
from uuid import UUID

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import is_countable, to_key
from airflow_provider_halo.source.cells import Row
from airflow_provider_halo.source.streams import Stream

Keep = Callable[[list[Row], Row], None]

_INTEGERS: Final = frozenset({int})
_TEXTS: Final = frozenset({str})
_UUIDS: Final = frozenset({UUID})


@final
class Block:
    """Some records as a stream gives them: their keys' texts, and the rows that were kept of each.

    :param flat: the rows, where each record has just one.
    :param rows: the rows of each record, where one may have more.
    """

    __slots__ = ("_rows", "flat", "keys")

    def __init__(
        self, keys: list[str], *, flat: Sequence[Row] | None = None, rows: list[list[Row]] | None = None
    ) -> None:
        self.keys = keys
        self.flat = flat
        self._rows = rows

    @property
    def rows(self) -> list[list[Row]]:
        """The rows of each record, at least one."""
        return self._rows if self._rows is not None else [[row] for row in self.flat or ()]

    def cut(self, most: int) -> Iterator[Block]:
        """The block in parts of so many records, at most."""
        if len(self.keys) <= most:
            yield self
            return
        for at in range(0, len(self.keys), most):
            some = slice(at, at + most)
            yield Block(
                self.keys[some],
                flat=None if self.flat is None else self.flat[some],
                rows=None if self._rows is None else self._rows[some],
            )


def blocks(stream: Stream, keep: Keep, *, ordered: bool, unusable: Callable[[Row], None]) -> Iterator[Block]:
    """The records of a stream, at most one more than a chunk's rows at once.

    :param keep: adds a row to those of its record, unless it can't matter any more; a record's first row is always kept.
    :param ordered: hold the order of the keys against Python's own; a join of streams would go wrong without a word.
    :param unusable: is given each row whose key is null or can't be a key.
    :raises SourceError: when the rows aren't in the order that was asked for.
    """
    at = stream.names.index(stream.query.key)
    last = OpenRecord(stream.query, keep, unusable, ordered=ordered)
    for chunk in stream:
        raw = [row[at] for row in chunk]
        keys = keys_of(raw)
        if keys is not None and last.is_followed_by(keys):
            yield from last.then_one_row_each(keys, chunk)
        else:
            yield from last.then(keys or list(map(_key_of, raw)), chunk)
    yield from last.complete()


class OpenRecord:
    """The last record of a stream so far, which may go on in the next chunk."""

    def __init__(self, query: Query, keep: Keep, unusable: Callable[[Row], None], *, ordered: bool) -> None:
        self.key = ""
        self.rows: list[Row] = []
        self._query = query
        self._keep = keep
        self._unusable = unusable
        self._ordered = ordered

    def is_followed_by(self, keys: Sequence[str]) -> bool:
        """Whether each of these keys begins another record, and in the order that is asked for."""
        if self._ordered:
            return self.key < keys[0] and all(map(lt, keys, islice(keys, 1, None)))
        return self.key != keys[0] and not any(map(eq, keys, islice(keys, 1, None)))

    def then_one_row_each(self, keys: list[str], rows: Sequence[Row]) -> Iterator[Block]:
        """Give what is complete when these records follow, of which each has one row until now."""
        if len(self.rows) == 1:
            yield Block([self.key, *keys[:-1]], flat=[self.rows[0], *rows[:-1]])
        else:
            yield from self.complete()
            if len(keys) > 1:
                yield Block(keys[:-1], flat=rows[:-1])
        self.key, self.rows = keys[-1], [rows[-1]]

    def complete(self) -> Iterator[Block]:
        """Give it: nothing follows."""
        if len(self.rows) == 1:
            yield Block([self.key], flat=self.rows)
        elif self.rows:
            yield Block([self.key], rows=[self.rows])

    def then(self, keys: Sequence[str], rows: Sequence[Row]) -> Iterator[Block]:
        """Give what is complete when these rows follow, looked at one by one.

        :param keys: the text of each row's key; empty where it can't be one.
        """
        done_keys: list[str] = []
        done_rows: list[list[Row]] = []
        for key, row in zip(keys, rows, strict=True):
            if not key:
                self._unusable(row)
            elif key == self.key:
                self._keep(self.rows, row)
            else:
                if self._ordered and key < self.key:
                    raise SourceError(_disorder(self._query))
                if self.rows:
                    done_keys.append(self.key)
                    done_rows.append(self.rows)
                self.key, self.rows = key, [row]
        if done_keys:
            yield Block(done_keys, rows=done_rows)


def keys_of(raw: Sequence[Any]) -> list[str] | None:
    """The texts of many keys, as `to_key` gives them; None where each has to be looked at, or one can't be a key."""
    kinds = frozenset(map(type, raw))
    if kinds == _INTEGERS and is_countable(min(raw)) and is_countable(max(raw)):
        return list(map(str, raw))
    if kinds == _UUIDS:
        return list(map(str, raw))
    if kinds == _TEXTS and all(map(str.isprintable, raw)) and all(map(str.strip, raw)):
        return list(raw)
    return None


def _key_of(raw: Any) -> str:
    """The text of a key; empty where it is null or can't be one."""
    try:
        return "" if raw is None else to_key(raw)
    except InvalidValue:
        return ""


def _disorder(query: Query) -> str:
    return (
        f"{query.name} ({query.file}, line {query.line}): connection {query.source!r} gave its keys in an order that "
        f"can't be followed, so nothing was joined; cast {query.key} to text in the SQL."
    )
