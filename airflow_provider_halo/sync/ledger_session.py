"""What a batch asks of the ledger before it sends, and writes to it after Halo's yes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, TypeAlias, final

import sqlalchemy as sa

from airflow_provider_halo.contract import COMPANIES_IDENTIFY, USERS_IDENTIFY, USERS_UPDATE
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Entry
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.ledger.runs import State
from airflow_provider_halo.plan.digest import mappings, part_names, scope_digest
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.fingerprint import Fingerprinter, merged, only
from airflow_provider_halo.records.payload import ContextEntry, Payload
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.read import ReadStats
from airflow_provider_halo.sync.changes import Diff, DiffOptions

Rejected: TypeAlias = "tuple[Problem, int | None]"
"""A rejected record, and the size of its payload where it came to one."""

_MOST_WAITING: Final = 4 * AT_ONCE  # records; then the reading waits, so that the memory stays flat


@final
class Recorder:
    """A thread that writes down what became of a batch's records, as a context manager that waits until all is.

    What is lost when the process is killed is what came in while the last transaction was under way: the next run sends
    it once more.

    :param written: what an outcome is written down as; called in the thread.
    :raises LedgerError: on leaving, when the database could not be used.
    """

    def __init__(
        self, run: Run, written: Callable[[Outcome], tuple[list[Entry], list[Rejected]]], *, has_rejects: bool
    ) -> None:
        self._run = run
        self._written = written
        self._has_rejects = has_rejects
        self._outcomes: list[Outcome] = []
        self._waiting = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failure: Exception | None = None
        # A daemon: a process that is told to end must not wait for a database that is away.
        self._thread = threading.Thread(target=self._work, name="halo-ledger", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self._check()

    def put(self, outcome: Outcome) -> None:
        """Write an outcome down, soon. Never waits: it is called where requests are sent."""
        with self._changed:
            self._outcomes.append(outcome)
            self._waiting += outcome.count
            self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Wait while too much is waiting to be written.

        :raises LedgerError: when the database could not be used.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < _MOST_WAITING or self._failure is not None)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outcomes or self._closing)
                outcomes, self._outcomes = self._outcomes, []
                if not outcomes:
                    return
            try:
                self._write(outcomes)
            except Exception as error:  # noqa: BLE001 (not swallowed: raised again in the threads that read and send)
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._waiting -= sum(outcome.count for outcome in outcomes)
                self._changed.notify_all()

    def _write(self, outcomes: list[Outcome]) -> None:
        plan_ledger = self._run.plan_ledger
        entries: list[Entry] = []
        rejected: list[Rejected] = []
        for outcome in outcomes:
            some_entries, some_rejected = self._written(outcome)
            entries += some_entries
            rejected += some_rejected
        stored: dict[Scope, list[str]] = {}
        if self._has_rejects:
            for entry in entries:
                if entry.fingerprint is not None:
                    stored.setdefault(entry.scope, []).append(entry.key)
        self._has_rejects = self._has_rejects or bool(rejected)

        def work(connection: sa.Connection) -> None:
            for at in range(0, len(entries), AT_ONCE):
                plan_ledger.acknowledged.acknowledge(connection, self._run.id, entries[at : at + AT_ONCE])
            for scope, keys in stored.items():
                for at in range(0, len(keys), AT_ONCE):
                    plan_ledger.rejects.settled(connection, scope, keys[at : at + AT_ONCE])
            plan_ledger.rejects.note(connection, self._run.id, rejected)

        if entries or rejected:
            plan_ledger.acknowledged.database.write(work)


@final
class LedgerSession:
    """The ledger's part in one batch, as a context manager that waits until every answer is written down.

    :param notes: filled in while the batch is read.
    :param activity: whether users are sent by users/identify: each of them then, whatever the ledger has.
    :param writes: False for a run that sends nothing, and leaves the ledger as it is.
    """

    def __init__(
        self,
        run: Run,
        plan: LoadedPlan,
        selection: Selection,
        batch: Batch,
        notes: ReadStats,
        *,
        links: bool,
        full: bool,
        retry_rejected: bool,
        activity: bool,
        writes: bool,
    ) -> None:
        self._run = run
        self._selection = selection
        self._batch = batch
        self._notes = notes
        self._writes = writes
        self._named: set[QueryScope] = set()
        endpoints: dict[QueryScope, str] = {
            "companies": COMPANIES_IDENTIFY,
            "users": USERS_IDENTIFY if activity else USERS_UPDATE,
        }
        self._parts: dict[Scope, frozenset[str]] = {scope: frozenset(part_names(plan, scope)) for scope in QUERY_SCOPES}
        self._fingerprints = {
            scope: Fingerprinter(endpoints[scope], mappings(selection, plan, scope)) for scope in QUERY_SCOPES
        }
        self._diffs = {
            scope: Diff(
                run,
                scope,
                self._fingerprints[scope],
                scope_digest(plan, scope),
                DiffOptions(
                    records=selection.sends(scope),
                    links=links and scope == "users",
                    full=full or (activity and scope == "users"),
                    retry_rejected=retry_rejected or activity,
                    writes=writes,
                ),
            )
            for scope in QUERY_SCOPES
        }
        has_rejects = writes and run.plan_ledger.rejects.any()
        self._recorder = Recorder(run, self._written, has_rejects=has_rejects) if writes else None

    def __enter__(self) -> LedgerSession:
        if self._recorder is not None:
            self._run.plan_ledger.runs.begin_batch(self._run.id, self._run.task, self._batch.index, self._batch.label)
            self._recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            self._recorder.__exit__(kind, error, trace)

    def end(self, report: Report) -> None:
        """Write down how the batch ended."""
        if self._writes:
            state: State = "failed" if report.stopped or report.total("failed") else "done"
            self._run.plan_ledger.runs.end_batch(
                self._run.id, self._run.task, self._batch.index, state, report.to_dict(), dict(self._notes.found)
            )

    def changes(self, scope: QueryScope, made: Iterator[Payload | Outcome]) -> Iterator[Payload | Outcome]:
        """What of a scope's records is to be sent, and the outcomes of what isn't. Reads no faster than is written."""
        for change in self._diffs[scope].of(made):
            self._note_names(scope)
            if self._recorder is not None:
                self._recorder.wait_for_room()
            yield change
        self._note_names(scope)  # also of a scope without records

    def record(self, outcome: Outcome) -> None:
        """Write down what became of records: what Halo said, that nothing is known, or why they couldn't be sent."""
        if self._recorder is not None and outcome.status in {"stored", "rejected", "failed"}:
            self._recorder.put(outcome)

    def _note_names(self, scope: QueryScope) -> None:
        """Note what is sent, before it is: what Halo was ever given must be known when it leaves the plan."""
        if not self._writes or scope in self._named or not self._selection.sends(scope):
            return
        self._named.add(scope)
        names: dict[str, ContextEntry | None] = {}
        if self._selection.traits(scope):
            names = dict.fromkeys(f"{scope}.traits.{name}" for name in self._notes.traits.get(scope, ()))
        for query in self._selection.entries(scope):
            if query.entry is not None:
                names[query.name] = ContextEntry(query.entry.label, query.empty, query.entry.type)
        plan_ledger = self._run.plan_ledger
        plan_ledger.acknowledged.database.write(
            lambda connection: plan_ledger.retired_parts.sent(connection, self._run.id, names)
        )

    def _written(self, outcome: Outcome) -> tuple[list[Entry], list[Rejected]]:
        """What an outcome is written down as.

        Where nobody knows whether Halo has stored a record (a lost answer, one that only counts), that is written down,
        too, although the ledger has it as unknown: it may not be so any more when another run was at it meanwhile.
        """
        if outcome.unsure or outcome.status == "failed":
            payloads = outcome.unsure or outcome.payloads
            return [entry for payload in payloads if (entry := self._lost(outcome, payload))], []
        if outcome.status == "stored":
            return [entry for payload in outcome.payloads if (entry := self._stored(outcome, payload))], []
        if outcome.problem is None:
            return [], []
        size = outcome.payloads[0].size if outcome.payloads and outcome.scope != "links" else None
        return [entry for payload in outcome.payloads if (entry := self._refused(outcome, payload))], [
            (outcome.problem, size)
        ]

    def _stored(self, outcome: Outcome, payload: Payload) -> Entry | None:
        if outcome.scope == "links":
            link = payload.link
            if link is None:
                return None
            return Entry(scope="links", key=payload.key, token=link.token, fingerprint=link.fingerprint)
        mark = payload.mark
        if mark is None:
            return None
        parts = self._fingerprints[outcome.scope].parts(payload)
        if mark.parts:
            parts = merged(only(mark.parts, self._parts[outcome.scope]), parts)
        return Entry(scope=outcome.scope, key=payload.key, token=mark.token, fingerprint=mark.fingerprint, parts=parts)

    def _lost(self, outcome: Outcome, payload: Payload) -> Entry | None:
        mark = payload.link if outcome.scope == "links" else payload.mark
        return None if mark is None else Entry(scope=outcome.scope, key=payload.key, token=mark.token, fingerprint=None)

    def _refused(self, outcome: Outcome, payload: Payload) -> Entry | None:
        if outcome.scope == "links":
            return self._lost(outcome, payload)
        mark = payload.mark
        if mark is None:
            return None
        return Entry(
            scope=outcome.scope,
            key=payload.key,
            token=mark.token,
            fingerprint=None,
            refused=self._diffs[outcome.scope].refusal(mark.fingerprint),
        )
