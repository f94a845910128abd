"""Erases companies and users: empties in Halo what was sent, forgets it, and keeps later runs from sending it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import sqlalchemy as sa

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.outcome import Outcome, as_change
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import PlanLedger, Run
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.records.problem import Scope, Status
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.database import Sources, columns_of, engine_of
from airflow_provider_halo.source.lookup import spellings
from airflow_provider_halo.sync.emptying import EmptyValues, deliver_emptied
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["Subject", "allow", "erase", "is_given", "subjects_of"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A record that is to be erased, and what is known of it before.

    :param is_given: whether the source has it; None where the source couldn't be asked.
    :param is_erased: whether it was erased before.
    :param is_sent: whether any plan of the workspace is known to have sent it, or may have: the answer was lost.
    :param traits: traits that are emptied; ``context``: entries, each with its empty value. Both empty where nothing is sent.
    """

    scope: QueryScope
    key: str
    is_given: bool | None
    is_erased: bool
    is_sent: bool
    traits: tuple[str, ...] = ()
    context: Mapping[str, ContextEntry]

    @property
    def is_to_be_emptied(self) -> bool:
        """Whether anything is sent."""
        return bool(self.traits or self.context)


def is_given(plan: LoadedPlan, sources: Sources, scope: QueryScope, key: str) -> tuple[bool | None, list[str]]:
    """Whether the source has a record, and the keys that it takes for this one.

    :return: None instead of yes or no, and no key, where the source can't be asked.
    """
    query = plan.traits(scope)
    if query is None:
        return False, []
    try:
        spelled = spellings(query, sources, key)
    except HaloError:  # what is wrong with the source mustn't keep anybody from being erased
        return None, []
    return bool(spelled), spelled


def subjects_of(
    plan: LoadedPlan,
    keys_by_scope: Mapping[QueryScope, Sequence[str]],
    *,
    plan_ledger: PlanLedger,
    of_workspace: Sequence[PlanLedger],
    sources: Sources,
) -> list[Subject]:
    """What is known of records.

    :param of_workspace: the ledgers of all plans in the workspace of ``plan_ledger``.
    :raises LedgerError: when the ledger's database can't be used.
    """
    # The plan's own last: of an entry that several plans have, its empty value counts.
    ledgers = [*(ledger for ledger in of_workspace if ledger.plan != plan_ledger.plan), plan_ledger]
    subjects: dict[tuple[QueryScope, str], Subject] = {}
    for scope, keys in keys_by_scope.items():
        names = _Names(plan, scope, ledgers, sources)
        for key in keys:
            given, spelled = is_given(plan, sources, scope, key)
            known = [key] if not spelled or _is_touched(ledgers, scope, key) else []
            for each in dict.fromkeys([*spelled, *known]):
                has_it = None if given is None else each in spelled
                subjects[scope, each] = _subject(scope, each, names, ledgers, given=has_it)
    return list(subjects.values())


class _Names:
    """What is emptied in the records of a scope: all that any plan of the workspace is known to have sent."""

    def __init__(self, plan: LoadedPlan, scope: QueryScope, ledgers: Sequence[PlanLedger], sources: Sources) -> None:
        self._plan = plan
        self._scope = scope
        self._sources = sources
        self._ledgers = ledgers
        sent: dict[str, ContextEntry | None] = {}
        for ledger in ledgers:
            sent.update(ledger.retired_parts.sent(scope))
        self.are_known = bool(sent)
        self._sent = sent

    def of(self, key: str, *, given: bool | None) -> tuple[tuple[str, ...], dict[str, ContextEntry]]:
        """The traits and the entries."""
        sent = self._sent or (self._of_plan() if given else {})
        marked = chain.from_iterable(
            chain.from_iterable(ledger.gone.marked(self._scope, [key]).values()) for ledger in self._ledgers
        )
        traits = {name.removeprefix("traits.") for name, entry in sent.items() if entry is None} | set(marked)
        context = {name.removeprefix("context."): entry for name, entry in sent.items() if entry is not None}
        return tuple(sorted(traits)), context

    def _of_plan(self) -> dict[str, ContextEntry | None]:
        """What the plan would send: it may have been sent without a ledger."""
        query = self._plan.traits(self._scope)
        names: dict[str, ContextEntry | None] = {}
        if query is not None:
            columns = columns_of(engine_of(query, self._sources), query)
            names.update(dict.fromkeys(f"traits.{name}" for name in columns))
        for query in select(self._plan).entries(self._scope):
            if query.entry is not None:
                names[f"context.{query.entry_key}"] = ContextEntry(query.entry.label, query.empty, query.entry.type)
        return names


def _subject(
    scope: QueryScope, key: str, names: _Names, ledgers: Sequence[PlanLedger], *, given: bool | None
) -> Subject:
    is_erased = bool(ledgers[-1].erased.among(scope, [key]))
    is_sent = any(ledger.acknowledged.sent(scope, [key]) for ledger in ledgers)
    # A call for a company makes one that isn't there: so where the ledger knows what was sent, this one must be of it.
    # That for users leaves those alone that Halo doesn't know.
    may_be_in_halo = is_erased or _is_touched(ledgers, scope, key)
    if not may_be_in_halo and given:
        may_be_in_halo = scope == "users" or not names.are_known
    traits, context = names.of(key, given=given) if may_be_in_halo else ((), {})
    return Subject(
        scope=scope, key=key, is_given=given, is_erased=is_erased, is_sent=is_sent, traits=traits, context=context
    )


