"""Every wrong query of a plan is told in one go, each at its own place, before anything is read or sent."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError, QueryRefused, SourceError
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.planning import batch_for, plan_batches

PLAN = """
companies:
  key: team
  traits:
    sql: "{companies}"
  context:
    first: {{label: First, sql: "{first}"}}
    second: {{label: Second, sql: "{second}"}}
users:
  key: id
  company: team
  traits:
    sql: "{users}"
"""
RIGHT = {
    "companies": "SELECT id AS team, name FROM teams",
    "first": "SELECT id AS team, name FROM teams",
    "second": "SELECT team, COUNT(*) AS people FROM users GROUP BY team",
    "users": "SELECT id, team, mail FROM users",
}
WAYS = {
    "batches": lambda loaded, sources, only: plan_batches(loaded, select(loaded, only), sources),
    "named companies": lambda loaded, sources, only: plan_batches(
        loaded, select(loaded, only), sources, company_ids=["1"]
    ),
    "an event": lambda loaded, sources, only: batch_for(
        loaded, sources, selection=select(loaded, only), user_id="1", company_id="1"
    ),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture
def shop(database):
    database.table("teams", "id INT, name VARCHAR(20)", [(1, "One")])
    database.table("users", "id INT, team INT, mail VARCHAR(30)", [(1, 1, "secret@x.org")])
    return database


def refused(shop, plan, way, only=(), **wrong):
    loaded = plan(PLAN.format(**{**RIGHT, **wrong}))
    with pytest.raises((PlanError, SourceError)) as caught:
        way(loaded, shop.sources, only)
    return caught.value, str(caught.value).replace(loaded.path, "halo.yaml").splitlines()


@pytest.mark.parametrize("query", ["companies", "users"])
def test_a_wrong_column_is_put_on_its_own_query(shop, plan, query):
    wrong = RIGHT[query].replace("name", "nmae").replace("mail", "mial")
    error, (line,) = refused(shop, plan, WAYS["batches"], **{query: wrong})
    assert isinstance(error, QueryRefused)
    assert line.startswith(f"{query}.traits (halo.yaml, line {7 if query == 'companies' else 15}) failed on")
    assert line.endswith("; check the column's name in the SQL.")


@every_way
def test_all_wrong_queries_are_told_at_once(shop, plan, way):
    error, lines = refused(
        shop,
        plan,
        way,
        companies="SELECT id AS team, nmae FROM teams",
        first="SELECT id AS team, name AS name FROM nowhere",
        second="SELECT * FROM (SELECT team AS company FROM users) q",
        users="SELECT id, team, mail FORM users WHERE mail = 'secret@x.org'",
    )
    assert isinstance(error, QueryRefused)
    assert [line.partition(" failed on")[0].partition(":")[0] for line in lines] == [
        "companies.traits (halo.yaml, line 7)",
        "companies.context.first (halo.yaml, line 9)",
        "halo.yaml, line 10",
        "users.traits (halo.yaml, line 15)",
    ]
    assert "secret" not in str(error)


def test_columns_that_do_not_fit_the_plan_are_told_of_all_queries(shop, plan):
    error, lines = refused(
        shop,
        plan,
        WAYS["batches"],
        companies="SELECT * FROM teams",
        second="SELECT * FROM (SELECT team AS company FROM users) q",
    )
    assert isinstance(error, PlanError)
    assert [line.partition(", which")[0] for line in lines] == snapshot(
        [
            "halo.yaml, line 7: companies.traits.sql: gives no column 'team'",
            "halo.yaml, line 7: companies.traits.sql: column 'id' would be a trait that Halo reserves; leave it out of the SELECT, or rename it by AS",
            "halo.yaml, line 10: companies.context.second.sql: gives no column 'team'",
        ]
    )


@every_way
def test_what_a_run_does_not_read_may_be_wrong(shop, plan, way):
    loaded = plan(PLAN.format(**{**RIGHT, "first": "SELECT 1 FROM nowhere"}))
    way(loaded, shop.sources, ("companies.traits", "companies.context.second", "users"))


def test_a_failure_that_only_rows_show_is_put_on_its_own_query(shop, plan):
    wrong = {
        "sqlite": "SELECT id AS team, name FROM teams WHERE json_extract(name, '$.x') = 1",
        "postgresql": "SELECT id AS team, name FROM teams WHERE CAST(name AS INT) = 1",
        "mysql": "SELECT id AS team, name FROM teams WHERE (SELECT id FROM teams UNION ALL SELECT 2) = 1",
    }[shop.engine.dialect.name]
    _, (line,) = refused(shop, plan, WAYS["batches"], companies=wrong)
    assert line.startswith("companies.traits (halo.yaml, line 7) failed on connection 'app': ")


def test_a_database_that_is_away_is_told_once(shop, plan):
    away = sa.create_engine("sqlite:////nowhere/at/all.db")
    loaded = plan(PLAN.format(**RIGHT))
    with pytest.raises(SourceError) as caught:
        plan_batches(loaded, select(loaded), lambda _: away)
    assert len(str(caught.value).splitlines()) == 1
