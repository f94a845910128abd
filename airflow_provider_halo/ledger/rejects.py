"""The records that couldn't be stored: why, how often, since when. Keys and sizes, no payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.acknowledged import is_keepable, utc_now
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import REJECTS, kept_text
from airflow_provider_halo.ledger.statements import Upsert, key_parameter, rows_by_key
from airflow_provider_halo.records.problem import Problem, Scope

__all__ = ["Reject", "Rejects"]

_ONE: Final[sa.ColumnElement[int]] = sa.literal_column("1")
_FIELD = 255  # characters
_REASON = 2_000


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A record that couldn't be stored.

    :param attempts: in how many runs, or tries of a batch, it was met.
    :param first_seen: when for the first time (UTC); ``last_seen``: when for the last time.
    :param size: bytes of traits and context; None when it came to no payload.
    """

    problem: Problem
    attempts: int
    first_seen: datetime
    last_seen: datetime
    size: int | None


class Rejects:
    """The rejected records of one plan in one workspace."""

    def __init__(self, database: Database, plan_id: int) -> None:
        self._database = database
        self._plan_id = plan_id
        self._dialect = database.engine.dialect
        self._reasons = rows_by_key(
            self._dialect, REJECTS, ["key", "field", "reason"], {"plan_id": plan_id, "scope": sa.bindparam("of_scope")}
        )
        self._upsert = Upsert(self._dialect, REJECTS, [column.name for column in REJECTS.c], _met_again)

    def add(self, connection: sa.Connection, run_id: int, rejected: Iterable[tuple[Problem, int | None]]) -> None:
        """Write rejected records down, each with the size of its payload. One that is known counts another attempt."""
        now = utc_now()
        by_key = {
            (problem.scope, problem.key): (problem, size) for problem, size in rejected if is_keepable(problem.key)
        }
        rows = [
            {
                "plan_id": self._plan_id,
                "scope": problem.scope,
                "key": problem.key,
                "field": kept_text(problem.field, _FIELD),
                "reason": kept_text(problem.reason, _REASON),
                "attempts": 1,
                "size": size,
                "first_seen": now,
                "last_seen": now,
                "run_id": run_id,
            }
            for _, (problem, size) in sorted(by_key.items())
        ]
        self._upsert.run(connection, rows)

    def reasons(self, scope: Scope, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Why some records were rejected: ``(field, reason)``."""
        return self._database.read(lambda connection: self._reasons_of(connection, scope, keys))

    def meet_again(self, run_id: int, scope: Scope, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Say that a run has met rejected records again without trying them; gives ``(field, reason)`` of each."""

        def work(connection: sa.Connection) -> dict[str, tuple[str, str]]:
            reasons = self._reasons_of(connection, scope, keys)
            if reasons:
                met = sa.update(REJECTS).where(self._mine(scope), REJECTS.c.key.in_(list(reasons)))
                connection.execute(met.values(run_id=run_id, last_seen=utc_now()))
            return reasons

        return self._database.write(work)

    def delete(self, connection: sa.Connection, scope: Scope, keys: Sequence[str]) -> None:
        """Forget the rejections of records that have been stored since."""
        connection.execute(sa.delete(REJECTS).where(self._mine(scope), REJECTS.c.key.in_(keys)))

    def close(self, run_id: int) -> None:
        """After a run of the whole plan: a record that it didn't meet is no longer rejected, or no longer there."""
        statement = sa.delete(REJECTS).where(REJECTS.c.plan_id == self._plan_id, REJECTS.c.run_id != run_id)
        self._database.write(lambda connection: connection.execute(statement))

    def any(self) -> bool:
        """Whether there is any."""
        statement = sa.select(sa.literal(1)).where(REJECTS.c.plan_id == self._plan_id).limit(1)
        return self._database.read(lambda connection: connection.scalar(statement)) is not None

    def listed(self, most: int) -> tuple[int, list[Reject]]:
        """How many there are, and those that were met last."""
        mine = REJECTS.c.plan_id == self._plan_id
        newest = (
            sa.select(REJECTS)
            .where(mine)
            .order_by(REJECTS.c.last_seen.desc(), REJECTS.c.scope, REJECTS.c.key)
            .limit(most)
        )

        def work(connection: sa.Connection) -> tuple[int, list[Reject]]:
            count = connection.scalar(sa.select(sa.func.count()).select_from(REJECTS).where(mine))
            return int(count or 0), [_reject(row) for row in connection.execute(newest)]

        return self._database.read(work)

    def _reasons_of(self, connection: sa.Connection, scope: Scope, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        rows = connection.execute(self._reasons, {"of_scope": scope, "keys": key_parameter(self._dialect, keys)})
        return {row.key: (row.field, row.reason) for row in rows}

    def _mine(self, scope: Scope) -> sa.ColumnElement[bool]:
        return sa.and_(REJECTS.c.plan_id == self._plan_id, REJECTS.c.scope == scope)


def _reject(row: Any) -> Reject:
    return Reject(
        problem=Problem(row.scope, row.key, row.field, row.reason),
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        size=row.size,
    )


def _met_again(new: Any) -> Mapping[str, Any]:
    return {
        "field": new.field,
        "reason": new.reason,
        "attempts": REJECTS.c.attempts + _ONE,
        "size": new.size,
        "last_seen": new.last_seen,
        "run_id": new.run_id,
    }
