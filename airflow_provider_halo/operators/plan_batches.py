"""Cuts a plan into batches: one mapped task each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_provider_halo.exceptions import UnlikelyChange
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.limit import NO_LIMIT, Limit
from airflow_provider_halo.operators.arguments import Resolvable, as_boolean, as_count, as_keys, as_names, is_empty
from airflow_provider_halo.operators.base import StoppableOperator, run_key_of
from airflow_provider_halo.operators.failures import airflow_failures
from airflow_provider_halo.settings import DEFAULTS, POOL_DESCRIPTION

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_halo.plan.model import LoadedPlan
    from airflow_provider_halo.plan.selection import Selection
    from airflow_provider_halo.source.batch import Batch
    from airflow_provider_halo.source.database import Sources
    from airflow_provider_halo.sync.guard import GuardOptions

__all__ = ["PlanBatchesOperator"]

_MOST_BATCHES = 1_000  # below Airflow's default [core] max_map_length


class PlanBatchesOperator(StoppableOperator):
    """Give the batches of a run as XCom, for ``SyncOperator.partial(…).expand(batch=plan_batches.output)``.

    The batches cover every company and user, also those that are created while the run goes on. They hold bounds and
    counts, never people.

    :param plan: path of the plan file; None takes ``[halo] plan``. Templated.
    :param only: names of the plan's parts to send, as a list or with commas; empty for all. Templated.
    :param batch_size: users in one batch, about; None takes ``[halo] batch_size``. Templated.
    :param company_ids: only these companies and their users; empty for all. Templated.

    With a ledger it looks before the run, and fails before anything is sent when a query of the plan gives nothing any
    more, or when too much would change:

    :param ledger_conn_id: connection of the ledger's database; None takes ``[halo] ledger_conn_id``, ``none`` no ledger.
        Templated.
    :param halo_conn_id: connection of type ``halo`` that the run will use; None takes ``[halo] conn_id``. Templated.
    :param max_changed: which share of the companies, or of the users, that Halo is known to have may change or be gone
        (``50%``); None for any. Changes count from 1,000 known records on, gone ones from 100. Templated.
    :param max_gone: of a plan with ``gone: empty``: how many companies, or users, may be emptied, a count or a share
        (``5%``); None takes ``[halo] max_gone``. Templated.
    :param dry_run: leave no trace in the ledger, and don't stop the run. Templated.
    :param force: don't stop the run. Templated.

    Of a whole plan it also looks for what is gone: records that were sent and that the source no longer gives. They are
    named in the log and in ``halo status``; where the plan says ``gone: empty``, a batch of their own empties them.
    """

    template_fields: Sequence[str] = (
        "plan",
        "only",
        "batch_size",
        "company_ids",
        "ledger_conn_id",
        "halo_conn_id",
        "max_changed",
        "max_gone",
        "is_dry_run",
        "force",
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        plan: Resolvable[str | None] = None,
        only: Resolvable[Sequence[str] | str | None] = None,
        batch_size: Resolvable[int | str | None] = None,
        company_ids: Resolvable[Sequence[str | int] | Sequence[str] | Sequence[int] | str | None] = None,
        ledger_conn_id: Resolvable[str | None] = None,
        halo_conn_id: Resolvable[str | None] = None,
        max_changed: Resolvable[str | None] = None,
        max_gone: Resolvable[int | str | None] = None,
        dry_run: Resolvable[bool | str] = False,
        force: Resolvable[bool | str] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.only = only
        self.batch_size = batch_size
        self.company_ids = company_ids
        self.ledger_conn_id: Any = ledger_conn_id
        self.halo_conn_id: Any = halo_conn_id
        self.max_changed: Any = max_changed
        self.max_gone: Any = max_gone
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.force = force

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan the batches with one query in the source database, and look before the run."""
        from airflow_provider_halo.plan.loader import load_plan
        from airflow_provider_halo.plan.selection import select
        from airflow_provider_halo.source.planning import plan_batches

        with airflow_failures():
            plan = load_plan(config.plan_path() if is_empty(self.plan) else str(self.plan))
            selection = select(plan, as_names(self.only, "only"))
            size = as_count(config.batch_size() if is_empty(self.batch_size) else self.batch_size, "batch_size")
            with airflow_sources() as sources:
                company_ids = as_keys(self.company_ids, "company_ids") or None
                most = min(_MOST_BATCHES, conf.getint("core", "max_map_length", fallback=1024))
                batches = plan_batches(
                    plan,
                    selection,
                    sources,
                    batch_size=size,
                    max_batches=most - plan.plan.gone.empty,  # one is for what is gone
                    company_ids=company_ids,
                )
                is_whole = selection == select(plan) and company_ids is None
                batches = self._guard(context, plan, selection, batches, sources, is_whole=is_whole)
        for batch in batches:
            self.log.info("%s", batch.label)
        self._name_pools()
        return [batch.to_dict() for batch in batches]

    def _guard(
        self,
        context: Context,
        plan: LoadedPlan,
        selection: Selection,
        batches: list[Batch],
        sources: Sources,
        *,
        is_whole: bool,
    ) -> list[Batch]:
        """Look before the run; the batches, and one more where something that is gone is to be emptied."""
        from airflow_provider_halo.delivery.report import Report
        from airflow_provider_halo.hooks.ledger import airflow_ledger
        from airflow_provider_halo.sync.gone import warn_without_ledger, with_gone_batch
        from airflow_provider_halo.sync.guard import guard
        from airflow_provider_halo.sync.run import close_run

        is_dry_run = as_boolean(self.is_dry_run, "dry_run") or False
        options = self._guard_options(is_dry_run=is_dry_run)
        with airflow_ledger(self.ledger_conn_id) as ledger:
            if ledger is None:
                warn_without_ledger(plan)
                return batches
            settings = HaloHook(self.halo_conn_id).settings
            run = ledger.open_run(plan.name, settings, run_key_of(context), whole=is_whole, writes=not is_dry_run)
            try:
                gone = guard(plan, selection, batches, sources=sources, run=run, options=options, is_whole=is_whole)
            except UnlikelyChange as stopped:
                run = ledger.open_run(plan.name, settings, run_key_of(context), whole=False)
                close_run(run, Report(stopped=str(stopped)), reason=str(stopped))
                raise
            return with_gone_batch(plan, batches, gone)

    def _guard_options(self, *, is_dry_run: bool) -> GuardOptions:
        from airflow_provider_halo.sync.guard import GuardOptions

        return GuardOptions(
            max_changed=NO_LIMIT
            if is_empty(self.max_changed)
            else Limit.parse(self.max_changed, "max_changed", share_only=True),
            max_gone=config.max_gone() if is_empty(self.max_gone) else Limit.parse(self.max_gone, "max_gone"),
            force=as_boolean(self.force, "force") or is_dry_run,
        )

    def _name_pools(self) -> None:
        """Say which pool the batches wait for: Airflow lets tasks of a pool that isn't there wait in silence."""
        tasks = [self.dag.get_task(task_id) for task_id in sorted(self.downstream_task_ids)] if self.has_dag() else []  # type: ignore[no-untyped-call]  # Airflow's
        for pool in sorted({task.pool for task in tasks} - {"default_pool"}):
            self.log.info(
                "The batches run in the pool %r. If they stay in the state `scheduled`, the pool is missing: "
                'airflow pools set %s %d "%s"',
                pool,
                pool,
                DEFAULTS.pool_slots,
                POOL_DESCRIPTION,
            )
