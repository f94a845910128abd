"""The SQL of a query, narrowed to a part of the companies or records: the user's text untouched, values bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from airflow_provider_halo.plan.model import Query, ordering
from airflow_provider_halo.source.batch import Batch, Key
from airflow_provider_halo.source.parameters import with_names, with_values

__all__ = [
    "Companies",
    "NoCompany",
    "Part",
    "Range",
    "Records",
    "first_rows_of",
    "keys_in_order",
    "narrowed",
    "own_columns",
    "quoted",
    "range_of",
    "records_of",
    "repeated",
    "sorts_like_python",
    "text_order",
    "unnarrowed",
    "value_of",
    "verbatim",
    "without_rows",
]

# How a database writes "by the text of the key, byte by byte". For UTF-8 that is the order of Python's own comparison of
# texts, so that rows of several queries, and of several databases, can be joined while they stream.
_TEXT_ORDER = {
    "sqlite": "CAST({0} AS TEXT) COLLATE BINARY",
    "postgresql": 'CAST({0} AS TEXT) COLLATE "C"',
    "mysql": "CAST(CONVERT({0} USING utf8mb4) AS BINARY)",
    "mariadb": "CAST(CONVERT({0} USING utf8mb4) AS BINARY)",
}
_BIGINT = 1 << 63

# What `narrowed` puts behind a query's own columns where it picks the first row of each record: how many rows come first
# alike, the company of another of them, and the row's place.
_ROWS = "halo_rows"
_OTHER = "halo_other_company"
_PLACE = "halo_place"


@dataclass(frozen=True, slots=True)
class Range:
    """Companies ``first <= key < next``; None leaves that side open. Rows without a company are not in it."""

    first: Key | None = None
    next: Key | None = None


@dataclass(frozen=True, slots=True)
class NoCompany:
    """The rows that belong to no company."""


@dataclass(frozen=True, slots=True)
class Companies:
    """The rows of these companies."""

    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of these records.

    :param keys: the records' own keys, as their database's driver gave them.
    :param companies: their companies, for a query that places the narrowing itself; None where they aren't known.
    """

    keys: tuple[Any, ...]
    companies: tuple[Any, ...] | None = None


Part: TypeAlias = "Range | NoCompany | Companies | Records"


def range_of(batch: Batch) -> Range | NoCompany:
    """The part that a planned batch stands for."""
    return NoCompany() if batch.no_company else Range(batch.bind(batch.first), batch.bind(batch.next))


def sorts_like_python(dialect: Dialect) -> bool:
    """Whether `narrowed` orders rows by the text of their keys as Python compares texts; else only equal keys together."""
    return dialect.name in _TEXT_ORDER


def text_order(key: str, dialect: Dialect) -> str:
    """A key in SQL as rows are ordered by: see `sorts_like_python`."""
    return _TEXT_ORDER.get(dialect.name, "{0}").format(key)


def narrowed(query: Query, part: Part, dialect: Dialect, *, first_rows: bool = False) -> sa.TextClause:
    """The query's rows of a part, ordered by the record's key.

    Without a placement of its own the query is wrapped and narrowed from outside. A query with placements
    (``{{ batch("f.team_id") }}``) gets the narrowing there, and only that of single records from outside too.

    :param first_rows: one row of each record, the first one of the whole query: the part has the records whose first row
        it has. Behind the query's own columns come then how many rows are first alike and the company of another of them
        (`own_columns` leaves them out). Where the part names companies and no ``prefer`` says which row is first, it has
        all records with a row in one of the companies.
    """
    binds = _Binds(dialect)
    key = f"q.{quoted(query.key, dialect)}"
    if first_rows:
        inner, where = _first_rows(query, part, binds, dialect, "q.*")
    else:
        inner, where = _all_rows(query, part, binds, dialect)
    order = text_order(key, dialect)
    # The parenthesis opens on the text's first line, so that line numbers in a database's complaint are the user's; it
    # closes on a line of its own, out of the reach of an end comment.
    return binds.bound(f"SELECT q.* FROM ({inner}\n) q{where} ORDER BY {order}")  # noqa: S608 (the plan's own SQL; values are bound)


