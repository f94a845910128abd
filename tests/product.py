"""A product's database that a test fills, a plan over it, and a sandbox to bring it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger, Run
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.sync.batch import SyncOptions, sync_batch
from airflow_provider_halo.sync.guard import GuardOptions
from airflow_provider_halo.sync.run import close_run, sync_plan
from airflow_provider_halo.sync.stopped import SyncStopped

SECRET = "ha_secret_for_tests_that_is_long_enough"

PLAN = """\
version: 1
source: app
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name, plan FROM teams
  context:
    metrics:
      label: Product Metrics
      type: metric
      sql: SELECT team_id, COUNT(*) AS forms FROM forms GROUP BY team_id
      empty: {forms: 0}
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, email FROM users
  context:
    activity:
      label: Activity
      type: status
      sql: SELECT id AS user_id, team_id, visits FROM users
"""


@dataclass
class App:
    """The product, its plan, and the Halo that it is brought to."""

    engine: sa.Engine
    folder: Path
    server: SandboxServer
    settings: HaloSettings
    ledger: Ledger | None = None
    ledger_engine: sa.Engine | None = None
    plan: LoadedPlan = field(init=False)
    plan_text: str = ""
    runs: int = 0
    last_run: Run | None = None

    def __post_init__(self) -> None:
        self.use_plan(PLAN)

    def use_plan(self, text: str) -> None:
        path = self.folder / "halo.yaml"
        path.write_text(text, encoding="utf-8")
        self.plan_text = text
        self.plan = load_plan(path)

    def fill(
        self,
        *,
        teams: Sequence[tuple[int, str, str]] = (),
        users: Sequence[tuple[int, int | None, str, str, int]] = (),
        forms: Sequence[tuple[int, int]] = (),
    ) -> None:
        with self.engine.begin() as connection:
            for table, columns, rows in (
                ("teams", "id, name, plan", teams),
                ("users", "id, team_id, name, email, visits", users),
                ("forms", "id, team_id", forms),
            ):
                marks = ", ".join("?" * len(columns.split(",")))
                if rows:
                    connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(rows))

    def sources(self, _: str) -> sa.Engine:
        return self.engine

    def with_ledger(self, url: str | None = None) -> App:
        """From now on what Halo acknowledges is remembered."""
        self.ledger_engine = sa.create_engine(url or f"sqlite:///{self.folder / 'ledger.db'}")
        self.ledger = Ledger(self.ledger_engine, "ledger", patience=5)
        return self

    def run(self, *, key: str | None = None, whole: bool = True, dry_run: bool = False) -> Run | None:
        self.runs += 1
        if self.ledger is None:
            return None
        self.last_run = self.ledger.open_run(
            self.plan.name, self.settings, key or f"run {self.runs}", whole=whole, writes=not dry_run
        )
        return self.last_run

    def sync_and_close(self, **given: Any) -> Report:
        """A run to its end, as the command and the ReportOperator bring it there."""
        report = self.sync(**given)
        close_run(self.last_run, report, reason=None)
        return report

    def plan_ledger(self) -> PlanLedger:
        return self.ledger.of_plan(self.plan.name, self.settings)

    def sync(
        self,
        *,
        batch_size: int = 5_000,
        company_ids: Any = None,
        jobs: int = 1,
        key: str | None = None,
        max_changed: str | None = None,
        max_gone: str | None = None,
        force: bool = False,
        **options: Any,
    ) -> Report:
        whole = company_ids is None and not options.get("only")
        return sync_plan(
            self.plan,
            sources=self.sources,
            settings=self.settings,
            options=SyncOptions(**options),
            batch_size=batch_size,
            company_ids=company_ids,
            jobs=jobs,
            run=self.run(key=key, whole=whole, dry_run=options.get("dry_run", False)),
            guarding=GuardOptions(
                max_changed=Limit.parse(max_changed, share_only=True), max_gone=Limit.parse(max_gone), force=force
            ),
        )

    def sync_batch(self, batch: Batch, *, run: Run | None = None, **options: Any) -> Report:
        return sync_batch(
            self.plan,
            batch,
            sources=self.sources,
            settings=self.settings,
            options=SyncOptions(**options),
            run=run or self.run(whole=False),
        )

    def batches(self, **given: Any) -> list[Batch]:
        return plan_batches(self.plan, select(self.plan), self.sources, **given)


@contextmanager
def stopped_by(cause: type[HaloError], match: str | None = None) -> Iterator[pytest.ExceptionInfo[SyncStopped]]:
    """Expects that a sync which had begun stops for a cause of this kind, whose text is its own and its report's."""
    with pytest.raises(SyncStopped, match=match) as stopped:
        yield stopped
    error = stopped.value
    assert isinstance(error.cause, cause)
    assert error.report.stopped == str(error) == str(error.cause)
    assert error.__cause__ is error.cause


def change(app: App, *statements: str) -> None:
    """Change the product's database."""
    with app.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def open_product(url: str) -> sa.Engine:
    """The product's database, with its tables."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT, plan TEXT)")
        connection.exec_driver_sql(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER, name TEXT, email TEXT, visits INTEGER)"
        )
        connection.exec_driver_sql("CREATE TABLE forms (id INTEGER PRIMARY KEY, team_id INTEGER)")
    return engine


@pytest.fixture
def app_of(tmp_path) -> Iterator[Callable[..., App]]:
    """Makes an `App`; the words are those of the sandbox's and the connection's settings."""
    apps: list[App] = []
    servers: list[SandboxServer] = []
    engines: list[sa.Engine] = []

    def make(*, sandbox: SandboxConfig | None = None, **settings: Any) -> App:
        server = SandboxServer(sandbox or SandboxConfig(identity_secret=SECRET))
        server.start()
        servers.append(server)
        engine = open_product(f"sqlite:///{tmp_path / 'app.db'}")
        engines.append(engine)
        given = {"widget_key": "ab_live_sandbox", "identity_secret": SECRET, "base_url": server.url, **settings}
        apps.append(App(engine, tmp_path, server, HaloSettings(**given)))
        return apps[-1]

    yield make
    for app in apps:
        if app.ledger_engine is not None:
            app.ledger_engine.dispose()
    for server in servers:
        server.close()
    for engine in engines:
        engine.dispose()


@pytest.fixture
def app(app_of) -> App:
    return app_of()
