"""The demo's stage: product database, sandbox and Airflow, started together and waited for until they are healthy."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from airflow_provider_halo.sample.data import open_database, write_sample
from demo.airflow_home import USER, AirflowHome, airflow, free_ports, sandbox
from demo.failure import DemoFailure
from demo.processes import Processes, listed
from demo.rest import AirflowApi, SandboxApi
from demo.screen import Screen

__all__ = ["Stage", "build", "fresh"]

DAGS: Final = frozenset({"halo_backfill", "halo_weekly_sync", "halo_event_update"})
POOL: Final = "halo_api"
_AIRFLOW_PARTS: Final = ("api-server", "scheduler", "dag-processor")
_HEALTHY_WITHIN: Final = 150.0  # seconds; 12 to 30 on two free cores


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the demo plays on.

    :param engine: the product's database.
    :param widget_key: what the sandbox lets in; ``identity_secret``: what it takes signatures of.
    """

    engine: Engine
    airflow: AirflowApi
    sandbox: SandboxApi
    home: AirflowHome
    sandbox_root: str
    widget_key: str = field(repr=False)
    identity_secret: str = field(repr=False)


def build(screen: Screen, processes: Processes, folder: Path, *, companies: int, users: int | None, seed: int) -> Stage:
    """Start everything in a fresh folder; what takes long goes on at the same time.

    :raises DemoFailure: when a part doesn't come up.
    """
    widget_key, identity_secret = f"ab_live_{secrets.token_hex(8)}", f"ha_secret_{secrets.token_hex(16)}"
    (port,) = free_ports(1)
    root = f"http://127.0.0.1:{port}"
    database = folder / "forms.db"
    home = AirflowHome(
        folder=folder / "airflow",
        database=database,
        sandbox_url=f"{root}/api/sdk",
        widget_key=widget_key,
        identity_secret=identity_secret,
        batch_size=max(50, (users or companies * 25) // 5),
        ledger=folder / "ledger.db",
    )
    home.create()
    environment = home.environment()
    processes.start("db-migrate", airflow("db", "migrate"), environment)
    processes.start("sandbox", sandbox(port, widget_key=widget_key, identity_secret=identity_secret), environment)
    engine = open_database(f"sqlite:///{database}")
    screen.say(f"Product database: {write_sample(engine, companies, users, seed=seed, progress=screen.aside)}")
    stage = Stage(
        engine=engine,
        airflow=AirflowApi(home.url, USER, home.password),
        sandbox=SandboxApi(root),
        home=home,
        sandbox_root=root,
        widget_key=widget_key,
        identity_secret=identity_secret,
    )
    processes.wait("db-migrate")
    screen.say("Airflow's database is ready; starting API server, scheduler and DAG processor …")
    _start_airflow(processes, environment, home)
    _until(screen, processes, "The sandbox", "sandbox", stage.sandbox.is_up)
    screen.say(f"Sandbox: {root}")
    _until(screen, processes, "Airflow", "api-server", lambda: _is_healthy(stage.airflow))
    _until(screen, processes, "The DAGs", "dag-processor", lambda: _dags_are_there(stage.airflow))
    screen.say(f"Airflow: {home.url}, with {', '.join(sorted(DAGS))}")
    slots = stage.airflow.pool_slots(POOL)
    if slots is None:
        raise DemoFailure(
            f"The pool {POOL} was not made when the scheduler started.", folder / "logs" / "scheduler.log"
        )
    screen.say(f"Pool {POOL}: {slots} slots, made by the provider when the scheduler started")
    return stage


def fresh(folder: Path) -> Path:
    """Empty the demo's folder; returns its absolute path.

    :raises DemoFailure: when an earlier demo still runs in it, or the folder contains something else.
    """
    folder = folder.absolute()
    running = listed(folder / "logs")
    if running:
        raise DemoFailure(f"A demo is up in {folder.name} ({len(running)} processes): stop it first, by `make down`.")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "logs").is_dir():
            raise DemoFailure(f"{folder} contains files that are not a demo's: name another --folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _start_airflow(processes: Processes, environment: Mapping[str, str], home: AirflowHome) -> None:
    for part in _AIRFLOW_PARTS:
        words = ("--host", "127.0.0.1", "--port", str(home.ports[0]), "--workers", "1") if part == "api-server" else ()
        processes.start(part, airflow(part, *words), environment)


def _until(screen: Screen, processes: Processes, what: str, name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _HEALTHY_WITHIN
    said = time.monotonic()
    while not ready():
        processes.check([*_AIRFLOW_PARTS, "sandbox"])
        now = time.monotonic()
        if now > deadline:
            raise DemoFailure(
                f"{what} did not come up within {_HEALTHY_WITHIN:.0f} s.", processes.folder / f"{name}.log"
            )
        if now - said >= 5:
            said = now
            screen.aside(f"waiting for {what[0].lower() if what.startswith('The') else what[0]}{what[1:]} …")
        time.sleep(0.5)


def _is_healthy(api: AirflowApi) -> bool:
    health = api.health()
    return all(health.get(part) == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _dags_are_there(api: AirflowApi) -> bool:
    errors = api.import_errors()
    if errors:
        raise DemoFailure(f"A DAG file can't be read: {errors[0]}")
    return api.dag_ids() >= DAGS
