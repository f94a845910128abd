"""Runs passes, each in a process of its own, and sees that the work of each one has arrived."""

# This process stays small, and imports nothing of what it measures.
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.scale import Scale, Size

if TYPE_CHECKING:
    from typing_extensions import Self

USERS_PER_UPDATE = 1_000  # what one request of users/update takes (documented)
BATCH_SIZE = 5_000  # users in a batch, where nothing else is said
POSTGRESQL = os.environ.get("HALO_TEST_POSTGRESQL", "postgres@127.0.0.1:5432/test")

_PLAN = Path(__file__).parent / "halo.yaml"


class WrongWork(Exception):
    """A pass that has lost records, sent too much, or failed: its time says nothing."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a pass must bring to Halo: each record once.

    :param requests: the fewest that do it, and the most that are no fault.
    """

    users: int = 0
    companies: int = 0
    links: int = 0
    requests: tuple[int, int]

    @classmethod
    def of(cls, size: Size, only: Sequence[str] = (), *, links: bool = False, batch_size: int = 0) -> Due:
        """All of a product, or what is named.

        :param batch_size: each batch may have one request of users that isn't full; 0 for none.
        """
        users = size.users if not only or "users" in only else 0
        companies = size.companies if not only or "companies" in only else 0
        linked = size.users if links else 0
        least = companies + -(-users // USERS_PER_UPDATE) + linked
        batches = (size.users + size.companies) // batch_size + 2 if batch_size else 0
        return cls(users=users, companies=companies, links=linked, requests=(least, least + batches))

    def check(self, name: str, received: dict[str, int], said: int | None) -> None:
        """Hold it against what has come in.

        :param said: requests that the pass says it made; None where it doesn't count.
        :raises WrongWork: with both figures.
        """
        for scope in ("users", "companies", "links"):
            due = getattr(self, scope)
            came, different = received[scope], received[f"different_{scope}"]
            if not came == different == due:
                raise WrongWork(f"{name}: {due:,} {scope} were due, {came:,} came in, {different:,} different ones.")
        least, most = self.requests
        if not least <= received["requests"] <= most:
            raise WrongWork(f"{name}: {least:,} to {most:,} requests were due, {received['requests']:,} came in.")
        if said is not None and said != received["requests"]:
            raise WrongWork(f"{name}: {received['requests']:,} requests came in, and it says it made {said:,}.")


class Bench:
    """The passes of one call and what they measured. A context manager: starts the server, cleans up at the end.

    :param folder: for products and ledgers; somebody else removes it.
    :param lose: so many users of each pass the server forgets, to see that it is noticed.
    :raises WrongWork: from each pass whose work isn't right.
    """

    def __init__(self, scale: Scale, folder: Path, *, lose: int = 0) -> None:
        self.scale = scale
        self.folder = folder
        self.passes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.sizes: dict[str, str] = {}
        self._postgresql = _listens(f"postgresql://{POSTGRESQL}")
        self.missing: dict[str, str] = {}
        self.quotas: list[dict[str, Any]] = []
        self._lose = lose
        self._warm: set[tuple[str, str]] = set()
        self._products: dict[tuple[Size, str], dict[str, Any]] = {}
        self._stack = ExitStack()
        self._databases = 0
        self._began = time.monotonic()
        self.base_url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.halo"]
        server = self._stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert server.stdout is not None
        assert server.stdin is not None
        self._stack.callback(server.stdin.close)  # its standard input ends, and so does it
        self.base_url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def has_postgresql(self, name: str) -> bool:
        """Whether passes can have PostgreSQL; if not, says that they are left out, and why."""
        if not self._postgresql:
            self.missing[name] = "no PostgreSQL listens at HALO_TEST_POSTGRESQL"
            self.say(f"{name} is left out: {self.missing[name]}")
        return self._postgresql

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"{time.monotonic() - self._began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def product(self, size: Size, where: str = "sqlite") -> dict[str, Any]:
        """What a pass is told of a product, which is made on first use.

        :param where: ``sqlite`` or ``postgresql``.
        """
        if (size, where) not in self._products:
            self.say(f"makes a product of {size} in {where}")
            url = self.database(where, "product")
            self.call("make", {"product": url, "users": size.users, "companies": size.companies, "whale": size.whale})
            self._products[size, where] = {"product": url, "plan": str(_PLAN), "users": size.users}
        return self._products[size, where]

    def database(self, where: str, name: str) -> str:
        """The URL of an empty database of our own, which goes at the end."""
        self._databases += 1
        if where == "sqlite":
            return f"sqlite:///{self.folder / f'{name}{self._databases}.db'}"
        server = f"postgresql+psycopg2://{POSTGRESQL}"
        own = f"halo_bench_{os.getpid()}_{name}{self._databases}"
        self.call("ask", {"url": server, "sql": f"CREATE DATABASE {own}"})
        self._stack.callback(self.call, "ask", {"url": server, "sql": f"DROP DATABASE {own} WITH (FORCE)"})
        return f"{server.rpartition('/')[0]}/{own}"

    def measure(self, name: str, task: str, given: dict[str, Any], due: Due | None, *, ms: int = 0) -> dict[str, Any]:
        """Do a pass, see that its work is right, and keep what it measured.

        :param due: None for a pass that sends nothing.
        :param ms: milliseconds that an answer waits.
        """
        self.say(name)
        self.start(ms)
        found = self.call(task, self.given(given))
        self.check(name, due or Due(requests=(0, 0)), found.get("requests"))
        self.passes[name].append(found)
        return found

    def warm_up(self, name: str, task: str, given: dict[str, Any], due: Due | None) -> None:
        """Do a pass that isn't measured, so that code and data are as warm for the first one as for the last.

        Done once for each task and product.
        """
        kind = (task, given["product"])
        if self.scale.warm_up and kind not in self._warm:
            self._warm.add(kind)
            self.measure(f"{name} (warm-up)", task, given, due)
            del self.passes[f"{name} (warm-up)"]

    def given(self, more: dict[str, Any]) -> dict[str, Any]:
        """What a pass is told, with the usual for what isn't said."""
        usual = {"base_url": self.base_url, "ledger": "", "links": False, "only": [], "batch_size": BATCH_SIZE}
        return {**usual, "share": None, "waits": False, **more}

    def start(self, ms: int) -> None:
        """Forget what has come in."""
        self._ask(f"/start?delay={ms / 1000}&lose={self._lose}")

    def check(self, name: str, due: Due, said: int | None) -> None:
        """Hold what has come in against what was due."""
        due.check(name, self._ask("/counts"), said)

    def _ask(self, path: str) -> dict[str, int]:
        with closing(HTTPConnection(urlsplit(self.base_url).netloc)) as connection:
            connection.request("GET", path)
            counts: dict[str, int] = json.load(connection.getresponse())
            return counts

    def call(self, task: str, given: dict[str, Any], module: str = "benchmarks.passes") -> dict[str, Any]:
        """Do one thing in a process of its own, and give what it printed.

        :raises WrongWork: when it fails.
        """
        done = subprocess.run(command(task, given, module), check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise WrongWork(f"{module} {task} ended with exit code {done.returncode}; what it says is above.")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def command(task: str, given: dict[str, Any], module: str = "benchmarks.passes") -> list[str]:
    """The command that does one thing in a process of its own."""
    return [sys.executable, "-m", module, task, json.dumps(given)]


def _listens(url: str) -> bool:

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5432), timeout=2).close()
    except OSError:
        return False
    return True
