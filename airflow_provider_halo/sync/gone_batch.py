"""The batch of the records that are gone: they are emptied in Halo, and then forgotten in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.delivery.change import Change, Mark
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.dry_run import DryRun
from airflow_provider_halo.delivery.outcome import Outcome, as_change
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError, LedgerError, SetupError
from airflow_provider_halo.ledger.acknowledged import AT_ONCE
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.ledger.runs import State
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.sync.emptying import EmptyValues, deliver_emptied
from airflow_provider_halo.sync.gone import forget_returned, missing_records
from airflow_provider_halo.sync.stopped import SyncStopped

if TYPE_CHECKING:
    from airflow_provider_halo.api.limiting import Limiter
    from airflow_provider_halo.settings import HaloSettings

__all__ = ["empty_gone"]

log = logging.getLogger(__name__)


def empty_gone(
    plan: LoadedPlan,
    batch: Batch,
    *,
    sources: Sources,
    settings: HaloSettings,
    run: Run | None,
    limiter: Limiter | None,
    dry_run: bool,
) -> Report:
    """Send empty values to the records that this run has found to be gone, unless they are there again by now.

    :raises SyncStopped: when it can't go on, with what was delivered until then.
    :raises SetupError: without a ledger, in which the gone records stand.
    """
    if run is None:
        raise SetupError(
            "The batch of gone records needs the ledger in which plan_batches has noted them: give both the same "
            "ledger_conn_id."
        )
    gone_batch = _GoneBatch(plan, batch, sources, run)
    return run_blocking(gone_batch.dry_run(settings) if dry_run else gone_batch.send(settings, limiter))


class _GoneBatch:
    def __init__(self, plan: LoadedPlan, batch: Batch, sources: Sources, run: Run) -> None:
        self._plan = plan
        self._batch = batch
        self._sources = sources
        self._run = run
        self._ledger = run.plan_ledger
        self._tally = Tally()
        self._lock = threading.Lock()
        self._stored: list[Change] = []

    async def send(self, settings: HaloSettings, limiter: Limiter | None) -> Report:
        """Empty them."""
        runs, batch = self._ledger.runs, self._batch
        async with HaloClient(settings, limiter=limiter) as client:
            delivery = Delivery(client, self._take)
            try:
                runs.begin_batch(self._run.id, self._run.task, batch.index, batch.label)
                await asyncio.to_thread(forget_returned, self._plan, self._sources, self._run)
                await deliver_emptied(delivery, self._changes, self._take)
                self._forget_stored()
            except HaloError as error:
                report = self._report(client.stats, stopped=str(error))
                with contextlib.suppress(LedgerError):  # of its own errors, the first one is told
                    self._forget_stored()
                    runs.end_batch(self._run.id, self._run.task, batch.index, "failed", report.to_dict(), {})
                raise SyncStopped(report, error) from error
            report = self._report(client.stats)
            state: State = "failed" if report.total("failed") else "done"
            runs.end_batch(self._run.id, self._run.task, batch.index, state, report.to_dict(), {})
            log.info("%s: done\n%s", batch.label, report.to_text())
            return report

    async def dry_run(self, settings: HaloSettings) -> Report:
        """Count what it would take."""
        self._tally = Tally(dry_run=True)
        dry_run = DryRun(self._tally.emit, settings.signs_users)
        try:
            await deliver_emptied(dry_run, self._changes_of_dry_run, self._tally.emit)
        except HaloError as error:
            raise SyncStopped(self._report(dry_run.stats, stopped=str(error)), error) from error
        return self._report(dry_run.stats)

    def _changes(self, scope: QueryScope) -> Iterator[Change | Outcome]:
        """The records, emptied; the ledger is told of each before it is sent."""
        empty_values = self._empty_values(scope)
        last = ""
        while keys := self._ledger.gone.keys_after(self._run.id, scope, last, AT_ONCE):
            self._forget_stored()
            if self._plan.plan.gone.set:
                self._ledger.gone.mark(scope, keys, list(self._plan.plan.gone.set))
            token = self._ledger.acknowledged.mark_in_flight(scope, keys)
            for record in map(empty_values.payload, keys):
                yield Change(record, Mark(b"", token)) if isinstance(record, Payload) else as_change(record)
            last = keys[-1]

    def _changes_of_dry_run(self, scope: QueryScope) -> Iterator[Change | Outcome]:
        """The records, looked for anew, since a dry run leaves nothing in the ledger."""
        query = self._plan.traits(scope)
        if query is None:
            return
        empty_values = self._empty_values(scope)
        missing = missing_records(self._plan, query, self._sources, self._ledger.acknowledged, sort=True)
        for found_scope, records in missing:
            if found_scope == scope:
                yield from map(as_change, map(empty_values.payload, sorted(records)))

    def _empty_values(self, scope: QueryScope) -> EmptyValues:
        return EmptyValues.of_all_sent(self._ledger, scope, self._plan.plan.gone.set)

    def _take(self, outcome: Outcome) -> None:
        self._tally.emit(outcome)
        if outcome.status == "stored":
            with self._lock:
                self._stored += outcome.changes

    def _forget_stored(self) -> None:
        """Forget what Halo has taken. Called where no request waits for it: while records are read, and at the end."""
        with self._lock:
            stored, self._stored = self._stored, []
        keys_by_token: dict[tuple[QueryScope, int], list[str]] = {}
        for change in stored:
            if change.mark is not None and change.payload.scope != "links":
                keys_by_token.setdefault((change.payload.scope, change.mark.token), []).append(change.payload.key)
        for (scope, token), keys in keys_by_token.items():
            self._forget(scope, keys, token)

    def _forget(self, scope: QueryScope, keys: list[str], token: int) -> None:
        # The note that they are gone first: should this process end in between, the next look finds them missing again.
        self._ledger.gone.forget(scope, keys)
        acknowledged = self._ledger.acknowledged
        acknowledged.erase(scope, keys, token)
        if scope == "users":
            acknowledged.erase("links", keys, None)
        acknowledged.database.write(lambda connection: self._ledger.rejects.delete(connection, scope, keys))

    def _report(self, stats: Stats, *, stopped: str = "") -> Report:
        return self._tally.report(
            requests=stats.requests,
            retries=stats.retries,
            size=stats.bytes,
            throttled=stats.throttled,
            requests_per_second=stats.requests_per_second,
            stopped=stopped,
        )
