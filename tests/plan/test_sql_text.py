"""SQL is read, never rewritten: what ends it, what writes, where the narrowing goes, which columns it gives."""

from __future__ import annotations

import pytest

from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_text import SqlProblem, quoted_templates, read_statement, selects_everything

PLAIN = "SELECT id FROM t"


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (PLAIN, PLAIN),
        (f"{PLAIN};", PLAIN),
        (f"{PLAIN} ;\n;\n", PLAIN),
        (f"{PLAIN} -- the end; really", PLAIN),
        (f"{PLAIN};\n/* all\n of it; */ -- done", PLAIN),
        (f"{PLAIN};\n# a comment of MySQL; with 'a quote\n", PLAIN),
        (f"{PLAIN}\n\n", PLAIN),
        (f"-- first\n{PLAIN}", f"-- first\n{PLAIN}"),
        # MySQL's comment, PostgreSQL's operator: nobody can tell, so the text stays.
        (f"{PLAIN} WHERE flags # 3", f"{PLAIN} WHERE flags # 3"),
        (f"{PLAIN} # note; to self\n;", f"{PLAIN} # note; to self"),
    ],
)
def test_a_semicolon_and_end_comments_go(sql, kept):
    statement = read_statement(sql)
    assert isinstance(statement, Statement)
    assert statement.pieces == (kept,)


@pytest.mark.parametrize(
    "literal",
    [
        "'100%'",
        "'%(x)s %s'",
        "'12:30'",
        "':name'",
        "'a;b'",
        "'it''s; -- not a comment'",
        "'/* no comment */'",
        "'{% x %} {{ y }}'",
        "'{{ batch(\"t.id\") }}'",
        "'C:\\'",
        "'it\\'s; MySQL'",
        "'\\\\'",
        "E'it\\'s; PostgreSQL'",
        "$$ it's; $1 $$",
        "$tag$ $$ ; ' $tag$",
        "'2025-01-01'::date",
        "x::text",
        "a ? 'b'",
        "data #>> '{a,b}'",
        "data\n  #>> '{a,b}'",
        "data #- '{a}'",
        "[odd name]",
        "`odd;name`",
        '"odd;""name"',
        "{'a': {'b': 1}}",
        "ARRAY[1, 2]",
        "N'ünïcødé ☃'",
    ],
)
def test_literals_and_names_survive_byte_for_byte(literal):
    sql = f"SELECT {literal} AS x, team_id\nFROM t WHERE a LIKE {literal}"
    statement = read_statement(f"{sql};")
    assert isinstance(statement, Statement)
    assert (statement.pieces, statement.placements, statement.columns) == ((sql,), (), ("x", "team_id"))


@pytest.mark.parametrize(
    ("placement", "expression"),
    [
        ('{{ batch("f.team_id") }}', "f.team_id"),
        ("{{batch('team_id')}}", "team_id"),
        ('{{  batch ( " f.team_id " )  }}', "f.team_id"),
        ("""{{ batch('"F"."team id"') }}""", '"F"."team id"'),
        ("{{ batch('`f`.`team_id`') }}", "`f`.`team_id`"),
        ("{{ batch('[f].[team id]') }}", "[f].[team id]"),
    ],
)
def test_the_narrowing_is_cut_out_where_it_is_placed(placement, expression):
    sql = f"SELECT team_id FROM (SELECT * FROM f WHERE {placement}) q WHERE {placement} AND x = '{{{{ batch(1) }}}}'"
    assert read_statement(sql) == Statement(
        pieces=("SELECT team_id FROM (SELECT * FROM f WHERE ", ") q WHERE ", " AND x = '{{ batch(1) }}'"),
        placements=(expression, expression),
        columns=("team_id",),
    )


ONE_SELECT = "A query must be a single SELECT (or WITH … SELECT)."
ONLY_BATCH = 'templates aren\'t supported in SQL. Only {{ batch("column") }} is filled in.'
NOT_A_COLUMN = 'batch takes the name of one column, for example {{ batch("f.team_id") }}.'
LOCKS = "FOR UPDATE and FOR SHARE lock rows of the product. A query may only read: remove the clause."


