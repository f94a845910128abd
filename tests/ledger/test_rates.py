"""One limit of requests per second for all who share a ledger, on each kind of database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from rates import assert_held

from airflow_provider_halo.exceptions import LedgerError
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.ledger.rates import SharedBucket
from airflow_provider_halo.ledger.schema import BATCHES, ERASED, METADATA, RATES, RUNS, SCHEMA, VERSION
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings

HOUR = 3_600_000_000  # microseconds


@pytest.fixture
def bucket(ledger, plan_ledger):
    """A bucket in a database that has its tables."""
    return SharedBucket(plan_ledger.acknowledged.database, plan_ledger.workspace)


def reserve(bucket, count, rate):
    return asyncio.run(bucket.reserve(count, rate))


def reserved_until(engine):
    with engine.connect() as connection:
        return connection.scalar(sa.select(RATES.c.reserved_until))


def set_clock_back(engine, microseconds):
    """As the row is found after the database's clock was set back by so much."""
    with engine.begin() as connection:
        connection.execute(sa.update(RATES).values(reserved_until=RATES.c.reserved_until + microseconds))


def test_what_is_reserved_is_moved_on_by_exactly_that(engine, bucket):
    reserve(bucket, 1, 0.1)
    before = reserved_until(engine)
    for count, rate in ((1, 0.1), (3, 8.0), (25, 100.0), (1, 3.0)):
        reserve(bucket, count, rate)
    assert reserved_until(engine) - before == 10_000_000 + 375_000 + 250_000 + 333_334


def test_the_first_turn_begins_at_once_and_each_other_when_the_one_before_ends(bucket):
    asked = time.monotonic()
    turns = [reserve(bucket, 5, 0.5) for _ in range(4)]
    # At once: between the question and its answer. The databases' clocks tick a microsecond, SQLite's a millisecond.
    assert asked - 0.002 <= turns[0] <= time.monotonic()
    # Each is measured on the way from the database to here: by how much that differs is no part of the promise.
    assert [later - earlier for earlier, later in pairwise(turns)] == pytest.approx([10] * 3, abs=1)


def test_time_that_nobody_reserved_is_not_saved_up(engine, bucket):
    reserve(bucket, 1, 1_000)
    set_clock_back(engine, -HOUR)  # the last request was an hour ago
    turns = [reserve(bucket, 1, 0.5) for _ in range(3)]
    assert [later - earlier for earlier, later in pairwise(turns)] == pytest.approx([2, 2], abs=1)


def test_a_clock_that_is_set_back_holds_nobody_up_for_long(engine, bucket):
    reserve(bucket, 1, 10)
    set_clock_back(engine, HOUR)
    assert reserve(bucket, 1, 10) <= time.monotonic()


def test_each_workspace_has_a_limit_of_its_own_and_its_key_is_nowhere(engine, ledger):
    async def turns(**given) -> None:
        limiter = ledger.limiter(HaloSettings(**given))
        for _ in range(2):
            await limiter.acquire()

    for given in ({"widget_key": "ab_live_one"}, {"widget_key": "ab_live_two"}):
        asyncio.run(turns(**given, requests_per_second=1_000))
    with engine.connect() as connection:
        rows = [workspace for workspace, _ in connection.execute(sa.select(RATES))]
    assert sorted(rows) == sorted(
        ledger.of_plan("halo", HaloSettings(widget_key=key)).workspace for key in ("ab_live_one", "ab_live_two")
    )


def test_a_connection_without_a_limit_leaves_no_trace(engine, ledger, halo):
    assert ledger.limiter(halo) is None
    assert ledger.limiter(HaloSettings(widget_key="k", requests_per_second=5)) is not None  # nobody has asked it yet
    assert sa.inspect(engine).get_table_names() == []


def test_a_ledger_of_the_first_version_is_given_what_came_later(engine, ledger, halo, plan_ledger):
    plan_ledger.acknowledged.forget("users", ["u1"])
    RATES.drop(engine)
    ERASED.drop(engine)
    with engine.begin() as connection:
        for table in (RUNS, BATCHES):
            connection.exec_driver_sql(f"ALTER TABLE {table.name} DROP COLUMN partial")
        connection.execute(sa.update(SCHEMA).values(version=1))
    again = Ledger(engine, "ledger")
    asyncio.run(again.limiter(HaloSettings(widget_key="ab_live_test", requests_per_second=5)).acquire())
    with engine.connect() as connection:
        assert connection.scalars(sa.select(SCHEMA.c.version)).all() == [VERSION]
    assert set(sa.inspect(engine).get_table_names()) >= set(METADATA.tables)
    assert again.of_plan("halo", halo).acknowledged.known("users", ["u1"]).keys() == {"u1"}
    runs = again.of_plan("halo", halo).runs
    runs.open("key", whole=True)
    assert runs.last(1)[0].partial == 0


def test_a_database_that_is_gone_is_told_as_everywhere(engine, bucket):
    with engine.begin() as connection:
        RATES.drop(connection)
    with pytest.raises(LedgerError, match=r"^The ledger database \(connection 'ledger'\) can't be used: "):
        reserve(bucket, 1, 1)


def test_no_connection_is_left_open(engine, ledger):
    limiter = ledger.limiter(HaloSettings(widget_key="ab_live_test", requests_per_second=200))

    async def scenario():
        await asyncio.gather(*(limiter.acquire() for _ in range(20)))
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(20)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()

    asyncio.run(scenario())  # waits for the threads, too
    assert engine.pool.checkedout() == 0


PROCESSES, EACH, RATE = 4, 15, 30.0


def test_processes_that_share_a_ledger_hold_the_limit_together(engine, ledger, halo, own_database):
    ledger.of_plan("halo", halo)  # the tables are there
    with SandboxServer(SandboxConfig()) as sandbox:
        settings = {"widget_key": "ab_live_sandbox", "base_url": sandbox.url, "requests_per_second": RATE}
        order = json.dumps({"ledger": own_database, "settings": settings, "requests": EACH})
        script = Path(__file__).parent / "limited_sender.py"
        senders = [
            subprocess.Popen(
                [sys.executable, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        for sender in senders:
            assert sender.stdout.readline() == "ready\n"
        for sender in senders:  # all at once
            sender.stdin.write(f"{order}\n")
            sender.stdin.flush()
        assert [sender.communicate(timeout=120) for sender in senders] == [("done\n", "")] * PROCESSES
        arrived = [call.began for call in sandbox.requests.calls()]
    assert len(arrived) == PROCESSES * EACH
    assert_held(arrived, RATE)
