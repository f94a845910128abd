"""What drivers give of a database's types, so that it means what the database says: read as texts, decoded by column.

A driver turns a moment into Python's datetime, which knows neither infinity nor years before 1, and raises where it can't:
one value would end the reading. So what JSON writes as text anyway is taken as the database wrote it, which is faster too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from airflow_provider_halo.source import mysql_types, postgresql_types

__all__ = ["DecodeRows", "decoder", "texts_undecoded"]

Row: TypeAlias = "Sequence[Any]"
DecodeRows: TypeAlias = "Callable[[Sequence[Row]], Sequence[Row]]"

_POSTGRESQL: Final = frozenset({"psycopg", "psycopg2"})
_MYSQL: Final = frozenset({"mysql", "mariadb"})


@contextmanager
def texts_undecoded(connection: sa.Connection) -> Iterator[None]:
    """Let the connection's driver leave texts as they are, of the types that `decoder` decodes."""
    if connection.dialect.driver in _POSTGRESQL:
        with postgresql_types.texts_undecoded(connection):
            yield
    elif connection.dialect.name in _MYSQL:
        with mysql_types.texts_undecoded(connection):
            yield
    else:
        yield


def decoder(result: sa.CursorResult[Any]) -> DecodeRows | None:
    """What decodes the rows of a result; None where there is nothing to decode."""
    description = None if result.cursor is None else result.cursor.description
    if not description:
        return None
    connection = result.connection
    if connection.dialect.driver in _POSTGRESQL:
        decoders = postgresql_types.decoders(description, connection)
    elif connection.dialect.name in _MYSQL:
        decoders = mysql_types.decoders(description)
    else:
        return None
    return _by_column(decoders) if decoders else None


def _by_column(decoders: dict[int, Callable[[Any], Any]]) -> DecodeRows:
    """Decodes rows by what decodes one value of a column, by the column's place."""

    def decode(rows: Sequence[Row]) -> Sequence[Row]:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for at, decode_value in decoders.items():
            columns[at] = [None if value is None else decode_value(value) for value in columns[at]]
        return list(zip(*columns, strict=True))

    return decode