@pytest.mark.parametrize(
    ("sql", "problems"),
    [
        ("", [(0, "the query is empty. Write a SELECT.")]),
        (" \n-- nothing\n;", [(0, "the query is empty. Write a SELECT.")]),
        (f"{PLAIN};\n\nSELECT 2", [(2, f"a second statement begins here. {ONE_SELECT}")]),
        ("UPDATE t SET a = 1", [(0, f"the query begins with UPDATE. {ONE_SELECT}")]),
        ("drop table t", [(0, f"the query begins with DROP. {ONE_SELECT}")]),
        ("(VALUES (1))", [(0, f"the query begins with VALUES. {ONE_SELECT}")]),
        ("1 + 1", [(0, f"the query doesn't begin with SELECT or WITH. {ONE_SELECT}")]),
        ("WITH x AS (VALUES (1))", [(0, f"the query contains no SELECT. {ONE_SELECT}")]),
        (
            "WITH d AS (\n DELETE FROM t RETURNING id) SELECT * FROM d",
            [(1, "DELETE changes data. A query may only read.")],
        ),
        ("WITH x AS (SELECT 1)\nINSERT INTO t SELECT * FROM x", [(1, "INSERT changes data. A query may only read.")]),
        (
            "WITH x AS (UPDATE t AS u SET a = 1 RETURNING id) SELECT id FROM x",
            [(0, "UPDATE changes data. A query may only read.")],
        ),
        ("WITH x AS (SELECT 1) MERGE INTO t USING x ON a", [(0, "MERGE changes data. A query may only read.")]),
        (f"{PLAIN}\nFOR UPDATE SKIP LOCKED", [(1, LOCKS)]),
        (f"{PLAIN} FOR NO KEY UPDATE", [(0, LOCKS)]),
        (f"{PLAIN} FOR SHARE", [(0, LOCKS)]),
        ("SELECT id INTO copy FROM t", [(0, "SELECT … INTO writes a table. A query may only read: remove INTO.")]),
        ("SELECT {{ ds }} AS day", [(0, ONLY_BATCH)]),
        ("SELECT id\nFROM t {% if x %}", [(1, ONLY_BATCH)]),
        ("SELECT id FROM t WHERE {{ batch(team_id) }}", [(0, ONLY_BATCH)]),
        ("SELECT id FROM t WHERE\n{{ batch('1 = 1') }}", [(1, NOT_A_COLUMN)]),
        ("SELECT id FROM t WHERE {{ batch('') }}", [(0, NOT_A_COLUMN)]),
        ("SELECT id FROM t WHERE {{ batch('a.b; DROP TABLE t') }}", [(0, NOT_A_COLUMN)]),
        ("SELECT id FROM t WHERE {{ batch('lower(a)') }}", [(0, NOT_A_COLUMN)]),
        (
            "SELECT id\nFROM t WHERE a = 'open",
            [(1, "the literal, name or comment that ' opens is never closed. Close it.")],
        ),
        ("SELECT id /* open", [(0, "the literal, name or comment that /* opens is never closed. Close it.")]),
        ("SELECT $x$ open $y$", [(0, "the literal, name or comment that $x$ opens is never closed. Close it.")]),
        (
            "SELECT {{ a }},\n{{ b }} FROM t;\nDELETE FROM t",
            [(0, ONLY_BATCH), (1, ONLY_BATCH), (2, f"a second statement begins here. {ONE_SELECT}")],
        ),
    ],
)
def test_what_is_no_single_select_is_told_with_its_line(sql, problems):
    assert read_statement(sql) == tuple(SqlProblem(line, message) for line, message in problems)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT t.update, t.delete, "insert" FROM t',
        "SELECT update FROM t",
        "SELECT replace(a, 'x', 'y') AS a, insert(a, 1, 2, 'x') AS b FROM t",
        "SELECT max(update) AS updated FROM t",
        "SELECT 'DROP TABLE x' AS a FROM t -- DELETE FROM t",
        "SELECT a AS into_x FROM t",
        "SELECT substring(a FOR 3) AS a FROM t",
        "SELECT (update) FROM t WHERE x = (delete)",
    ],
)
def test_words_that_only_look_like_writing_are_no_mistake(sql):
    statement = read_statement(sql)
    assert isinstance(statement, Statement)


