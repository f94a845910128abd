"""How well a quota is used that nobody publishes: the sandbox keeps one, and senders that know nothing of it go at it."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.request import urlopen

from benchmarks.bench import Bench, WrongWork

_SENDER = [sys.executable, "-m", "benchmarks.sender"]
_AWAY = 30.0  # seconds in which the sandbox must answer


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of quota.

    :param words: the sandbox's.
    :param per_second: requests that it lets through.
    :param burst: how many more at the start; ``window``: seconds of a fixed one, which gives all at its start.
    :param senders: processes at once.
    :param times: as long as the others take.
    :param least: share of what it lets through that is to be used, and ``refused``: of the requests that may be refused.
    """

    name: str
    words: str
    per_second: float
    least: float
    refused: float
    burst: float = 0
    window: float = 0
    senders: int = 1
    times: float = 1

    def available(self, seconds: float) -> float:
        """Requests that it lets through in so many seconds, at most."""
        if self.window:
            seconds = math.ceil(seconds / self.window) * self.window
        return self.per_second * seconds + self.burst


KINDS = (
    Kind(name="200/s, burst 10", words="--quota 200/s --burst 10", per_second=200, burst=10, least=0.9, refused=0.03),
    Kind(
        name="1000/s, burst 100",
        words="--quota 1000/s --burst 100",
        per_second=1000,
        burst=100,
        least=0.9,
        refused=0.03,
    ),
    Kind(name="200/s, burst 1", words="--quota 200/s --burst 1", per_second=200, least=0.6, refused=0.03),
    Kind(name="20/s, burst 1", words="--quota 20/s --burst 1", per_second=20, least=0.7, refused=0.15),
    Kind(
        name="200/s, burst 100, Retry-After: 1",
        words="--quota 200/s --burst 100 --retry-after seconds",
        per_second=200,
        burst=100,
        least=0.6,
        refused=0.03,
    ),
    Kind(
        name="200/s, burst 200, Retry-After as a date",
        words="--quota 200/s --burst 200 --retry-after date",
        per_second=200,
        burst=200,
        least=0.9,
        refused=0.03,
    ),
    Kind(name="600 in 10 s", words="--quota 600/10s", per_second=60, window=10, least=0.85, refused=0.04, times=3),
    Kind(
        name="600 in 10 s, Retry-After",
        words="--quota 600/10s --retry-after seconds",
        per_second=60,
        window=10,
        least=0.85,
        refused=0.04,
        times=3,
    ),
    Kind(
        name="4 at once",
        words="--at-once 4 --fault delay:seconds=0.02",
        per_second=4 / 0.022,  # what a request takes here beside the 20 ms
        least=0.7,
        refused=0.04,
    ),
    Kind(
        name="200/s, burst 10, four processes",
        words="--quota 200/s --burst 10",
        per_second=200,
        burst=10,
        senders=4,
        least=0.7,
        refused=0.04,
    ),
)


def quota(bench: Bench) -> None:
    """Each kind of quota once: what is used of it, what is refused, and how evenly several senders share it."""
    for kind in KINDS[: bench.scale.quotas]:
        bench.say(f"quota: {kind.name}")
        bench.quotas.append(_measured(kind, kind.times * bench.scale.quota_seconds))


def _measured(kind: Kind, seconds: float) -> dict[str, object]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "airflow_provider_halo",
        "sandbox",
        "--quiet",
        "--port",
        str(port),
        *kind.words.split(),
    ]
    sandbox = subprocess.Popen(command)
    try:
        _wait_for(port)
        sent = _senders(port, kind.senders, seconds)
        stored = _state(port)["companies"]
    finally:
        sandbox.terminate()
        sandbox.wait()
    passed = [report["passed"] for report in sent]
    if stored != sum(report["companies"] for report in sent):
        raise WrongWork(f"{kind.name}: {stored:,} companies are stored, not those that senders were told of.")
    took = max(report["seconds"] for report in sent)
    requests = sum(report["requests"] for report in sent)
    return {
        "quota": kind.name,
        "passed": sum(passed),
        "used": sum(passed) / kind.available(took),
        "least_used": kind.least,
        "refused": sum(report["throttled"] for report in sent) / requests,
        "most_refused": kind.refused,
        "evenness": sum(passed) ** 2 / (len(passed) * sum(count**2 for count in passed)),
    }


def _senders(port: int, count: int, seconds: float) -> Sequence[dict[str, float]]:
    words = [f"http://127.0.0.1:{port}/api/sdk", str(seconds)]
    senders = [
        subprocess.Popen([*_SENDER, *words, str(number)], stdout=subprocess.PIPE, text=True) for number in range(count)
    ]
    return [json.loads(sender.communicate()[0]) for sender in senders]


def _state(port: int) -> dict[str, int]:
    with urlopen(f"http://127.0.0.1:{port}/_sandbox/state") as answer:
        state: dict[str, int] = json.load(answer)
    return state


def _wait_for(port: int) -> None:
    end = time.monotonic() + _AWAY
    while time.monotonic() < end:
        try:
            _state(port)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise WrongWork(f"The sandbox doesn't answer on port {port} ({os.uname().sysname}).")