def records_of(query: Query, part: Part, dialect: Dialect, *, first_rows: bool = False) -> sa.Subquery:
    """The records of a part, as a table of their keys and their companies' keys, under the query's names for them.

    :param query: a traits query; ``part`` and ``first_rows`` as in `narrowed`, which gives the same records.
    """
    binds = _Binds(dialect)
    names = (query.key, query.company)[: 1 if query.key == query.company else 2]
    columns = ", ".join(f"q.{quoted(name, dialect)}" for name in names)
    if first_rows:
        inner, where = _first_rows(query, part, binds, dialect, columns)
    else:
        inner, where = _all_rows(query, part, binds, dialect)
    text = binds.bound(f"SELECT {columns} FROM ({inner}\n) q{where}")  # noqa: S608 (the plan's own SQL; values are bound)
    return text.columns(*(sa.column(name) for name in names)).subquery("records")


def own_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns of a result without those that `narrowed` puts behind the query's own."""
    return tuple(name for name in names if name not in {_ROWS, _OTHER, _PLACE})


def first_rows_of(query: Query, dialect: Dialect) -> sa.Subquery:
    """The first row of each record over the whole query, as a table of its key and its company's."""
    names = (query.key, query.company)
    key = f"q.{quoted(query.key, dialect)}"
    columns = ", ".join(f"q.{quoted(name, dialect)}" for name in names)
    ranked = _ranked(query, _open_to_all(query), dialect, columns)
    sql = f"SELECT {columns} FROM ({ranked}) q WHERE q.{_PLACE} = 1 OR {key} IS NULL"  # noqa: S608 (the plan's own SQL)
    return sa.text(sql).columns(*(sa.column(name) for name in names)).subquery("q")


def repeated(query: Query, dialect: Dialect, *, as_ranked: bool = False) -> sa.TextClause:
    """How many records have several rows, as the database compares their keys: one number.

    :param as_ranked: count records exactly as `narrowed` tells them apart. Otherwise keys are compared as the database has
        them in its indexes; 0 means then that no record has several rows.
    """
    key = f"q.{quoted(query.key, dialect)}"
    record = _record(key, dialect) if as_ranked else key
    rows = f"({_open_to_all(query)}\n) q WHERE {key} IS NOT NULL"
    several = f"SELECT COUNT(*) FROM (SELECT 1 AS one FROM {rows} GROUP BY {record} HAVING COUNT(*) > 1) r"  # noqa: S608 (the plan's own SQL)
    if dialect.name == "sqlite" and not as_ranked:
        # The number 1 and the text "1" aren't equal here, but one key. Usually all keys are of one type.
        types = f"SELECT COUNT(DISTINCT typeof({key})) > 1 FROM {rows}"  # noqa: S608 (likewise)
        several = f"SELECT ({several}) + ({types})"
    return sa.text(several)


def keys_in_order(query: Query, dialect: Dialect) -> sa.TextClause:
    """The keys of all of the query's rows, ordered as `narrowed` orders them."""
    key = f"q.{quoted(query.key, dialect)}"
    return sa.text(f"SELECT {key} FROM ({_open_to_all(query)}\n) q ORDER BY {text_order(key, dialect)}")  # noqa: S608 (the plan's own SQL; no value is pasted)


def unnarrowed(query: Query, *columns: str) -> sa.Subquery:
    """The query as it stands, open to every company and to rows of none, as a table with these columns."""
    return (
        with_values(f"{_open_to_all(query)}\n", query.statement.parameters)
        .columns(*(sa.column(name) for name in columns))
        .subquery("q")
    )


def without_rows(query: Query) -> sa.TextClause:
    """The query without any row: for its columns."""
    sql = _inner(query, ["(1 = 0)"] * len(query.statement.placements))
    return with_values(f"SELECT q.* FROM ({sql}\n) q WHERE 1 = 0", query.statement.parameters)  # noqa: S608 (the plan's own SQL; no value is pasted)


