"""One DAG run, triggered through Airflow's REST API, watched to its end, and its report."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.failure import DemoFailure
from demo.rest import AirflowApi, SandboxApi
from demo.screen import Screen

__all__ = ["Finished", "Runner"]

_SAY_EVERY: Final = 3.0  # seconds
_DONE: Final = frozenset({"success", "failed"})
# A task that waits for its second try has failed once, and in a demo nothing should.
_TROUBLE: Final = frozenset({"failed", "up_for_retry", "upstream_failed"})


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that went well.

    :param report: what the run's last task returned.
    :param seconds: from the trigger to the end.
    """

    dag_id: str
    report: dict[str, Any]
    seconds: float
    batches: int


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs DAGs of one Airflow.

    :param home: AIRFLOW_HOME, for the logs.
    :param timeout: seconds for one run.
    """

    screen: Screen
    airflow: AirflowApi
    sandbox: SandboxApi
    home: Path
    timeout: float
    check: Callable[[], None]

    def run(self, dag_id: str, conf: dict[str, Any], *, report_task: str = "report") -> Finished:
        """Trigger a DAG and wait for its end, telling how far it is.

        :raises DemoFailure: when a task fails, or the time is up.
        """
        began = time.monotonic()
        self.airflow.unpause(dag_id)
        run_id = self.airflow.trigger(dag_id, conf)
        self.screen.say(f"Triggered through Airflow's REST API, with {json.dumps(conf)}")
        said, last = began, ""
        while True:
            tasks = self.airflow.tasks(dag_id, run_id)
            self._stop_on_trouble(dag_id, run_id, tasks)
            if self.airflow.run_state(dag_id, run_id) in _DONE and not self._others_run(dag_id):
                break
            now = time.monotonic()
            if now - began > self.timeout:
                raise DemoFailure(
                    f"{dag_id} was not done within {self.timeout:.0f} s: {_progress(tasks)}", self._log(dag_id)
                )
            line = f"{_progress(tasks)}   in Halo: {self._stored()}"
            if now - said >= _SAY_EVERY and line != last:
                said, last = now, line
                self.screen.aside(line)
            self.check()
            time.sleep(0.5)
        tasks = self.airflow.tasks(dag_id, run_id)
        self._stop_on_trouble(dag_id, run_id, tasks)
        report = self.airflow.returned(dag_id, run_id, report_task)
        if not isinstance(report, dict):
            raise DemoFailure(f"{dag_id} left no report in XCom.", self._log(dag_id))
        batches = sum(1 for task in tasks if task["task_id"] == "sync")
        return Finished(dag_id, report, time.monotonic() - began, batches)

    def _others_run(self, dag_id: str) -> bool:
        # Unpausing a scheduled DAG may start the run that its schedule owes; it, too, belongs to the demo.
        return any(state not in _DONE for state in self.airflow.runs(dag_id).values())

    def _stop_on_trouble(self, dag_id: str, run_id: str, tasks: list[dict[str, Any]]) -> None:
        for task in tasks:
            if task["state"] in _TROUBLE:
                raise DemoFailure(
                    f"{dag_id}: the task {task['task_id']} is {task['state']}.",
                    self._log(dag_id, run_id, task["task_id"]),
                )

    def _stored(self) -> str:
        counts = self.sandbox.counts()
        return f"{counts['companies']:,} companies, {counts['users']:,} users, {counts['links']:,} links"

    def _log(self, dag_id: str, run_id: str = "*", task_id: str = "*") -> Path | None:
        logs = self.home.glob(f"logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}/**/*.log")
        return max(logs, key=lambda log: log.stat().st_mtime, default=None)


def _progress(tasks: list[dict[str, Any]]) -> str:
    """``plan_batches success · sync 2 of 6 done``."""
    names = list(dict.fromkeys(task["task_id"] for task in sorted(tasks, key=_order)))
    parts = []
    for name in names:
        states = Counter(str(task["state"] or "waiting") for task in tasks if task["task_id"] == name)
        total = sum(states.values())
        state = f"{states['success']} of {total} done" if total > 1 else next(iter(states))
        parts.append(f"{name} {state}")
    return " · ".join(parts)


def _order(task: dict[str, Any]) -> int:
    return ("plan_batches", "sync", "report").index(task["task_id"])
