"""What the shipped DAGs don't show: other operators over an XCom, Halo connections that fail, and such with a rate limit."""

from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_halo.operators import (
    ContextOperator,
    IdentifyOperator,
    PlanBatchesOperator,
    ReportOperator,
    SyncOperator,
)

with DAG("by_hand", schedule=None):

    @task
    def signups():
        return [{"user_id": "s1", "traits": {"name": "{{ conn.halo_default.password }}"}}, {"user_id": "s2"}]

    @task
    def one_a_task(found):
        return [[signup] for signup in found]

    IdentifyOperator.partial(task_id="identify").expand(records=one_a_task(signups()))
    ContextOperator(
        task_id="context",
        user_id="{{ params.user_id }}",
        key="note",
        label="Note",
        value={"text": "{{ 'PRIVATE ONCE RENDERED' | lower }}"},
        params={"user_id": "s9"},
    )

with DAG("wrong_key", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):
    SyncOperator(task_id="sync", user_id=1, halo_conn_id="halo_wrong")

with DAG("halo_down", schedule=None):
    sync = SyncOperator(
        task_id="sync", user_id=1, halo_conn_id="halo_down", retries=1, retry_delay=timedelta(seconds=1)
    )
    ReportOperator(task_id="report", reports=sync.output, expected=1)

for name, ledger in (("limited", "none"), ("limited_by_ledger", "halo_ledger")):
    with DAG(name, schedule=None):
        batches = PlanBatchesOperator(task_id="plan_batches", batch_size=30, ledger_conn_id=ledger)
        SyncOperator.partial(
            task_id="sync", halo_conn_id=f"halo_{name}", ledger_conn_id=ledger, pool="halo_api"
        ).expand(batch=batches.output)
