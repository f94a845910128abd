"""One pass over the product, in a process of its own, so that its imports are fresh and its peak memory is its own.

Called by `benchmarks.bench`; prints what it measured as one line of JSON.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2  # noqa: F401 (what a pass imports anyway is imported before it begins)
import sqlalchemy as sa
import sqlalchemy.dialects.postgresql.psycopg2
import sqlalchemy.dialects.sqlite

from airflow_provider_halo.api.tokens import bulk_token, user_token
from benchmarks import product
from benchmarks.floors import Sending, hash_all
from benchmarks.work import IDENTITY_SECRET, Work


def peak_megabytes() -> float:
    """Most memory that this process has had."""
    try:
        # Of this program alone: what `getrusage` tells begins with the peak of the process that started it.
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:  # no Linux
        found = None
    if found:
        return int(found[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20) if sys.platform == "darwin" else most / 1024


def measured(todo: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do a pass: how long it took, and what memory it took above what the imports had taken."""
    before, began, cpu = peak_megabytes(), time.monotonic(), time.process_time()
    found = todo()
    ended = time.monotonic()
    return {
        "seconds": ended - began,
        "ended": ended,
        "cpu_seconds": time.process_time() - cpu,
        "megabytes": peak_megabytes() - before,
        **found,
    }


def prepared(name: str, given: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """A pass that is ready to begin: nothing of its work has been done yet, but for a floor's tokens."""
    if name == "floor":
        now = time.time()
        users = range(1, given["users"] + 1) if given["links"] else ()
        tokens = {str(user): user_token(IDENTITY_SECRET, str(user), now) for user in users}
        bulk = bulk_token(IDENTITY_SECRET, now)
        return lambda: Sending(Work(given), bulk_token=bulk, user_tokens=tokens).run()
    if name == "hash":
        return lambda: hash_all(Work(given))
    method = {"sync": Work.sync, "share": Work.share, "reading": Work.reading}[name]
    return lambda: method(Work(given))


def main(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do one thing."""
    if name == "ask":
        with sa.create_engine(given["url"], isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(given["sql"])
        return {}
    if name == "make":
        product.make(given["product"], users=given["users"], companies=given["companies"], whale=given["whale"])
        return {}
    if name == "change":
        return product.change(given["product"], given["time"])
    todo = prepared(name, given)
    if given["waits"]:  # for the others, so that all begin at once
        print("ready", flush=True)
        sys.stdin.readline()
    return measured(todo)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
