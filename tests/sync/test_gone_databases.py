"""Who has left is known alike, whatever database the product lives in, and whatever its keys are; and the ledger, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import own_url
from product import App, change

from airflow_provider_halo.source.key_order import ordered_keys
from airflow_provider_halo.sync.gone import look_for_gone

INTEGERS = [1, 2, 10, 30, 200]
TEXTS = ["B", "a", "a b", "b'c", "\u00e9", "\U0001f600"]
UUIDS = [f"{number:08x}-0000-4000-8000-00000000000{number:x}" for number in (1, 2, 10, 15)]

PLAN = """\
version: 1
source: app
gone: empty
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name FROM teams
users:
  key: user_id
  company: team_id
  no_company: {id: none, name: No company}
  traits:
    sql: SELECT id AS user_id, team_id, name FROM people
"""


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, by the driver that the test names."""
    yield from own_url(request.param, tmp_path, "ledger_gone")


def key_type(database, keys):
    if isinstance(keys[0], int):
        return "INTEGER"
    if keys is UUIDS:
        return "UUID" if database.name == "psycopg" else "CHAR(36)"
    return {"sqlite": "TEXT", "psycopg": "TEXT"}.get(database.name, "VARCHAR(80) COLLATE utf8mb4_bin")


@pytest.mark.parametrize("keys", [INTEGERS, TEXTS, UUIDS], ids=["integers", "texts", "UUIDs"])
@pytest.mark.parametrize(
    "ledger_url",
    ["sqlite", *(pytest.param(driver, marks=pytest.mark.databases) for driver in ("psycopg2", "pymysql"))],
    indirect=True,
)
def test_weeks_in_which_people_leave_and_return(app_of, database, ledger_url, keys):
    like = app_of()
    app = App(database.engine, like.folder, like.server, like.settings).with_ledger(ledger_url)
    app.use_plan(PLAN)
    kind = key_type(database, keys)
    database.table("teams", f"id {kind}, name VARCHAR(40)", [(key, "Team") for key in keys])
    database.table("people", f"id {kind}, team_id {kind}, name VARCHAR(40)", [(key, key, "User") for key in keys])

    def week(*statements: str) -> tuple[dict[str, int] | None, int]:
        for statement in statements:
            database.run(statement)
        report = app.sync_and_close(batch_size=2)
        return report.gone, report.requests

    def where(key) -> str:
        text = str(key).replace("'", "''")
        return f"id = '{text}'" if isinstance(key, str) else f"id = {text}"

    first, second, last = keys[0], keys[1], keys[-1]
    assert week()[0] == {"companies": 0, "users": 0, "links": 0}
    assert week() == ({"companies": 0, "users": 0, "links": 0}, 0)
    gone = week(
        f"DELETE FROM people WHERE {where(first)}",
        f"DELETE FROM teams WHERE {where(first)}",
        f"UPDATE people SET team_id = NULL WHERE {where(second)}",
    )
    assert gone == (
        {"companies": 1, "users": 1, "links": 1},
        4,
    )  # two emptied, the company that stands for none, a link
    store = app.server.store
    assert store.user(str(first))["traits"] == store.company(str(first))["traits"] == {"name": None}
    assert store.user(str(second))["company_id"] == "none"
    assert store.user(str(last))["traits"] == {"name": "User"}
    assert week() == ({"companies": 0, "users": 0, "links": 0}, 0)
    database.insert("people", [(first, last, "Back")])
    assert week()[0] == {"companies": 0, "users": 0, "links": 0}
    assert (store.user(str(first))["traits"], store.user(str(first))["company_id"]) == ({"name": "Back"}, str(last))


def test_keys_that_a_database_orders_otherwise_are_sorted(database, plan):
    database.table("teams", "id INTEGER, name VARCHAR(40)", [(key, "T") for key in (9, 10, 100, 2)])
    loaded = plan("companies: {key: k, traits: {sql: 'SELECT id AS k, name FROM teams'}}")
    query = loaded.traits("companies")
    expected = ["10", "100", "2", "9"]
    for sort in (False, True):
        assert [key for keys in ordered_keys(query, database.sources, sort=sort) for key in keys] == expected


def test_a_user_of_several_rows_has_left_only_when_none_has_a_company(app):
    app.with_ledger().fill(teams=[(1, "A", "p"), (2, "B", "p")])
    sql = "SELECT u.id AS user_id, m.team_id, u.name FROM users u JOIN memberships m ON m.user_id = u.id"
    change(
        app,
        "CREATE TABLE memberships (user_id INTEGER, team_id INTEGER)",
        "INSERT INTO users VALUES (10, 1, 'Ada', 'e', 1), (11, 1, 'Bea', 'e', 1)",
        "INSERT INTO memberships VALUES (10, 1), (11, 1)",
    )
    app.use_plan(PLAN.replace("SELECT id AS user_id, team_id, name FROM people", sql))
    app.sync_and_close(force=True)
    change(app, "UPDATE memberships SET team_id = NULL", "INSERT INTO memberships VALUES (10, 2)")
    assert look_for_gone(app.plan, app.sources, app.run()).keys["links"] == ["11"]


def test_the_ledger_of_an_earlier_version_learns_who_is_gone(app):
    app.with_ledger().fill(teams=[(1, "A", "p")], users=[(10, 1, "Ada", "e", 1), (11, 1, "Bea", "e", 1)])
    app.sync_and_close()
    with app.ledger_engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE halo_ledger_gone")
        connection.exec_driver_sql("ALTER TABLE halo_ledger_runs DROP COLUMN gone")
        connection.exec_driver_sql("UPDATE halo_ledger_schema SET version = 2")
    app.with_ledger(str(app.ledger_engine.url))
    change(app, "DELETE FROM users WHERE id = 10")
    assert app.sync_and_close().gone == {"companies": 0, "users": 1, "links": 0}
    assert sa.inspect(app.ledger_engine).has_table("halo_ledger_gone")
