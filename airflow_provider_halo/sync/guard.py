"""Stops a run before it sends anything, where a query no longer returns rows, or where too much would change."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.exceptions import UnlikelyChange
from airflow_provider_halo.ledger.ledger import PlanLedger, Run
from airflow_provider_halo.limit import NO_LIMIT, Limit
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.read import read_payloads
from airflow_provider_halo.source.sql import unnarrowed
from airflow_provider_halo.sync.ledger_session import read_only_finder

__all__ = ["LEAST_KNOWN", "GuardOptions", "guard"]

log = logging.getLogger(__name__)

LEAST_KNOWN: Final = 1_000  # records that the ledger must know before a share of them means something
_INTERVAL: Final = 5.0  # seconds between two lines in the log


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
    _refuse_empty_queries(plan, selection, sources, plan_ledger)
    if options.max_changed is not None:
        comparison = _Comparison(plan, selection, sources, plan_ledger)
        comparison.refuse_too_many_changes(batches, options.max_changed)


def _refuse_empty_queries(plan: LoadedPlan, selection: Selection, sources: Sources, plan_ledger: PlanLedger) -> None:
    last_run = plan_ledger.runs.last_whole()
    if last_run is None:
        return
    run_key, record_counts = last_run
    for query in _queries(plan, selection):
        count = record_counts.get(query.name, 0)
        if count and not _returns_rows(query, sources):
            what = "records" if query.entry is None else f"{query.scope} with it"
            raise UnlikelyChange(
                f"The query {query.name} ({query.file}, line {query.line}) no longer returns rows; the last run ({run_key}) "
                f"had {count:,} {what}. Nothing was sent, so Halo keeps what it has. If there really are none, run it "
                "with force (--force)."
            )


def _queries(plan: LoadedPlan, selection: Selection) -> list[Query]:
    queries: list[Query] = []
    for scope in QUERY_SCOPES:
        traits = plan.traits(scope)
        if traits is not None and selection.reads(scope):
            queries += [traits, *selection.entries(scope)]
    return queries


def _returns_rows(query: Query, sources: Sources) -> bool:
    rows = unnarrowed(query, query.key)
    return bool(ask(engine_of(query, sources), query, sa.select(rows.c[query.key]).limit(1)))


class _Comparison:
    """Reads the source and counts the records that a run would leave as they are."""

    def __init__(self, plan: LoadedPlan, selection: Selection, sources: Sources, plan_ledger: PlanLedger) -> None:
        self._plan = plan
        self._selection = selection
        self._sources = sources
        self._plan_ledger = plan_ledger
        self._read = 0
        self._unchanged = 0
        self._last_line = time.monotonic()

    def refuse_too_many_changes(self, batches: Sequence[Batch], max_changed: Limit) -> None:
        """Read until enough records are known to be unchanged.

        :raises UnlikelyChange: when there aren't as many.
        """
        scopes: list[QueryScope] = [scope for scope in QUERY_SCOPES if self._selection.sends(scope)]
        known = self._plan_ledger.acknowledged.counts(scopes)
        if known < LEAST_KNOWN:
            return
        enough = known - max_changed.maximum(known)
        for batch in batches:
            for scope in scopes:
                if self._unchanged < enough:
                    self._compare(scope, batch, enough)
        if self._unchanged >= enough:
            return
        differing = known - self._unchanged
        raise UnlikelyChange(
            f"Of {known:,} records that Halo is known to have, {differing:,} ({differing / known:.0%}) would change or are "
            f"no longer there; more than max_changed={max_changed}. The source returns {self._read:,} records. Nothing "
            "was sent. Look at a few of them with --dry-run; if they are right, run it with force (--force)."
        )

    def _compare(self, scope: QueryScope, batch: Batch, enough: float) -> None:
        run = Run(plan_ledger=self._plan_ledger, id=0)
        finder = read_only_finder(run, self._plan, self._selection, scope)
        read = read_payloads(scope, self._plan, self._selection, batch, self._sources, lambda *_: None)
        with closing(read) as blocks:
            for change in finder.find(blocks):
                self._count(change)
                if self._unchanged >= enough:
                    return

    def _count(self, change: Change | Outcome) -> None:
        if isinstance(change, Outcome):
            self._read += change.count
            if change.status == "unchanged":
                self._unchanged += change.count
        else:
            self._read += 1
        if time.monotonic() - self._last_line >= _INTERVAL:
            self._last_line = time.monotonic()
            log.info("comparing with the ledger: %d records read, %d unchanged", self._read, self._unchanged)
