"""Whatever happens in whatever order: after one clean run Halo has what the database has, and a further run sends nothing.

Runs of parts and of all, runs under faults, runs killed for real, two runs at once, changes of the product's data and of
the plan, and somebody else who writes to Halo. What they leave behind is held against a Halo that is new and is sent
everything.

HALO_LONG=1000 makes so many examples of twice the length.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from airflow_provider_halo.exceptions import DeliveryStopped
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import Fault
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.sync.run import sync_plan
from airflow_provider_halo.sync.stopped import SyncStopped

LONG = int(os.environ.get("HALO_LONG", "0"))
SECRET = "ha_secret_for_tests_that_is_long_enough"
SCRIPT = Path(__file__).with_name("killed_run.py")

# Few of everything, so that values come back, and rules meet each other's records.
TEAMS = st.sampled_from((1, 2, 3))
USERS = st.sampled_from((11, 12, 13, 14))
NAMES = st.sampled_from(("A", "B"))
PLANS = st.sampled_from(("pro", "free", None))
COUNTS = st.integers(0, 2)
TEAM_OF_A_USER = st.sampled_from((1, 2, 3, None, 99))  # 99: a team that the companies query never gives
PARTS = st.sampled_from(
    (
        (),
        (),
        (),
        ("companies",),
        ("companies.traits",),
        ("companies.context.metrics",),
        ("users",),
        ("users.traits",),
        ("users.context.activity",),
        ("links",),
        ("users", "links"),
        ("companies.traits", "users.context.activity", "links"),
    )
)
OPTIONS = st.fixed_dictionaries(
    {"only": PARTS},
    optional={
        "full": st.booleans(),
        "retry_rejected": st.booleans(),
        "batch_size": st.sampled_from((2, 5_000)),
        "jobs": st.sampled_from((1, 2)),
    },
)
WHICH = st.sampled_from(
    ({}, {"nth": 1}, {"nth": 2}, {"nth": 3}, {"every": 2}, {"every": 2, "first": 2}, {"every": 3}, {"first": 3})
)
FAULTS = st.lists(
    st.builds(
        lambda kind, which, path: Fault(**kind, **which, path=path),
        st.sampled_from(
            (
                {"kind": "status", "status": 500},
                {"kind": "status", "status": 503, "when": "after"},
                {"kind": "reset", "when": "before"},
                {"kind": "reset", "when": "during"},
                {"kind": "reset", "when": "after"},
                {"kind": "truncate"},
                {"kind": "delay", "seconds": 0.02},
            )
        ),
        WHICH,
        st.sampled_from(("", "companies/identify", "users/update")),
    ),
    min_size=1,
    max_size=2,
)
POISONED = st.lists(
    st.sampled_from(
        # The end of a company's own body, which a link to it hasn't; a user anywhere in its request; a user's link.
        tuple(Fault(kind="status", status=400, contains=f'"company_id":"{team}"}}') for team in (1, 2, 3))
        + tuple(
            Fault(kind="status", status=400, contains=f'"user_id":"{user}"', path=path)
            for user in (11, 12, 13)
            for path in ("users/update", "companies/identify")
        )
    ),
    min_size=1,
    max_size=2,
    unique=True,
)
# A run that sends two batches begins some 25 transactions; half of them write.
MOMENTS = st.one_of(
    st.tuples(st.sampled_from(("begin", "end")), st.integers(5, 25)),
    st.tuples(st.just("commit"), st.integers(1, 14)),
    st.tuples(st.sampled_from(("request", "sent", "answer")), st.integers(1, 8)),
)
TRANSACTIONS = st.integers(5, 20)  # from where a run has begun to about where its last answers are written down
SOMEBODY_ELSES = st.tuples(st.sampled_from(("companies", "users", "links")), TEAMS, USERS, NAMES)


@contextmanager
def killers() -> Iterator[Callable[[dict[str, Any]], str]]:
    """The process that makes runs which are killed; gives how a run ended."""
    with subprocess.Popen(
        [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def order(run: dict[str, Any]) -> str:
            process.stdin.write(json.dumps(run) + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield order
        process.stdin.close()


class World:
    """What outlives an example: servers, the process of the killed runs, the product's tables."""

    def __init__(self, app: Any, fresh: SandboxServer, kill: Callable[[dict[str, Any]], str]) -> None:
        self.app = app
        self.fresh = fresh
        self.kill = kill
        self.examples = 0
        sa.event.listen(app.engine, "connect", _hurry)
        with app.engine.begin() as connection:
            # So that a change and a run that reads don't wait for each other.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def begin(self) -> None:
        self.examples += 1
        if LONG and self.examples % 20 == 0:
            print(f"{self.examples} examples", flush=True)
        app = self.app
        self.execute("DELETE FROM teams", "DELETE FROM users", "DELETE FROM forms")
        app.server.store.reset()
        app.server.faults.set([])
        self.ledger_url = f"sqlite:///{app.folder / f'ledger-{self.examples}.db'}"
        self.ledger_engine = sa.create_engine(self.ledger_url)
        app.ledger = Ledger(self.ledger_engine, "ledger", patience=5)

    def end(self) -> None:
        self.ledger_engine.dispose()

    def execute(self, *statements: str) -> None:
        with self.app.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the product's tables hold."""
        with self.app.engine.connect() as connection:
            return {
                table: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")]
                for table in ("teams", "users", "forms")
            }

    def put_back(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        self.execute(*(f"DELETE FROM {table}" for table in rows))
        self.app.fill(**rows)

    def run_and_kill(
        self,
        moment: tuple[str, int],
        *,
        batch_size: int = 5_000,
        jobs: int = 1,  # the process that is killed needs no more
        only: Sequence[str] = (),
        **options: bool,
    ) -> str:
        """A run that is killed at some moment, if it comes to that; gives how it ended."""
        app = self.app
        app.runs += 1
        return self.kill(
            {
                "product": str(app.engine.url),
                "ledger": self.ledger_url,
                "plan": str(app.plan.path),
                "settings": asdict(app.settings),
                "batch_size": batch_size,
                "options": {"only": only, **options},
                "whole": not only,
                "key": f"run {app.runs}",
                "moment": moment[0],
                "number": moment[1],
            }
        )

    def wait_until_quiet(self) -> None:
        """Let what a run left on its way arrive: no client can tell when that is, and none could do anything about it."""
        for _ in range(2):
            with urllib.request.urlopen(f"{self.app.server.root}/_sandbox/requests", timeout=5) as answer:
                answer.read()
            while self.app.server.requests.describe()["in_flight"]:
                time.sleep(0.002)


def _hurry(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")


class AnyInterleaving(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.app = self.world.app
        self.world.begin()
        self.label, self.type = "Metrics", "metric"
        self.without: frozenset[str] = frozenset()
        self.nulls = "send"
        self._plan()
        self.before = self.world.rows()

    # The product's data.

    @initialize(teams=st.lists(st.tuples(TEAMS, NAMES, PLANS)), users=st.lists(st.tuples(USERS, TEAM_OF_A_USER, NAMES)))
    def begin(self, teams, users):
        for team in teams:
            self.put_team(*team)
        for user in users:
            self.put_user(*user, visits=0)

    @rule(team=TEAMS, name=NAMES, plan=PLANS)
    def change_a_team(self, team, name, plan):
        self.before = self.world.rows()
        self.put_team(team, name, plan)

    @rule(user=USERS, team=TEAM_OF_A_USER, name=NAMES, visits=COUNTS)
    def change_a_user(self, user, team, name, visits):
        self.before = self.world.rows()
        self.put_user(user, team, name, visits)

    @rule(team=TEAMS, count=COUNTS)
    def change_forms(self, team, count):
        self.world.execute(
            f"DELETE FROM forms WHERE team_id = {team}",
            *(f"INSERT INTO forms (team_id) VALUES ({team})" for _ in range(count)),
        )

    @rule(table=st.sampled_from(("teams", "users")), team=TEAMS, user=USERS)
    def delete(self, table, team, user):
        self.world.execute(f"DELETE FROM {table} WHERE id = {team if table == 'teams' else user}")

    @rule()
    def bring_the_data_back_to_what_a_run_began_with(self):
        """Or to what was there before the last change: what a fingerprint that is wrong takes for sent."""
        self.world.put_back(self.before)

    def put_team(self, team, name, plan):
        value = "NULL" if plan is None else f"'{plan}'"
        self.world.execute(f"INSERT OR REPLACE INTO teams VALUES ({team}, '{name}', {value})")

    def put_user(self, user, team, name, visits):
        value = "NULL" if team is None else team
        self.world.execute(f"INSERT OR REPLACE INTO users VALUES ({user}, {value}, '{name}', 'e', {visits})")

    # The plan.

    @rule(
        label=st.sampled_from(("Metrics", "Product Metrics")),
        type_=st.sampled_from(("metric", "status")),
        without=st.frozensets(st.sampled_from(("metrics", "activity", "plan", "empty")), max_size=2),
        nulls=st.sampled_from(("send", "omit")),
    )
    def change_the_plan(self, label, type_, without, nulls):
        self.label, self.type, self.without, self.nulls = label, type_, without, nulls
        self._plan()

    def _plan(self):
        metrics = f"""\
  context:
    metrics:
      label: {self.label}
      type: {self.type}
      sql: SELECT team_id, COUNT(*) AS forms FROM forms GROUP BY team_id
      empty: {"omit" if "empty" in self.without else "{forms: 0}"}
"""
        activity = """\
  context:
    activity:
      label: Activity
      type: status
      sql: SELECT id AS user_id, team_id, visits FROM users
"""
        self.app.use_plan(
            f"""\
version: 1
source: app
nulls: {self.nulls}
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name{"" if "plan" in self.without else ", plan"} FROM teams
{"" if "metrics" in self.without else metrics}users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name FROM users
{"" if "activity" in self.without else activity}"""
        )

    # Runs.

    @rule(options=OPTIONS)
    def run(self, options):
        self._sync(options)

    @rule(options=OPTIONS, faults=FAULTS)
    def run_under_faults(self, options, faults):
        with self._faults(faults):
            self._sync(options)

    @rule(options=OPTIONS, poisoned=POISONED)
    def run_with_records_that_halo_refuses(self, options, poisoned):
        with self._faults(poisoned):
            self._sync(options)

    @rule(options=OPTIONS, moment=MOMENTS, faults=st.one_of(st.just([]), FAULTS))
    def run_that_is_killed(self, options, moment, faults):
        with self._faults(faults):
            ended = self.world.run_and_kill(moment, **{**options, "only": self._known(options["only"])})
        assert ended in ({"done", "killed", "error"} if faults else {"done", "killed"})

    @rule(
        options=OPTIONS,
        others=OPTIONS,
        at=TRANSACTIONS,
        user=USERS,
        team=TEAM_OF_A_USER,
        name=NAMES,
        faults=st.one_of(st.just([]), st.just([Fault(kind="reset", when="after")]), FAULTS),
        back=st.booleans(),
    )
    def run_that_another_overtakes(self, options, others, at, user, team, name, faults, back):
        """Before one of its transactions the data changes, and a whole other run comes and goes."""
        a_team = user - 10 if user < 14 else 1
        # So that both runs have the same records to send, each otherwise.
        self.put_user(user, team, name, visits=2)
        self.put_team(a_team, name, "free")
        self.before = self.world.rows()

        def overtake():
            self.put_user(user, team, name, visits=1)
            self.put_team(a_team, name, "pro")
            self._sync(others)
            self.app.server.faults.set(faults)

        with self._meanwhile(at, overtake), self._faults([]):
            self._sync(options)
        if back:
            self.world.put_back(self.before)

    @rule(options=OPTIONS, at=TRANSACTIONS, written=SOMEBODY_ELSES)
    def run_while_somebody_else_writes(self, options, at, written):
        with self._meanwhile(at, lambda: self.somebody_else_writes(written)):
            self._sync(options)

    @rule(some=st.tuples(OPTIONS, OPTIONS))
    def two_runs_at_once(self, some):
        failures = []

        def sync(options):
            try:
                self._sync(options)
            except Exception as error:  # noqa: BLE001 (raised in the test's own thread)
                failures.append(error)

        threads = [threading.Thread(target=sync, args=[options]) for options in some]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    @rule(written=SOMEBODY_ELSES)
    def somebody_else_writes(self, written):
        scope, team, user, name = written
        store = self.app.server.store
        if scope == "links":
            store.identify_company(str(team), {}, str(user))
        elif scope == "companies":
            store.identify_company(str(team), {"traits": {"name": name, "plan": "theirs"}}, None)
        else:
            entry = {"label": "Theirs", "value": 1}
            store.update_users(
                [(str(user), {"traits": {"name": name}, "context": {"activity": entry}})], update_only=False
            )
        self.app.ledger.forget(self.app.settings, scope, [str(team if scope == "companies" else user)])

    # What must hold.

    @rule()
    def halo_has_it_all_after_a_clean_run(self):
        app = self.app
        report = app.sync(force=True, retry_rejected=True)
        assert (report.total("rejected"), report.total("failed")) == (0, 0)
        assert app.sync(force=True).requests == 0
        self.world.fresh.store.reset()
        elsewhere = replace(app.settings, base_url=self.world.fresh.url)
        sync_plan(app.plan, sources=app.sources, settings=elsewhere)
        assert differences(app.server.store, self.world.fresh.store) == []

    def teardown(self):
        try:
            self.halo_has_it_all_after_a_clean_run()
        finally:
            self.world.end()

    def _known(self, only):
        """The parts that the plan has, of those that were asked for."""
        gone = {"companies.context.metrics": "metrics", "users.context.activity": "activity"}
        return tuple(part for part in only if gone.get(part) not in self.without)

    def _sync(self, options):
        try:
            self.app.sync(force=True, **{**options, "only": self._known(options["only"])})
        except SyncStopped as stopped:
            if not isinstance(stopped.cause, DeliveryStopped):
                raise
            self.world.wait_until_quiet()

    @contextmanager
    def _faults(self, faults):
        self.app.server.faults.set(faults)
        try:
            yield
            self.world.wait_until_quiet()
        finally:
            self.app.server.faults.set([])

    @contextmanager
    def _meanwhile(self, number, work):
        """Do something before a run's so-many-th transaction with the ledger, in the thread that is about to begin it."""
        left = number
        lock = threading.Lock()

        def count(*_):
            nonlocal left
            with lock:
                left -= 1
                due = left == 0
            if due:
                work()

        sa.event.listen(self.world.ledger_engine, "checkout", count)
        try:
            yield
        finally:
            sa.event.remove(self.world.ledger_engine, "checkout", count)


def differences(store, wanted) -> list[str]:
    """What a Halo lacks, or has otherwise than it is wanted. What it has beside that is of earlier plans, or of others."""
    found = []
    for scope, one in (("companies", "company"), ("users", "user")):
        for key in wanted.find(scope):
            due, has = getattr(wanted, one)(key), getattr(store, one)(key)
            if has is None:
                found.append(f"{one} {key} isn't there")
                continue
            for part in ("traits", "context"):
                for name, value in due[part].items():
                    if name not in has[part] or has[part][name] != value:
                        found.append(f"{one} {key}: {part}.{name} is {has[part].get(name)}, not {value}")
            if due.get("company_id") is not None and due["company_id"] != has["company_id"]:
                found.append(f"{one} {key} is linked to {has['company_id']}, not to {due['company_id']}")
    return found


@pytest.fixture
def world(app_of) -> Iterator[World]:
    # A budget that ends after a repetition or two, so that runs under faults also fail.
    app = app_of(max_retry_seconds=0.05, max_in_flight=3)
    with SandboxServer(SandboxConfig(identity_secret=SECRET)) as fresh, killers() as kill:
        yield World(app, fresh, kill)


@pytest.mark.parametrize("moment", ["commit", "sent", "answer"])
def test_a_run_that_is_killed_at_any_moment_is_made_good_by_the_next_one(world, moment):
    app, store = world.app, world.app.server.store
    for number in range(1, 30):
        world.begin()
        app.fill(teams=[(1, "A", "pro"), (2, "A", "pro")], users=[(11, 1, "A", "e", 0), (12, 2, "A", "e", 0)])
        app.sync()
        world.execute("UPDATE teams SET name = 'B'", "UPDATE users SET name = 'B', team_id = 1")
        ended = world.run_and_kill((moment, number))
        world.wait_until_quiet()
        # Back to what the ledger had before: the values that a stale fingerprint would let pass.
        world.execute("UPDATE teams SET name = 'A'", "UPDATE users SET name = 'A', team_id = id - 10")
        app.sync()
        names = [store.company(key)["traits"]["name"] for key in ("1", "2")]
        names += [store.user(key)["traits"]["name"] for key in ("11", "12")]
        assert (names, [store.user(key)["company_id"] for key in ("11", "12")]) == (["A"] * 4, ["1", "2"])
        assert app.sync().requests == 0
        world.end()
        if ended == "done":
            break
        assert ended == "killed"
    # A run of two companies, two users and a moved link has at least so many such moments.
    assert (ended, number > 3) == ("done", True)


def test_after_a_clean_run_halo_has_it_all_whatever_was_before(world):
    run_state_machine_as_test(
        type("Machine", (AnyInterleaving,), {"world": world}),
        settings=settings(
            max_examples=LONG or 25,
            stateful_step_count=30 if LONG else 15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Not made shorter: that takes minutes, and what hangs on the timing of threads doesn't hold still for it.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            report_multiple_bugs=False,
            print_blob=True,
        ),
    )
