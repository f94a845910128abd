"""What a batch asks of the ledger before it sends, and writes to it after Halo's yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, final

from airflow_provider_halo.contract import COMPANIES_IDENTIFY, USERS_IDENTIFY, USERS_UPDATE
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.ledger.runs import State
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import ContextEntry, Payload
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.read import ReadStats
from airflow_provider_halo.sync.acknowledgements import Acknowledgements
from airflow_provider_halo.sync.changes import ChangeFinder, ChangeOptions, change_finder
from airflow_provider_halo.sync.ledger_writer import LedgerWriter
from airflow_provider_halo.sync.options import SyncOptions
from airflow_provider_halo.sync.returned import without_marks

__all__ = ["LedgerSession", "read_only_finder"]

_ENDPOINTS: Final[Mapping[QueryScope, str]] = {"companies": COMPANIES_IDENTIFY, "users": USERS_UPDATE}
_WRITTEN: Final = frozenset({"stored", "rejected", "failed"})


@final
class LedgerSession:
    """The ledger's part in one batch, as a context manager that waits until every answer is written down.

    :param read_stats: filled in while the batch is read.
    :param links: whether users are linked.
    """

    def __init__(  # noqa: PLR0917 (which batch of which run)
        self,
        run: Run,
        plan: LoadedPlan,
        selection: Selection,
        batch: Batch,
        read_stats: ReadStats,
        options: SyncOptions,
        *,
        links: bool,
    ) -> None:
        self._run = run
        self._selection = selection
        self._batch = batch
        self._read_stats = read_stats
        self._named_scopes: set[QueryScope] = set()
        self._finders = _finders(run, plan, selection, options, links=links)
        self._writer: LedgerWriter | None = None
        self._has_marked = False  # whether emptied records have traits that say they are gone
        if not options.dry_run:
            rows_of = Acknowledgements(plan, self._finders).of
            self._has_marked = run.plan_ledger.gone.any_marked()
            self._writer = LedgerWriter(
                run, rows_of, has_rejects=run.plan_ledger.rejects.any(), has_marked=self._has_marked
            )

    def __enter__(self) -> LedgerSession:
        if self._writer is not None:
            self._run.plan_ledger.runs.begin_batch(self._run.id, self._run.task, self._batch.index, self._batch.label)
            self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def end(self, report: Report) -> None:
        """Write down how the batch ended.

        :raises LedgerError: when the database can't be used.
        """
        if self._writer is not None:
            state: State = "failed" if report.stopped or report.total("failed") else "done"
            counts = dict(self._read_stats.records)
            self._run.plan_ledger.runs.end_batch(
                self._run.id, self._run.task, self._batch.index, state, report.to_dict(), counts
            )

    def changes(self, scope: QueryScope, blocks: Iterable[Sequence[Payload | Problem]]) -> Iterator[Change | Outcome]:
        """What of a scope's records is to be sent, and the outcomes of what isn't. Reads no faster than is written."""
        changes = self._finders[scope].find(blocks)
        for change in without_marks(changes, scope, self._run.plan_ledger.gone) if self._has_marked else changes:
            self._note_names(scope)
            if self._writer is not None:
                self._writer.wait_for_room()
            yield change
        self._note_names(scope)  # also of a scope without records

    def record(self, outcome: Outcome) -> None:
        """Write down what became of records: what Halo said, that nothing is known, or why they couldn't be sent."""
        if self._writer is not None and outcome.status in _WRITTEN and not outcome.is_repeated:
            self._writer.put(outcome)

    def _note_names(self, scope: QueryScope) -> None:
        """Note what is sent, before it is: what Halo was ever given must be known when it leaves the plan."""
        if self._writer is None or scope in self._named_scopes or not self._selection.sends(scope):
            return
        self._named_scopes.add(scope)
        names: dict[str, ContextEntry | None] = {}
        if self._selection.traits(scope):
            names = dict.fromkeys(f"{scope}.traits.{name}" for name in self._read_stats.traits.get(scope, ()))
        for query in self._selection.entries(scope):
            if query.entry is not None:
                names[query.name] = ContextEntry(query.entry.label, query.empty, query.entry.type)
        plan_ledger = self._run.plan_ledger
        plan_ledger.acknowledged.database.write(
            lambda connection: plan_ledger.retired_parts.note_sent(connection, self._run.id, names)
        )


def read_only_finder(run: Run, plan: LoadedPlan, selection: Selection, scope: QueryScope) -> ChangeFinder:
    """Finds what would change of the records of one scope, and leaves the ledger as it is."""
    options = ChangeOptions(records=selection.sends(scope), retry_rejected=True, writes=False)
    return change_finder(run, plan, selection, scope, _ENDPOINTS[scope], options)


def _finders(
    run: Run, plan: LoadedPlan, selection: Selection, options: SyncOptions, *, links: bool
) -> dict[QueryScope, ChangeFinder]:
    finders: dict[QueryScope, ChangeFinder] = {}
    no_company = None if plan.plan.users is None else plan.plan.users.no_company
    for scope in QUERY_SCOPES:
        # Whoever is sent by users/identify is marked as active by it, whatever the ledger has.
        identifies = options.activity and scope == "users"
        change_options = ChangeOptions(
            records=selection.sends(scope),
            links=links and scope == "users",
            full=options.full or identifies,
            retry_rejected=options.retry_rejected or options.activity,
            writes=not options.dry_run,
            no_company=None if no_company is None else no_company.id,
        )
        endpoint = USERS_IDENTIFY if identifies else _ENDPOINTS[scope]
        finders[scope] = change_finder(run, plan, selection, scope, endpoint, change_options)
    return finders
