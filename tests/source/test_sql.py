"""The user's SQL reaches the database byte for byte, narrowed to a batch by bound values."""

from __future__ import annotations

import re
import uuid
from importlib.metadata import version
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from airflow_provider_halo.plan.model import Query, Statement
from airflow_provider_halo.records.payload import Company, User
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.sql import Companies, NoCompany, Part, Range, Records, narrowed


def query_of(*pieces: str, placements: tuple[str, ...] = (), key: str = "k", company: str = "k") -> Query:
    return Query(
        name="companies.traits",
        scope="companies",
        source="app",
        statement=Statement(pieces, placements),
        key=key,
        company=company,
        file="halo.yaml",
        line=6,
    )


def rows(engine: sa.Engine, query: Query, part: Part) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(narrowed(query, part, engine.dialect))]


# MariaDB reads a backslash in a literal as an escape, PostgreSQL and SQLite take none of NUL: neither is ours to mend.
nasty = st.text(alphabet=st.sampled_from(':%(){}sdx?$@#;-/*"`!~&|^ \n\tWORDé€😀0'), max_size=30) | st.sampled_from(
    [
        ":word",
        "::int",
        "%s",
        "%(x)s",
        "100%",
        "12:30",
        ":halo_first",
        ":halo_keys",
        "{{ batch('x') }}",
        "-- no",
        "/* no",
        "?",
    ]
)


# Older ones take %(x)s in a text for a parameter where the driver's own are question marks, and end with a KeyError. That
# is theirs to mend, and they did.
KNOWS_ITS_PARAMETERS = Version(version("SQLAlchemy")) >= Version("2.0.55")


@settings(max_examples=150, deadline=None)
@given(text=nasty)
def test_a_literal_comes_back_as_it_was_written(each_database, text):
    literal = text.replace("'", "''")
    sql = f"SELECT 1 AS k, '{literal}' AS x -- {text.splitlines()[0] if text.strip() else ''}"
    if not KNOWS_ITS_PARAMETERS and each_database.engine.dialect.paramstyle == "qmark":
        assume(not re.search(r"%\([^)]+\)s", sql))
    query = query_of(sql)
    assert rows(each_database.engine, query, Range(1, 2)) == [(1, text)]
    assert rows(each_database.engine, query, Range()) == [(1, text)]
    placed = query_of(f"SELECT 1 AS k, '{literal}' AS x FROM (SELECT 1 AS y) t WHERE ", "", placements=("t.y",))
    assert rows(each_database.engine, placed, Companies((1, 2))) == [(1, text)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 7 AS k, '\\:x' AS x",
        "SELECT 7 AS k, '\\:x' AS x -- a comment with 'a quote and :word",
        "WITH a AS (SELECT 7 AS k) SELECT k, '\\:x' AS x FROM a /* :end */",
        "SELECT 7 AS k, '\\:x' AS x UNION ALL SELECT NULL, '12:30' ORDER BY 1 -- sorted",
    ],
)
def test_comments_with_clauses_and_backslashes_are_no_trouble(any_driver, sql):
    # MariaDB drops a backslash before a letter that has no escape; so it does without us.
    expected = ":x" if any_driver.engine.dialect.name == "mysql" else "\\:x"
    assert rows(any_driver.engine, query_of(sql), Range(7, 8)) == [(7, expected)]


