"""A record is found by its key, as each database compares keys."""

from __future__ import annotations

import pytest

from airflow_provider_halo.exceptions import SourceError
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.source.lookup import spellings

KEY = "00000000-0000-4000-8000-0000000000aB"


@pytest.fixture
def look_up(database, tmp_path):
    """Looks users up whose keys are of a type."""

    def look(kind, stored, *asked):
        database.run(f"CREATE TABLE people (id {kind})")
        try:
            for key in stored:
                database.run(f"INSERT INTO people VALUES ({key!r})")
            query = load_plan(path).traits("users")
            return [spellings(query, lambda _: database.engine, key) for key in asked]
        finally:
            database.run("DROP TABLE people")

    path = tmp_path / "halo.yaml"
    sql = "SELECT id AS user_id, NULL AS team_id, 'n' AS name FROM people; "
    users = f"{{key: user_id, company: team_id, traits: {{sql: {sql!r}}}}}"
    path.write_text(f"version: 1\nsource: app\nusers: {users}\n", encoding="utf-8")
    return look


def test_keys_are_found_as_their_type_compares_them(database, look_up):
    assert look_up("INTEGER", [7, 8], "7", "9", "x", "") == [["7"], [], [], []]
    assert look_up("VARCHAR(40)", ["a", "b c", "7"], "a", "b c", "c", "7") == [["a"], ["b c"], [], ["7"]]
    assert look_up("INTEGER", [], "7") == [[]]
    kind = "UUID" if database.name == "psycopg" else "CHAR(36)"
    assert look_up(kind, [KEY.lower()], KEY.lower(), "x") == [[KEY.lower()], []]
    if database.name != "pymysql":
        return
    assert look_up("VARCHAR(40) COLLATE utf8mb4_general_ci", ["Ada", "ADA", "Bea"], "ada", "Ada") == [
        ["ADA", "Ada"],
        ["Ada"],
    ]


@pytest.mark.usefixtures("look_up")
def test_a_source_that_cannot_be_asked_is_an_error_here(database, tmp_path):
    query = load_plan(tmp_path / "halo.yaml").traits("users")
    with pytest.raises(SourceError):
        spellings(query, lambda _: database.engine, "7")
