"""What a key column is in its database: numbers, texts or UUIDs, and by what its texts are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.keys import key_type_of
from airflow_provider_halo.source.sql import unnarrowed

__all__ = ["KeyKind", "Kinds"]

Family = Literal["number", "text", "uuid", "other"]

_PG_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
_PG_TEXTS = frozenset({"text", "character varying", "character", "name"})
_KEY_TYPES: dict[str, Family] = {"integer": "number", "text": "text", "uuid": "uuid"}


@dataclass(frozen=True, slots=True)
class KeyKind:
    """The kind of a key column.

    :param family: ``other`` also for a column that holds several kinds of values, or about which nothing is known.
    :param type: the type, as the database calls it; empty where it has no name.
    :param collation: what texts are compared by, as SQL names it; empty for what has none.
    :param is_exact: whether two keys are equal only where their texts are, byte for byte.
    """

    family: Family
    type: str = ""
    collation: str = ""
    is_exact: bool = True

    def __str__(self) -> str:
        words = self.type or self.family
        return f"{words} ({self.collation})" if self.collation else words

    def is_like(self, other: KeyKind) -> bool:
        """Whether keys of both kinds are equal, and lie between two others, exactly where their texts say so."""
        if self.family != other.family or self.family == "other":
            return False
        if self.family != "text":
            return True
        return self.is_exact and other.is_exact and self.collation == other.collation


class Kinds:
    """The kinds of the key columns of queries, each asked for once.

    :param whole: whether a column of SQLite, which can hold values of any types, is looked at to its end.
    """

    def __init__(self, sources: Sources, *, whole: bool = False) -> None:
        self._sources = sources
        self._whole = whole
        self._known: dict[tuple[str, str], KeyKind] = {}

    def of(self, query: Query, column: str) -> KeyKind:
        """The kind of one column of a query.

        :raises SourceError: when the database can't be reached or refuses the query.
        :raises PlanError: when the query lacks the column, or its values can't be keys.
        """
        known = self._known.get((query.name, column))
        if known is None:
            known = self._known[query.name, column] = self._ask(query, column)
        return known

    def _ask(self, query: Query, column: str) -> KeyKind:
        engine = engine_of(query, self._sources)
        name = engine.dialect.name
        if name == "sqlite":
            return _in_sqlite(engine, query, column, whole=self._whole)
        known: dict[str, Callable[[sa.Engine, Query, str], KeyKind]] = {
            "postgresql": _in_postgresql,
            "mysql": _in_mysql,
            "mariadb": _in_mysql,
        }
        return known.get(name, _by_first_value)(engine, query, column)


def _by_first_value(engine: sa.Engine, query: Query, column: str) -> KeyKind:
    key_type = key_type_of(engine, query, column)
    return KeyKind("other") if key_type is None else KeyKind(_KEY_TYPES[key_type])


def _in_postgresql(engine: sa.Engine, query: Query, column: str) -> KeyKind:
    rows = unnarrowed(query, column)
    key = rows.c[column]
    # A join that finds nothing: the key is null, but has its type, and the query isn't computed.
    one = sa.select(sa.literal(1).label("one")).subquery("one")
    types = sa.table("pg_type", sa.column("oid"), sa.column("typtype"), sa.column("typbasetype"))
    base = sa.case((types.c.typtype == "d", types.c.typbasetype), else_=types.c.oid)
    collations = sa.table("pg_collation", sa.column("oid"), sa.column("collisdeterministic"))
    collation = sa.literal_column("pg_collation_for(halo_key.k)", sa.Text)
    keys = sa.select(key.label("k")).select_from(one.outerjoin(rows, sa.false())).subquery("halo_key")
    type_name = sa.select(sa.func.format_type(base, None)).where(
        types.c.oid == sa.literal_column("pg_typeof(halo_key.k)")
    )
    found = str(ask(engine, query, sa.select(type_name.scalar_subquery()).select_from(keys))[0][0])
    if found in _PG_NUMBERS:
        return KeyKind("number", found)
    if found == "uuid":
        return KeyKind("uuid", found)
    is_citext = found.rsplit(".", maxsplit=1)[-1].strip('"') == "citext"
    if found not in _PG_TEXTS and not is_citext:
        return KeyKind("other", found)
    is_deterministic = sa.select(collations.c.collisdeterministic).where(
        collations.c.oid == sa.cast(collation, _RegCollation())
    )
    statement = sa.select(collation, is_deterministic.scalar_subquery()).select_from(keys)
    answer = tuple(ask(engine, query, statement)[0])
    is_exact = bool(answer[1]) and not is_citext and found != "character"
    return KeyKind("text", found, str(answer[0] or ""), is_exact)


class _RegCollation(sa.types.UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "regcollation"


def _in_mysql(engine: sa.Engine, query: Query, column: str) -> KeyKind:
    rows = unnarrowed(query, column)
    # Of no row: the query isn't computed.
    one = sa.func.max(rows.c[column])
    statement = sa.select(sa.func.collation(one), sa.func.coercibility(one)).where(sa.false())
    answer = tuple(ask(engine, query, statement)[0])
    collation = str(answer[0])
    if int(answer[1]) >= 5:  # of what has no collation of its own
        return KeyKind("number" if collation == "binary" else "uuid")
    if collation == "binary":
        return KeyKind("other", "bytes")
    # All others take a text with blanks behind it for the same.
    return KeyKind("text", "text", collation, is_exact=collation.endswith("nopad_bin"))


def _in_sqlite(engine: sa.Engine, query: Query, column: str, *, whole: bool) -> KeyKind:
    rows = unnarrowed(query, column)
    key = rows.c[column]
    # A union takes the collation of its first part.
    none = sa.select(key.label("k")).where(sa.false())
    probe = sa.union_all(none, sa.select(sa.literal("a").label("k"))).subquery("probe")
    equals = sa.select(probe.c.k == sa.literal("A"), probe.c.k == sa.literal("a "))
    answer = tuple(ask(engine, query, equals)[0])
    collation = "NOCASE" if answer[0] else "RTRIM" if answer[1] else "BINARY"
    kind = sa.func.typeof(key)
    types = sa.select(kind).where(key.is_not(None))
    types = types.distinct() if whole else types.limit(1)
    found = {str(row[0]) for row in ask(engine, query, types)}
    families: dict[str, Family] = {"integer": "number", "text": "text"}
    family = families.get(found.pop(), "other") if len(found) == 1 else "other"
    if family == "number":
        return KeyKind(family, "integer")
    return KeyKind(family, "text" if family == "text" else "", collation, is_exact=collation == "BINARY")
