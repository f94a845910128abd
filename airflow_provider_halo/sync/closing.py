"""The end of a run in the ledger: how it went, what the plan no longer has, and old rows swept out."""

from __future__ import annotations

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.ledger.ledger import Run

KEEP_DAYS = 90


def close_run(run: Run, report: Report, *, reason: str | None, keep_days: int = KEEP_DAYS) -> None:
    """Write down how a run ended. Of a run of the whole plan, adds what is retired to the report's warnings.

    :param reason: why it counts as failed; None when it is done.
    :param keep_days: runs and rejections that are older are deleted; 0 keeps all.
    :raises LedgerError: when the database can't be used.
    """
    pages = run.pages
    if pages.runs.is_whole(run.id) and not report.stopped and not report.total("failed"):
        pages.rejects.close(run.id)
        for retired in pages.names.close(run.id):
            kind = f"{retired.name} is no longer in the plan, and stays in Halo (halo retire empties it)"
            report.warnings[kind] = pages.book.counts([retired.scope])
    pages.runs.close(run.id, "failed" if reason else "done", reason, report.to_dict())
    if keep_days:
        pages.runs.prune(keep_days)