@pytest.mark.databases
def test_casts_of_postgresql_and_modulo_survive(any_driver):
    if any_driver.engine.dialect.name != "postgresql":
        pytest.skip("casts by :: are PostgreSQL's")
    query = query_of(
        "SELECT '7'::int AS k, (5 % 3)::text AS x, (ARRAY[1,2,3])[2:3] AS y, '{\"a\": 1}'::jsonb ? 'a' AS z"
    )
    assert rows(any_driver.engine, query, Range(7, None)) == [(7, "2", [2, 3], True)]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Range(), [-5, 1, 10, 2, 3]),
        (Range(None, 2), [-5, 1]),
        (Range(2, None), [10, 2, 3]),
        (Range(1, 3), [1, 2]),
        (NoCompany(), [None]),
        (Companies((3, -5, 99)), [-5, 3]),
        (Records((2,)), [2]),
        (Records((2, 3), (2, None)), [2, 3]),
        (Records(()), []),
    ],
)
@pytest.mark.parametrize("placed", [False, True])
def test_each_part_gives_its_rows_in_the_order_of_the_keys_texts(any_driver, part, expected, placed):
    any_driver.table("t", "k INT", [(key,) for key in (3, 1, None, 10, 2, -5)])
    query = query_of("SELECT k FROM t WHERE ", "", placements=("t.k",)) if placed else query_of("SELECT k FROM t")
    if placed and part == Records((2, 3), (2, None)):
        expected = [2]  # the template narrows to the companies, and 3 is none of them
    assert [row[0] for row in rows(any_driver.engine, query, part)] == expected


@pytest.mark.parametrize("name", ["key", "Team", "team id", "100%", "a:b", "order", 'quo"ted', "back`tick"])
def test_columns_of_any_name_are_quoted_where_they_must_be(any_driver, name):
    quoted = any_driver.engine.dialect.identifier_preparer.quote_identifier(name).replace("%%", "%")
    query = query_of(f"SELECT 1 AS {quoted}", key=name, company=name)
    assert rows(any_driver.engine, query, Range(1, 2)) == [(1,)]


def test_texts_are_ordered_by_code_point_whatever_the_collation(any_driver):
    keys = ["b", "B", "a", "Z", "é", "z", "_", "10", "9", "😀", "￼", "ab", "a b"]
    any_driver.table("t", "k VARCHAR(20)", [(key,) for key in keys])
    assert [row[0] for row in rows(any_driver.engine, query_of("SELECT k FROM t"), Range())] == sorted(keys)


def test_numbers_beyond_64_bits_are_bound_as_they_are(any_driver):
    if any_driver.is_sqlite:
        pytest.skip("SQLite's integers have 64 bits")
    big = 10**20
    any_driver.table("t", "k DECIMAL(30, 0)", [(big,), (big + 1,), (5,)])
    assert rows(any_driver.engine, query_of("SELECT k FROM t"), Range(big + 1, None)) == [(big + 1,)]
    assert [row[0] for row in rows(any_driver.engine, query_of("SELECT k FROM t"), Companies((big, 5)))] == [big, 5]


@pytest.mark.databases
@pytest.mark.parametrize("as_text", [False, True])
def test_native_uuids_are_compared_as_uuids(any_driver, plan, read, as_text):
    if any_driver.is_sqlite:
        pytest.skip("SQLite has no UUIDs")
    keys = [uuid.UUID(int=number << 100) for number in (5, 1, 9, 3)]
    any_driver.table("teams", "id UUID PRIMARY KEY", [(str(key),) for key in keys])
    any_driver.table("users", "id UUID PRIMARY KEY, team UUID", [(str(key), str(keys[0])) for key in keys])
    loaded = plan("""
companies: {key: team, traits: {sql: SELECT id AS team FROM teams}}
users: {key: id, company: team, traits: {sql: "SELECT id, team FROM users"}}
""")
    key_type = "text" if as_text else "uuid"
    batch = Batch(key_type=key_type, first=str(keys[3]), next=str(keys[2]))
    assert read(any_driver, loaded, "companies", batch).records == [
        Company(company_id=str(keys[3])),
        Company(company_id=str(keys[0])),
    ]
    one = Batch(key_type=key_type, companies=(str(keys[0]),), user=str(keys[1]), user_key_type=key_type)
    assert read(any_driver, loaded, "users", one).records == [User(user_id=str(keys[1]), company_id=str(keys[0]))]
    assert read(any_driver, loaded, "companies", one).records == [Company(company_id=str(keys[0]))]
