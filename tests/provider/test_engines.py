"""A source is connected to as its own hook does it: each extra is honoured, has no effect by right, or is refused by name."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import HaloHook, airflow_sources
from airflow_provider_halo.hooks.ledger import airflow_ledger
from airflow_provider_halo.operators import IdentifyOperator
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.sync.run import sync_plan
from tests.databases import own_url

DRIVERS = ("psycopg", "psycopg2", "pymysql")
LOGIN = "halo o'reader@x"
PASSWORD = "p@ss:/%?# 'wörd"

PLAN = """
version: 1
source: shop
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT user_id, team_id, name FROM people
"""


@pytest.fixture(params=[pytest.param(driver, marks=pytest.mark.databases) for driver in DRIVERS], scope="module")
def url(request, tmp_path_factory):
    """A database of the module's own, by each driver, with one person in it."""
    for text in own_url(request.param, tmp_path_factory.mktemp("databases"), "engines", " CHARACTER SET utf8mb4"):
        made = sa.make_url(text)
        engine = sa.create_engine(made)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE people (user_id INT, team_id INT, name VARCHAR(20))")
            connection.exec_driver_sql("INSERT INTO people VALUES (1, 1, 'Ünal 😀')")
        engine.dispose()
        yield made


@pytest.fixture
def set_shop(url, monkeypatch):
    """Sets the connection shop: to that database, by that driver, with these extras and fields."""

    def connect(extra=None, **fields):
        by_driver = {
            "psycopg": {"sqlalchemy_scheme": "postgresql+psycopg"},
            "psycopg2": {"sqlalchemy_scheme": "postgresql+psycopg2"},
            "pymysql": {"client": "pymysql"},
        }
        connection = {
            "conn_type": "mysql" if is_mysql(url) else "postgres",
            "host": url.host,
            "port": url.port,
            "login": url.username,
            "schema": url.database,
            **fields,
            "extra": by_driver[url.get_driver_name()] | (extra or {}),
        }
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))

    return connect


def is_mysql(url):
    return url.get_backend_name() == "mysql"


def asked(sql):
    """What the connection shop answers."""
    with airflow_sources() as sources, sources("shop").connect() as connection:
        return connection.exec_driver_sql(sql).scalar_one()


def refusal(tmp_path):
    """What a run of a plan over the connection shop says."""
    path = tmp_path / "halo.yaml"
    path.write_text(PLAN, encoding="utf-8")
    plan = load_plan(path)
    with airflow_sources() as sources, pytest.raises(SetupError) as refused:
        plan_batches(plan, select(plan), sources)
    return str(refused.value).replace(str(path), "halo.yaml")


def test_a_login_of_special_characters_gets_in(url, set_shop):
    admin = sa.create_engine(url)
    quoted = {"name": LOGIN, "password": PASSWORD}
    if is_mysql(url):
        name, create = "'halo o''reader@x'@'%%'", "CREATE USER {0} IDENTIFIED BY '{1}'"
    else:
        name, create = f'"{LOGIN}"', "CREATE USER {0} PASSWORD '{1}'"
    secret = quoted["password"].replace("'", "''").replace("%", "%%")
    try:
        with admin.begin() as connection:
            connection.exec_driver_sql(create.format(name, secret))
            grant = "GRANT SELECT ON people TO {0}" if not is_mysql(url) else "GRANT SELECT ON {1}.people TO {0}"
            connection.exec_driver_sql(grant.format(name, url.database))
        set_shop(login=LOGIN, password=PASSWORD)
        assert asked("SELECT name FROM people") == "Ünal 😀"
    finally:
        with admin.begin() as connection:
            if not is_mysql(url):
                connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP USER IF EXISTS {name}")
        admin.dispose()


def test_tls_that_is_asked_for_and_not_there_is_an_error_and_not_plain_text(url, set_shop, tmp_path):
    if is_mysql(url):
        for extra in ({"ssl_mode": "REQUIRED"}, {"ssl": {"verify_mode": "none"}}, {"ssl": '{"check_hostname": false}'}):
            set_shop(extra)
            assert refusal(tmp_path) == snapshot(
                "The source connection 'shop' asks for TLS by its extras, and its server answered in plain text, so nothing was "
                "read: turn TLS on in the server, or take ssl and ssl_mode out of the extras."
            )
        set_shop({"ssl_mode": "PREFERRED"})
        assert asked("SELECT count(*) FROM people") == 1
    else:
        for extra in ({"sslmode": "require"}, {"sqlalchemy_query": {"sslmode": "require"}}):
            set_shop(extra)
            assert (
                refusal(tmp_path)
                .partition(": ")[2]
                .endswith(
                    "server does not support SSL, but SSL was required; check the TLS settings in the connection's extras (sslmode, "
                    "ssl), its certificate files, and that the server speaks TLS."
                )
            )
        set_shop({"sslmode": "verify-full"})
        assert "failed on connection 'shop'" in refusal(tmp_path)


