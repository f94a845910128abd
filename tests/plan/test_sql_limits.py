"""Which queries are cut short as a whole, and which only in a part of them."""

from __future__ import annotations

import pytest

from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_limits import row_limit
from airflow_provider_halo.plan.sql_text import read_statement


def limit_of(sql):
    statement = read_statement(sql)
    assert isinstance(statement, Statement), statement
    return row_limit(statement)


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT id, n FROM x LIMIT 5", "LIMIT"),
        ("select id, n from x order by n desc\nlimit 5;", "LIMIT"),
        ("SELECT id, n FROM x LIMIT 5 OFFSET 10", "LIMIT"),
        ("SELECT id, n FROM x OFFSET 10", "OFFSET"),
        ("SELECT id, n FROM x ORDER BY n OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY", "OFFSET"),
        ("SELECT id, n FROM x FETCH FIRST 5 ROWS ONLY", "FETCH FIRST"),
        ("SELECT TOP 5 id, n FROM x", "TOP"),
        ("SELECT DISTINCT TOP (5) id, n FROM x", "TOP"),
        ("(SELECT id, n FROM x LIMIT 5)", "LIMIT"),
        ("SELECT id FROM x UNION ALL SELECT id FROM y LIMIT 5", "LIMIT"),
        ("(SELECT id FROM x LIMIT 5) UNION ALL (SELECT id FROM y)", "LIMIT"),
        ("SELECT id FROM x UNION (SELECT id FROM y LIMIT 5)", "LIMIT"),
        ("WITH a AS (SELECT id FROM x) SELECT id FROM a LIMIT 5", "LIMIT"),
        ('SELECT id FROM x WHERE {{ batch("x.id") }} LIMIT 5', "LIMIT"),
    ],
)
def test_a_limit_outside_of_subqueries_is_found(sql, word):
    assert limit_of(sql) == word


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, n FROM x",
        "SELECT id, (SELECT n FROM y WHERE y.id = x.id ORDER BY n LIMIT 1) AS n FROM x",
        "SELECT id, n FROM (SELECT id, n FROM x LIMIT 5) q",
        "WITH a AS (SELECT id FROM x LIMIT 5) SELECT id FROM a",
        "SELECT id FROM x WHERE id IN (SELECT id FROM y LIMIT 5) UNION SELECT id FROM y",
        "SELECT id, ARRAY(SELECT n FROM y LIMIT 3) AS n FROM x",
        "SELECT id, x.limit, p.max_rows AS limit, x.offset FROM x",
        "SELECT id, top, fetch_size AS fetch, 'LIMIT 5' AS text FROM x -- LIMIT 5",
        "SELECT id, n FROM x LIMIT ALL",
    ],
)
def test_a_limit_in_a_part_of_a_query_a_name_or_a_text_is_none(sql):
    assert limit_of(sql) is None
