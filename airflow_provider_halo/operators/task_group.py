"""A whole sync as one task group: plan the batches, sync each of them, judge the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from airflow.sdk import TaskGroup

from airflow_provider_halo.hooks import config
from airflow_provider_halo.operators.arguments import Resolvable
from airflow_provider_halo.operators.plan_batches import PlanBatchesOperator
from airflow_provider_halo.operators.report import ReportOperator
from airflow_provider_halo.operators.sync import SyncOperator

__all__ = ["halo_sync"]

_RETRIES: Final[dict[str, Any]] = {
    "retries": 5,  # over half an hour in all: as long as a database may be away
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=30),
}


def halo_sync(
    group_id: str = "halo_sync",
    *,
    plan: Resolvable[str | None] = None,
    only: Resolvable[Sequence[str] | str | None] = None,
    company_ids: Resolvable[Sequence[str | int] | Sequence[str] | Sequence[int] | str | None] = None,
    batch_size: Resolvable[int | str | None] = None,
    full: Resolvable[bool | str] = False,
    dry_run: Resolvable[bool | str] = False,
    link_users: Resolvable[bool | str | None] = None,
    retry_rejected: Resolvable[bool | str] = False,
    max_rejected: Resolvable[int | str | None] = None,
    max_left_out: Resolvable[int | str | None] = None,
    max_changed: Resolvable[str | None] = None,
    max_gone: Resolvable[int | str | None] = None,
    force: Resolvable[bool | str] = False,
    allow_empty: bool = False,
    halo_conn_id: Resolvable[str | None] = None,
    ledger_conn_id: Resolvable[str | None] = None,
    deferrable: bool | None = None,
    pool: str | None = None,
    prefix_group_id: bool = False,
    default_args: dict[str, Any] | None = None,
) -> TaskGroup:
    """Sync a plan to Halo in a DAG of one's own: the tasks ``plan_batches``, ``sync`` (one for each batch) and ``report``.

    .. code-block:: python

        with DAG("sync_to_halo", schedule="@daily"):
            extract >> halo_sync(plan="/opt/airflow/halo.yaml")

    Tasks are retried for over half an hour, as long as a database may be away, where neither the DAG's ``default_args`` nor
    these say otherwise. Every argument below goes to the operators that know it; see `PlanBatchesOperator`, `SyncOperator`
    and `ReportOperator`. All of them take Jinja, XComs and ``dag.param(…)``, up to ``allow_empty``, ``deferrable`` and
    what follows it.

    :param group_id: name of the group in Airflow's graph.
    :param plan: path of the plan file; None takes ``[halo] plan``.
    :param only: names of the plan's parts to send, as a list or with commas; empty for all.
    :param company_ids: only these companies and their users; empty for all.
    :param batch_size: users in one batch, about; None takes ``[halo] batch_size``.
    :param full: send everything again, whatever the ledger says.
    :param dry_run: read, check and count, but send nothing.
    :param link_users: link users to their companies; None: yes.
    :param retry_rejected: with a ledger, try records again that Halo has refused and that haven't changed since.
    :param max_rejected: how many records of the run may be rejected, a count or a share (``1%``); None takes ``[halo]
        max_rejected``.
    :param max_left_out: how many records of the run may be stored in part, because an entry of theirs is left out, a count
        or a share; None takes ``[halo] max_left_out``.
    :param max_changed: with a ledger, which share of the companies, or of the users, that Halo has may change or be gone
        before anything is sent (``50%``), or ``none`` for any; None takes ``[halo] max_changed``.
    :param max_gone: with a ledger and ``gone: empty`` in the plan, how many companies, or users, may be emptied, a count or
        a share (``5%``), or ``none`` for any; None takes ``[halo] max_gone``.
    :param force: with a ledger, don't check for an unlikely change.
    :param allow_empty: a run that read no record at all is fine.
    :param halo_conn_id: connection of type ``halo``; None takes ``[halo] conn_id``.
    :param ledger_conn_id: connection of the ledger's database; None takes ``[halo] ledger_conn_id``, ``none`` no ledger.
    :param deferrable: with a ledger, let a batch wait in the triggerer when Halo asks for a long pause; None takes
        ``[operators] default_deferrable``.
    :param pool: pool of the tasks that talk to Halo; None takes ``[halo] pool``.
    :param prefix_group_id: put the group's id before those of its tasks (``halo_sync.report``), for several in one DAG.
    :param default_args: arguments of any operator (``retries``, ``queue`` …) for the tasks of this group.
    :return: the group, to be put before or after other tasks. Its last task is ``report``, which is green when the run is
        done.
    """
    group = TaskGroup(group_id, prefix_group_id=prefix_group_id)
    group.default_args = {**_RETRIES, **group.dag.default_args, **(default_args or {})}
    with group:
        plan_batches = PlanBatchesOperator(
            task_id="plan_batches",
            plan=plan,
            only=only,
            company_ids=company_ids,
            batch_size=batch_size,
            max_changed=str(config.max_changed()) if max_changed is None else max_changed,
            max_gone=max_gone,
            dry_run=dry_run,
            force=force,
            halo_conn_id=halo_conn_id,
            ledger_conn_id=ledger_conn_id,
        )
        sync = SyncOperator.partial(
            task_id="sync",
            plan=plan,
            only=only,
            full=full,
            dry_run=dry_run,
            link_users=link_users,
            retry_rejected=retry_rejected,
            halo_conn_id=halo_conn_id,
            ledger_conn_id=ledger_conn_id,
            deferrable=deferrable,
            pool=pool or config.pool(),
        ).expand(batch=plan_batches.output)
        ReportOperator(
            task_id="report",
            reports=sync.output,
            expected=plan_batches.output,
            max_rejected=max_rejected,
            max_left_out=max_left_out,
            allow_empty=allow_empty,
            ledger_conn_id=ledger_conn_id,
        )
    return group
