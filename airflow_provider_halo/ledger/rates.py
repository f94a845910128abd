"""Requests a second of one Halo account, held by all tasks that share a ledger, on whichever host they run."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, final

import sqlalchemy as sa

from airflow_provider_halo.api.limiting import Limiter, RateLimiter
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import RATES
from airflow_provider_halo.ledger.statements import insert_absent
from airflow_provider_halo.settings import HaloSettings

__all__ = ["SharedBucket", "shared_limiter"]

_SECOND: Final = 1_000_000  # microseconds, in which the table counts
# What a thousand senders at once could have reserved, a quarter of a second or one turn each. A row that is further ahead
# was written before its database's clock was set back, or at a rate that nobody has any more.
_SENDERS: Final = 1_000
_LEASE: Final = 0.25

# Microseconds since 1970 by the database's own clock: the clocks of hosts differ. Of PostgreSQL not now(), which stands
# still in a transaction, and of the others none that knows of time zones.
_NOW: Final[dict[str, sa.ColumnElement[int]]] = {
    "postgresql": sa.literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"),
    "mysql": sa.literal_column("timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6))"),
    "sqlite": sa.literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"),
}


@final
class SharedBucket:
    """The time of one Halo account, in a row of the ledger's database (GCRA: the row says until when it is reserved).

    Made without asking the database, whose tables are made when the first turn is reserved.

    :param workspace: what stands for the account, see `workspace_of`.
    """

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        dialect = database.engine.dialect.name
        now = _NOW["mysql" if dialect == "mariadb" else dialect]
        mine = RATES.c.workspace == workspace
        until = RATES.c.reserved_until
        free = sa.case((until > now + sa.bindparam("horizon"), now), (until > now, until), else_=now)
        self._move_on = sa.update(RATES).where(mine).values(reserved_until=free + sa.bindparam("length"))
        self._look = sa.select(until, now.label("now")).where(mine)
        self._make = insert_absent(database.engine.dialect, RATES, {"workspace": workspace, "reserved_until": 0})

    async def reserve(self, count: int, rate: float) -> float:
        """Reserve the next turns that nobody has, ``1 / rate`` seconds each.

        :return: when the first begins, as `time.monotonic` counts.
        :raises LedgerError: when the database can't be used.
        :raises SetupError: for tables of a newer version of this package.
        """
        return await asyncio.to_thread(self._reserve, count, rate)

    def _reserve(self, count: int, rate: float) -> float:
        length = math.ceil(count / rate * _SECOND)
        horizon = math.ceil(max(_LEASE, 1 / rate) * _SENDERS * _SECOND)

        def work(connection: sa.Connection) -> float | None:
            if not connection.execute(self._move_on, {"length": length, "horizon": horizon}).rowcount:
                return None
            # Only now is the row this transaction's alone: the update may have waited for that of another sender.
            row = connection.execute(self._look).one()
            ahead = int(row.reserved_until) - length - int(row.now)
            return time.monotonic() + ahead / _SECOND

        self._database.prepare()
        begins = self._database.write(work)
        while begins is None:
            # In a transaction of its own: of two that look for a row and then make it, MySQL ends one as a deadlock.
            self._database.write(lambda connection: connection.execute(self._make))
            begins = self._database.write(work)
        return begins


def shared_limiter(database: Database, workspace: str, settings: HaloSettings) -> Limiter | None:
    """What holds `settings.requests_per_second` among all that share a ledger; None where there is no such limit."""
    if settings.requests_per_second is None:
        return None
    return RateLimiter(SharedBucket(database, workspace), settings.requests_per_second)
