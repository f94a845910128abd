"""Rows stream with flat memory, failures surface at once, and an early end leaves nothing open."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError, SourceError
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.batch import Batch
from tests.databases import read_records

MANY = 60_000
NUMBERS = "WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < {0}) SELECT {1} FROM n"
SLEEP = {
    "postgresql": "SELECT 2 AS id, 1 AS team, CAST(pg_sleep(60) AS TEXT) AS x",
    "mysql": "SELECT 2 AS id, 1 AS team, SLEEP(60) AS x",
    # No sleep in SQLite: a count that takes minutes.
    "sqlite": NUMBERS.format(10**9, "count(*) AS id, 1 AS team"),
}


def users_plan(plan, traits, entry=None, source="app"):
    context = f'\n  context: {{x: {{label: X, source: {source}, sql: "{entry}"}}}}' if entry else ""
    return plan(f'users:\n  key: id\n  company: team\n  traits: {{sql: "{traits}"}}{context}\n')


def reading(database, loaded, batch=None):
    return read_records("users", loaded, select(loaded), batch or Batch(), database.sources, lambda *_: None)


def our_threads():
    # A sandbox of other tests' may run in this process: which tests came before is up to the worker.
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("halo-") and name != "halo-sandbox"]


@pytest.fixture
def many(any_driver):
    """A database of very many users, all of one company."""
    return fill(any_driver)


def fill(database):
    database.table("users", "id INT, team INT, note VARCHAR(100)")
    if database.engine.dialect.name == "mysql":
        rows = f"SELECT seq, 1, REPEAT('x', 80) FROM seq_1_to_{MANY}"
    elif database.engine.dialect.name == "postgresql":
        rows = f"SELECT n, 1, repeat('x', 80) FROM generate_series(1, {MANY}) n"
    else:
        rows = NUMBERS.format(MANY, "id, 1, printf('%.80c', 'x')")
    database.run(f"INSERT INTO users {rows}")
    return database


MEASURE = """
import sys
from pathlib import Path
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.read import read_payloads
from airflow_provider_halo.source.batch import Batch
import sqlalchemy as sa

plan, engine = load_plan(sys.argv[1]), sa.create_engine(sys.argv[2])
def read(batch):
    return sum(map(len, read_payloads("users", plan, select(plan), batch, lambda _: engine, lambda *_: None)))
