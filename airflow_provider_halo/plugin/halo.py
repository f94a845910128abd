"""The Airflow plugin, found by its entry point."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_halo.plugin.pool import PoolMaker

__all__ = ["HaloPlugin"]


class HaloPlugin(AirflowPlugin):
    """Registers the listener that makes the pool of the shipped DAGs."""

    name = "halo"
    listeners = [PoolMaker()]  # noqa: RUF012 (Airflow's own annotation)
