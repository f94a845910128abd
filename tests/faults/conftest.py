"""One trial of a fault: the same product brought to a sandbox that misbehaves, and what that cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from product import PLAN, SECRET, App, open_product

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.sandbox.request_log import Call
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.run import close_run
from airflow_provider_halo.sync.stopped import SyncStopped

# A user whose e-mail is `bad` has a moment that is a number: the client sends it with a warning, the server refuses it.
MOMENTS = PLAN.replace(
    "sql: SELECT id AS user_id, team_id, name, email FROM",
    "types: warn\n    sql: SELECT id AS user_id, team_id, name, email, CASE WHEN email = 'bad' THEN 17 END AS signed_up_at FROM",
)
TABLE = pytest.StashKey[list[tuple[str, ...]]]()


@dataclass
class Trial:
    """A run and its end.

    :param requests: what the client sent; `arrived` is what the server saw, which is less where nobody listened.
    :param error: what ended it early.
    """

    report: Report
    error: HaloError | None
    digest: str
    calls: list[Call]

    @property
    def requests(self) -> int:
        return self.report.requests

    @property
    def arrived(self) -> int:
        return len(self.calls)

    def path(self, name: str) -> list[str]:
        """Results of the calls of one path, in their order."""
        return [call.result for call in self.calls if call.path == name]


@dataclass
class Lab:
    """A product that trials are made with. Its database is only read, so trials share it."""

    folder: Path
    products: Callable[..., Any]
    rows: list[tuple[str, ...]]
    _open: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Stop its sandboxes and close its ledgers."""
        self._open.close()

    def app(
        self,
        *,
        teams: int = 8,
        users: int = 24,
        bad: Sequence[int] = (),
        without: int | None = None,
        sandbox: Any = None,
        **settings: Any,
    ) -> App:
        """An empty sandbox that behaves as ``sandbox`` says, and this many teams and users to bring there."""
        config = SandboxConfig(**{"identity_secret": SECRET, **(sandbox or {})})
        server = self._open.enter_context(SandboxServer(config))
        given = {"widget_key": "ab_live_sandbox", "identity_secret": SECRET, "base_url": server.url, **settings}
        app = App(self.products(teams, users, frozenset(bad), without), self.folder, server, HaloSettings(**given))
        app.use_plan(MOMENTS)
        return app

    def remembering(self, app: App) -> App:
        """The same, with a ledger."""
        app.with_ledger()
        self._open.callback(app.ledger_engine.dispose)
        return app

    def run(self, app: App, *, faults: Sequence[str] = (), outage: float = 0.0, **options: Any) -> Trial:
        """Sync once under these faults; ``outage``: nobody listens for so many seconds, from the 20th call on."""
        app.server.faults.set([parse_fault(fault) for fault in faults])
        seen = len(app.server.requests.calls())
        error: HaloError | None = None
        with Outage(app.server, seen + 20, outage):
            try:
                report = app.sync(**options)
            except SyncStopped as stopped:
                report, error = stopped.report, stopped.cause
        if app.last_run is not None:
            close_run(app.last_run, report, reason=str(error) if error else None)
        app.server.faults.set([])
        settle(app.server)
        return Trial(report, error, app.server.store.digest(), app.server.requests.calls()[seen:])

    def note(self, fault: str, base: int, calls: str, extra: str, end: str = "same state") -> None:
        """A line of the table."""
        self.rows.append((fault, str(base), calls, extra, end))


class Outage:
    """Stops a sandbox at its so-many-th call and starts it again, while the ``with`` block goes on."""

    def __init__(self, server: SandboxServer, at: int, seconds: float) -> None:
        self._server = server
        self._at = at
        self._seconds = seconds
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> None:
        if self._seconds:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._seconds:
            self._thread.join()

    def _play(self) -> None:
        while self._server.requests.describe()["total"] < self._at:
            time.sleep(0.002)
        self._server.stop()
        time.sleep(self._seconds)
        self._server.start()


def settle(server: SandboxServer) -> None:
    """Wait for calls that the client has given up and the server is still at."""
    while server.requests.describe()["in_flight"]:
        time.sleep(0.01)


@pytest.fixture(scope="session")
def _products(tmp_path_factory) -> Iterator[Callable[..., Any]]:
    """A database for each size; of the ``bad`` users none can be stored, and the one ``without`` isn't there."""
    made: dict[Any, Any] = {}
    lock = threading.Lock()

    def give(*key: Any) -> Any:
        with lock:
            return engine_of(key, *key)

    def engine_of(key: Any, teams: int, users: int, bad: frozenset[int], without: int | None) -> Any:
        if key not in made:
            folder = tmp_path_factory.mktemp("product")
            made[key] = open_product(f"sqlite:///{folder / 'app.db'}")
            App(made[key], folder, None, None).fill(
                teams=[(team, f"Team {team}", "pro") for team in range(1, teams + 1)],
                # The users of a team are neighbours, so that batches are even.
                users=[
                    (user, (user - 1) * teams // users + 1, f"User {user}", "bad" if user in bad else f"e{user}", user)
                    for user in range(1, users + 1)
                    if user != without
                ],
                forms=[(form, form % teams + 1) for form in range(1, 3 * teams)],
            )
        return made[key]

    yield give
    for engine in made.values():
        engine.dispose()


@pytest.fixture(scope="session")
def _rows(request) -> list[tuple[str, ...]]:
    return request.config.stash.setdefault(TABLE, [])


@pytest.fixture(scope="session")
def lab_of(tmp_path_factory, _products, _rows) -> Callable[[], Lab]:
    """Makes a place for one trial."""
    return lambda: Lab(tmp_path_factory.mktemp("trial"), _products, _rows)


@pytest.fixture
def lab(lab_of) -> Iterator[Lab]:
    with closing(lab_of()) as lab:
        yield lab


@pytest.fixture(scope="session")
def undisturbed(lab_of) -> Callable[..., Trial]:
    """The run that a trial is held against, made once for each size."""
    known: dict[str, Trial] = {}
    lock = threading.Lock()

    def give(*, options: dict[str, Any] | None = None, **size: Any) -> Trial:
        key = repr((sorted(size.items()), sorted((options or {}).items())))
        with lock:
            if key not in known:
                with closing(lab_of()) as lab:
                    known[key] = lab.run(lab.app(**size), **(options or {}))
                assert (known[key].error, known[key].report.retries) == (None, 0)
            return known[key]

    return give


def pytest_terminal_summary(terminalreporter, config) -> None:
    """The table, where somebody asked to see what tests print: ``make fault-table``, or ``pytest -s tests/faults``."""
    rows = config.stash.get(TABLE, [])
    if not rows or config.getoption("capture") != "no":
        return
    rows = [("fault", "calls without", "with", "extra", "end"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    terminalreporter.section("what each fault costs")
    for row in rows:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
