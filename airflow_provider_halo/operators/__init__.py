"""The building blocks of a DAG: store users, companies and context by hand, or sync a plan in batches."""

from airflow_provider_halo.operators.context import ContextOperator
from airflow_provider_halo.operators.identify import IdentifyOperator
from airflow_provider_halo.operators.plan_batches import PlanBatchesOperator
from airflow_provider_halo.operators.report import ReportOperator
from airflow_provider_halo.operators.sync import SyncOperator
from airflow_provider_halo.operators.task_group import halo_sync

__all__ = [
    "ContextOperator",
    "IdentifyOperator",
    "PlanBatchesOperator",
    "ReportOperator",
    "SyncOperator",
    "halo_sync",
]
