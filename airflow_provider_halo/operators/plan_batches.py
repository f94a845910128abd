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
    :param max_changed: which share of the records that Halo is known to have may change or be missing (``50%``); None for
        any. Counts from 1,000 known records on. Templated.
    :param force: don't look. Templated.
    """

    template_fields: Sequence[str] = (
        "plan",
        "only",
        "batch_size",
        "company_ids",
        "ledger_conn_id",
        "halo_conn_id",
        "max_changed",
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
                batches = plan_batches(
                    plan,
                    selection,
                    sources,
                    batch_size=size,
                    max_batches=min(_MOST_BATCHES, conf.getint("core", "max_map_length", fallback=1024)),
                    company_ids=as_keys(self.company_ids, "company_ids") or None,
                )
                self._guard(context, plan, selection, batches, sources)
        for batch in batches:
            self.log.info("%s", batch.label)
        self._name_pools()
        return [batch.to_dict() for batch in batches]

    def _guard(
        self, context: Context, plan: LoadedPlan, selection: Selection, batches: Sequence[Batch], sources: Sources
    ) -> None:
        from airflow_provider_halo.delivery.report import Report
        from airflow_provider_halo.hooks.ledger import airflow_ledger
        from airflow_provider_halo.sync.guard import GuardOptions, guard
        from airflow_provider_halo.sync.run import close_run

        options = GuardOptions(
            max_changed=NO_LIMIT
            if is_empty(self.max_changed)
            else Limit.parse(self.max_changed, "max_changed", share_only=True),
            force=as_boolean(self.force, "force") or False,
        )
        with airflow_ledger(self.ledger_conn_id) as ledger:
            if ledger is None:
                return
            settings = HaloHook(self.halo_conn_id).settings
            plan_ledger = ledger.of_plan(plan.name, settings)
            try:
                guard(plan, selection, batches, sources=sources, plan_ledger=plan_ledger, options=options)
            except UnlikelyChange as stopped:
                run = ledger.open_run(plan.name, settings, run_key_of(context), whole=False)
                close_run(run, Report(stopped=str(stopped)), reason=str(stopped))
                raise

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