def test_session_options_of_the_connection_hold(url, set_shop):
    if is_mysql(url):
        set_shop({"init_command": "SET sql_mode = 'ANSI_QUOTES'"})
        assert asked('SELECT "name" FROM people') == "Ünal 😀"
    else:
        admin = sa.create_engine(url)
        with admin.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA elsewhere")
            connection.exec_driver_sql("CREATE TABLE elsewhere.pets AS SELECT 'Rex' AS name")
        admin.dispose()
        set_shop({"options": "-c search_path=elsewhere", "application_name": "halo tests", "keepalives_idle": 30})
        assert asked("SELECT name FROM pets") == "Rex"
        assert asked("SHOW application_name") == "halo tests"


@pytest.mark.parametrize(("extra", "seconds"), [({}, "30"), ({"keepalives_idle": 7}, "7")])
def test_firewalls_do_not_forget_a_postgresql_connection_while_halo_pauses(url, set_shop, extra, seconds):
    if is_mysql(url):
        pytest.skip("MySQL's server goes on knocking while it waits to send")
    set_shop(extra)
    with airflow_sources() as sources, sources("shop").connect() as connection:
        driver = connection.connection.driver_connection
        is_old = url.get_driver_name() == "psycopg2"
        parameters = driver.get_dsn_parameters() if is_old else driver.info.get_parameters()
        assert parameters["keepalives_idle"] == seconds


@pytest.mark.parametrize("cursor", ["dictcursor", "DictCursor", "realdictcursor", "namedtuplecursor", "SSCursor"])
def test_a_cursor_that_gives_other_rows_to_tasks_changes_nothing_here(set_shop, halo, run, counts, cursor):
    set_shop({"cursor": cursor, "placeholder": "?", "escape_column_names": True})
    report = run(IdentifyOperator(task_id="people", source_conn_id="shop", sql="SELECT user_id, name FROM people"))
    assert counts(report) == {"users": {"stored": 1}}
    assert halo.store.user("1")["traits"] == {"name": "Ünal 😀"}


@pytest.mark.parametrize("charset", ["latin1", "utf8", "utf8mb3"])
def test_a_narrower_charset_loses_no_letter_of_mysql(url, set_shop, charset):
    if not is_mysql(url):
        pytest.skip("an extra of MySQL's")
    set_shop({"charset": charset})
    assert asked("SELECT name FROM people") == "Ünal 😀"


def test_an_extra_that_cannot_be_honoured_is_refused_by_name(url, set_shop, tmp_path):
    set_shop({"no_such_option": "x"})
    if is_mysql(url):
        assert refusal(tmp_path) == snapshot(
            "The source connection 'shop' has extras that can't be honoured with pymysql (no_such_option): take them out, or "
            "say what they do in init_command or in the file of read_default_file."
        )
    else:
        assert refusal(tmp_path).endswith(
            'invalid connection option "no_such_option"; take it out of the connection\'s extras, or write it as the driver '
            "calls it."
        )


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"ssl_mode": "SURE"},
            "its extra ssl_mode must be one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY.",
        ),
        ({"ssl": {"certificate": "x"}}, "its extra ssl has unknown keys (certificate); known: ca, capath, cert, key"),
        ({"ssl": "{"}, "its extra ssl is no JSON object."),
        ({"ssl": {"ca": "/nowhere/ca.pem"}}, "the TLS files of its extras can't be used (No such file or directory)"),
        ({"client": "mariadb"}, "its extra client must be one of mysqlclient, pymysql, mysql-connector-python."),
        (
            {"iam": True},
            "logs in by a cloud's token (iam), for which Airflow's provider of that cloud is not installed",
        ),
    ],
)
def test_what_is_wrong_in_mysql_s_extras_is_named(monkeypatch, extra, said):
    fields = {"conn_type": "mysql", "host": "127.0.0.1", "login": "root", "password": "s3cret", "extra": extra}
    fields["extra"] = {"client": "pymysql", **extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))
    with airflow_sources() as sources, pytest.raises(SetupError) as refused, sources("shop").connect():
        pass
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_libpq_s_extras_are_refused_for_a_driver_that_does_not_know_them(monkeypatch):
    extra = {"sqlalchemy_scheme": "postgresql+asyncpg", "sslmode": "verify-full"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "postgres", "host": "far", "extra": extra}))
    pytest.importorskip("asyncpg")
    with airflow_sources() as sources, pytest.raises(SetupError) as refused:  # noqa: PT012 (a skip says why)
        if sources("shop").dialect.driver != "asyncpg":
            pytest.skip("this release of the PostgreSQL provider takes no sqlalchemy_scheme")
    assert str(refused.value) == snapshot(
        "The source connection 'shop' has extras that the driver asyncpg doesn't know (sslmode): take sqlalchemy_scheme out of "
        "its extras, or give them in sqlalchemy_query as that driver calls them."
    )


