"""All keys of a scope in the order of their texts, block by block: to be held against what is known of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from operator import le
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import plain_keys, to_keys
from airflow_provider_halo.source.database import Sources, engine_of, explained, read_only
from airflow_provider_halo.source.sql import keys_in_order, sorts_like_python

__all__ = ["OutOfOrder", "ordered_keys"]

_AT_ONCE: Final = 10_000  # rows of one small value each


class OutOfOrder(Exception):
    """The database doesn't order keys as their texts are: ask `ordered_keys` to sort them."""


def ordered_keys(
    query: Query, sources: Sources, *, without_company: bool = False, sort: bool = False
) -> Generator[list[str], None, None]:
    """All keys of a traits query, ascending, without those that no record can have. A key may come twice.

    :param without_company: only those of records that belong to no company.
    :param sort: don't rely on the database's order, but sort the keys in a temporary file.
    :raises OutOfOrder: when the database's order can't be followed. What it gave until then can't be relied on either.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    engine = engine_of(query, sources)
    sorts = sort or not sorts_like_python(engine.dialect)
    with closing(_keys(query, engine, without_company=without_company)) as keys:
        yield from _sorted(keys) if sorts else _checked(keys)


def _keys(query: Query, engine: sa.Engine, *, without_company: bool) -> Generator[list[str], None, None]:
    try:
        with read_only(engine) as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_AT_ONCE)
            statement = keys_in_order(query, engine.dialect, without_company=without_company)
            with streaming.execute(statement) as result:
                fetch = _fetch_of(result)
                while rows := fetch(_AT_ONCE):
                    raw = [key for (key,) in rows]
                    keys = plain_keys(raw)
                    yield [key for key in to_keys(raw) if not isinstance(key, InvalidValue)] if keys is None else keys
    except exc.SQLAlchemyError as error:
        # From None: the text of SQLAlchemy's error, which a traceback prints, holds SQL and parameters.
        raise explained(error, engine, query) from None


def _fetch_of(result: sa.CursorResult[Any]) -> Callable[[int], Sequence[Any]]:
    """How rows are fetched. SQLite's driver gives them as they are; of others SQLAlchemy may hold the first one already."""
    is_sqlite = result.connection.dialect.name == "sqlite"
    return result.cursor.fetchmany if is_sqlite and result.cursor is not None else result.fetchmany


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
