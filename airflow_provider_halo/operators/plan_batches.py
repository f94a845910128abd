"""Cuts a plan into batches: one mapped task each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf

from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.sources import airflow_sources
from airflow_provider_halo.operators.arguments import as_count, as_keys, as_names, is_empty
from airflow_provider_halo.operators.failures import airflow_failures
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.sync.planning import plan_batches

if TYPE_CHECKING:
    from airflow.sdk import Context

_MOST_BATCHES = 1_000  # below Airflow's default [core] max_map_length


class PlanBatchesOperator(BaseOperator):
    """Give the batches of a run as XCom, for ``SyncOperator.partial(…).expand(batch=plan_batches.output)``.

    The batches cover every company and user, also those that are created while the run goes on. They hold bounds and
    counts, never people.

    :param plan: path of the plan file; None takes ``[halo] plan``. Templated.
    :param only: names of the plan's parts to send, as a list or with commas; empty for all. Templated.
    :param batch_size: users in one batch, about; None takes ``[halo] batch_size``. Templated.
    :param company_ids: only these companies and their users; empty for all. Templated.
    """

    template_fields: Sequence[str] = ("plan", "only", "batch_size", "company_ids")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        plan: str | None = None,
        only: Sequence[str] | str | None = None,
        batch_size: int | str | None = None,
        company_ids: Sequence[str | int] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.only = only
        self.batch_size = batch_size
        self.company_ids = company_ids

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002 (Airflow's signature)
        """Plan the batches with one query in the source database."""
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
        for batch in batches:
            self.log.info("%s", batch.label)
        self._name_pools()
        return [batch.to_dict() for batch in batches]

    def _name_pools(self) -> None:
        """Say which pool the batches wait for: Airflow lets tasks of a pool that isn't there wait in silence."""
        tasks = [self.dag.get_task(task_id) for task_id in sorted(self.downstream_task_ids)] if self.has_dag() else []  # type: ignore[no-untyped-call]  # Airflow's
        for pool in sorted({task.pool for task in tasks} - {"default_pool"}):
            self.log.info(
                "The batches run in the pool %r. If they stay in the state `scheduled`, the pool is missing: "
                'airflow pools set %s 4 "Batches that talk to HaloAgents at once"',
                pool,
                pool,
            )
