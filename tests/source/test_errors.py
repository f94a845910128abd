"""What a database refuses is one sentence: which query, where, what is wrong and the mend; no SQL and no values."""

from __future__ import annotations

import re
import traceback

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import plan_batches
from tests.databases import read_records

TABLE = "check the table's name in the SQL, and that the connection names the right database and schema"
SYNTAX = "check the SQL, for example by running it alone in the database's shell"
OTHER = "run the SQL alone in the database's shell to see more"
LOGIN = "check login and password of the connection"
FIRST = 4711
UNREACHABLE = "check that the database is running, and host and port of the connection"


def failure(sources, loaded, batch=None):
    with pytest.raises(SourceError) as caught:
        list(read_records("users", loaded, select(loaded), batch or Batch(first=FIRST), sources, lambda *_: None))
    return caught


def steady(error):
    """An error's text without the system's error number, which the client library's version decides."""
    return re.sub(r"\(\d+\)", "(NUMBER)", str(error))


def users(plan, sql):
    return plan(f"users:\n  key: id\n  company: team\n  traits:\n    sql: |\n      {sql}\n")


@pytest.mark.parametrize(
    ("sql", "sqlite", "postgresql", "mysql", "mend"),
    [
        (
            "SELECT id, team FROM nowhere",
            "no such table: nowhere",
            'relation "nowhere" does not exist',
            "Table 'DATABASE.nowhere' doesn't exist",
            TABLE,
        ),
        (
            "SELECT id, team, 'secret@x.org' AS mail FROM users WHERE missing = 'secret@x.org'",
            "no such column: missing",
            'column "missing" does not exist',
            "Unknown column 'missing' in 'WHERE'",
            "check the column's name in the SQL",
        ),
        (
            "SELECT id, team FORM users WHERE id <> 'secret@x.org'",
            'near "users": syntax error',
            'syntax error at or near "users"',
            (
                "You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server version for "
                "the right syntax to use near '…' at line 1"
            ),
            SYNTAX,
        ),
        (
            "SELECT id, team, twelve(mail) AS n FROM users",
            "no such function: twelve",
            "function twelve(character varying) does not exist",
            "FUNCTION DATABASE.twelve does not exist",
            "check the function and its arguments' types in the SQL; a cast may be missing",
        ),
    ],
)
def test_a_refused_query_is_one_sentence(any_driver, plan, sql, sqlite, postgresql, mysql, mend):
    any_driver.table("users", "id INT, team INT, mail VARCHAR(30)", [(1, 5000, "secret@x.org")])
    loaded = users(plan, sql)
    said = {"sqlite": sqlite, "postgresql": postgresql, "mysql": mysql}[any_driver.engine.dialect.name]
    said = said.replace("DATABASE", str(any_driver.engine.url.database))
    caught = failure(any_driver.sources, loaded)
    assert str(caught.value) == f"users.traits ({loaded.path}, line 8) failed on connection 'app': {said}; {mend}."
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret@x.org" not in shown
    assert str(FIRST) not in shown


@pytest.mark.databases
def test_a_value_that_the_database_names_is_kept_out(any_driver, plan):
    any_driver.table("users", "id INT, team INT, mail VARCHAR(30)", [(1, 5000, "secret@x.org")])
    sql = {
        "postgresql": "SELECT id, team, CAST(mail AS INT) AS n FROM users",
        "mysql": "SELECT id, team, EXTRACTVALUE('<a/>', mail) AS n FROM users",
    }.get(any_driver.engine.dialect.name)
    if sql is None:
        pytest.skip("SQLite names no values")
    loaded = users(plan, sql)
    caught = failure(any_driver.sources, loaded)
    assert str(caught.value).endswith(f"; {OTHER}.")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.databases
@pytest.mark.parametrize(
    ("url", "said", "mend"),
    [
        (
            "postgresql+psycopg://postgres@127.0.0.1:9/test",
            'connection failed: connection to server at "127.0.0.1", port 9 failed: Connection refused',
            UNREACHABLE,
        ),
        (
            "postgresql+psycopg2://postgres@127.0.0.1:9/test",
            'connection to server at "127.0.0.1", port 9 failed: Connection refused',
            UNREACHABLE,
        ),
        ("mysql+mysqldb://root@127.0.0.1:9/test", "Can't connect to server on '127.0.0.1' (NUMBER)", UNREACHABLE),
        (
            "mysql+pymysql://root@127.0.0.1:9/test",
            "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)",
            UNREACHABLE,
        ),
        ("sqlite:////nowhere/at/all.db", "unable to open database file", UNREACHABLE),
    ],
)
def test_a_database_that_does_not_answer_is_one_sentence(plan, url, said, mend):
    loaded = users(plan, "SELECT id, team FROM users")
    try:
        engine = sa.create_engine(url)
    except ModuleNotFoundError as missing:
        pytest.skip(f"the driver {missing.name} isn't installed (it has to be compiled)")
    expected = f"users.traits ({loaded.path}, line 8) failed on connection 'app': {said}; {mend}."
    assert steady(failure(lambda _: engine, loaded).value) == expected
    with pytest.raises(SourceError) as caught:
        plan_batches(loaded, select(loaded), lambda _: engine)
    assert steady(caught.value) == expected


@pytest.mark.databases
def test_a_wrong_login_and_a_wrong_database_are_told_apart(any_driver, plan):
    if any_driver.is_sqlite:
        pytest.skip("SQLite knows no logins")
    loaded = users(plan, "SELECT id, team FROM users")
    nowhere = sa.create_engine(any_driver.engine.url.set(database="halo_reading_nowhere"))
    assert str(failure(lambda _: nowhere, loaded).value).endswith(
        "; check the database's name (schema) in the connection."
    )
    nobody = sa.create_engine(any_driver.engine.url.set(username="halo_nobody", password="hunter2"))
    caught = failure(lambda _: nobody, loaded)
    assert str(caught.value).endswith(f"; {LOGIN}.")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.databases
def test_a_query_that_takes_longer_than_the_database_allows_is_said_to(any_driver, plan):
    if any_driver.engine.dialect.name != "postgresql":
        pytest.skip("by PostgreSQL's statement_timeout")
    url = any_driver.engine.url.update_query_dict({"options": "-c statement_timeout=100"})
    engine = sa.create_engine(url)
    loaded = users(plan, "SELECT 1 AS id, 1 AS team, CAST(pg_sleep(30) AS TEXT) AS x")
    assert str(failure(lambda _: engine, loaded, Batch()).value) == (
        f"users.traits ({loaded.path}, line 8) failed on connection 'app': canceling statement due to statement timeout; "
        "the database cancelled it: make the query faster, or raise the database's time limit."
    )


def test_a_missing_driver_names_the_mend(plan):
    loaded = users(plan, "SELECT id, team FROM users")

    def sources(_):
        return sa.create_engine("nosuchdatabase://somewhere/x")

    assert str(failure(sources, loaded).value) == snapshot(
        "Connection 'app' needs a database driver that isn't installed (Can't load plugin: "
        "sqlalchemy.dialects:nosuchdatabase); install the Airflow provider of that database."
    )
