"""All keys of a scope, block by block, to be held against what is known of them: in order, or of those without a company."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from operator import le
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import plain_keys, to_keys
from airflow_provider_halo.source.database import Sources, ask, engine_of, explained, read_only
from airflow_provider_halo.source.sql import Records, keys_in_order, narrowed, sorts_like_python, unnarrowed

__all__ = ["OutOfOrder", "keys_without_company", "ordered_keys"]

_AT_ONCE: Final = 10_000  # rows of one small value each
_RECORDS_AT_ONCE: Final = 500  # keys in one IN list, as in `read`


class OutOfOrder(Exception):
    """The database doesn't order keys as their texts are: ask `ordered_keys` to sort them."""


def ordered_keys(query: Query, sources: Sources, *, sort: bool = False) -> Generator[list[str], None, None]:
    """All keys of a traits query, ascending, without those that no record can have. A key may come twice.

    :param sort: don't rely on the database's order, but sort the keys in a temporary file.
    :raises OutOfOrder: when the database's order can't be followed. What it gave until then can't be relied on either.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    engine = engine_of(query, sources)
    sorts = sort or not sorts_like_python(engine.dialect)
    with closing(_keys(_fetched(query, engine, keys_in_order(query, engine.dialect)))) as keys:
        yield from _sorted(keys) if sorts else _checked(keys)


def keys_without_company(
    query: Query, sources: Sources, among: Callable[[list[str]], Collection[str]]
) -> Iterator[list[str]]:
    """The keys of records that belong to no company: no row of theirs has one.

    :param among: chooses of some keys those that matter; others aren't looked at any further.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    engine = engine_of(query, sources)
    rows = unnarrowed(query, query.key, query.company)
    statement = sa.select(rows.c[query.key]).where(rows.c[query.company].is_(None))
    with closing(_fetched(query, engine, statement)) as blocks:
        for raw in blocks:
            by_key = {key: value for key, value in zip(to_keys(raw), raw, strict=True) if isinstance(key, str)}
            chosen = sorted(among(list(by_key)))
            for at in range(0, len(chosen), _RECORDS_AT_ONCE):
                keys = chosen[at : at + _RECORDS_AT_ONCE]
                records = Records(tuple(by_key[key] for key in keys))
                found = ask(engine, query, narrowed(query, records, engine.dialect))
                housed = {row._mapping[query.key] for row in found if row._mapping[query.company] is not None}  # noqa: SLF001 (public, in spite of its name)
                yield [key for key in keys if by_key[key] not in housed]


def _keys(blocks: Iterator[list[Any]]) -> Generator[list[str], None, None]:
    for raw in blocks:
        keys = plain_keys(raw)
        yield [key for key in to_keys(raw) if not isinstance(key, InvalidValue)] if keys is None else keys


def _fetched(query: Query, engine: sa.Engine, statement: sa.Executable) -> Generator[list[Any], None, None]:
    """The one column of a statement's rows."""
    try:
        with read_only(engine) as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_AT_ONCE)
            with streaming.execute(statement) as result:
                for rows in _rows_of(result):
                    yield [value for (value,) in rows]
    except exc.SQLAlchemyError as error:
        # From None: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
        raise explained(error, engine, query) from None


def _rows_of(result: sa.CursorResult[Any]) -> Iterator[Sequence[Any]]:
    """The rows in large blocks: the driver's own where SQLAlchemy holds none of them back. Its rows take five times as long."""
    yield result.fetchmany(1)
    held = getattr(result.cursor_strategy, "_rowbuffer", ())
    fetch = result.fetchmany if held or result.cursor is None else result.cursor.fetchmany
    while rows := fetch(_AT_ONCE):
        yield rows


def _checked(blocks: Iterator[list[str]]) -> Iterator[list[str]]:
    last = ""
    for keys in filter(None, blocks):
        if keys[0] < last or not all(map(le, keys, islice(keys, 1, None))):
            raise OutOfOrder
        last = keys[-1]
        yield keys


def _sorted(blocks: Iterator[list[str]]) -> Iterator[list[str]]:
    """The same, sorted by SQLite in a file that it deletes itself: any number of keys takes no memory."""
    with closing(sqlite3.connect("")) as file:
        file.execute("CREATE TABLE keys (key TEXT NOT NULL)")
        for keys in blocks:
            file.executemany("INSERT INTO keys VALUES (?)", zip(keys))
        cursor = file.execute("SELECT key FROM keys ORDER BY key")
        while found := cursor.fetchmany(_AT_ONCE):
            yield [key for (key,) in found]
