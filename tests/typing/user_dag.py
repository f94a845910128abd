"""A user's DAG, with everything that this package offers one, as `mypy --strict` reads it. It is never run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, XComArg, task

from airflow_provider_halo.exceptions import HaloError, RecordsNotStored
from airflow_provider_halo.hooks import (
    CompanyRecord,
    ContextEntry,
    HaloHook,
    Record,
    RecordProblem,
    ReportDict,
    UserRecord,
    airflow_sources,
)
from airflow_provider_halo.operators import (
    ContextOperator,
    IdentifyOperator,
    PlanBatchesOperator,
    ReportOperator,
    SyncOperator,
    halo_sync,
)

INTEGRATIONS: ContextEntry = {
    "label": "Connected Integrations",
    "type": "integration",
    "value": {"hubspot": {"status": "error"}},
}
ADA: UserRecord = {"user_id": 7, "company_id": "c1", "traits": {"name": "Ada"}, "context": {"crm": INTEGRATIONS}}
ACME: CompanyRecord = {"company_id": "c1", "traits": {"name": "Acme"}}


def rows() -> list[dict[str, Any]]:
    return [{"user_id": 1, "traits": {"plan": "pro"}}]


def many_users() -> Iterator[UserRecord]:
    for number in range(1_000_000):
        yield {"user_id": number, "traits": {"plan": "pro"}}


@task
def signups() -> list[Record]:
    return [ADA, ACME]


@task
def update(user_ids: list[str]) -> ReportDict:
    hook = HaloHook("halo_default", ledger_conn_id="none")
    hook.identify_user("u1", {"plan": "pro"}, {"crm": INTEGRATIONS}, session_id="s1")
    hook.identify_company(17, {"name": "Acme"}, {"crm": {"label": "CRM", "value": [1, 2]}})
    hook.link_user("u1", 17)
    hook.update_users(rows(), update_only=True)
    hook.update_users(many_users(), max_rejected="1%")
    try:
        report = hook.update_users([{"user_id": user_id, "traits": {"plan": "pro"}} for user_id in user_ids])
    except RecordsNotStored as error:
        rejects: list[RecordProblem] = error.report["rejects"]
        print([reject["key"] for reject in rejects])
        raise
    except HaloError:
        raise
    stored: int = report["users"]["stored"]
    reason: str = report.get("stopped", "") or str(stored)
    passed, text = hook.test_connection()
    print(reason, passed, text, hook.settings.base_url)
    with airflow_sources() as sources:
        print(sources("shop").dialect.name)
    return report


async def check() -> bool:
    async with HaloHook().get_conn() as client:
        passed, _ = await client.test()
        return passed


with DAG("by_hand", schedule=None, params={"user_id": Param("u1"), "full": Param(False)}) as dag:
    records: XComArg = signups()
    identified = IdentifyOperator(task_id="identify", records=records, max_rejected="1%", fail_open=True)
    IdentifyOperator(task_id="one", user_id=dag.param("user_id"), traits={"plan": "{{ params.plan }}"}, activity=True)
    IdentifyOperator(task_id="typed", records=[ADA, ACME], retries=3, retry_delay=timedelta(minutes=1))
    IdentifyOperator(task_id="plain", records=rows(), halo_conn_id="halo_eu", ledger_conn_id="none")
    IdentifyOperator(task_id="query", sql="users.sql", source_conn_id="shop", update_only=True, link_users=False)
    IdentifyOperator(
        task_id="bound", sql="SELECT …", source_conn_id="shop", parameters={"ids": [1, 2]}, allow_empty=True
    )
    IdentifyOperator(task_id="always", company_id=None, fail_open="always", max_retry_seconds=2)
    IdentifyOperator.partial(task_id="mapped", context={"crm": INTEGRATIONS}).expand(user_id=records)
    ContextOperator(task_id="entry", company_id=17, key="crm", label="CRM", type="integration", value=records)
    ContextOperator(task_id="entries", user_id="u1", entries={"crm": INTEGRATIONS}, fail_open=True, max_rejected=0)
    plan_batches = PlanBatchesOperator(
        task_id="plan_batches", plan="/opt/airflow/halo.yaml", only=["users"], company_ids=[1, "2"], max_changed="50%"
    )
    sync = SyncOperator.partial(task_id="sync", full=dag.param("full"), pool="halo_api").expand(
        batch=plan_batches.output
    )
    report = ReportOperator(
        task_id="report", reports=sync.output, expected=plan_batches.output, max_rejected=20, max_left_out="2%"
    )
    SyncOperator(task_id="event", company_id=identified.output, only="companies,users", dry_run=True, deferrable=True)
    identified >> plan_batches
    report >> update(["u1"])

with DAG("by_the_line", schedule="@weekly"):
    group = halo_sync(plan="/opt/airflow/halo.yaml", max_rejected="1%", dry_run="{{ params.dry_run }}")
    signups() >> group
