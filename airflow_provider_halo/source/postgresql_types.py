"""PostgreSQL's types beyond those that its drivers read alike: moments, intervals, money, JSON, networks, arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import TOO_DEEP
from airflow_provider_halo.source.written import (
    BEYOND_CALENDAR,
    NoList,
    amount,
    day,
    fraction_digits,
    list_of,
    moment,
    pairs_of,
    time_of_day,
)

__all__ = ["decoders", "texts_undecoded"]

Decode = Callable[[Any], Any]

# Types by their oids, which are the same everywhere (pg_type.dat).
_MONEY: Final = 790
_INET, _CIDR, _RECORD = 869, 650, 2249
_RANGES: Final = (3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536)
_TEXT: Final = 25
_TEXTS: Final = frozenset({_TEXT, 1042, 1043})
_TEXT_FORMAT: Final = 0  # of two in which psycopg gets values


def _interval(written: Any) -> Any:
    # The session's intervalstyle is ISO 8601; an infinite one (PostgreSQL 17) has no such form.
    return BEYOND_CALENDAR if isinstance(written, str) and written.endswith("infinity") else written


def _json(written: Any) -> Any:
    if not isinstance(written, str):
        return written
    try:
        return json.loads(written)
    except RecursionError:
        return InvalidValue(TOO_DEEP)
    except ValueError:  # an integer with more digits than Python reads
        return InvalidValue("holds JSON that can't be read")


_DECODERS: Final[dict[int, Decode]] = {
    1082: day,
    1114: moment,
    1184: moment,
    1083: time_of_day,
    1266: time_of_day,
    1186: _interval,
    114: _json,
    3802: _json,
}
# Of these the drivers make values of their own, each in its way, or can't: the texts are asked for.
_AS_TEXT: Final = (*_DECODERS, _INET, _CIDR, _RECORD, *_RANGES)
# Arrays of them, which psycopg reads by their items' types, and psycopg2 by types of their own.
_ARRAYS: Final = {
    1182: 1082,
    1115: 1114,
    1185: 1184,
    1183: 1083,
    1270: 1266,
    1187: 1186,
    199: 114,
    3807: 3802,
    791: _MONEY,
    1041: _INET,
    651: _CIDR,
    **{kind + 1: kind for kind in _RANGES[:6]},
    **{array: kind for kind, array in zip(_RANGES[6:], (6150, 6151, 6152, 6153, 6155, 6157), strict=True)},
}


@contextmanager
def texts_undecoded(connection: sa.Connection) -> Iterator[None]:
    """Let the driver give the texts of the types that `decoders` decodes."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.driver == "psycopg":
        adapters = driver.adapters
        text = adapters.get_loader(_TEXT, _TEXT_FORMAT)
        loaders = {kind: adapters.get_loader(kind, _TEXT_FORMAT) for kind in _AS_TEXT}
        for kind in _AS_TEXT:
            adapters.register_loader(kind, text)
        try:
            yield
        finally:
            for kind, loader in loaders.items():
                adapters.register_loader(kind, loader or text)
        return
    types = _psycopg2(connection)
    casters = dict(driver.string_types)
    types.register_type(types.new_type((*_AS_TEXT, *_ARRAYS), "AS_TEXT", types.UNICODE), driver)
    try:
        yield
    finally:
        driver.string_types.clear()
        driver.string_types.update(casters)


def decoders(description: Sequence[Sequence[Any]], connection: sa.Connection) -> dict[int, Decode]:
    """What decodes the values of columns, by their places.

    Types that the driver doesn't know are looked up in the database, once an engine: enums, domains, arrays of them.
    """
    types = _Types(connection)
    found = {at: types.decoder(column[1]) for at, column in enumerate(description)}
    return {at: decode for at, decode in found.items() if decode is not None}


class _Type(NamedTuple):
    """A type of the database: of an array its items' type, of a domain the one it is based on; else 0."""

    name: str = ""
    items: int = 0
    base: int = 0


_LOOK_UP: Final = sa.text(
    "SELECT typname, CASE WHEN typoutput = CAST('array_out' AS regproc) THEN typelem ELSE 0 END, typbasetype "
    "FROM pg_type WHERE oid = :oid"
)
_CATALOGS: WeakKeyDictionary[sa.Engine, dict[int, _Type]] = WeakKeyDictionary()


class _Types:
    """The types of one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._reader = _readers(connection)
        self._catalog = _CATALOGS.setdefault(connection.engine, {})

    def decoder(self, kind: int) -> Decode | None:
        """What decodes values of a type as the driver gives them; None for those that it gives right."""
        if kind in _DECODERS:
            return _DECODERS[kind]
        if kind == _MONEY:
            return self._money()
        if kind in _TEXTS or kind in _AS_TEXT:
            return None
        found = _Type(items=_ARRAYS[kind]) if kind in _ARRAYS else self._looked_up(kind)
        if found.name == "hstore":  # an extension's, whose oid each database has of its own
            return pairs_of
        return partial(_items, item=self._item(found.items)) if found.items else None

    def _item(self, kind: int) -> Decode:
        """What makes a value of the text of an array's item."""
        while (base := self._looked_up(kind).base) != 0:
            kind = base
        decode = self.decoder(kind)
        if decode is not None:
            return decode
        return str if kind in _TEXTS or kind in _AS_TEXT else self._reader(kind) or str

    def _looked_up(self, kind: int) -> _Type:
        """What the database says of a type that the driver doesn't know."""
        if kind in _AS_TEXT or self._reader(kind) is not None:
            return _Type()
        if kind not in self._catalog:
            row = self._connection.execute(_LOOK_UP, {"oid": kind}).first()
            self._catalog[kind] = _Type() if row is None else _Type(str(row[0]), int(row[1]), int(row[2]))
        return self._catalog[kind]

    def _money(self) -> Decode:
        """Money as a number. How many of its digits are a fraction, and all else of its text, is the locale's matter."""
        specimen = str(
            self._connection.exec_driver_sql("SELECT CAST(12345678.91 AS numeric)::money::text").scalar_one()
        )
        return partial(amount, fraction=fraction_digits(specimen, "12345678"))


def _readers(connection: sa.Connection) -> Callable[[int], Decode | None]:
    """What tells how the driver reads the texts of a type; None for a type that it doesn't know."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.driver == "psycopg":

        def by_loader(kind: int) -> Decode | None:
            loader = driver.adapters.get_loader(kind, _TEXT_FORMAT)
            return None if loader is None else partial(_load, loader(kind, driver))

        return by_loader
    casters = {**_psycopg2(connection).string_types, **driver.string_types}

    def by_caster(kind: int) -> Decode | None:
        return partial(_cast, casters[kind]) if kind in casters else None

    return by_caster


def _psycopg2(connection: sa.Connection) -> Any:
    """The driver's module of types."""
    dbapi: Any = connection.dialect.dbapi
    return dbapi.extensions


def _load(loader: Any, text: str) -> Any:
    return loader.load(text.encode())


def _cast(caster: Any, text: str) -> Any:
    return caster(text, None)


def _items(value: Any, item: Decode) -> Any:
    """An array: its text, or the list that the driver made of it, of texts."""
    if isinstance(value, list):
        return [
            None if inner is None else _items(inner, item) if isinstance(inner, list) else item(inner)
            for inner in value
        ]
    try:
        return list_of(value, item) if isinstance(value, str) else value
    except NoList:
        return value