def _all_rows(query: Query, part: Part, binds: _Binds, dialect: Dialect) -> tuple[str, str]:
    """The query with its placements filled in, and the condition from outside that narrows it to a part."""
    where = ""
    if isinstance(part, Records):
        where = f" WHERE {binds.any_of(f'q.{quoted(query.key, dialect)}', part.keys)}"
    elif not query.statement.placements:
        where = f" WHERE {binds.condition(f'q.{quoted(query.company, dialect)}', part)}"
    return _inner(query, [binds.condition(expression, part) for expression in query.statement.placements]), where


def _first_rows(query: Query, part: Part, binds: _Binds, dialect: Dialect, columns: str) -> tuple[str, str]:
    """The rows of all records that have one in a part, ranked; and the condition that keeps the part's first rows."""
    key, company = f"q.{quoted(query.key, dialect)}", f"q.{quoted(query.company, dialect)}"
    whole = _open_to_all(query)
    first = f"q.{_PLACE} = 1"
    if isinstance(part, Records):
        return _ranked(query, whole, dialect, columns, binds.any_of(key, part.keys)), f" WHERE {first}"
    in_part = binds.condition(company, part)
    # Which records are ranked is for cost alone: one without a row in the part has its first row elsewhere.
    narrow = f"{key} IS NOT NULL"
    if part != Range():
        inner, where = _all_rows(query, part, binds, dialect)
        record = _record(key, dialect)
        narrow = f"{record} IN (SELECT {record} FROM ({inner}\n) q{where})"  # noqa: S608 (the plan's own SQL)
    ranked = _ranked(query, whole, dialect, columns, narrow)
    if isinstance(part, Range):
        return ranked, f" WHERE {first} AND {in_part}"
    # Rows without a key are nobody's. They are read to be counted: those of any company with the users of no company.
    nobodys = f"{key} IS NULL" if isinstance(part, NoCompany) else f"{key} IS NULL AND {in_part}"
    marks = f"1 AS {_ROWS}, NULL AS {_OTHER}, 1 AS {_PLACE}"
    inner = f"{ranked} UNION ALL SELECT {columns}, {marks} FROM ({whole}\n) q WHERE {nobodys}"  # noqa: S608 (likewise)
    if isinstance(part, Companies) and not query.prefer:
        return inner, f" WHERE {first}"
    return inner, f" WHERE {first} AND ({in_part} OR {key} IS NULL)"


def _ranked(query: Query, sql: str, dialect: Dialect, columns: str, narrow: str = "") -> str:
    """The rows of a query, each with its place among those of its record.

    Nulls come last in either direction, in every database. A record whose first rows are alike in all of ``prefer`` and
    the company has no first row: how many they are is told with each. Without ``prefer`` that are all of its rows.

    :param sql: the query, open to all companies.
    :param columns: what is taken of it.
    :param narrow: the condition that leaves out whole records.
    """
    key, company = f"q.{quoted(query.key, dialect)}", f"q.{quoted(query.company, dialect)}"
    record = _record(key, dialect)
    preferred = [(f"q.{quoted(column, dialect)}", down) for column, down in map(ordering, query.prefer)]
    order = ", ".join(
        f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END, {column}{' DESC' if down else ''}"
        for column, down in [*preferred, (company, False)]
    )
    alike = ", ".join([record, *(column for column, _ in preferred), company]) if preferred else record
    every = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
    marks = (
        f"COUNT(*) OVER (PARTITION BY {alike}) AS {_ROWS}, "
        f"LAST_VALUE({company}) OVER (PARTITION BY {alike} ORDER BY {order} {every}) AS {_OTHER}, "
        f"ROW_NUMBER() OVER (PARTITION BY {record} ORDER BY {order}, {text_order(key, dialect)}) AS {_PLACE}"
    )
    where = f" WHERE {narrow}" if narrow else ""
    return f"SELECT {columns}, {marks} FROM ({sql}\n) q{where}"  # noqa: S608 (the plan's own SQL)


def _record(key: str, dialect: Dialect) -> str:
    """A key by which records are told apart: as the database does, but SQLite tells the number 1 from the text "1"."""
    return f"CAST({key} AS TEXT)" if dialect.name == "sqlite" else key


def _open_to_all(query: Query) -> str:
    """The query as it stands, open to every company and to rows of none."""
    return _inner(query, ["(1 = 1)"] * len(query.statement.placements))