def _is_touched(ledgers: Sequence[PlanLedger], scope: QueryScope, key: str) -> bool:
    """Whether a plan has sent a record, or somebody by hand; what Halo has only refused isn't."""
    return any(
        ledger.acknowledged.sent(scope, [key])
        or any(known.refused is None for known in ledger.acknowledged.known(scope, [key]).values())
        for ledger in ledgers
    )


def erase(
    subjects: Sequence[Subject], *, run: Run, of_workspace: Sequence[PlanLedger], settings: HaloSettings
) -> tuple[Report, dict[tuple[Scope, str], Status]]:
    """Erase records. The ledger is told first, then Halo; what Halo has taken is forgotten.

    :param run: that it is written down as.
    :return: the report, and what became of each record that was to be emptied.
    :raises SyncStopped: when it can't go on. No run sends the records by then; to go on, erase them again.
    """
    erasing = _Erasing(subjects, run, of_workspace)
    erasing.begin()
    try:
        report = run_blocking(erasing.send(settings))
    finally:
        erasing.forget()
    return report, erasing.statuses


class _Erasing:
    def __init__(self, subjects: Sequence[Subject], run: Run, of_workspace: Sequence[PlanLedger]) -> None:
        self._subjects = subjects
        self._run = run
        self._of_workspace = of_workspace
        self._tally = Tally()
        self.statuses: dict[tuple[Scope, str], Status] = {}

    def begin(self) -> None:
        """Have no run send the records from now on, nor take for its own what the ledger has of them."""
        for subject in self._subjects:
            self._run.plan_ledger.erased.add(subject.scope, [subject.key])
            for ledger in self._of_workspace:
                if subject.is_to_be_emptied and ledger.acknowledged.known(subject.scope, [subject.key]):
                    ledger.acknowledged.mark_in_flight(subject.scope, [subject.key])

    async def send(self, settings: HaloSettings) -> Report:
        """Send the empty values."""
        async with HaloClient(settings, limiter=self._run.limiter(settings)) as client:
            delivery = Delivery(client, self._take, update_only=True)
            try:
                await deliver_emptied(delivery, self._changes, self._take)
            except HaloError as error:
                raise SyncStopped(self._report(client.stats, stopped=str(error)), error) from error
            return self._report(client.stats)

    def forget(self) -> None:
        """Delete what the ledger has of the records that Halo has emptied, or was never sent."""
        for subject in self._subjects:
            status = self.statuses.get((subject.scope, subject.key))
            if status in {"stored", "skipped"} or (status is None and not subject.is_to_be_emptied):
                for ledger in self._of_workspace:
                    _delete(ledger, subject.scope, subject.key)

    def _changes(self, scope: QueryScope) -> Iterator[Change | Outcome]:
        for subject in self._subjects:
            if subject.scope == scope and subject.is_to_be_emptied:
                traits: dict[str, Json] = dict.fromkeys(subject.traits)
                yield as_change(EmptyValues(scope, traits, subject.context).payload(subject.key))

    def _take(self, outcome: Outcome) -> None:
        self._tally.emit(outcome)
        # Of users of whom Halo doesn't know some, without saying which: all are empty there now.
        for change in outcome.changes or outcome.unsure:
            self.statuses[outcome.scope, change.payload.key] = outcome.status
        if outcome.problem is not None:
            self.statuses[outcome.scope, outcome.problem.key] = outcome.status

    def _report(self, stats: Stats, *, stopped: str = "") -> Report:
        return self._tally.report(requests=stats.requests, retries=stats.retries, size=stats.bytes, stopped=stopped)


def _delete(ledger: PlanLedger, scope: QueryScope, key: str) -> None:
    scopes: list[Scope] = ["users", "links"] if scope == "users" else ["companies"]

    def work(connection: sa.Connection) -> None:
        for each in scopes:
            ledger.acknowledged.delete(connection, each, [key])
            ledger.rejects.delete(connection, each, [key])
            ledger.gone.delete(connection, each, [key])

    ledger.acknowledged.database.write(work)


def allow(subjects: Sequence[Subject], *, plan_ledger: PlanLedger, of_workspace: Sequence[PlanLedger]) -> None:
    """Have runs send erased records again.

    :raises LedgerError: when the ledger's database can't be used.
    """
    for subject in subjects:
        # Forgotten first: what a run has written down that was under way while it was erased isn't what Halo has.
        for ledger in of_workspace:
            for scope in ("users", "links") if subject.scope == "users" else ("companies",):
                if ledger.acknowledged.known(scope, [subject.key]):
                    ledger.acknowledged.forget(scope, [subject.key])
        plan_ledger.erased.remove(subject.scope, [subject.key])
