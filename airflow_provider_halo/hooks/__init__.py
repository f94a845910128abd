"""What an Airflow task needs to reach Halo and the source databases."""

from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.halo import HaloHook

__all__ = ["HaloHook", "airflow_sources"]
