"""What the ledger costs and what it saves: passes over a product's data, held against the least that anybody must do.

`benchmarks/README.md` says what each figure means. Run by ``make bench-ledger``.
"""

# This process stays small, and imports nothing of what it measures: a pass that it starts begins with its peak memory.
from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

POSTGRESQL = os.environ.get("HALO_TEST_POSTGRESQL", "postgres@127.0.0.1:5432/test")
USERS_PER_UPDATE = 1_000  # what one request of users/update takes (documented)
_PASSES = {
    "floor": "floor: read, build, encode, hash",
    "reading": "reading, with all checks",
    "everything": "everything sent, no ledger",
    "first": "everything sent, first with a ledger",
    "warm": "nothing changed",
    "changed": "1 % changed",
}


class Bench:
    """The passes of one call, each in a process of its own, and what they measured.

    :param given: what every pass is told.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.measured: dict[str, list[dict[str, Any]]] = {name: [] for name in _PASSES}

    def run(self, task: str, **more: Any) -> dict[str, Any]:
        """Do one thing in a process of its own, and give what it printed."""
        return call(task, {**self.given, **more})

    def measure(self, name: str, task: str, **more: Any) -> dict[str, Any]:
        """Do a pass and keep what it measured."""
        print(f"  {_PASSES[name]} …", file=sys.stderr)
        found = self.run(task, **more)
        self.measured[name].append(found)
        return found

    def round(self, number: int, ledger: str) -> None:
        """Each pass once, with a ledger that has nothing yet."""
        self.measure("everything", "sync")
        self.measure("first", "sync", ledger=ledger)
        for name, task in (("floor", "floor"), ("reading", "reading"), ("warm", "sync")):
            found = self.measure(name, task, ledger=ledger if task == "sync" else "")
            if name == "warm" and found["requests"]:
                raise SystemExit(f"Nothing had changed, and {found['requests']} requests were made.")
        changes = self.run("change", time=number)
        found = self.measure("changed", "sync", ledger=ledger)
        sent = {scope: found[f"{scope}_stored"] for scope in changes}
        if sent != changes:
            raise SystemExit(f"{changes} had changed, and {sent} were sent.")
        found["least_requests"] = changes["companies"] + -(-changes["users"] // USERS_PER_UPDATE)

    def table(self) -> str:
        """The figures for people: medians, and the range of the seconds."""
        heads = f"{'seconds':>9}{'range':>15}{'records/s':>11}{'x floor':>9}{'CPU s':>8}{'x floor':>9}{'peak MB':>9}"
        lines = [f"{'':<38}{heads}{'requests':>10}"]
        for name, title in _PASSES.items():
            of_all = [found["seconds"] for found in self.measured[name]]
            seconds, processor = self._median(name, "seconds"), self._median(name, "cpu_seconds")
            extent = f"{min(of_all):.2f}-{max(of_all):.2f}"
            rate = self.measured[name][0]["records"] / seconds
            lines.append(
                f"{title:<38}{seconds:>9.2f}{extent:>15}{rate:>11,.0f}{seconds / self._median('floor', 'seconds'):>9.2f}"
                f"{processor:>8.2f}{processor / self._median('floor', 'cpu_seconds'):>9.2f}"
                f"{self._median(name, 'megabytes'):>9.1f}{self.measured[name][0].get('requests', ''):>10}"
            )
        changed = self.measured["changed"][0]
        writing = self._median("first", "seconds") / self._median("everything", "seconds")
        lines.append(
            f"1 % changed: {changed['requests']} requests; {changed['least_requests']} would do if batches were no limit"
        )
        lines.append(f"writing the ledger: a first run takes {writing:.2f} times what it takes without one")
        return "\n".join(lines)

    def _median(self, name: str, what: str) -> float:
        return float(statistics.median(found[what] for found in self.measured[name]))


def call(task: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do one thing of `benchmarks.passes` in a process of its own, and give what it printed."""
    command = [sys.executable, "-m", "benchmarks.passes", task, json.dumps(given)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def halo() -> Iterator[str]:
    """A Halo that says yes, in a process of its own: its base URL."""
    command = [sys.executable, "-m", "benchmarks.halo"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.communicate()  # its standard input ends, and so does it


@contextmanager
def new_ledger(kind: str, folder: Path, number: int) -> Iterator[str]:
    """A database for a ledger: its URL."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'ledger{number}.db'}"
        return
    server = f"postgresql+psycopg2://{POSTGRESQL}"
    name = f"halo_bench_{os.getpid()}_{number}"
    call("ask", {"url": server, "sql": f"CREATE DATABASE {name}"})
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        call("ask", {"url": server, "sql": f"DROP DATABASE {name}"})


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.ledger", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000, help="of the product; a company has 50 of them")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite", help="where the ledger is kept")
    parser.add_argument("--links", action="store_true", help="link users to their companies, too: a request each")
    parser.add_argument("--repeat", type=int, default=1, help="measure all that so often, and give medians")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halo-bench-")))
        base_url = stack.enter_context(halo())
        bench = Bench({"folder": str(folder), "base_url": base_url, "ledger": "", "links": asked.links})
        bench.run("make", users=asked.users)
        for number in range(1, asked.repeat + 1):
            print(f"round {number} of {asked.repeat}", file=sys.stderr)
            with new_ledger(asked.ledger, folder, number) as ledger:
                bench.round(number, ledger)
    print(f"{asked.users:,} users, ledger in {asked.ledger}, links {'on' if asked.links else 'off'}")
    print(bench.table())
    if asked.json is not None:
        about = {"python": platform.python_version(), "users": asked.users, "ledger": asked.ledger}
        asked.json.write_text(json.dumps({**about, "links": asked.links, "passes": bench.measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