def peak():  # of this process image; getrusage would give the peak of the test run that started it
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
few = read(Batch(companies=(2,)))
before = peak()
many = read(Batch(companies=(1,)))
print(few, many, (peak() - before) // 1024)
"""


def test_memory_is_flat_over_many_rows(many, plan):
    loaded = users_plan(plan, "SELECT * FROM users", "SELECT id, team, note AS again FROM users")
    many.insert("users", [(0, 2, "x")])
    url = many.engine.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", MEASURE, loaded.path, url], check=True, capture_output=True, text=True)
    few, count, megabytes = map(int, done.stdout.split())
    assert (few, count) == (1, MANY)
    assert megabytes < 18  # all rows of both queries would be about 35


def test_an_early_end_closes_connections_and_threads_at_once(many, plan, caplog):
    loaded = users_plan(plan, "SELECT * FROM users", "SELECT id, team, note AS again FROM users")
    records = reading(many, loaded)
    assert next(records).user_id == "1"
    # SQLite's queries run in the thread that takes the rows.
    in_place = many.engine.dialect.name == "sqlite"
    assert sorted(our_threads()) == ([] if in_place else ["halo-users.context.x", "halo-users.traits"])
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        records.close()
    assert time.monotonic() - started < 2
    assert our_threads() == []
    assert many.connections_in_use() == 0
    assert caplog.messages == []
    # What comes after finds its connections whole.
    again = reading(many, loaded)
    assert [next(again).user_id, next(again).user_id] == ["1", "10"]
    again.close()
    many.run("DELETE FROM users WHERE id > 5")


def test_a_failure_of_one_query_surfaces_while_another_still_thinks(any_driver, plan, caplog):
    loaded = users_plan(plan, SLEEP[any_driver.engine.dialect.name], "SELECT id, team FROM nowhere")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(SourceError) as caught:
        list(reading(any_driver, loaded, Batch(repeated_users=False)))
    assert "users.context.x" in str(caught.value)
    assert time.monotonic() - started < 5
    assert our_threads() == []
    assert any_driver.connections_in_use() == 0
    assert caplog.messages == []


def test_a_lookup_that_fails_surfaces_too(database, other, plan):
    database.table("users", "id INT, team VARCHAR(10)", [(1, "a")])
    database.others["other"] = other.engine
    loaded = users_plan(plan, "SELECT * FROM users", "SELECT id, team FROM nowhere", source="other")
    with pytest.raises(SourceError) as caught:
        list(reading(database, loaded, Batch(key_type="text", first="a")))
    assert "no such table: nowhere" in str(caught.value)
    assert our_threads() == []


def test_a_plan_cannot_write(any_driver, plan):
    any_driver.table("users", "id INT, team INT", [(1, 1)])
    if any_driver.engine.dialect.name == "postgresql":
        any_driver.run(
            "CREATE OR REPLACE FUNCTION halo_writes() RETURNS INT LANGUAGE SQL VOLATILE AS "
            "'UPDATE users SET team = 2 RETURNING team'"
        )
        sql = "SELECT id, halo_writes() AS team FROM users"
    elif any_driver.engine.dialect.name == "mysql":
        any_driver.run("DROP FUNCTION IF EXISTS halo_writes")
        any_driver.run(
            "CREATE FUNCTION halo_writes() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE users SET team = 2; RETURN 2; END"
        )
        sql = "SELECT id, halo_writes() AS team FROM (SELECT 1 AS id) t"
    else:
        pytest.skip("no SELECT of SQLite can write")
    with pytest.raises(SourceError) as caught:
        list(reading(any_driver, users_plan(plan, sql)))
    assert str(caught.value).endswith("; a plan may only read: take what writes out of the SQL.")
    with any_driver.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT team FROM users").scalar_one() == 1


def test_connections_go_back_as_they_came(any_driver, plan):
    any_driver.table("users", "id INT, team INT", [(1, 1)])
    list(reading(any_driver, users_plan(plan, "SELECT * FROM users", "SELECT * FROM users")))
    for _ in range(3):
        any_driver.insert("users", [(2, 1)])  # a pooled connection may write again


def test_order_that_cannot_be_followed_is_an_error_and_not_a_wrong_join(sqlite, plan):
    """A key that is other text for the database than for Halo: 007, padded by a type of the database's own."""
    sqlite.table("users", "id, team INT", [("b", 1), ("a", 1)])

    # A database whose order of texts isn't by code point, as an unusual encoding would give.
    def backwards(sql: str, statement: object = None) -> str:
        return sql.replace("COLLATE BINARY", "COLLATE BINARY DESC")

    import sqlalchemy as sa

    sa.event.listen(
        sqlite.engine,
        "before_cursor_execute",
        lambda _c, _cur, sql, args, _ctx, _many: (backwards(sql), args),
        retval=True,
    )
    with pytest.raises(SourceError) as caught:
        list(reading(sqlite, users_plan(plan, "SELECT * FROM users")))
    assert str(caught.value).endswith(
        "line 6): connection 'app' gave its keys in an order that can't be followed, so nothing was joined; "
        "cast id to text in the SQL."
    )


def test_a_missing_column_is_a_problem_of_the_plan(database, plan):
    database.table("users", "id INT, company INT, created_at INT", [(1, 1, 1)])
    with pytest.raises(PlanError) as caught:
        list(reading(database, users_plan(plan, "SELECT * FROM users")))
    assert {(problem.key, problem.line) for problem in caught.value.problems} == {("users.traits.sql", 6)}
    assert [problem.message for problem in caught.value.problems] == snapshot(
        [
            (
                "gives no column 'team', which names the company; give a column that name by AS, or correct the plan; "
                "the query's columns are id, company, created_at"
            ),
            "column 'created_at' would be a trait that Halo reserves; rename it by AS signed_up_at",
        ]
    )