@pytest.mark.parametrize(
    ("select", "columns"),
    [
        ("SELECT id, t.name, s.t.role FROM t", ("id", "name", "role")),
        ('SELECT "Id", `b c`, [d e], t."F" FROM t', ("Id", "b c", "d e", "F")),
        (
            "SELECT a AS x, b y, count(*) n, CASE WHEN a THEN 1 ELSE 2 END state, 'x' k, 1 one FROM t",
            ("x", "y", "n", "state", "k", "one"),
        ),
        ('SELECT a AS "x ""y""", b AS \'z\' FROM t', ('x "y"', "z")),
        ("SELECT * FROM t", (None,)),
        ("SELECT t.*, id FROM t", (None, "id")),
        ("SELECT date, t.time, interval FROM t", ("date", "time", "interval")),
        ("SELECT id, timestamp FROM t", ("id", "timestamp")),
        ("SELECT not, date d, NOT active FROM t", (None, None, None)),
        ("SELECT DATE '2025-01-01' AS day, DATE '2025-01-01' FROM t", ("day", None)),
        ("SELECT count(*), 1, 'x', a + b, NOT a, a IS NULL, NULL, current_date, now()", (None,) * 9),
        ("SELECT a OR b, a COLLATE c, sum(a) OVER w, a::int, d + INTERVAL '1' DAY, INTERVAL '1' week", (None,) * 6),
        ("SELECT sum(a) OVER (PARTITION BY b ORDER BY c) total FROM t", ("total",)),
        ("SELECT a IS DISTINCT FROM b AS differs, extract(year FROM d) AS y FROM t", ("differs", "y")),
        ("SELECT (SELECT max(x) FROM u WHERE u.a = t.a) AS top, coalesce(a, (SELECT 1), b) AS c FROM t", ("top", "c")),
        ("SELECT DISTINCT a, b FROM t", ("a", "b")),
        ("SELECT DISTINCT ON (a, lower(b)) t.a, b FROM t", ("a", "b")),
        ("SELECT ALL a FROM t", ("a",)),
        ("WITH x AS (SELECT a, b FROM t), y(c) AS (SELECT 1) SELECT p, q FROM x", ("p", "q")),
        ("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT n FROM x", ("n",)),
        ("SELECT a, b FROM t UNION ALL SELECT c, d FROM u", ("a", "b")),
        ("SELECT 1 AS a UNION SELECT 2", ("a",)),
        ("(SELECT a FROM t) UNION (SELECT b FROM u)", ("a",)),
        ("WITH x AS (SELECT 1) (SELECT a FROM x)", (None,)),
        ('SELECT a AS from_x, b AS "from", t.order FROM t', ("from_x", "from", "order")),
        ("SELECT a, -- the, first\n b /* , c */ FROM t", ("a", "b")),
        ("SELECT arr[1, 2] AS x, [1, 'a', b] AS y FROM t", ("x", "y")),
        ("SELECT a # b AS x FROM t", (None,)),
        ("SELECT TOP 10 id FROM t", (None,)),
        ("SELECT", (None,)),
        ("SELECT DISTINCT", (None,)),
        ("SELECT a, FROM t", ("a", None)),
    ],
)
def test_columns_are_read_as_far_as_the_text_tells_them(select, columns):
    statement = read_statement(select)
    assert isinstance(statement, Statement)
    assert statement.columns == columns


def test_text_literals_are_told_with_their_column():
    statement = read_statement("SELECT 'annual' AS contract_term, 'it''s' x, E'a' AS e, lower('B') AS f, 1 AS g FROM t")
    assert isinstance(statement, Statement)
    assert statement.literals == (("contract_term", "annual"), ("x", "it's"))


@pytest.mark.parametrize(
    ("sql", "everything"),
    [
        ("SELECT * FROM t", True),
        ("SELECT t.* FROM t", True),
        ("SELECT count(*) AS n FROM (SELECT * FROM t) q", False),
        ("SELECT a * b AS c FROM t", False),
    ],
)
def test_a_star_in_the_outermost_list_is_seen(sql, everything):
    statement = read_statement(sql)
    assert isinstance(statement, Statement)
    assert selects_everything(statement) is everything


def test_templates_in_quotes_are_seen():
    statement = read_statement(
        "SELECT '{{ ds }}' AS a, '{{first_name}}{{' AS b FROM t WHERE {{ batch('x') }} -- {{ no }}"
    )
    assert isinstance(statement, Statement)
    assert quoted_templates(statement) == ["{{ ds }}", "{{first_name}}"]
