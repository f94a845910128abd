"""What an Airflow task needs to reach Halo and the source databases."""

from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.hooks.sources import airflow_sources

__all__ = ["HaloHook", "airflow_sources"]
