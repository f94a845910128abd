"""`kill -9` of tasks at random moments of a backfill with a ledger: nothing is lost, and what was acknowledged stays sent.

A real scheduler runs `halo_backfill`, as it is shipped but for its waits, with the LocalExecutor: its worker process is
the task's supervisor and has a child that runs the task. That child is killed, and in every fourth kill the worker with
it, which Airflow notices by the missing heartbeat. Of each kill three things are known: what Halo had said yes to (the
sandbox writes down each record that it answers by 200), what of it the ledger had, and what was sent later. They are
looked at when the dead process's last requests are answered and its database session has ended, before the retry begins.

The figures that are printed, for each kill, count records (a company, a user, a link) of the batch that was hit:

- *acknowledged*: the ledger had them from this run. Sent again: none, ever.
- *under way*: their request had come in and was not yet answered. Half of these requests are stored all the same, with
  nobody left to hear of it, so they are sent again; the other half is lost, which nobody is told either, and counts as
  never sent. At most `max_in_flight` requests, of which users/update brings up to 1,000 users.
- *not written down*: answered, but the answer not yet read, or the transaction with it not yet committed. They are sent
  again: the group that was being committed and what came in meanwhile, a matter of milliseconds.
- *sent again*: under way and not written down together, and no others.

HALO_KILLS sets how many kills there are (5), HALO_KILLS_SEED at which moments. Each run has at most five; between two
runs every company, user and link changes, so that the next one has to send all of them again, over what the ledger knew.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from shipped_dags import with_default_args
from shop import shop_plan

from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.sync.run import sync_plan

pytestmark = [pytest.mark.scheduler, pytest.mark.databases]

KILLS = int(os.environ.get("HALO_KILLS", "5"))
SEED = int(os.environ.get("HALO_KILLS_SEED", "1"))
KILLS_OF_A_RUN = 5
SERVER = f"postgresql+psycopg2://{os.environ.get('HALO_TEST_POSTGRESQL', 'postgres@127.0.0.1:5432/test')}"
DAG = Path(__file__).parents[2] / "dags" / "halo_backfill.py"
# As in conftest.py, which pytest's importlib mode lets nobody import from.
KEY = "ab_live_scheduler_tests"
SECRET = "ha_secret_scheduler_tests_that_is_long_enough"
TEAMS, USERS = 60, 3_000
BATCH_SIZE = 800
IN_FLIGHT = 8
# Seconds; long enough for a kill to find requests of each kind on their way.
DELAYS = {"companies": 0.4, "users": 1.0, "links": 0.05}
PHASES = ("companies", "users", "links")
PLAN = shop_plan("shop", activity="SELECT id AS user_id, team_id, visits FROM users")

Record = tuple[str, str]


@dataclass(frozen=True)
class Moment:
    """When to kill: so far into a phase of a batch, and a little later."""

    batch: int
    phase: str
    share: float
    pause: float
    supervisor: bool


@dataclass(frozen=True)
class Kill:
    """What was known of a batch after one of its tasks was killed.

    :param at: on the monotonic clock; ``since``: when the batch's last kill had been looked at.
    :param progress: records of each scope that had been answered, of how many.
    :param requests: of each scope that were under way; ``lost``: how many of them came to nothing.
    :param answered: how often each record had been answered by 200 in this run; ``last``: when it was last.
    :param acknowledged: the records that the ledger had from this run.
    """

    moment: Moment
    at: float
    since: float
    progress: str
    requests: Counter[str]
    lost: int
    answered: Counter[Record]
    last: dict[Record, float]
    acknowledged: frozenset[Record]

    @property
    def unwritten(self) -> frozenset[Record]:
        """Answered and not in the ledger."""
        return frozenset(self.answered) - self.acknowledged

    @property
    def under_way(self) -> frozenset[Record]:
        """Unwritten since they were answered when nobody was left to hear of it."""
        return frozenset(record for record in self.unwritten if self.last[record] >= self.at)

    @property
    def not_written_down(self) -> frozenset[Record]:
        """Unwritten though they were answered in time, in the attempt that was killed."""
        return frozenset(record for record in self.unwritten if self.since < self.last[record] < self.at)

    @property
    def lag(self) -> float:
        """Seconds that the oldest answer had waited to be written down."""
        return max((self.at - self.last[record] for record in self.not_written_down), default=0.0)


@dataclass
class KilledRun:
    """One run of the DAG, its kills, and what became of it.

    :param batches: the records of each batch.
    :param sent: how often each record was answered by 200.
    :param tries: how often each batch's task was tried.
    :param digests: of what Halo has, and of what it has without kills.
    """

    run_id: str
    batches: list[frozenset[Record]]
    moments: list[Moment]
    kills: list[Kill] = field(default_factory=list)
    sent: Counter[Record] = field(default_factory=Counter)
    state: str = ""
    tries: list[int] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    digests: tuple[str, str] = ("", "")

    def sent_again(self, kill: Kill) -> frozenset[Record]:
        """What had been answered before a kill and was sent after it."""
        return frozenset(record for record, times in kill.answered.items() if self.sent[record] > times)


@dataclass(frozen=True)
class Death:
    """A process that was killed, by the ports of its connections."""

    moment: Moment
    at: float
    progress: str
    requests: Counter[str]
    ports: frozenset[int]


class Executioner:
    """Kills the tasks of one run at their moments, and looks at what is left of each before its retry begins."""

    def __init__(self, airflow, halo, ledger: Ledger, plan_ledger: PlanLedger, run: KilledRun) -> None:
        self._airflow = airflow
        self._halo = halo
        self._ledger = ledger
        self._acknowledged = plan_ledger.acknowledged
        self._run = run
        self._batch_of = {record: batch for batch, records in enumerate(run.batches) for record in records}
        self._sizes = [Counter(scope for scope, _ in records) for records in run.batches]
        self._waiting = [[one for one in run.moments if one.batch == batch] for batch in range(len(run.batches))]
        self._done: list[dict[str, set[str]]] = [{scope: set() for scope in PHASES} for _ in run.batches]
        self._ports: list[set[int]] = [set() for _ in run.batches]  # of the attempts that run now
        self._since = [0.0 for _ in run.batches]
        self._due: dict[Moment, float] = {}
        self._deaths: list[Death] = []
        self._seen = self._heard = 0

    def watch(self) -> None:
        """Until the run has ended."""
        look = 0.0
        while self._run.state not in {"success", "failed"} or self._deaths:
            self._note()
            for moments in self._waiting:
                if moments and self._is_due(moments[0]) and self._kill(moments[0]):
                    moments.pop(0)
            for death in [death for death in self._deaths if self._is_over(death)]:
                self._deaths.remove(death)
                self._run.kills.append(self._examine(death))
            if time.monotonic() > look:
                self._run.state = self._airflow.get(f"dags/halo_backfill/dagRuns/{self._run.run_id}")["state"]
                look = time.monotonic() + 1
            time.sleep(0.005)
        self._run.sent = Counter(record for record, _ in self._answers())

    def _note(self) -> None:
        for sent in self._halo.sent[self._seen :]:
            self._seen += 1
            if sent.port not in self._halo.dead_ports:
                self._ports[self._batch_of[sent.scope, sent.keys[0]]].add(sent.port)
        for sent in self._halo.answered[self._heard :]:
            self._heard += 1
            self._done[self._batch_of[sent.scope, sent.keys[0]]][sent.scope].update(sent.keys)

    def _is_due(self, moment: Moment) -> bool:
        done, sizes = self._done[moment.batch], self._sizes[moment.batch]
        scope = "companies" if moment.phase == "users" else moment.phase  # users follow when all companies are there
        share = 1.0 if moment.phase == "users" else moment.share
        if not self._ports[moment.batch] or len(done[scope]) < share * sizes[scope]:
            return False
        now = time.monotonic()
        return now >= self._due.setdefault(moment, now + moment.pause)

    def _kill(self, moment: Moment) -> bool:
        """Kill the task, if it is still there."""
        try:
            process = psutil.Process(self._pid_behind(self._ports[moment.batch]))
            worker = process.parent()
            assert worker is not None
            assert "LocalExecutor" in " ".join(worker.cmdline())
            ports = frozenset(connection.laddr.port for connection in process.net_connections("tcp"))
            at = time.monotonic()
            if moment.supervisor:
                worker.kill()
            process.kill()
            self._halo.dead_ports |= ports
        except psutil.NoSuchProcess:
            self._ports[moment.batch].clear()
            return False
        self._note()
        self._ports[moment.batch].clear()
        requests = Counter(sent.scope for sent in self._halo.sent if sent.port in ports and not _in_time(sent, at))
        done, sizes = self._done[moment.batch], self._sizes[moment.batch]
        progress = ", ".join(f"{len(done[scope])}/{sizes[scope]} {scope}" for scope in PHASES)
        self._deaths.append(Death(moment, at, progress, requests, ports))
        return True

    def _pid_behind(self, ports: set[int]) -> int:
        for connection in psutil.net_connections("tcp"):
            to_halo = connection.raddr and connection.raddr.port == self._halo.port
            if to_halo and connection.laddr.port in ports and connection.pid:
                return connection.pid
        raise psutil.NoSuchProcess(0)

    def _is_over(self, death: Death) -> bool:
        """Whether nothing more will come of a dead process: its requests are answered, its database session has ended."""
        if time.monotonic() < death.at + 0.2 or any(
            sent.answered is None and not sent.lost for sent in self._halo.sent if sent.port in death.ports
        ):
            return False
        sessions = sa.text("SELECT count(*) FROM pg_stat_activity WHERE client_port = ANY(:ports)")
        return not self._acknowledged.database.read(lambda db: db.scalar(sessions, {"ports": sorted(death.ports)}))

    def _examine(self, death: Death) -> Kill:
        batch = death.moment.batch
        acknowledged = self._acknowledged_of(self._run.batches[batch])
        answers = [(record, at) for record, at in self._answers() if self._batch_of[record] == batch]
        self._note()
        assert not self._ports[batch], "the retry began before the kill had been looked at"
        since, self._since[batch] = self._since[batch], time.monotonic()
        return Kill(
            moment=death.moment,
            at=death.at,
            since=since,
            progress=death.progress,
            requests=death.requests,
            lost=sum(sent.lost for sent in self._halo.sent if sent.port in death.ports),
            answered=Counter(record for record, _ in answers),
            last=dict(answers),
            acknowledged=acknowledged,
        )

    def _answers(self) -> Iterator[tuple[Record, float]]:
        return (((sent.scope, key), sent.answered) for sent in self._halo.answered for key in sent.keys)

    def _acknowledged_of(self, records: Iterable[Record]) -> frozenset[Record]:
        (run,) = self._ledger.runs_of(f"halo_backfill {self._run.run_id}")
        found: set[Record] = set()
        for scope in PHASES:
            keys = [key for of, key in records if of == scope]
            runs = self._acknowledged.acknowledged_in(scope, keys)
            known = self._acknowledged.known(scope, keys)
            found |= {(scope, key) for key in known if known[key].fingerprint and runs.get(key) == run.id}
        return frozenset(found)


def _in_time(sent: Any, at: float) -> bool:
    return sent.answered is not None and sent.answered < at


@pytest.fixture(scope="module")
def ledger_url() -> Iterator[sa.URL]:
    """A PostgreSQL database of this test's own."""
    server = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT")
    own = f"halo_kills_{os.getpid()}"
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {own}")
    except sa.exc.OperationalError:
        pytest.skip(f"no PostgreSQL answers at {server.url.host}:{server.url.port}")
    yield server.url.set(database=own)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {own} WITH (FORCE)")
    server.dispose()


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER, name TEXT, visits INTEGER)"
        )
        teams = [(team, f"Team {team}") for team in range(1, TEAMS + 1)]
        users = [(user, user % TEAMS + 1, f"User {user}", user % 7) for user in range(1, USERS + 1)]
        connection.exec_driver_sql("INSERT INTO teams VALUES (?, ?)", teams)
        connection.exec_driver_sql("INSERT INTO users VALUES (?, ?, ?, ?)", users)
    yield engine
    engine.dispose()


