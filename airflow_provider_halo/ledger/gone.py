"""The records that Halo was sent and that the source no longer gives: since when, and by which run they were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.acknowledged import utc_now
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import GONE, RUNS
from airflow_provider_halo.ledger.statements import Upsert, key_parameter, rows_by_key
from airflow_provider_halo.records.problem import Scope

__all__ = ["GoneRecord", "GoneRecords"]

_Counts = dict[Scope, int]
_COUNTS: Final = msgspec.json.Decoder(_Counts)
_NAMES: Final = msgspec.json.Decoder(list[str])


class GoneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that the source no longer gives.

    :param since: when a run missed it first (UTC).
    :param last_seen: when the source was known to give it last (UTC); None where nobody knows.
    """

    scope: Scope
    key: str
    since: datetime
    last_seen: datetime | None


class GoneRecords:
    """The gone records of one plan in one workspace. Of links the key is the user's."""

    def __init__(self, database: Database, plan_id: int) -> None:
        self._database = database
        self._plan_id = plan_id
        self._dialect = database.engine.dialect
        self._upsert = Upsert(self._dialect, GONE, [column.name for column in GONE.c], _missed_again)
        self._marked = rows_by_key(
            self._dialect, GONE, ["key", "marked"], {"plan_id": plan_id, "scope": sa.bindparam("of_scope")}
        )

    def note(self, run_id: int, scope: Scope, last_seen_by_key: Mapping[str, datetime | None]) -> None:
        """Note that a run misses records."""
        now = utc_now()
        rows = [
            {
                "plan_id": self._plan_id,
                "scope": scope,
                "key": key,
                "since": now,
                "last_seen": last_seen,
                "run_id": run_id,
                "marked": None,
            }
            for key, last_seen in sorted(last_seen_by_key.items())
        ]
        self._database.write(lambda connection: self._upsert.run(connection, rows))

    def begin(self, run_id: int, scopes: Sequence[Scope]) -> None:
        """Take back what a run has noted of some scopes before it was tried again."""
        noted = sa.and_(self._mine(), GONE.c.scope.in_(scopes), GONE.c.run_id == run_id)
        # Not deleted: what earlier runs have missed, too, is gone since then. It is deleted by `end`, if it is there again.
        statement = sa.update(GONE).where(noted).values(run_id=0)
        self._database.write(lambda connection: connection.execute(statement))

    def end(self, run_id: int, counts: Mapping[Scope, int]) -> None:
        """Note how many records of each scope a run misses; those that earlier runs did, and this one doesn't, are back."""
        back = sa.and_(GONE.c.plan_id == self._plan_id, GONE.c.scope.in_(list(counts)), GONE.c.run_id != run_id)
        told = sa.update(RUNS).where(RUNS.c.id == run_id).values(gone=msgspec.json.encode(counts).decode())

        def work(connection: sa.Connection) -> None:
            _forget(connection, back)
            connection.execute(told)

        self._database.write(work)

    def counts(self, run_id: int) -> dict[Scope, int] | None:
        """How many records of each scope a run missed, links that it moved included; None where it didn't look."""
        statement = sa.select(RUNS.c.gone).where(RUNS.c.id == run_id)
        text = self._database.read(lambda connection: connection.scalar(statement))
        if text is None:
            return None
        counts = _COUNTS.decode(text)
        if "links" in counts:
            links = sa.select(sa.func.count()).where(self._mine(), GONE.c.scope == "links", GONE.c.run_id == run_id)
            counts["links"] = int(self._database.read(lambda connection: connection.scalar(links)) or 0)
        return counts

    def last_look(self, before: int) -> datetime | None:
        """When the last run began that looked for gone records (UTC).

        :param before: the run that looks now.
        """
        statement = sa.select(sa.func.max(RUNS.c.started_at)).where(
            RUNS.c.plan_id == self._plan_id, RUNS.c.gone.is_not(None), RUNS.c.id != before
        )
        moment: datetime | None = self._database.read(lambda connection: connection.scalar(statement))
        return moment

    def listed(self, scope: Scope, most: int) -> tuple[int, list[GoneRecord]]:
        """How many records of a scope are gone, and the first of them by their keys."""
        of_scope = sa.and_(self._mine(), GONE.c.scope == scope)
        first = sa.select(GONE).where(of_scope).order_by(GONE.c.key).limit(most)

        def work(connection: sa.Connection) -> tuple[int, list[GoneRecord]]:
            count = connection.scalar(sa.select(sa.func.count()).select_from(GONE).where(of_scope))
            rows = connection.execute(first).all()
            return int(count or 0), [
                GoneRecord(scope=row.scope, key=row.key, since=row.since, last_seen=row.last_seen) for row in rows
            ]

        return self._database.read(work)

    def keys_after(self, run_id: int, scope: Scope, key: str, count: int) -> list[str]:
        """The next keys of a scope that a run missed, in their order."""
        statement = (
            sa.select(GONE.c.key)
            .where(self._mine(), GONE.c.scope == scope, GONE.c.run_id == run_id, GONE.c.key > key)
            .order_by(GONE.c.key)
            .limit(count)
        )
        return list(self._database.read(lambda connection: connection.scalars(statement).all()))

    def forget(self, scope: Scope, keys: Sequence[str]) -> None:
        """Have records that are back, or that were emptied in Halo, no longer count as gone."""
        where = sa.and_(GONE.c.plan_id == self._plan_id, GONE.c.scope == scope, GONE.c.key.in_(keys))
        self._database.write(lambda connection: _forget(connection, where))

    def delete(self, connection: sa.Connection, scope: Scope, keys: Sequence[str]) -> None:
        """Delete what is known of records, their marks included."""
        of_scope = sa.and_(GONE.c.plan_id == self._plan_id, GONE.c.scope == scope)
        connection.execute(sa.delete(GONE).where(of_scope, GONE.c.key.in_(list(keys))))

    def mark(self, scope: Scope, keys: Sequence[str], traits: Sequence[str]) -> None:
        """Note that records are about to be given traits that say they are gone."""
        names = {*traits, *chain.from_iterable(self.marked(scope, keys).values())}
        statement = (
            sa.update(GONE)
            .where(GONE.c.plan_id == self._plan_id, GONE.c.scope == scope, GONE.c.key.in_(keys))
            .values(marked=msgspec.json.encode(sorted(names)).decode())
        )
        self._database.write(lambda connection: connection.execute(statement))

    def unmark(self, connection: sa.Connection, scope: Scope, keys: Sequence[str]) -> None:
        """Forget the marks of records that were stored anew."""
        of_scope = sa.and_(GONE.c.plan_id == self._plan_id, GONE.c.scope == scope, GONE.c.marked.is_not(None))
        connection.execute(sa.delete(GONE).where(of_scope, GONE.c.key.in_(keys)))

    def any_marked(self) -> bool:
        """Whether any record may have traits that say it is gone."""
        statement = sa.select(sa.literal(1)).where(GONE.c.plan_id == self._plan_id, GONE.c.marked.is_not(None)).limit(1)
        return self._database.read(lambda connection: connection.scalar(statement)) is not None

    def marked(self, scope: Scope, keys: Sequence[str]) -> dict[str, list[str]]:
        """The traits that say of some records that they are gone, by key."""
        parameters = {"of_scope": scope, "keys": key_parameter(self._dialect, keys)}
        rows = self._database.read(lambda connection: connection.execute(self._marked, parameters).all())
        return {row.key: _NAMES.decode(row.marked) for row in rows if row.marked is not None}

    def _mine(self) -> sa.ColumnElement[bool]:
        """The plan's gone records, without those that were emptied or are back, of which only the marks are remembered."""
        return sa.and_(GONE.c.plan_id == self._plan_id, sa.or_(GONE.c.marked.is_(None), GONE.c.run_id != 0))


def _forget(connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
    connection.execute(sa.delete(GONE).where(where, GONE.c.marked.is_(None)))
    connection.execute(sa.update(GONE).where(where).values(run_id=0))


def _missed_again(new: Any) -> Mapping[str, Any]:
    return {"run_id": new.run_id}
