"""Bring product data from any SQL database to HaloAgents, from inside Apache Airflow.

Importing this package imports nothing else: Airflow's provider discovery reads it before Airflow is configured.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
