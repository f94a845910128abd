"""How long a backfill and a weekly run take, by the size of the product: a calculation over measured costs.

``python -m benchmarks.sizes`` prints the table of SIZES.md, ``--write`` puts it there, ``--check`` holds the calculation
against two real runs on a real Airflow.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, tables
from benchmarks.bench import Bench, WrongWork
from benchmarks.constants import Constants, load
from benchmarks.parts.backfill import airflow
from benchmarks.scale import DEFAULT, Size

PAGE = Path(__file__).parent / "SIZES.md"
USERS_PER_UPDATE = 1_000  # documented
MAX_BATCHES = 1_000  # of a run
BATCH_SIZE = 5_000  # users and companies in a batch, where nothing else is said
USERS_OF_A_COMPANY = 20
_IN_FLIGHT = 8  # of each task, where nothing else is said
_LATENCY = 0.1
_BEGIN, _END = "<!-- made by python -m benchmarks.sizes --write -->", "<!-- end -->"
_CHECKED, _CHECK_BATCH, _CHECK_MS = Size(4_000, 200), 500, 100


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A product and how it is brought to Halo, with a ledger.

    :param slots: of the pool; ``in_flight``: requests at once of a task; ``latency``: seconds that Halo takes to answer.
    :param cores: that the tasks have; None for one each.
    """

    users: int
    companies: int
    slots: int = 4
    in_flight: int = _IN_FLIGHT
    latency: float = _LATENCY
    batch_size: int = BATCH_SIZE
    cores: int | None = None

    @property
    def ranges(self) -> int:
        """Batches that are ranges of companies, about alike."""
        return min(MAX_BATCHES - 1, math.ceil((self.users + self.companies) / self.batch_size))

    @property
    def batches(self) -> int:
        """All batches: one is of users that have no company, and taken to be empty."""
        return self.ranges + 1

    @property
    def rounds(self) -> int:
        """How often the slots are filled."""
        return math.ceil(self.ranges / self.slots)


@dataclass(frozen=True)
class Expected:
    """What a run comes to."""

    requests: int
    seconds: float


def backfill(setting: Setting, costs: Constants, *, links: bool) -> Expected:
    """The first run: everything is sent and written down."""
    users, companies = setting.users, setting.companies
    phases = [
        (companies, companies * (costs.company + costs.remembered)),
        (_full_requests(setting, users), users * (costs.user + costs.remembered)),
        (users if links else 0, users * (costs.link + costs.remembered) if links else 0.0),
    ]
    return _run(setting, costs, phases)


def weekly(setting: Setting, costs: Constants, *, changed: float = 0.01) -> Expected:
    """A run in which a share has changed: all is read, that share is sent. No user has moved, so no link is sent."""
    users, companies = setting.users * changed, math.ceil(setting.companies * changed)
    phases = [
        (companies, setting.companies * costs.known + companies * (costs.company + costs.remembered)),
        (_full_requests(setting, users), setting.users * costs.known + users * (costs.user + costs.remembered)),
    ]
    # Before anything is sent, half of the source is looked at by one task.
    look = (setting.users + setting.companies) * costs.known / 2
    found = _run(setting, costs, phases)
    return Expected(found.requests, found.seconds + look)


def _full_requests(setting: Setting, users: float) -> int:
    """Requests of users/update: each batch sends its own."""
    return setting.ranges * math.ceil(users / setting.ranges / USERS_PER_UPDATE)


def _run(setting: Setting, costs: Constants, phases: list[tuple[int, float]]) -> Expected:
    """Phases follow one another in each batch; each is held up by the answers or by the processor, whichever is slower."""
    seconds = costs.airflow_run + math.ceil(setting.batches / setting.slots) * costs.airflow_task
    for requests, processor in phases:
        waves = requests / setting.ranges / setting.in_flight  # of one batch
        waiting = math.ceil(waves) * setting.latency * setting.rounds
        working = processor / setting.ranges * setting.rounds  # each task with a core of its own
        if setting.cores is not None:
            working = max(working, processor / setting.cores)
        seconds += max(waiting, working)
    return Expected(sum(requests for requests, _ in phases), seconds)


def table(costs: Constants) -> str:
    """The table of the page."""
    lines = [
        [
            *("users", "teams", "batches", "slots", "connections"),
            *("backfill, requests", "minutes", "with links, requests", "minutes", "weekly, requests", "minutes"),
        ]
    ]
    for users in (1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        for slots in (4, 16):
            setting = Setting(users=users, companies=users // USERS_OF_A_COMPANY, slots=slots)
            found = [
                backfill(setting, costs, links=False),
                backfill(setting, costs, links=True),
                weekly(setting, costs),
            ]
            cells = [cell for one in found for cell in (f"{one.requests:,}", _minutes(one.seconds))]
            counts = (users, setting.companies, setting.batches, slots, slots * setting.in_flight)
            lines.append([*(f"{count:,}" for count in counts), *cells])
    return tables.as_markdown(lines)


def page() -> str:
    """SIZES.md with the table of the constants as they are."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table(load())}\n{_END}{after}"


def write() -> None:
    """Put the table into SIZES.md."""
    PAGE.write_text(page(), encoding="utf-8")


def check() -> str:
    """Two real runs on a real Airflow, and what was expected of them: a backfill with links, and a weekly run after it."""
    costs = load()
    setting = Setting(
        users=_CHECKED.users,
        companies=_CHECKED.companies,
        latency=_CHECK_MS / 1_000,
        batch_size=_CHECK_BATCH,
        cores=int(machine.describe()["cores"]),
    )
    with tempfile.TemporaryDirectory(prefix="halo-bench-") as folder, Bench(DEFAULT, Path(folder)) as bench:
        if not bench.has_postgresql("the check"):  # Airflow's own database is kept there
            raise WrongWork(bench.missing["the check"])
        found = airflow(bench, _CHECKED, ms=_CHECK_MS, batch_size=_CHECK_BATCH, name="check", ledger=True)
    lines = [["run", "batches", "requests predicted", "measured", "seconds predicted", "measured"]]
    for name, expected in (
        ("backfill", backfill(setting, costs, links=True)),
        ("weekly", weekly(setting, costs)),
    ):
        one = found[name]
        lines.append(
            [
                name,
                str(one["batches"]),
                f"{expected.requests:,}",
                f"{one['requests']:,}",
                f"{expected.seconds:.1f}",
                f"{one['seconds']:.1f}",
            ]
        )
    return f"{_CHECKED}, answers after {_CHECK_MS} ms, {_CHECK_BATCH} users a batch\n{tables.as_text(lines)}"


def main() -> int:
    """Print, write or check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into SIZES.md")
    parser.add_argument("--check", action="store_true", help="hold the calculation against two real runs")
    asked = parser.parse_args()
    if asked.write:
        write()
    try:
        print(check() if asked.check else table(load()))
    except WrongWork as wrong:
        print(f"Wrong work: {wrong}", file=sys.stderr)
        return 1
    return 0


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
