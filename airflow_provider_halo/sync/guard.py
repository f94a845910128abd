"""Stops a run before it sends anything, where a query gives nothing any more, or where too much would change."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from airflow_provider_halo.delivery.outcome import outcomes_of
from airflow_provider_halo.exceptions import UnlikelyChange
from airflow_provider_halo.ledger.ledger import PlanLedger, Run
from airflow_provider_halo.limit import NO_LIMIT, Limit
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.read import ReadStats, read_payloads
from airflow_provider_halo.source.sql import unnarrowed
from airflow_provider_halo.sync.ledger_session import LedgerSession

log = logging.getLogger(__name__)

LEAST_KNOWN: Final = 1_000  # records that the ledger must know before a share of them means something
_EVERY: Final = 5.0  # seconds between two lines in the log


@dataclass(frozen=True, kw_only=True)
class GuardOptions:
    """What a run must not do without being told to.

    :param max_changed: which share of the records that Halo is known to have may change, or be missing.
    :param force: do it all the same.
    """

    max_changed: Limit = NO_LIMIT
    force: bool = False


def guard(
    plan: LoadedPlan,
    selection: Selection,
    batches: Sequence[Batch],
    *,
    sources: Sources,
    plan_ledger: PlanLedger,
    options: GuardOptions,
) -> None:
    """Look before a run: compare what the source gives with what the ledger has.

    The share of changed records costs a reading of the source, which ends as soon as enough is known to be unchanged: at
    half of it, in most weeks.

    :param batches: the run's.
    :param plan_ledger: the plan's, in the ledger.
    :raises UnlikelyChange: when it should not go on.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    if options.force:
        return
    _refuse_emptiness(plan, selection, sources, plan_ledger)
    if options.max_changed != NO_LIMIT:
        _refuse_upheaval(plan, selection, batches, sources, plan_ledger, options.max_changed)


def _refuse_emptiness(plan: LoadedPlan, selection: Selection, sources: Sources, plan_ledger: PlanLedger) -> None:
    last = plan_ledger.runs.last_whole()
    if last is None:
        return
    run_key, found = last
    for query in _queries(plan, selection):
        count = found.get(query.name, 0)
        if count and not _gives_rows(query, sources):
            what = "records" if query.entry is None else f"{query.scope} with it"
            raise UnlikelyChange(
                f"{query.name} ({query.file}, line {query.line}) gives no row, and the last run ({run_key}) had {count:,} "
                f"{what}; nothing was sent, so Halo keeps what it has. If it is right that there are none, run it "
                "with force (--force)."
            )


def _queries(plan: LoadedPlan, selection: Selection) -> list[Query]:
    queries: list[Query] = []
    for scope in QUERY_SCOPES:
        driver = plan.traits(scope)
        if driver is not None and selection.reads(scope):
            queries += [driver, *selection.entries(scope)]
    return queries


def _gives_rows(query: Query, sources: Sources) -> bool:
    rows = unnarrowed(query, query.key)
    return bool(ask(engine_of(query, sources), query, sa.select(rows.c[query.key]).limit(1)))


class _Survey:
    """Counts the records that a run would leave as they are.

    :param enough: of them; the reading ends there.
    """

    def __init__(self, enough: float) -> None:
        self.enough = enough
        self.unchanged = 0
        self.seen = 0
        self._said = time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.unchanged >= self.enough

    def note(self, count: int, *, unchanged: bool) -> None:
        self.seen += count
        if unchanged:
            self.unchanged += count
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            log.info("comparing with the ledger: %d records read, %d unchanged", self.seen, self.unchanged)


def _refuse_upheaval(  # noqa: PLR0917 (as of `guard`)
    plan: LoadedPlan,
    selection: Selection,
    batches: Sequence[Batch],
    sources: Sources,
    plan_ledger: PlanLedger,
    max_changed: Limit,
) -> None:
    scopes: list[QueryScope] = [scope for scope in QUERY_SCOPES if selection.sends(scope)]
    known = plan_ledger.acknowledged.counts(scopes)
    if known < LEAST_KNOWN:
        return
    survey = _Survey(enough=known - max_changed.maximum(known))
    for batch in batches:
        for scope in scopes:
            if survey.is_over:
                return
            _survey(survey, scope, plan, selection, batch, sources, plan_ledger)
    if survey.is_over:
        return
    differing = known - survey.unchanged
    raise UnlikelyChange(
        f"Of {known:,} records that Halo is known to have, {differing:,} ({differing / known:.0%}) would change or are "
        f"no longer there; more than max_changed={max_changed}. The source gives {survey.seen:,} records. Nothing was sent. "
        "Look at a few of them with --dry-run; if it is right so, run it with force (--force)."
    )


def _survey(  # noqa: PLR0917 (as of `guard`)
    survey: _Survey,
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    plan_ledger: PlanLedger,
) -> None:
    memory = LedgerSession(
        Run(plan_ledger=plan_ledger, id=0),
        plan,
        selection,
        batch,
        ReadStats(),
        links=False,
        full=False,
        retry_rejected=True,
        activity=False,
        writes=False,
    )
    with closing(read_payloads(scope, plan, selection, batch, sources, lambda *_: None)) as blocks:
        for change in memory.changes(scope, outcomes_of(blocks)):
            survey.note(getattr(change, "count", 1), unchanged=getattr(change, "status", "") == "unchanged")
            if survey.is_over:
                return
