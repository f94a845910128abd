"""MySQL's and MariaDB's types: bits as booleans and numbers, times of day as texts, dates that don't exist as null."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_halo.source.written import day, moment, time_of_day

__all__ = ["decoders", "texts_undecoded"]

# Types of columns in the protocol (MySQL's documentation: field_types.h), by which all its drivers call them.
_TIMESTAMP, _DATE, _TIME, _DATETIME, _BIT = 7, 10, 11, 12, 16
_DECODERS: Final[dict[int, Callable[[Any], Any]]] = {
    _TIMESTAMP: moment,
    _DATE: day,
    _TIME: time_of_day,
    _DATETIME: moment,
}

_CONVERSIONS: Final = {"pymysql": "decoders", "mysqldb": "converter"}  # a connection's, by the types of columns


@contextmanager
def texts_undecoded(connection: sa.Connection) -> Iterator[None]:
    """Let PyMySQL and mysqlclient give dates and times as texts: mysqlclient gives ``0000-00-00`` as null without a word.

    Other drivers give what they give.
    """
    driver: Any = connection.connection.driver_connection
    name = connection.dialect.driver
    by_type: dict[int, Any] = getattr(driver, _CONVERSIONS[name]) if name in _CONVERSIONS else {}
    before = {kind: by_type[kind] for kind in _DECODERS if kind in by_type}
    for kind in before:
        if name == "pymysql":
            del by_type[kind]
        else:
            by_type[kind] = str
    try:
        yield
    finally:
        by_type.update(before)


def decoders(description: Sequence[Sequence[Any]]) -> dict[int, Callable[[Any], Any]]:
    """What decodes the values of columns, by their places."""
    found: dict[int, Callable[[Any], Any]] = {}
    for at, column in enumerate(description):
        if column[1] == _BIT:
            found[at] = partial(_bits, is_single=column[3] == 1)
        elif column[1] in _DECODERS:
            found[at] = _DECODERS[column[1]]
    return found


def _bits(value: Any, *, is_single: bool) -> Any:
    """BIT(1) is a boolean, a longer one the number that its bits make."""
    number = int.from_bytes(value, "big") if isinstance(value, bytes) else value
    return bool(number) if is_single else number
