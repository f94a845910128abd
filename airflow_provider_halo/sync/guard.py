"""Looks before a run at what is gone, and stops it where a query no longer returns rows, or where too much would change."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
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
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.read import read_payloads
from airflow_provider_halo.source.sql import unnarrowed
from airflow_provider_halo.sync.gone import Gone, look_for_gone
from airflow_provider_halo.sync.ledger_session import read_only_finder
from airflow_provider_halo.sync.no_company import refuse_real_company

__all__ = ["LEAST_KNOWN", "GuardOptions", "guard"]

log = logging.getLogger(__name__)

LEAST_KNOWN: Final = 1_000  # records that the ledger must know before a share of them that changes means something
LEAST_SENT: Final = 100  # records that must have been sent before a share of them that is gone means something
_INTERVAL: Final = 5.0  # seconds between two lines in the log


@dataclass(frozen=True, kw_only=True)
class GuardOptions:
    """What a run must not do without being told to.

    :param max_changed: which share of the companies, or of the users, that Halo is known to have may change or be gone.
    :param max_gone: how many companies, or users, may be emptied because they are gone.
    :param force: do it all the same.
    """

    max_changed: Limit = NO_LIMIT
    max_gone: Limit = NO_LIMIT
    force: bool = False


def guard(
    plan: LoadedPlan,
    selection: Selection,
    batches: Sequence[Batch],
    *,
    sources: Sources,
    run: Run,
    options: GuardOptions,
    is_whole: bool,
) -> Gone | None:
    """Look before a run: compare what the source gives with what the ledger has.

    The share of changed records costs a reading of the source, which ends as soon as enough is known to be unchanged: at
    half of it, in most weeks. What is gone costs a reading of the keys.

    :param batches: the run's.
    :param run: the run in the ledger; one without an id leaves no trace.
    :param is_whole: whether it reads the whole plan and all companies: only then it can know what is gone.
    :return: what is gone, where it is known.
    :raises UnlikelyChange: when it should not go on.
    :raises PlanError: when a company has the key of `users.no_company`.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    refuse_real_company(plan, sources)
    if not options.force:
        _refuse_empty_queries(plan, selection, sources, run.plan_ledger)
    gone = look_for_gone(plan, sources, run) if is_whole else None
    if gone is not None:
        gone.to_log()
    if options.force:
        return gone
    if gone is not None:
        _refuse_too_many_gone(gone, options.max_changed)
        if plan.plan.gone.empty:
            _refuse_to_empty_too_many(gone, options.max_gone)
    if options.max_changed.percent is not None:
        comparison = _Comparison(plan, selection, sources, run.plan_ledger)
        comparison.refuse_too_many_changes(batches, options.max_changed)
    return gone


def _refuse_too_many_gone(gone: Gone, max_changed: Limit) -> None:
    """Refuse to go on when a share of one scope is gone, however much of the others is there.

    The limit itself is too much already, unless it is all of them: half of all users don't leave in a week.
    """
    for scope, count in gone.counts.items():
        if not count or gone.known[scope] < LEAST_SENT:
            continue
        most = max_changed.maximum(gone.known[scope])
        if count > most or (count == most < gone.known[scope]):
            raise UnlikelyChange(
                f"Of {_of_scope(gone, scope)}: max_changed={max_changed} is reached. Nothing was sent. Look why the "
                "source doesn't give them any more; if they really are gone, run it with force (--force)."
            )


def _refuse_to_empty_too_many(gone: Gone, max_gone: Limit) -> None:
    for scope in QUERY_SCOPES:
        count = gone.counts.get(scope, 0)
        if count and not max_gone.allows(count, gone.known[scope]):
            raise UnlikelyChange(
                f"Of {_of_scope(gone, scope)}: the plan's gone: empty would empty more than max_gone={max_gone}. Nothing "
                "was sent. If they really are gone, raise max_gone (--max-gone), or run it with force (--force)."
            )


def _of_scope(gone: Gone, scope: Scope) -> str:
    count, known = gone.counts[scope], gone.known[scope]
    what = (
        "links that Halo was sent, {0} have been left"
        if scope == "links"
        else f"{scope} that Halo was sent, {{0}} are gone"
    )
    return f"{known:,} {what.format(f'{count:,} ({count / known:.0%})')} ({gone.names(scope)})"


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


def _judged_together(known: Mapping[QueryScope, int]) -> list[list[QueryScope]]:
    """The scopes by what is judged as one: each for itself, and those that the ledger knows few of together."""
    groups = [[scope] for scope, count in known.items() if count >= LEAST_KNOWN]
    return [*groups, [scope for scope, count in known.items() if count < LEAST_KNOWN]]


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
        """Read until enough records of each scope are known to be unchanged. Scopes that the ledger knows few of count as one.

        :raises UnlikelyChange: when there aren't as many.
        """
        scopes: list[QueryScope] = [scope for scope in QUERY_SCOPES if self._selection.sends(scope)]
        known = {scope: self._plan_ledger.acknowledged.counts([scope]) for scope in scopes}
        for group in _judged_together(known):
            total = sum(known[scope] for scope in group)
            if total >= LEAST_KNOWN:
                self._refuse_too_many_changes(group, batches, total, max_changed)

    def _refuse_too_many_changes(
        self, group: Sequence[QueryScope], batches: Sequence[Batch], known: int, max_changed: Limit
    ) -> None:
        self._read = self._unchanged = 0
        enough = known - max_changed.maximum(known)
        for batch in batches:
            for scope in group:
                if self._unchanged < enough:
                    self._compare(scope, batch, enough)
        if self._unchanged >= enough:
            return
        differing = known - self._unchanged
        what = group[0] if len(group) == 1 else "records"
        raise UnlikelyChange(
            f"Of {known:,} {what} that Halo is known to have, {differing:,} ({differing / known:.0%}) would change or are "
            f"no longer there; more than max_changed={max_changed}. The source returns {self._read:,} {what}. Nothing "
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
