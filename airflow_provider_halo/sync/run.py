"""A whole run without a scheduler, and how a run ends in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from airflow_provider_halo.delivery.report import Report, merge
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.settings import DEFAULTS, HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.sync.batch import SyncOptions, sync_batch
from airflow_provider_halo.sync.gc_frozen import gc_frozen
from airflow_provider_halo.sync.gone import Gone, warn_without_ledger, with_gone_batch
from airflow_provider_halo.sync.guard import GuardOptions, guard
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["KEEP_DAYS", "close_run", "sync_plan"]

log = logging.getLogger(__name__)

KEEP_DAYS = 90


def close_run(run: Run, report: Report, *, reason: str | None, keep_days: int = KEEP_DAYS) -> None:
    """Write down how a run ended. Of a run of the whole plan, adds to the report what is gone, and warns of what is retired.

    :param reason: why it counts as failed; None when it is done.
    :param keep_days: runs and rejections that are older are deleted; 0 keeps all.
    :raises LedgerError: when the database can't be used.
    """
    plan_ledger = run.plan_ledger
    gone = plan_ledger.gone.counts(run.id)
    report.gone = report.gone if gone is None else gone
    if plan_ledger.runs.is_whole(run.id) and not report.stopped and not report.total("failed"):
        plan_ledger.rejects.close(run.id)
        for retired in plan_ledger.retired_parts.close(run.id):
            kind = f"{retired.name} is no longer in the plan, and stays in Halo (halo retire empties it)"
            report.warnings[kind] = plan_ledger.acknowledged.counts([retired.scope])
    plan_ledger.runs.close(run.id, "failed" if reason else "done", reason, report.to_dict())
    if keep_days:
        plan_ledger.runs.prune(keep_days)


def sync_plan(
    plan: LoadedPlan,
    *,
    sources: Sources,
    settings: HaloSettings,
    options: SyncOptions | None = None,
    batch_size: int = DEFAULTS.batch_size,
    company_ids: Sequence[str | int] | None = None,
    jobs: int = 1,
    run: Run | None = None,
    guarding: GuardOptions | None = None,
) -> Report:
    """Bring a whole plan to Halo, batch by batch.

    :param batch_size: users of a batch, about.
    :param company_ids: only these companies and their users; None for all.
    :param jobs: batches at once; each has `settings.max_in_flight` requests on the way, and all together hold
        `settings.requests_per_second`.
    :param run: the ledger's run; None without a ledger, and everything is sent. Whoever opened it closes it.
    :param guarding: what the run must not do without being told to. Needs a ledger. None doesn't look before the run, so
        that nobody knows what is gone.
    :return: the sum of the batches' reports.
    :raises UnlikelyChange: when the guard stops it; nothing was sent.
    :raises SyncStopped: when a batch stops early, with what all batches had delivered until then.
    :raises HaloError: for what is wrong before the first batch begins.
    """
    options = options or SyncOptions()
    selection = select(plan, options.only)
    batches = plan_batches(plan, selection, sources, batch_size=batch_size, company_ids=company_ids)
    log.info("%s: %d batches", plan.path, len(batches))
    gone: Gone | None = None
    if run is None:
        warn_without_ledger(plan)
    elif guarding is not None:
        is_whole = not options.only and company_ids is None
        look = GuardOptions(force=True) if options.dry_run else guarding
        gone = guard(plan, selection, batches, sources=sources, run=run, options=look, is_whole=is_whole)
        batches = with_gone_batch(plan, batches, gone)

    def sync(batch: Batch) -> Report:
        return sync_batch(plan, batch, sources=sources, settings=settings, options=options, run=run)

    report = _report_of(batches, sync, jobs)
    report.gone = None if gone is None else gone.counts
    return report


def _report_of(batches: Sequence[Batch], sync: Callable[[Batch], Report], jobs: int) -> Report:
    """Run the batches, and add their reports up.

    :raises SyncStopped: as of `sync_plan`, and HaloError where no batch has come to its end.
    """
    reports: list[Report] = []
    try:
        # Around all batches: what one of them leaves behind as garbage mustn't be set aside by the next.
        with gc_frozen():
            for report in _run_batches(batches, sync, jobs):
                reports.append(report)
                log.info("%d of %d batches done", len(reports), len(batches))
    except SyncStopped as stopped:
        raise SyncStopped(merge([*reports, stopped.report]), stopped.cause) from stopped.cause
    except HaloError as error:  # of a batch that hasn't begun
        if not reports:
            raise
        raise SyncStopped(merge([*reports, Report(stopped=str(error))]), error) from error
    return merge(reports)


def _run_batches(batches: Sequence[Batch], sync: Callable[[Batch], Report], jobs: int) -> Iterator[Report]:
    """Reports as they come. The first error ends it: no further batch begins, those under way come to their end."""
    if jobs == 1:
        # In this thread, where Ctrl-C reaches the batch itself.
        yield from map(sync, batches)
        return
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="halo-batch") as executor:
        futures = [executor.submit(sync, batch) for batch in batches]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
