"""Named queries of a plan: put in front of those that use them, and told where they go wrong."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.plan.definitions import table_names
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.sql_tokens import tokens_of

PLAN = """\
version: 1
source: app
define:
%s
companies:
  key: team_id
  traits:
    sql: %s
"""


def load(plans, define, sql="SELECT id AS team_id FROM teams"):
    lines = "\n".join(f"  {line}" for line in define.split("\n"))
    return plans.load(PLAN % (lines, sql))


def sql_of(plans, define, sql):
    (query,) = load(plans, define, sql).queries
    return "{{batch}}".join(query.statement.pieces)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT a FROM home", ["home"]),
        ("SELECT a FROM home h JOIN teams AS t ON t.a = h.a LEFT JOIN x USING (a, home)", ["home", "teams", "x"]),
        ("SELECT a FROM x, home WHERE b IN (SELECT c, d FROM y, z), q", ["x", "home", "y", "z"]),
        ("SELECT home, a.home, count(home) FROM x home WHERE home = 1 ORDER BY home, b", ["x"]),
        ("SELECT extract(year FROM home), trim(both 'x' from home) FROM a", ["a"]),
        ("SELECT a IS DISTINCT FROM home FROM b", ["b"]),
        ("SELECT 1 FROM public.home, home.x, home(1)", []),
        ("SELECT 1 FROM (home CROSS JOIN x), LATERAL (SELECT a, b FROM y) z", ["home", "x", "y"]),
        ('WITH a AS (SELECT 1 FROM home) SELECT 1 FROM a UNION SELECT 2, 3 FROM "b"', ["home", "a", "b"]),
        ("SELECT 'FROM home', x -- FROM home\n FROM y", ["y"]),
    ],
)
def test_tables_are_the_names_that_are_read_from(sql, tables):
    code = [token for token in tokens_of(sql) if token.is_code]
    assert [token.value for token in table_names(code)] == tables


def test_a_query_gets_the_definitions_that_it_uses_those_first_that_others_use(plans):
    define = "unused: SELECT 1 AS one\nhome: SELECT user_id FROM members\nbig: SELECT user_id FROM home JOIN other\nother: SELECT 2 AS two"
    assert sql_of(plans, define, "SELECT b.team_id FROM big b") == (
        "WITH home AS (SELECT user_id FROM members), other AS (SELECT 2 AS two), "
        "big AS (SELECT user_id FROM home JOIN other) SELECT b.team_id FROM big b"
    )
    assert sql_of(plans, define, "SELECT team_id FROM bigger") == "SELECT team_id FROM bigger"


def test_a_with_of_its_own_is_kept_behind_the_definitions(plans):
    define = "home: SELECT 1 AS a"
    assert sql_of(plans, define, "WITH x AS (SELECT a FROM HOME) SELECT a AS team_id FROM x") == (
        "WITH home AS (SELECT 1 AS a), x AS (SELECT a FROM HOME) SELECT a AS team_id FROM x"
    )
    assert sql_of(plans, define, "WITH RECURSIVE x(a) AS (SELECT a FROM home) SELECT a AS team_id FROM x") == (
        "WITH RECURSIVE home AS (SELECT 1 AS a), x(a) AS (SELECT a FROM home) SELECT a AS team_id FROM x"
    )
    assert sql_of(plans, define, '(SELECT a AS team_id FROM home WHERE {{ batch("a") }})') == (
        "WITH home AS (SELECT 1 AS a) (SELECT a AS team_id FROM home WHERE {{batch}})"
    )


def test_a_definition_takes_one_line_so_that_the_lines_of_the_query_stay(plans):
    plans.write("sql/home.sql", "-- who is where\nSELECT user_id, -- the user\n  'a\n-- b' AS team_id\nFROM members;\n")
    plans.write("sql/teams.sql", "SELECT team_id\nFROM home\n")
    plan = load(plans, "home: sql/home.sql", "sql/teams.sql")
    (query,) = plan.queries
    assert query.statement.pieces[0].endswith("\nFROM home")
    assert query.statement.pieces[0].split("\n")[-2:] == [
        "-- b' AS team_id FROM members) SELECT team_id",
        "FROM home",
    ]
    assert query.place == "sql/teams.sql, line 1; uses home (sql/home.sql, line 1)"
    assert [(one.name, one.is_used) for one in plan.definitions] == [("home", True)]


def test_a_definition_that_nothing_uses_is_found(plans):
    plan = load(plans, "home: SELECT 1 AS a\nother: SELECT a FROM home")
    assert [(finding.text, finding.location) for finding in lint(plan) if finding.rule == "definitions"] == [
        ("define.home: no query uses it: remove it, or read it by FROM home", "halo.yaml, line 4"),
        ("define.other: no query uses it: remove it, or read it by FROM other", "halo.yaml, line 5"),
    ]


@pytest.mark.parametrize(
    ("define", "sql", "problems"),
    [
        (
            "a: SELECT 1 FROM b\nb: SELECT 1 FROM c\nc: SELECT 1 FROM a",
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 4: define.a: uses itself: a → b → c → a. Take one of these out.",
                    "halo.yaml, line 5: define.b: uses itself: b → c → a → b. Take one of these out.",
                    "halo.yaml, line 6: define.c: uses itself: c → a → b → c. Take one of these out.",
                ]
            ),
        ),
        (
            "teams: SELECT * FROM teams WHERE live",
            "SELECT id AS team_id FROM teams",
            snapshot(
                ["halo.yaml, line 4: define.teams: reads teams, its own name. Give it another name than the table has."]
            ),
        ),
        (
            "home: SELECT 1 AS a",
            "WITH Home AS (SELECT 2 AS team_id) SELECT team_id FROM home",
            snapshot(
                [
                    "halo.yaml, line 8: companies.traits.sql: its own WITH names Home, which is also a definition of the plan (halo.yaml, line 4). Rename one of them."
                ]
            ),
        ),
        (
            "a: WITH b AS (SELECT 1) SELECT * FROM b\nb: SELECT 2",
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 4: define.a: its own WITH names b, which is also a definition of the plan (halo.yaml, line 5). Rename one of them."
                ]
            ),
        ),
        (
            "home: SELECT 1\nHOME: SELECT 2\nhome-2: SELECT 3",
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 5: define.HOME: is home to SQL, which doesn't mind the case of a name. Rename one of them.",
                    "halo.yaml, line 6: define.home-2: 'home-2' can't name a query. Give it a name that SQL takes for a table's, such as home_team.",
                ]
            ),
        ),
        (
            "home: UPDATE users SET a = 1",
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 4: define.home: the query begins with UPDATE. A query must be a single SELECT (or WITH … SELECT)."
                ]
            ),
        ),
        (
            'home: SELECT 1 WHERE {{ batch("a") }}',
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 4: define.home: a definition has no place for a batch of its own. Put {{ batch(…) }} into the queries that use it, or leave it out."
                ]
            ),
        ),
        (
            "home: 5\nother:\nmissing: sql/missing.sql",
            "SELECT id AS team_id FROM teams",
            snapshot(
                [
                    "halo.yaml, line 4: define.home: is 5, but must be a string. Put quotes around it.",
                    "halo.yaml, line 5: define.other: is empty, but must be a string.",
                    "halo.yaml, line 6: define.missing: sql/missing.sql: no such file. Check the path, and the directory that it starts from.",
                ]
            ),
        ),
    ],
)
def test_what_is_wrong_with_definitions_is_told_with_its_line(plans, define, sql, problems):
    lines = "\n".join(f"  {line}" for line in define.split("\n"))
    assert plans.problems(PLAN % (lines, sql)) == problems
