"""A run of a scenario, and what came of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from truth.scenarios import Scenario

from airflow_provider_halo.delivery.report import Report, failure_of
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.batch import SyncOptions
from airflow_provider_halo.sync.run import close_run, sync_plan

DRIVERS = {"sqlite": "sqlite", "postgresql": "psycopg2", "mariadb": "pymysql"}
SESSIONS = {"mariadb": "SET time_zone = '+02:00'", "postgresql": "SET TIME ZONE 'Europe/Vienna'"}


@dataclass
class Trial:
    """What a scenario came to.

    :param held: what Halo holds, in the scenario's form.
    :param reports: of each run.
    """

    held: dict[str, Any]
    reports: list[Report]
    stopped: str = ""

    def rejected(self) -> set[str]:
        return {f"{problem.scope} {problem.key}" for problem in self.reports[0].rejects}


class Laboratory:
    """A database with a scenario's tables, which may be brought to Halo again and again."""

    def __init__(self, scenario: Scenario, name: str, url: str, folder: Path) -> None:
        self.scenario = scenario
        self.name = name
        self._folder = folder
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        with self.engine.begin() as connection:
            for statement in scenario.sql(name):
                connection.exec_driver_sql(statement.replace("%", "%%"))
        if name in SESSIONS:
            sa.event.listen(self.engine, "connect", self._in_another_zone)

    def _in_another_zone(self, connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS[self.name])
        connection.commit()

    def run(self, *, batch_size: int, ledger: bool, times: int = 1) -> Trial:
        path = self._folder / "halo.yaml"
        path.write_text(f"version: 1\nsource: app\n{self.scenario.plan}", encoding="utf-8")
        reports: list[Report] = []
        with SandboxServer(SandboxConfig()) as server, tempfile.TemporaryDirectory() as folder:
            settings = HaloSettings(
                conn_id="halo",
                widget_key="ab_live_sandbox",
                identity_secret="ha_secret_sandbox",
                base_url=server.url,
            )
            try:
                plan = load_plan(path)
                kept = Ledger(sa.create_engine(f"sqlite:///{folder}/ledger.db"), "ledger") if ledger else None
                for number in range(times):
                    run = None if kept is None else kept.open_run(plan.name, settings, f"run {number}", whole=True)
                    report = sync_plan(
                        plan,
                        sources=lambda _: self.engine,
                        settings=settings,
                        options=SyncOptions(link_users=None if ledger else True),
                        batch_size=batch_size,
                        run=run,
                    )
                    if run is not None:
                        close_run(run, report, reason=None)
                    reports.append(report)
            except HaloError as error:
                return Trial(held_by(server), reports, str(error))
            return Trial(held_by(server), reports)


def held_by(server: SandboxServer) -> dict[str, Any]:
    """What Halo holds, in the form of a scenario."""
    store = server.store
    companies = {key: _flat(store.company(key)) for key in store.find("companies")}
    users = {key: _flat(store.user(key)) | {"company": store.user(key)["company_id"]} for key in store.find("users")}
    return {"companies": companies, "users": users}


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    entries = {f".{name}": entry["value"] for name, entry in record["context"].items()}
    return {**record["traits"], **entries}


def expected_of(scenario: Scenario, database: str) -> dict[str, Any]:
    """What Halo must hold."""
    companies: Any = scenario.companies
    if {"*", *SESSIONS} & companies.keys():
        companies = companies.get(database) or companies["*"]
    return {"companies": dict(companies), "users": dict(scenario.users)}


def is_green(report: Report) -> bool:
    """Whether the run would count as done with the default limits."""
    return failure_of(report, max_rejected=Limit.parse("1%")) is None
