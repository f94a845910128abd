"""The shipped DAGs with other arguments for their tasks, as a user would edit a copy of them."""

from __future__ import annotations


def with_default_args(text: str, default_args: str) -> str:
    """The text of a shipped DAG with ``default_args``, which win over those of `halo_sync`.

    :param default_args: a dict as Python source; it may use `timedelta`.
    """
    for old, new in (
        ("from airflow.sdk import", "from datetime import timedelta\n\nfrom airflow.sdk import"),
        ("    max_active_runs=1,\n", f"    max_active_runs=1,\n    default_args={default_args},\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text
