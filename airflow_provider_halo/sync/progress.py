"""Says in the log how far a running batch is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.records.problem import SCOPES, Scope
from airflow_provider_halo.source.batch import Batch

__all__ = ["Progress"]

log = logging.getLogger(__name__)

_INTERVAL = 5.0  # seconds between two lines


class Progress:
    """Turns the counts of a running batch into lines.

    :param batch: the batch; its expected counts tell what remains.
    :param counts: gives the counts as they stand.
    :param links: whether users are linked, so that links are expected too.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        batch: Batch,
        counts: Callable[[], Report],
        *,
        links: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batch = batch
        self._counts = counts
        self._clock = clock
        self._began = clock()
        self._last_time = self._began
        self._last_count = 0
        users = batch.expected_users
        self._expected: dict[Scope, int | None] = {
            "companies": batch.expected_companies,
            "users": users,
            "links": users if links and not batch.no_company else 0,
        }

    async def run(
        self, *, interval: float = _INTERVAL, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Log a line every so often until cancelled."""
        while True:
            await sleep(interval)
            log.info("%s", self.line())

    def line(self) -> str:
        """How far the batch is, in one line."""
        report, now = self._counts(), self._clock()
        done = report.records
        rate = (done - self._last_count) / max(now - self._last_time, 1e-9)
        self._last_count, self._last_time = done, now
        counts = ", ".join(filter(None, (self._count_of(scope, report) for scope in SCOPES)))
        trouble = [f"{report.total(status):,} {status}" for status in ("rejected", "failed") if report.total(status)]
        return "; ".join(
            filter(
                None,
                (
                    f"{self._batch.label}: {counts or 'reading'}",
                    f"{rate:,.0f} records/s",
                    ", ".join(trouble),
                    self._remaining(done, now),
                ),
            )
        )

    def _count_of(self, scope: Scope, report: Report) -> str:
        count, expected = report.counts(scope).total, self._expected[scope]
        if expected:
            return f"{count:,} of about {expected:,} {scope}"
        return f"{count:,} {scope}" if count else ""

    def _remaining(self, done: int, now: float) -> str:
        """How many records remain, and for how long; empty where that can't be told yet."""
        expected = [count for count in self._expected.values() if count is not None]
        remaining = sum(expected) - done
        if not done or remaining <= 0 or len(expected) < len(SCOPES):
            return ""
        seconds = remaining * (now - self._began) / done
        return f"about {remaining:,} left, {seconds:,.0f} s"