def test_a_ledger_is_connected_to_in_the_same_way(url, set_shop, monkeypatch, halo, tmp_path):
    set_shop({} if is_mysql(url) else {"options": "-c search_path=ledger_of_halo"})
    monkeypatch.setenv("AIRFLOW_CONN_BOOK", os.environ["AIRFLOW_CONN_SHOP"])
    if not is_mysql(url):
        admin = sa.create_engine(url)
        with admin.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA ledger_of_halo")
        admin.dispose()
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as database:
        database.executescript("CREATE TABLE people (user_id, team_id, name); INSERT INTO people VALUES (1, 1, 'Ada')")
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    plan = tmp_path / "halo.yaml"
    plan.write_text(PLAN, encoding="utf-8")
    settings = HaloHook().settings
    counts = []
    for number in range(2):
        with airflow_sources() as sources, airflow_ledger("book") as ledger:
            run = ledger.open_run("halo", settings, f"run {number}", whole=True, writes=True)
            report = sync_plan(load_plan(plan), sources=sources, settings=settings, run=run)
            counts.append((report.users.stored, report.users.unchanged))
    assert counts == [(1, 0), (0, 1)]
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", os.environ["AIRFLOW_CONN_BOOK"])
    if not is_mysql(url):
        assert asked("SELECT count(*) FROM pg_tables WHERE schemaname = 'ledger_of_halo'") > 0


def test_what_sqlite_s_connection_says_behind_the_path_is_for_sqlite(monkeypatch, tmp_path):
    path = tmp_path / "a shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (name TEXT)")
    database.close()
    fields = {"conn_type": "sqlite", "host": str(path), "extra": {"mode": "ro", "timeout": "3"}}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))
    assert asked("SELECT count(*) FROM people") == 0
    with airflow_sources() as sources, sources("shop").connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("INSERT INTO people VALUES ('x')")


@pytest.mark.databases
def test_tls_is_checked_as_the_connection_says(start_cluster, monkeypatch, tmp_path):
    cluster = start_cluster()
    cert, key = tmp_path / "server.crt", tmp_path / "server.key"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-new",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-out",
            cert,
            "-keyout",
            key,
        ],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("openssl is not here to make a certificate")
    with sa.create_engine(cluster.url, isolation_level="AUTOCOMMIT").connect() as connection:
        # By the server's own hands: the files must be its user's.
        for name, path in (("server.crt", cert), ("server.key", key)):
            lines = path.read_text(encoding="utf-8").splitlines()
            connection.exec_driver_sql(f"COPY (SELECT unnest(ARRAY{lines!r})) TO PROGRAM 'umask 077; cat > {name}'")
        connection.exec_driver_sql("ALTER SYSTEM SET ssl = on")
        connection.exec_driver_sql("SELECT pg_reload_conf()")

    def connect(**extra):
        fields = {**cluster.connection, "host": extra.pop("host", "localhost"), "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))
        return asked("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    assert connect(sslmode="verify-full", sslrootcert=str(cert)) is True
    assert connect(sslmode="disable") is False
    for wrong in (
        {"sslmode": "verify-full"},
        {"sslmode": "verify-full", "sslrootcert": str(cert), "host": "127.0.0.1"},
    ):
        with pytest.raises(sa.exc.OperationalError, match="certificate"):
            connect(**wrong)
