"""What an Airflow task needs to reach Halo and the source databases."""

from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.hooks.typed_dicts import (
    CompanyRecord,
    ContextEntry,
    ContextType,
    Record,
    RecordProblem,
    ReportDict,
    StatusCounts,
    UserRecord,
)

__all__ = [
    "CompanyRecord",
    "ContextEntry",
    "ContextType",
    "HaloHook",
    "Record",
    "RecordProblem",
    "ReportDict",
    "StatusCounts",
    "UserRecord",
    "airflow_sources",
]
