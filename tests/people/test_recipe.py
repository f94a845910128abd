"""The recipe of the documentation, and keys that are texts: the same at every batch size."""

from __future__ import annotations

import pytest

from airflow_provider_halo.delivery.report import Counts
from tests.documents import DOCS, blocks
from tests.members import Club

SIZES = [1, 2, 300, 5_000]


@pytest.fixture
def recipe(club, tmp_path):
    """The plans of the page, and the product that they are for."""
    page = next(path for path in DOCS if path.stem == "people")
    database = club.database
    database.table("teams", "id INT, name VARCHAR(20), plan VARCHAR(9)", [(n, f"Team {n}", "pro") for n in range(1, 5)])
    database.table("users", "id INT, name VARCHAR(20), email VARCHAR(20)", [(n, f"U{n}", "e") for n in range(1, 4)])
    boolean = "INT" if database.is_sqlite else "BOOLEAN"
    database.table(
        "memberships",
        f"user_id INT, team_id INT, role VARCHAR(9), is_home {boolean}, joined_at VARCHAR(9)",
        [
            (user, team, f"r{team}", bool(home), joined)
            for user, team, home, joined in [
                (1, 1, 0, "2024"),
                (1, 4, 1, "2025"),
                (1, 3, 0, "2023"),
                (2, 2, 1, "2024"),
                (3, 2, 1, "2025"),
                (3, 1, 1, "2024"),
                (3, 4, 0, "2020"),
            ]
        ],
    )
    database.table("projects", "id INT, owner_id INT, name VARCHAR(9)", [(7, 1, "P"), (8, 3, "Q")])
    return [block.text for block in blocks(page, "yaml")]


def context(club, user, key):
    return club.server.store.user(user)["context"][key]["value"]


@pytest.mark.parametrize("batch_size", SIZES)
def test_the_other_companies_of_a_user_are_listed_whatever_the_batches(club, recipe, batch_size):
    club.app.use_plan(recipe[0])
    assert club.app.sync(batch_size=batch_size).users == Counts(stored=3)
    assert {key: company for key, (company, _) in club.held().items()} == {"1": "4", "2": "2", "3": "1"}
    assert club.held()["1"][1] == {"name": "U1", "email": "e", "role": "r4"}
    assert context(club, "1", "other_teams") == [{"name": "Team 1", "role": "r1"}, {"name": "Team 3", "role": "r3"}]
    assert context(club, "2", "other_teams") == []
    assert context(club, "3", "other_teams") == [{"name": "Team 4", "role": "r4"}]


@pytest.mark.parametrize("batch_size", SIZES)
def test_the_home_company_stands_in_one_place(club, recipe, batch_size):
    club.app.use_plan(recipe[1])
    assert club.app.sync(batch_size=batch_size).links == Counts(stored=3)
    assert {key: company for key, (company, _) in club.held().items()} == {"1": "4", "2": "2", "3": "1"}
    assert context(club, "3", "projects") == [{"id": 8, "name": "Q"}]
    people = {team: club.server.store.company(team)["context"]["people"]["value"]["people"] for team in "1234"}
    assert people == {"1": 1, "2": 1, "3": 0, "4": 1}


@pytest.mark.parametrize("batch_size", SIZES)
def test_users_are_told_apart_as_the_database_compares_their_keys(club, batch_size):
    database = club.database
    database.table("teams", "id VARCHAR(20)", [("a",), ("b",), ("É",)])
    database.table(
        "members",
        "name VARCHAR(20), team VARCHAR(20), place INT",
        [("bob", "a", 1), ("BOB", "b", 1), ("eve", "b", 2), ("eve", "É", 1), ("Eve", "a", 1), ("zoe", "É", 1)],
    )
    plan = """\
version: 1
source: app
companies: {key: team, traits: {sql: SELECT id AS team FROM teams}}
users:
  key: name
  company: team
  prefer: [place]
  traits: {sql: "SELECT name, team, place FROM members"}
"""
    ignores_case = database.engine.dialect.name == "mysql"
    club.app.use_plan(plan)
    club.app.sync(batch_size=batch_size)
    picked = {"bob": "a", "Eve": "a", "zoe": "É"} | ({} if ignores_case else {"BOB": "b", "eve": "É"})
    assert {key: company for key, (company, _) in club.held().items()} == picked
    club.server.store.reset()
    club.app.use_plan(plan.replace("  prefer: [place]\n", ""))
    report = club.app.sync(batch_size=batch_size)
    companies = {"bob": "a and b", "Eve": "a and É"} if ignores_case else {"eve": "b and É"}
    rows = "has more than one row in the users query (users.traits)"
    assert club.rejects(report) == {
        key: f"{rows}, of companies {of}; one is due, which users.prefer can pick" for key, of in companies.items()
    }
    assert report.users == Counts(stored=1 if ignores_case else 4, rejected=len(companies))


def test_a_number_and_its_text_are_one_key_in_sqlite_too(sqlite, halo, tmp_path):
    halo.store.reset()
    club = Club(sqlite, halo, tmp_path)
    sqlite.table("teams", "id INT, name TEXT", [(1, "One"), (2, "Two")])
    sqlite.table("members", "user_id, team_id", [(1, 1), ("1", 2), (2, 1), (3, 2)])
    club.app.use_plan(
        "version: 1\nsource: app\nusers:\n  key: user_id\n  company: team_id\n"
        '  traits: {sql: "SELECT user_id, team_id FROM members"}\n'
    )
    for batch_size in SIZES:
        assert club.rejects(club.app.sync(batch_size=batch_size)) == {
            "1": "has more than one row in the users query (users.traits), of companies 1 and 2; one is due, which users.prefer can pick"
        }
