"""The ledger's statements as each kind of database runs them fastest: upserts, and look-ups of many keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

__all__ = ["ChangedRows", "Upsert", "insert_absent", "key_parameter", "rows_by_key"]


def rows_by_key(
    dialect: sa.Dialect, table: sa.Table, columns: Sequence[str], where: Mapping[str, Any]
) -> sa.Select[Any]:
    """The statement that looks rows up by their keys, which are one parameter, ``keys``, made by `key_parameter`.

    One parameter, where the database has a way: a statement of a thousand takes longer to write than to run.

    :param columns: what it gives.
    :param where: further columns of the primary key, and what they must equal.
    """
    wanted = [table.c[name] for name in columns]
    conditions = [table.c[name] == value for name, value in where.items()]
    if dialect.name == "sqlite":
        values = sa.func.json_each(sa.bindparam("keys", type_=sa.Text)).table_valued("value")
        return sa.select(*wanted).where(*conditions, table.c.key.in_(sa.select(values.c.value)))
    if dialect.name == "postgresql":
        # Key by key, which LATERAL with LIMIT says for sure: without statistics, as in a table that has just been
        # filled, the planner reads all of a plan's rows and filters them by an array.
        keys = (
            sa.func.unnest(sa.cast(sa.bindparam("keys", type_=_TEXTS), _TEXTS)).table_valued("key").render_derived("k")
        )
        row = sa.select(*wanted).where(*conditions, table.c.key == keys.c.key).limit(1).lateral("row_of_key")
        return sa.select(*(row.c[name] for name in columns)).select_from(keys.join(row, sa.true()))
    return sa.select(*wanted).where(*conditions, table.c.key.in_(sa.bindparam("keys", expanding=True)))


def key_parameter(dialect: sa.Dialect, values: Iterable[str]) -> str | list[str]:
    """The keys of a statement of `rows_by_key`."""
    listed = list(values)
    return json.dumps(listed) if dialect.name == "sqlite" else listed


class Upsert:
    """Inserts rows of a table, or changes those whose primary key is there, all in one statement.

    :param columns: that rows give.
    :param change: given the rows that would be inserted, the new values by column, in the order in which they are set:
        MySQL lets a later one see an earlier one's result. No parameters in it, which PyMySQL doesn't take there.
    """

    def __init__(
        self, dialect: sa.Dialect, table: sa.Table, columns: Sequence[str], change: Callable[[Any], Mapping[str, Any]]
    ) -> None:
        self._arrays = dialect.name == "postgresql"
        self._columns = tuple(columns)
        self._statement: sa.Executable
        if dialect.name in {"mysql", "mariadb"}:
            of_mysql = mysql.insert(table).values({name: sa.bindparam(name) for name in columns})
            self._statement = of_mysql.on_duplicate_key_update(list(change(of_mysql.inserted).items()))
            return
        insert: Any
        if self._arrays:
            # An array a column: psycopg2 would send a statement a row, and psycopg takes three times as long.
            arrays = [
                sa.cast(
                    sa.bindparam(name, type_=postgresql.ARRAY(_plain(table.c[name]))),
                    postgresql.ARRAY(_plain(table.c[name])),
                )
                for name in columns
            ]
            rows = sa.func.unnest(*arrays).table_valued(*columns).render_derived("new")
            insert = postgresql.insert(table).from_select(list(columns), sa.select(*(rows.c[name] for name in columns)))
        else:
            insert = sqlite.insert(table).values({name: sa.bindparam(name) for name in columns})
        self._statement = insert.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=dict(change(insert.excluded))
        )

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, each with all columns; no two of them with one primary key."""
        if not rows:
            return
        if self._arrays:
            connection.execute(self._statement, {name: [row[name] for row in rows] for name in self._columns})
        else:
            connection.execute(self._statement, list(rows))


_TEXTS: Final = postgresql.ARRAY(sa.Text())


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Text() if isinstance(column.type, sa.String) else column.type


def insert_absent(dialect: sa.Dialect, table: sa.Table, values: Mapping[str, Any]) -> sa.Executable:
    """The statement that inserts a row, and leaves alone what is there."""
    if dialect.name in {"mysql", "mariadb"}:
        return sa.insert(table).prefix_with("IGNORE").values(dict(values))
    insert: Any = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    return insert.values(dict(values)).on_conflict_do_nothing()  # type: ignore[no-any-return]  # either dialect's


@final
class ChangedRows:
    """Looks up, by their keys, the rows whose digest isn't the one that is given; those that aren't there are, too.

    Where the database has a way, it compares, and the driver has next to nothing to hand over: in SQLite that is also
    one step outside Python's lock instead of one a row.

    :param digest: the column with the digest.
    :param others: what else is given of a row.
    :param where: further columns of the primary key, and what they must equal.
    """

    def __init__(
        self, dialect: sa.Dialect, table: sa.Table, digest: str, others: Sequence[str], where: Mapping[str, Any]
    ) -> None:
        self._others = len(others)
        self._dialect = dialect
        self._compares = dialect.name in {"sqlite", "postgresql"}
        if not self._compares:
            self._statement = rows_by_key(dialect, table, ["key", digest, *others], where)
            return
        digests = sa.bindparam("keys", type_=sa.Text)
        conditions = [table.c[name] == value for name, value in where.items()]
        if dialect.name == "sqlite":
            keys = sa.func.json_each(digests).table_valued("key", "value")
            rows = keys.outerjoin(table, sa.and_(*conditions, table.c.key == keys.c.key))
            row: Any = table
            hexadecimal = sa.func.lower(sa.func.hex(table.c[digest]))
        else:
            keys = sa.func.json_each_text(sa.cast(digests, postgresql.JSON)).table_valued("key", "value")
            keys = keys.render_derived("k")
            wanted = sa.select(*(table.c[name] for name in (digest, *others)))
            # Key by key, as in `rows_by_key`.
            row = wanted.where(*conditions, table.c.key == keys.c.key).limit(1).lateral("row_of_key")
            rows = keys.outerjoin(row, sa.true())
            hexadecimal = sa.func.encode(row.c[digest], "hex")
        self._statement = (
            sa.select(keys.c.key, *(row.c[name] for name in (digest, *others)))
            .select_from(rows)
            .where(sa.or_(row.c[digest].is_(None), hexadecimal != keys.c.value))
        )

    def run(
        self, connection: sa.Connection, parameters: Mapping[str, Any], digests: Mapping[str, bytes]
    ) -> Sequence[Sequence[Any]]:
        """The key, digest and other columns of the rows that differ; all but the key None of those that aren't there.

        :param digests: by key; an empty one is like none.
        """
        if self._compares:
            keys = msgspec.json.encode({key: digest.hex() for key, digest in digests.items()}).decode()
            return connection.execute(self._statement, {**parameters, "keys": keys}).all()
        rows = connection.execute(self._statement, {**parameters, "keys": list(digests)}).all()
        missing = digests.keys() - {row[0] for row in rows}
        differing: list[Sequence[Any]] = [row for row in rows if row[1] != digests[row[0]]]
        return differing + [(key, None, *[None] * self._others) for key in missing]
