"""Rows in key order, cut into groups: all rows of one record together, by the text of its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.plan.query import Query
from airflow_provider_halo.records.problem import Unsendable
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.sync.rows import Stream
from airflow_provider_halo.sync.shapes import Row

Keep = Callable[[list[Row], Row], None]


def groups(
    stream: Stream, keep: Keep, *, ordered: bool, unusable: Callable[[Row], None]
) -> Iterator[tuple[str, list[Row]]]:
    """The records' keys, each with the rows that ``keep`` kept of it.

    :param ordered: hold the order of the keys against Python's own; a join of streams would go wrong without a word.
    :param unusable: is given each row whose key is null or can't be a key.
    :raises SourceError: when the rows aren't in the order that was asked for.
    """
    names = stream.names
    at = names.index(stream.query.key)
    last: Any = None
    key = ""
    rows: list[Row] = []
    for chunk in stream:
        for row in chunk:
            raw = row[at]
            if raw == last and raw is not None and rows:
                keep(rows, row)
                continue
            try:
                following = "" if raw is None else to_key(raw)
            except Unsendable:
                following = ""
            if not following:
                unusable(row)
                continue
            last = raw
            if following == key:  # the same key in other words: 17 and Decimal("17")
                keep(rows, row)
                continue
            if ordered and following < key:
                raise SourceError(_disorder(stream.query))
            if rows:
                yield key, rows
            key, rows = following, []
            keep(rows, row)
    if rows:
        yield key, rows


def _disorder(query: Query) -> str:
    return (
        f"{query.name} ({query.file}, line {query.line}): connection {query.source!r} gave its keys in an order that "
        f"can't be followed, so nothing was joined; cast {query.key} to text in the SQL."
    )
