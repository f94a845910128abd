"""One task with all batches against four at once, each with its share: what four slots of Airflow's pool would gain."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from benchmarks.bench import Bench, Due, WrongWork, command

_MS = 25
_TASKS = 4


def tasks(bench: Bench) -> None:
    """One and four in turn, from a common start to the end of the last one."""
    scale = bench.scale
    size = scale.tasks
    bench.sizes["tasks"] = str(size)
    batch = -(-(size.users + size.companies) // _TASKS)  # companies count in a batch's size, too
    given = {**bench.product(size), "batch_size": batch, "waits": True}
    due = Due.of(size, batch_size=batch)
    bench.warm_up("tasks", "sync", {**given, "waits": False}, due)
    for _ in range(scale.task_rounds):
        for count in (1, _TASKS):
            name = f"tasks_{count}"
            bench.say(name)
            bench.start(_MS)
            found = _at_once(bench, count, given)
            bench.check(name, due, found["requests"])
            bench.passes[name].append(found)


def _at_once(bench: Bench, count: int, given: dict[str, Any]) -> dict[str, Any]:
    """Start so many processes, let them begin together when all have imported, and wait for the last one."""
    started = [
        subprocess.Popen(
            command("share", bench.given({**given, "share": [number, count]})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    began = time.monotonic()
    for one in started:
        assert one.stdin is not None
        one.stdin.write("begin\n")
        one.stdin.flush()
    found = []
    for one in started:
        told, _ = one.communicate()
        if one.returncode:
            raise WrongWork(f"one of {count} tasks ended with exit code {one.returncode}; what it says is above.")
        found.append(json.loads(told.splitlines()[-1]))
    return {
        "seconds": max(one["ended"] for one in found) - began,  # the monotonic clock is the same in all processes
        "cpu_seconds": sum(one["cpu_seconds"] for one in found),
        "megabytes": max(one["megabytes"] for one in found),
        "records": sum(one["records"] for one in found),
        "requests": sum(one["requests"] for one in found),
    }
