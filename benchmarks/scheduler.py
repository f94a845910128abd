"""DAG runs on a real Airflow of its own: LocalExecutor, its database in PostgreSQL, the shipped DAGs and their pool.

Called by `benchmarks.parts.backfill`, in a process of its own; prints what each run took as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import product
from benchmarks.work import IDENTITY_SECRET, WIDGET_KEY
from demo.airflow_home import USER, AirflowHome, airflow
from demo.failure import DemoFailure
from demo.processes import Processes
from demo.rest import AirflowApi

POOL, SLOTS = "halo_api", 4
_PARTS = ("api-server", "scheduler", "dag-processor")
_DAGS = frozenset({"halo_backfill", "halo_weekly_sync"})
_IDLE = {"dry_run": True, "only": ["companies.traits"]}
_HEALTHY_WITHIN = 150.0  # seconds
_RUN_WITHIN = 3 * 3_600.0
_POLL = 0.5  # seconds: often enough to be exact, seldom enough not to be felt


@contextmanager
def running(given: dict[str, Any]) -> Iterator[AirflowApi]:
    """An Airflow that runs and whose DAGs and pool are there.

    :param given: ``folder``, ``database`` (URL of an empty PostgreSQL database for Airflow), ``plan``, ``product`` and
        ``ledger`` (paths of SQLite files; empty for no ledger), ``base_url`` and ``batch_size``.
    :raises DemoFailure: when a part doesn't come up.
    """
    folder = Path(given["folder"])
    home = AirflowHome(
        folder=folder / "airflow",
        database=Path(given["product"]),
        sandbox_url=given["base_url"],
        widget_key=WIDGET_KEY,
        identity_secret=IDENTITY_SECRET,
        batch_size=given["batch_size"],
        ledger=Path(given["ledger"]) if given["ledger"] else None,
    )
    home.create()
    environment = {
        **home.environment(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": given["database"],
        "AIRFLOW__HALO__PLAN": given["plan"],
        "AIRFLOW_CONN_PRODUCT": json.dumps({"conn_type": "sqlite", "host": given["product"]}),
    }
    with Processes(folder / "logs") as processes:
        processes.run("db-migrate", airflow("db", "migrate"), environment)
        for part in _PARTS:
            processes.start(part, airflow(part), environment)
        with closing(AirflowApi(home.url, USER, home.password)) as api:
            _until("Airflow to be healthy", lambda: _is_healthy(api), processes)
            _until("the DAGs to be read", lambda: api.dag_ids() >= _DAGS, processes)
            if api.pool_slots(POOL) != SLOTS:
                raise DemoFailure(f"The pool {POOL} has {api.pool_slots(POOL)} slots, not {SLOTS}.")
            yield api


def run(api: AirflowApi, dag_id: str, base_url: str, **conf: Any) -> dict[str, Any]:
    """Trigger a DAG and wait for its end.

    :return: ``seconds`` from the trigger to the end of its last task, ``span`` from the start of its first batch to the end
        of the last one, how many ``batches``, what has come in at Halo and what its report says.
    :raises DemoFailure: when it doesn't succeed.
    """
    began = time.time()
    run_id = api.trigger(dag_id, conf)
    deadline = time.monotonic() + _RUN_WITHIN
    while (state := api.run_state(dag_id, run_id)) in {"queued", "running"}:
        if time.monotonic() > deadline:
            raise DemoFailure(f"{dag_id} was not done within {_RUN_WITHIN:.0f} s.")
        time.sleep(_POLL)
    tasks = api.tasks(dag_id, run_id)
    if state != "success":
        raise DemoFailure(f"{dag_id} ended as {state}: {[(task['task_id'], task['state']) for task in tasks]}")
    batches = [task for task in tasks if task["task_id"] == "sync"]
    report = api.returned(dag_id, run_id, "report")
    return {
        "seconds": max(_moment(task["end_date"]) for task in tasks) - began,
        "span": max(_moment(task["end_date"]) for task in batches)
        - min(_moment(task["start_date"]) for task in batches),
        "batches": len(batches),
        "requests": report["requests"],
        "records": sum(sum(report[scope].values()) for scope in ("companies", "users")),
        "received": _received(base_url),
    }


def main(given: dict[str, Any]) -> dict[str, Any]:
    """A backfill, and then one that has next to nothing to do: what Airflow takes by itself.

    With a ledger the second one is a weekly run in which a hundredth of the records has changed. The first run of an
    Airflow that has just started takes longer than any later one, so it is one that isn't measured.
    """
    with running(given) as api:
        print("Airflow runs", file=sys.stderr, flush=True)
        api.unpause("halo_backfill")
        run(api, "halo_backfill", given["base_url"], **_IDLE)
        found = {"backfill": run(api, "halo_backfill", given["base_url"])}
        if not given["ledger"]:
            found["idle"] = run(api, "halo_backfill", given["base_url"], **_IDLE)
        else:
            api.unpause("halo_weekly_sync")
            time.sleep(5)  # unpausing may start the run that the schedule owes
            _until("the scheduled run to end", lambda: set(api.runs("halo_weekly_sync").values()) <= {"success"}, None)
            found["changes"] = product.change(f"sqlite:///{given['product']}", 1)
            _start(given)
            found["weekly"] = run(api, "halo_weekly_sync", given["base_url"])
        return found


def _is_healthy(api: AirflowApi) -> bool:
    health = api.health()
    return all(health.get(part) == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _until(what: str, ready: Callable[[], bool], processes: Processes | None) -> None:
    deadline = time.monotonic() + _HEALTHY_WITHIN
    while not ready():
        if processes is not None:
            processes.check(_PARTS)
        if time.monotonic() > deadline:
            raise DemoFailure(f"Waited {_HEALTHY_WITHIN:.0f} s for {what}.")
        time.sleep(_POLL)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _start(given: dict[str, Any]) -> None:
    _ask(given["base_url"], f"/start?delay={given['ms'] / 1000}&lose=0")


def _received(base_url: str) -> dict[str, int]:
    return _ask(base_url, "/counts")


def _ask(base_url: str, path: str) -> dict[str, int]:
    with closing(HTTPConnection(urlsplit(base_url).netloc)) as connection:
        connection.request("GET", path)
        counts: dict[str, int] = json.load(connection.getresponse())
        return counts


if __name__ == "__main__":
    try:
        print(json.dumps(main(json.loads(sys.argv[2]))))
    except DemoFailure as failure:
        raise SystemExit("\n".join([str(failure), *failure.tail()])) from None
