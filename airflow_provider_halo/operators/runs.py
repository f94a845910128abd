"""The run that a task belongs to, as the ledger knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context


def run_key_of(context: Context) -> str:
    """What all tasks of a DAG run call it: the DAG and the run."""
    ti = context["ti"]
    return f"{ti.dag_id} {ti.run_id}"
