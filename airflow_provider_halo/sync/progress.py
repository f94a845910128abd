"""Says in the log, every few seconds, how far a batch is, how fast, and what is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from airflow_provider_halo.delivery.outcome import SCOPES
from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.source.batch import Batch

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two lines


class Progress:
    """Turns the counts of a running batch into lines.

    :param batch: the batch; its expected counts tell what is left.
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
        self._last = self._began
        self._seen = 0
        users = batch.expected_users
        self._expected: dict[Scope, int | None] = {
            "companies": batch.expected_companies,
            "users": users,
            "links": users if links and not batch.no_company else 0,
        }

    async def run(self, *, every: float = EVERY, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Log a line every so often until cancelled."""
        while True:
            await sleep(every)
            log.info("%s", self.line())

    def line(self) -> str:
        """How far the batch is, in one line."""
        report = self._counts()
        now = self._clock()
        done = report.records
        rate = (done - self._seen) / max(now - self._last, 1e-9)
        self._seen, self._last = done, now
        parts = []
        for scope in SCOPES:
            count, expected = report.counts(scope).total, self._expected[scope]
            if count or expected:
                parts.append(f"{count:,} of about {expected:,} {scope}" if expected else f"{count:,} {scope}")
        line = f"{self._batch.label}: {', '.join(parts) or 'reading'}; {rate:,.0f} records/s"
        trouble = [f"{report.total(status):,} {status}" for status in ("rejected", "failed") if report.total(status)]
        if trouble:
            line += f"; {', '.join(trouble)}"
        known = [expected for expected in self._expected.values() if expected is not None]
        left = sum(known) - done
        if len(known) == len(SCOPES) and left > 0 and done:
            seconds = left * (now - self._began) / done
            line += f"; about {left:,} left, {seconds:,.0f} s"
        return line
