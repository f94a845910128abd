"""Which rows aren't what they are taken to be: asked of the database, many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from airflow_provider_halo.ledger.database import Database, rows_by_key


@final
class RowsUnlike:
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
        given = sa.bindparam("keys", type_=sa.Text)
        conditions = [table.c[name] == value for name, value in where.items()]
        if dialect.name == "sqlite":
            keys = sa.func.json_each(given).table_valued("key", "value")
            rows = keys.outerjoin(table, sa.and_(*conditions, table.c.key == keys.c.key))
            found: Any = table
            hexadecimal = sa.func.lower(sa.func.hex(table.c[digest]))
        else:
            keys = sa.func.json_each_text(sa.cast(given, postgresql.JSON)).table_valued("key", "value")
            keys = keys.render_derived("k")
            wanted = sa.select(*(table.c[name] for name in (digest, *others)))
            # Key by key, as in `rows_by_key`.
            found = wanted.where(*conditions, table.c.key == keys.c.key).limit(1).lateral("found")
            rows = keys.outerjoin(found, sa.true())
            hexadecimal = sa.func.encode(found.c[digest], "hex")
        self._statement = (
            sa.select(keys.c.key, *(found.c[name] for name in (digest, *others)))
            .select_from(rows)
            .where(sa.or_(found.c[digest].is_(None), hexadecimal != keys.c.value))
        )

    def run(
        self, database: Database, parameters: Mapping[str, Any], digests: Mapping[str, bytes]
    ) -> Iterator[Sequence[Any]]:
        """The key, digest and other columns of the rows that differ; all but the key None of those that aren't there.

        :param digests: by key; an empty one is like none.
        :raises LedgerError: when the database can't be reached or refuses it.
        """
        keys: Any = list(digests)
        if self._compares:
            keys = msgspec.json.encode({key: digest.hex() for key, digest in digests.items()}).decode()
        rows: Sequence[Any] = database.read(
            lambda connection: connection.execute(self._statement, {**parameters, "keys": keys}).all()
        )
        if self._compares:
            yield from rows
            return
        missing = dict.fromkeys(digests)
        for row in rows:
            del missing[row[0]]
            if row[1] != digests[row[0]]:
                yield row
        for key in missing:
            yield (key, None, *[None] * self._others)
