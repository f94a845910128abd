"""Runs of the shipped backfill under a real Airflow in which parts of it, or of what it stands on, are killed midway."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from clusters import Cluster
from recording import KEY, SECRET, RecordingSandbox
from shipped_dags import with_default_args
from shop import shop_plan

from airflow_provider_halo.ledger.schema import RECORDS, RUNS
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.run import sync_plan

DAG = Path(__file__).parents[1] / "dags" / "halo_backfill.py"
TEAMS, USERS = 32, 1_280
BATCH_SIZE = 200
# Seconds, so that each phase of a batch lasts long enough to be hit. Reading takes its time too: see `activity`.
DELAYS = {"companies": 0.3, "users": 0.5, "links": 0.1}
PATIENCE = 240.0  # seconds for a run; it takes half a minute without outages, and CI machines are slow
PLAN = shop_plan(
    "shop", activity="SELECT id AS user_id, team_id, visits FROM users CROSS JOIN LATERAL pg_sleep(0.01 + 0 * users.id)"
)

Record = tuple[str, str]


@dataclass(frozen=True)
class Outage:
    """Something that goes away in the middle of a run.

    :param share: of the run's records that the ledger has when it goes.
    :param seconds: until it is started again.
    """

    what: str
    share: float
    seconds: float
    kill: Callable[[], None]
    start: Callable[[], None]


@dataclass(frozen=True)
class Loss:
    """What was known when something went away.

    :param acknowledged: what the ledger had from this run.
    :param answers: how many requests had been answered.
    """

    outage: Outage
    acknowledged: frozenset[Record]
    answers: int


@dataclass
class Run:
    """One run of the DAG, and what became of it.

    :param answered: the records of each request that Halo said yes to, in their order.
    :param tries: of each task, how many instances took how many.
    :param stored: what Halo has; ``undisturbed``: what it has after a run in which nothing went away.
    :param seen: how many users are marked as active.
    """

    run_id: str
    losses: list[Loss] = field(default_factory=list)
    state: str = ""
    answered: list[list[Record]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    stored: str = ""
    undisturbed: str = ""
    seen: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def sent(self) -> Counter[Record]:
        return Counter(record for records in self.answered for record in records)

    @property
    def sent_again(self) -> frozenset[Record]:
        return frozenset(record for record, times in self.sent.items() if times > 1)

    def acknowledged_and_sent_again(self, loss: Loss) -> frozenset[Record]:
        """What the ledger had, and was sent all the same."""
        return loss.acknowledged & {record for records in self.answered[loss.answers :] for record in records}

    @property
    def at_once(self) -> int:
        """How many batches ran at once, at most."""
        spans = [(task["start_date"], task["end_date"]) for task in self.tasks if task["task_id"] == "sync"]
        return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)

    def tries(self, task_id: str) -> Counter[int]:
        """How many instances of a task took how many tries."""
        return Counter(task["try_number"] for task in self.tasks if task["task_id"] == task_id)

    def row(self) -> str:
        """The run as rows of a table."""
        every = TEAMS + 2 * USERS
        tries = ", ".join(f"{count} took {number}" for number, count in sorted(self.tries("sync").items()))
        lines = [
            f"{loss.outage.what:<32} {len(loss.acknowledged) / every:>6.0%} {loss.outage.seconds:>7.0f} s "
            f"{len(self.acknowledged_and_sent_again(loss)):>12}"
            for loss in self.losses
        ]
        end = f"  run: {self.state}; tries of the batches: {tries}; sent again {len(self.sent_again)}, "
        return "\n".join([*lines, f"{end}lost {every - len(self.sent)} of {every}"])


TABLE_HEAD = f"{'killed':<32} {'had':>6} {'away':>9} {'had, re-sent':>12}"


class Backfills:
    """A shop in a PostgreSQL database of its own, and an Airflow that brings it to Halo, over a ledger."""

    def __init__(self, folder: Path, halo: RecordingSandbox, source: Cluster, ledger: Cluster) -> None:
        self.halo = halo
        self._source = source
        self._ledger = ledger
        self._shop = sa.create_engine(source.url, poolclass=sa.NullPool)
        self._book = sa.create_engine(ledger.url, poolclass=sa.NullPool)
        self._runs = 0
        (folder / "halo.yaml").write_text(PLAN, encoding="utf-8")
        self._plan = load_plan(folder / "halo.yaml")
        self.dags = folder / "dags"
        self.dags.mkdir()
        # The retries as they are shipped; only the waits between them are seconds in place of minutes.
        text = with_default_args(
            DAG.read_text(encoding="utf-8"),
            '{"retry_delay": timedelta(seconds=3), "max_retry_delay": timedelta(seconds=90)}',
        )
        (self.dags / DAG.name).write_text(text, encoding="utf-8")
        self.environment = {
            "AIRFLOW__HALO__PLAN": str(folder / "halo.yaml"),
            "AIRFLOW__HALO__BATCH_SIZE": str(BATCH_SIZE),
            # Connections that are saved in Airflow, so that tasks have to ask its API server for them.
            "AIRFLOW__HALO__CONN_ID": "halo",
            "AIRFLOW__HALO__LEDGER_CONN_ID": "ledger",
        }
        self._fill()

    def _fill(self) -> None:
        with self._shop.begin() as shop:
            for statement in (
                "CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT)",
                "CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER, name TEXT, visits INTEGER)",
                f"INSERT INTO teams SELECT n, 'Team ' || n FROM generate_series(1, {TEAMS}) AS n",
                f"INSERT INTO users SELECT n, mod(n, {TEAMS}) + 1, 'User ' || n, 0 FROM generate_series(1, {USERS}) AS n",
            ):
                shop.exec_driver_sql(statement)

    def connect(self, airflow: Any) -> None:
        """Save the connections in Airflow, and let the DAG run."""
        halo = {"conn_type": "halo", "host": self.halo.url, "password": KEY}
        for conn_id, fields in {
            "halo": {**halo, "extra": json.dumps({"identity_secret": SECRET})},
            "shop": self._source.connection,
            "ledger": self._ledger.connection,
        }.items():
            airflow.client.post("/api/v2/connections", json={"connection_id": conn_id, **fields}).raise_for_status()
        airflow.unpause("halo_backfill")

    def run(self, airflow: Any, *outages: Outage, watch: Callable[[], None] = lambda: None) -> Run:
        """Change every record, bring all of them to Halo, and let things go away meanwhile, one after the other."""
        self._runs += 1
        if self._runs > 1:
            with self._shop.begin() as shop:
                shop.exec_driver_sql("UPDATE teams SET name = name || '!'")
                shop.exec_driver_sql(f"UPDATE users SET team_id = mod(team_id, {TEAMS}) + 1, visits = visits + 1")
        self.halo.sent.clear()
        self.halo.answered.clear()
        run = Run(airflow.queue("halo_backfill"))
        for outage in outages:
            self._wait_for(run, outage.share, watch)
            run.losses.append(Loss(outage, self._acknowledged(run), len(self.halo.answered)))
            outage.kill()
            time.sleep(outage.seconds)
            outage.start()
        with self._deadline("the run to end") as waiting:
            while run.state not in {"success", "failed"}:
                waiting()
                watch()
                with _api_server_away():
                    run.state = airflow.get(f"dags/halo_backfill/dagRuns/{run.run_id}")["state"]
        path = f"dags/halo_backfill/dagRuns/{run.run_id}/taskInstances"
        run.tasks = airflow.get(path, limit=100)["task_instances"]
        run.report = airflow.returned("halo_backfill", run.run_id, "report")
        run.answered = [[(sent.scope, key) for key in sent.keys] for sent in self.halo.answered]
        run.stored = self.halo.store.digest()
        run.seen = self.halo.store.counts()["users_seen"]
        run.undisturbed = self._undisturbed()
        return run

    def _undisturbed(self) -> str:
        with SandboxServer(SandboxConfig(widget_key=KEY, identity_secret=SECRET)) as spared:
            settings = HaloSettings(widget_key=KEY, identity_secret=SECRET, base_url=spared.url)
            sync_plan(self._plan, sources=lambda _: self._shop, settings=settings)
            return spared.store.digest()

    def _wait_for(self, run: Run, share: float, watch: Callable[[], None]) -> None:
        with self._deadline(f"{share:.0%} of the records to be acknowledged") as waiting:
            while len(self._acknowledged(run)) < share * (TEAMS + 2 * USERS):
                waiting()
                watch()

    def _acknowledged(self, run: Run) -> frozenset[Record]:
        """What the ledger has from this run."""
        of_this_run = sa.select(RUNS.c.id).where(RUNS.c.run_key == f"halo_backfill {run.run_id}").scalar_subquery()
        records = sa.select(RECORDS.c.scope, RECORDS.c.key).where(
            RECORDS.c.fingerprint.is_not(None), RECORDS.c.run_id == of_this_run
        )
        with self._book.connect() as connection:
            if not sa.inspect(connection).has_table(RECORDS.name):  # before the first run's first batch
                return frozenset()
            return frozenset((scope, key) for scope, key in connection.execute(records))

    @contextmanager
    def _deadline(self, what: str) -> Iterator[Callable[[], None]]:
        end = time.monotonic() + PATIENCE

        def waiting() -> None:
            assert time.monotonic() < end, f"waited {PATIENCE:.0f} s for {what}"
            time.sleep(0.2)

        yield waiting


@contextmanager
def _api_server_away() -> Iterator[None]:
    """Whoever asks for a run's state may have to ask again."""
    try:
        yield
    except httpx.TransportError:
        time.sleep(0.5)


def faster(settings: Mapping[str, str]) -> dict[str, str]:
    """Airflow's settings by which it notices within seconds what takes it minutes by default."""
    return {
        **settings,
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    }