def _inner(query: Query, conditions: Sequence[str]) -> str:
    pieces = [with_names(piece, query.statement.parameters) for piece in query.statement.pieces]
    parts = [pieces[0]]
    for condition, piece in zip(conditions, pieces[1:], strict=True):
        parts += [condition, piece]
    return "".join(parts)


def verbatim(sql: str) -> str:
    """SQL that `sqlalchemy.text` gives to the database byte for byte: no colon of it starts a parameter."""
    return sql.replace(":", "\\:")


def quoted(name: str, dialect: Dialect) -> str:
    """A column's name, as `sqlalchemy.text` takes it."""
    # A quoted name comes ready for the driver, with % doubled where that is due; text() doubles it once more.
    return verbatim(dialect.identifier_preparer.quote(name).replace("%%", "%"))


class _Binds:
    """Conditions over a key, and the values bound in them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parameters: dict[str, sa.BindParameter[Any]] = {}

    def condition(self, expression: str, part: Part) -> str:
        """The condition that keeps the rows of a part, by the company's key in ``expression``."""
        if isinstance(part, NoCompany):
            return f"({expression} IS NULL)"
        if isinstance(part, Range):
            bounds = []
            if part.first is not None:
                bounds.append(f"{expression} >= {self._value('halo_first', part.first)}")
            if part.next is not None:
                bounds.append(f"{expression} < {self._value('halo_next', part.next)}")
            return f"({' AND '.join(bounds) or f'{expression} IS NOT NULL'})"
        if isinstance(part, Companies):
            return self.any_of(expression, part.keys, "halo_companies")
        if part.companies is None:
            return "(1 = 1)"
        known = tuple(dict.fromkeys(key for key in part.companies if key is not None))
        return self.any_of(expression, known, "halo_companies", or_null=len(known) < len(set(part.companies)))

    def any_of(
        self, expression: str, keys: tuple[Any, ...], name: str = "halo_records", *, or_null: bool = False
    ) -> str:
        """The condition that ``expression`` is one of the keys."""
        conditions = []
        if keys:
            values = [_native(key) for key in keys]
            self._parameters[name] = sa.bindparam(name, values, _type_of(values, self._dialect), expanding=True)
            conditions.append(f"{expression} IN :{name}")
        if or_null:
            conditions.append(f"{expression} IS NULL")
        return f"({' OR '.join(conditions) or '1 = 0'})"

    def bound(self, sql: str) -> sa.TextClause:
        """The statement with its values."""
        return sa.text(sql).bindparams(*self._parameters.values())

    def _value(self, name: str, key: Key) -> str:
        value = _native(key)
        self._parameters[name] = sa.bindparam(name, value, _type_of([value], self._dialect))
        # SQLite compares by the column's collation if nothing else is said, and can't tell which that is: see `same_range`.
        return f":{name} COLLATE BINARY" if self._dialect.name == "sqlite" and isinstance(value, str) else f":{name}"


def value_of(key: Any, dialect: Dialect) -> sa.BindParameter[Any]:
    """A key as a value that is compared with keys of the database."""
    native = _native(key)
    return sa.bindparam(None, native, _type_of([native], dialect))


def _native(key: Any) -> Any:
    """A key as a value that the database compares with its own keys."""
    if isinstance(key, UUID):
        return str(key)
    if isinstance(key, Decimal) and key == key.to_integral_value():
        return int(key)
    return key


def _type_of(values: Sequence[Any], dialect: Dialect) -> TypeEngine[Any]:
    """The type that values are bound with: their own."""
    if all(isinstance(value, int) for value in values):
        # SQLAlchemy casts to the bound type on PostgreSQL, where a numeric key may pass a bigint.
        return sa.BigInteger() if all(-_BIGINT <= value < _BIGINT for value in values) else sa.Numeric()
    if dialect.name != "postgresql" and all(isinstance(value, str) for value in values):
        return sa.Text()
    # Without a type PostgreSQL reads a text as what it is compared with: text, varchar, citext or uuid. A text that is
    # cast would have no operator with a uuid, and for citext the wrong one.
    return sa.types.NullType()
