"""A database that loses patience, or goes away and comes back: reading goes on behind the last record, and nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest
import sqlalchemy as sa

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.sync.options import SyncOptions
from airflow_provider_halo.sync.run import sync_plan
from tests.databases import read_records
from tests.product import SECRET

pytestmark = pytest.mark.databases

USERS = 1_200
PETS = 2  # of each user; of user 7 a thousand more
SEVEN = 1_000
PLAN = """
users:
  key: id
  company: team
  traits: {sql: "SELECT id, team, note FROM users"}
  context:
    pets: {label: Pets, rows: many, order_by: [pet], limit: 5, sql: "SELECT id, team, pet, note FROM pets"}
    pet_count: {label: Pet Count, value: n, sql: "SELECT id, MAX(team) AS team, COUNT(*) AS n FROM pets GROUP BY id"}
"""


@pytest.fixture
def server(any_driver):
    """A database that is another process, with rows far more than the sockets between hold."""
    if any_driver.is_sqlite:
        pytest.skip("SQLite has no connection that could break")
    any_driver.table("users", "id INT, team INT, note VARCHAR(6000)")
    any_driver.table("pets", "id INT, team INT, pet INT, note VARCHAR(2000)")
    numbers = "seq_1_to_{}" if any_driver.engine.dialect.name == "mysql" else "generate_series(1, {}) seq"
    any_driver.run(f"INSERT INTO users SELECT seq, 1 + MOD(seq, 5), REPEAT('x', 6000) FROM {numbers.format(USERS)}")
    any_driver.run(
        f"INSERT INTO pets SELECT 1 + MOD(seq, {USERS}), 1, seq, REPEAT('y', 2000) FROM {numbers.format(USERS * PETS)}"
    )
    any_driver.run(f"INSERT INTO pets SELECT 7, 1, 100000 + seq, REPEAT('z', 900) FROM {numbers.format(SEVEN)}")
    yield any_driver
    any_driver.engine.dispose()


def kill_readers(database):
    """End all connections but this one, as an administrator or a restart would."""
    # Not of the pool, whose connections may have been ended before.
    with sa.create_engine(database.engine.url, poolclass=sa.NullPool).connect() as admin:
        if database.engine.dialect.name == "postgresql":
            admin.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        found = admin.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in found.all():
            with contextlib.suppress(sa.exc.OperationalError):  # it has ended by itself
                admin.exec_driver_sql(f"KILL {number}")


def reading(database, loaded):
    return read_records("users", loaded, select(loaded), Batch(), database.sources, lambda *_: None)


def told_breaks(caplog):
    return [record.args[0] for record in caplog.records if "broke; reading it again" in record.msg]


@pytest.mark.parametrize("taken", [0, 600, USERS - 2])
def test_a_connection_that_is_cut_is_taken_up_again_behind_the_last_record(server, plan, caplog, taken):
    loaded = plan(PLAN)
    expected = list(reading(server, loaded))
    assert len(expected) == USERS
    records = reading(server, loaded)
    got = [next(records) for _ in range(taken + 1)]
    with caplog.at_level(logging.WARNING):
        kill_readers(server)
        got += records
    assert got == expected
    if taken == 0:
        assert told_breaks(caplog)
    assert not [message for message in caplog.messages if "xxx" in message or "SELECT" in message]


def test_connections_that_are_cut_again_and_again_get_to_the_end_all_the_same(server, plan, caplog):
    loaded = plan(PLAN)
    expected = list(reading(server, loaded))
    got = []
    with caplog.at_level(logging.WARNING):
        for record in reading(server, loaded):
            got.append(record)
            if len(got) % 300 == 1:
                kill_readers(server)
    assert got == expected
    assert told_breaks(caplog)


def test_what_was_deleted_while_the_connection_was_away_is_not_missed(server, plan):
    loaded = plan(PLAN)
    keys = [record.user_id for record in reading(server, loaded)]
    records = reading(server, loaded)
    got = [next(records).user_id]
    kill_readers(server)
    server.run("DELETE FROM users WHERE id BETWEEN 500 AND 900")
    got += [record.user_id for record in records]
    assert got == sorted(set(got))
    gone = set(map(str, range(500, 901)))
    assert set(keys) - set(got) <= gone
    assert set(keys) - gone <= set(got)


LIMITS = {
    "postgresql": "SET SESSION idle_in_transaction_session_timeout = 300; SET SESSION statement_timeout = 2000",
    "mysql": "SET SESSION net_write_timeout = 1, max_statement_time = 1.5, idle_readonly_transaction_timeout = 1",
}


def test_a_session_that_may_not_idle_waits_for_halo_all_the_same(server, plan, caplog):
    limit = LIMITS[server.engine.dialect.name]
    impatient = sa.create_engine(server.engine.url, poolclass=sa.NullPool)

    @sa.event.listens_for(impatient, "connect")
    def _(connection, _):
        cursor = connection.cursor()
        cursor.execute(limit)
        cursor.close()
        connection.commit()

    loaded = plan(PLAN)
    with caplog.at_level(logging.WARNING):
        records = read_records("users", loaded, select(loaded), Batch(), lambda _: impatient, lambda *_: None)
        got = [next(records)]
        time.sleep(2.5)
        got += records
    assert len(got) == USERS
    assert told_breaks(caplog) == []


def test_a_limit_on_slow_queries_stays_where_pauses_do_not_count(server, plan):
    if server.engine.dialect.name != "postgresql":
        pytest.skip("by PostgreSQL's statement_timeout")
    slow = sa.create_engine(server.engine.url.update_query_dict({"options": "-c statement_timeout=200"}))
    loaded = plan(
        "users: {key: id, company: team, traits: {sql: SELECT id FROM (SELECT pg_sleep(9)) s}}".replace(
            "SELECT id FROM (SELECT pg_sleep(9)) s", '"SELECT 1 AS id, 1 AS team, CAST(pg_sleep(9) AS TEXT) AS x"'
        )
    )
    with pytest.raises(SourceError, match="statement timeout"):
        list(read_records("users", loaded, select(loaded), Batch(), lambda _: slow, lambda *_: None))


@pytest.mark.parametrize(("batch_size", "remembers"), [(300, True), (5_000, False)], ids=["ledger", "no ledger"])
def test_a_database_that_cuts_its_readers_while_halo_pauses_loses_nothing(
    server, plan, tmp_path, batch_size, remembers
):
    if server.name == "psycopg2":
        pytest.skip("as psycopg")
    loaded = plan(f'companies: {{key: team, traits: {{sql: "SELECT DISTINCT team FROM users"}}}}{PLAN}')

    def synced(*faults, during=lambda: None):
        with SandboxServer(SandboxConfig(identity_secret=SECRET)) as halo:
            halo.faults.set([parse_fault(fault) for fault in faults])
            settings = HaloSettings(
                widget_key="ab_live_sandbox", identity_secret=SECRET, base_url=halo.url, max_in_flight=2
            )
            run = None
            if remembers:
                engine = sa.create_engine(f"sqlite:///{tmp_path}/{len(faults)}.db", poolclass=sa.NullPool)
                ledger = Ledger(engine, "ledger")
                run = ledger.open_run("halo", settings, "a run", whole=True, writes=True)
            killer = threading.Timer(0.6, during)
            killer.start()
            report = sync_plan(
                loaded,
                sources=server.sources,
                settings=settings,
                options=SyncOptions(link_users=False),
                batch_size=batch_size,
                run=run,
            )
            killer.cancel()
            counts = {scope: report.to_dict()[scope] for scope in ("companies", "users", "links")}
            return halo.store.digest(), counts

    paused = synced("429:path=users/update,nth=1,retry_after=1", during=lambda: kill_readers(server))
    assert paused == synced()
    assert paused[1]["users"]["stored"] == USERS


def test_a_server_that_is_restarted_is_waited_for(start_cluster, plan, caplog):
    cluster = start_cluster()
    engine = sa.create_engine(cluster.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE users AS SELECT n AS id, 1 AS team, repeat('x', 3000) AS note FROM generate_series(1, 3000) n"
        )
        connection.exec_driver_sql("CREATE TABLE pets AS SELECT 1 AS id, 1 AS team, 1 AS pet, '' AS note")
    loaded = plan(PLAN)
    records = read_records("users", loaded, select(loaded), Batch(), lambda _: engine, lambda *_: None)
    got = [next(records)]
    cluster.crash()
    threading.Timer(1.5, cluster.start).start()
    with caplog.at_level(logging.WARNING):
        got += records
    assert [record.user_id for record in got] == sorted(map(str, range(1, 3001)))
    assert "users.traits" in told_breaks(caplog)
