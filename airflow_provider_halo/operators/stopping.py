"""An operator that ends when Airflow ends its task: one that was cleared or marked, or whose worker shuts down."""

from __future__ import annotations

import sys

from airflow.sdk import BaseOperator

from airflow_provider_halo.api.blocking import stop_running


class StoppableOperator(BaseOperator):
    """An operator that stops sending at once when it is told to.

    Airflow's signal alone doesn't end a task: it would send for five seconds more until it is killed, beside the try that
    takes its place.
    """

    def on_kill(self) -> None:
        """Stop what is under way. What Halo has acknowledged until then is still written down in the ledger."""
        self.log.warning("Told to stop: a task that was cleared or marked, or a worker that shuts down")
        if not stop_running():
            sys.exit(1)  # between a query and the next: raised where the task is now, and tried again by Airflow