def change_everything(shop: sa.Engine) -> None:
    with shop.begin() as connection:
        connection.exec_driver_sql("UPDATE teams SET name = name || '!'")
        connection.exec_driver_sql(f"UPDATE users SET team_id = team_id % {TEAMS} + 1, visits = visits + 1")


def records_of_batches(shop: sa.Engine, plan: LoadedPlan) -> list[frozenset[Record]]:
    """The records of each batch, in the order in which `plan_batches` gives them and Airflow maps them."""
    with shop.connect() as connection:
        teams = [team for (team,) in connection.exec_driver_sql("SELECT id FROM teams")]
        users = connection.exec_driver_sql("SELECT id, team_id FROM users").all()
    found = []
    for batch in plan_batches(plan, select(plan), lambda _: shop, batch_size=BATCH_SIZE):
        mine = {
            team
            for team in teams
            if not batch.no_company
            and (batch.first is None or team >= batch.first)
            and (batch.next is None or team < batch.next)
        }
        found.append(
            frozenset(
                [("companies", str(team)) for team in mine]
                + [(scope, str(user)) for scope in ("users", "links") for user, team in users if team in mine]
            )
        )
    return found


def moments_of(dice: random.Random, count: int, batches: int, number: Iterator[int]) -> list[Moment]:
    """Moments spread over the batches that have records, in the order in which each batch comes to them."""
    places = [batch for _ in range(count) for batch in dice.sample(range(batches), batches)][:count]
    phases = [phase for _ in range(count) for phase in dice.sample(PHASES, 3)][:count]
    moments = [
        Moment(
            batch=batch,
            phase=phase,
            share=dice.uniform(0.0, 0.9),
            pause=dice.uniform(0.0, 1.1 if phase == "users" else 0.2),
            supervisor=next(number) % 4 == 3,
        )
        for batch, phase in zip(places, phases, strict=True)
    ]
    return sorted(moments, key=lambda moment: (PHASES.index(moment.phase), moment.share))


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, start_airflow, recording_sandbox, shop, ledger_url):
    """An Airflow with the shipped backfill, whose waits are seconds."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "halo.yaml").write_text(PLAN, encoding="utf-8")
    (folder / "dags").mkdir()
    text = with_default_args(
        DAG.read_text(encoding="utf-8"),
        '{"retries": 20, "retry_delay": timedelta(seconds=2), "max_retry_delay": timedelta(seconds=2)}',
    )
    (folder / "dags" / DAG.name).write_text(text, encoding="utf-8")
    server = {"host": ledger_url.host, "port": ledger_url.port, "login": ledger_url.username}
    environment = {
        "AIRFLOW__HALO__PLAN": str(folder / "halo.yaml"),
        "AIRFLOW__HALO__BATCH_SIZE": str(BATCH_SIZE),
        "AIRFLOW__HALO__LEDGER_CONN_ID": "ledger",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": shop.url.database}),
        "AIRFLOW_CONN_LEDGER": json.dumps(
            {"conn_type": "postgres", **server, "password": ledger_url.password, "schema": ledger_url.database}
        ),
        # So that a worker that was killed is missed within seconds.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    with recording_sandbox(DELAYS) as halo:
        yield start_airflow(halo, folder / "dags", count=1, environment=environment), folder / "halo.yaml"


@pytest.fixture(scope="module")
def story(airflow, shop, ledger_url) -> Iterator[tuple[list[KilledRun], KilledRun]]:
    """The runs with kills, and one more without any, before which nothing has changed."""
    running, plan_path = airflow
    halo, plan = running.halo, load_plan(plan_path)
    engine = sa.create_engine(ledger_url)
    ledger = Ledger(engine, "ledger")
    plan_ledger = ledger.of_plan(plan.name, HaloSettings(widget_key=KEY, base_url=halo.url))
    dice = random.Random(SEED)
    count = max(2, -(-KILLS // KILLS_OF_A_RUN))
    number = itertools.count()
    runs: list[KilledRun] = []
    with (
        SandboxServer(SandboxConfig(widget_key=KEY, identity_secret=SECRET)) as spared,
        ThreadPoolExecutor(max_workers=1) as thread,
    ):
        settings = HaloSettings(widget_key=KEY, identity_secret=SECRET, base_url=spared.url)
        for index in range(count + 1):
            if 0 < index < count:
                change_everything(shop)
            batches = records_of_batches(shop, plan)
            kills = KILLS * (index + 1) // count - KILLS * index // count if index < count else 0
            moments = moments_of(dice, kills, sum(map(bool, batches)), number)
            halo.sent.clear()
            halo.answered.clear()
            run = KilledRun(running.queue("halo_backfill"), batches, moments)
            running.unpause("halo_backfill")
            # Beside it, while processes start and heartbeats are missed.
            reference = thread.submit(sync_plan, plan, sources=lambda _: shop, settings=settings)
            Executioner(running, halo, ledger, plan_ledger, run).watch()
            reference.result()
            run.digests = (halo.store.digest(), spared.store.digest())
            run.tries = [task["try_number"] for task in running.tasks("halo_backfill", run.run_id, "sync")]
            run.report = running.returned("halo_backfill", run.run_id, "report")
            runs.append(run)
    yield runs[:-1], runs[-1]
    engine.dispose()


def test_after_the_kills_halo_has_what_it_has_without_them(story):
    runs, _ = story
    for run in runs:
        assert (run.state, run.digests[0]) == ("success", run.digests[1])
        assert run.sent.keys() == frozenset().union(*run.batches)
        counted = {scope: run.report[scope]["stored"] + run.report[scope]["unchanged"] for scope in PHASES}
        assert counted == {"companies": TEAMS, "users": USERS, "links": USERS}


def test_each_kill_hit_a_task_that_was_tried_again(story):
    runs, _ = story
    assert sum(len(run.kills) for run in runs) == KILLS
    for run in runs:
        kills = Counter(kill.moment.batch for kill in run.kills)
        assert run.tries == [1 + kills[batch] for batch in range(len(run.batches))]


def test_what_was_acknowledged_is_never_sent_again_and_all_else_that_was_answered_is(story):
    runs, _ = story
    for run in runs:
        for kill in run.kills:
            assert kill.acknowledged <= kill.answered.keys()
            assert run.sent_again(kill) & kill.acknowledged == frozenset()
            assert run.sent_again(kill) == kill.unwritten
        again = sum(len(kill.under_way) + len(kill.not_written_down) for kill in run.kills)
        assert sum(run.sent.values()) == TEAMS + 2 * USERS + again


def test_what_is_sent_again_was_under_way_or_had_just_been_answered(story, capsys):
    runs, _ = story
    kills = [(run, kill) for run in runs for kill in run.kills]
    with capsys.disabled():
        print(f"\n{len(kills)} kills in {len(runs)} runs, seed {SEED}")
        for number, (run, kill) in enumerate(kills, 1):
            print(f"{number:3} {described(run, kill)}")
    for _, kill in kills:
        assert sum(kill.requests.values()) <= IN_FLIGHT
        assert kill.lag < 3  # on a machine that is busy with other things


def described(run: KilledRun, kill: Kill) -> str:
    """A kill in figures, all of them of what was really sent."""
    victim = "task and worker" if kill.moment.supervisor else "task"
    requests = ", ".join(f"{count} {scope}" for scope, count in sorted(kill.requests.items())) or "none"
    requests += f" ({kill.lost} lost)" if kill.lost else ""
    again = run.sent_again(kill)
    lag = f" (the oldest for {kill.lag * 1000:.0f} ms)" if kill.not_written_down else ""
    return (
        f"{victim} of batch {kill.moment.batch} at {kill.progress}; requests under way: {requests}\n"
        f"    acknowledged {len(kill.acknowledged)}, of these sent again {len(again & kill.acknowledged)}; sent again "
        f"{len(again & kill.under_way)} under way + {len(again & kill.not_written_down)} not written down{lag}"
    )


def test_a_run_after_them_finds_nothing_to_send(story):
    _, after = story
    assert (after.state, after.sent, after.tries) == ("success", Counter(), [1] * len(after.batches))
    assert {scope: after.report[scope]["unchanged"] for scope in PHASES} == {
        "companies": TEAMS,
        "users": USERS,
        "links": USERS,
    }
    assert after.report["requests"] == 0
