"""Whatever a file holds: it loads, or it is a PlanError, and soon. Never another exception."""

from __future__ import annotations

import json
import tempfile
import time
import timeit
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.findings import render_findings
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_text import read_statement
from airflow_provider_halo.plan.sql_tokens import tokens_of

QUICK = settings(deadline=2_000, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Pieces parted by "¦", so that blanks and line breaks can be pieces.
SQL_PIECES = (
    "'¦''¦\"¦`¦[¦]¦(¦)¦;¦--¦/*¦*/¦#¦\n¦\\¦$$¦$a$¦{{¦}}¦{%¦*¦,¦.¦:¦%¦é¦1¦a¦ b ¦E'¦SELECT ¦ FROM ¦ AS ¦WITH ¦UNION ¦IS "
)
SQL_PIECES += '¦DISTINCT ON ¦{{ batch("a.b") }}¦DELETE FROM ¦INTO ¦ FOR UPDATE'
NASTY_SQL = st.lists(st.sampled_from(SQL_PIECES.split("¦")), max_size=40).map("".join)
YAML_PIECES = (
    "a: ¦- ¦\n¦  ¦    ¦[¦]¦{¦}¦,¦&x ¦*x ¦|\n¦>\n¦'¦\"¦#¦!!¦!!int ¦<<: ¦? ¦: ¦\t¦~¦2025-01-01¦.nan¦0x¦---\n¦...\n"
)
YAML_PIECES += "¦%YAML 1.1\n¦version: 1\n¦companies:\n¦\ud7ff"
NASTY_YAML = st.lists(st.sampled_from(YAML_PIECES.split("¦")), max_size=60).map("".join)
KEYS = (
    "version source nulls companies users questions key company traits context sql label type rows name value order_by"
)
KEYS += " limit empty booleans timestamps send_context ask answered_by entry"


def loads_or_is_told(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "halo.yaml"
        path.write_bytes(content)
        try:
            plan = load_plan(path)
        except PlanError as error:
            problems = error.problems
        else:
            assert render_findings(lint(plan))
            return
    assert problems
    assert all(problem.message for problem in problems)


@QUICK
@given(st.one_of(NASTY_YAML, st.text(max_size=300)))
def test_any_text_loads_or_is_told(text):
    loads_or_is_told(text.encode("utf-8", "surrogatepass"))


@QUICK
@given(st.binary(max_size=300))
def test_any_bytes_load_or_are_told(content):
    loads_or_is_told(content)


@QUICK
@given(st.data())
def test_any_change_of_a_right_plan_loads_or_is_told(plans, data):
    text = plans.right
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = text[:start] + data.draw(st.one_of(NASTY_YAML, NASTY_SQL)) + text[end:]
    loads_or_is_told(text.encode("utf-8", "surrogatepass"))


JSON_LIKE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["omit", "many", "x.sql"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS.split()),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=30,
)


@QUICK
@given(JSON_LIKE, JSON_LIKE, JSON_LIKE)
def test_any_values_under_known_keys_load_or_are_told(companies, users, questions):
    plan = {"version": 1, "companies": companies, "users": users, "questions": questions}
    loads_or_is_told(json.dumps(plan).encode())


@QUICK
@given(st.one_of(NASTY_SQL, st.text(max_size=300)))
def test_any_sql_is_read_and_never_rewritten(sql):
    assert "".join(token.text for token in tokens_of(sql)) == sql[: sum(len(token.text) for token in tokens_of(sql))]
    statement = read_statement(sql)
    if not isinstance(statement, Statement):
        assert all(problem.message and 0 <= problem.line <= sql.count("\n") for problem in statement)
        return
    position = 0
    for piece in statement.pieces:
        position = sql.index(piece, position) + len(piece)
    assert len(statement.pieces) == len(statement.placements) + 1
    assert sql.startswith(statement.pieces[0])
    assert statement.columns


@QUICK
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_literal_survives(text):
    literal = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    sql = f"SELECT {literal} AS a, id FROM t WHERE x <> {literal}"
    assert read_statement(f"{sql}; -- {literal.splitlines()[0]}") == Statement(
        pieces=(sql,), columns=("a", "id"), literals=(("a", text.replace("\\", "\\\\")),)
    )


@pytest.mark.parametrize(
    "piece",
    [
        "/* ",
        "$a$ ",
        "'",
        "''",
        '"',
        "\\'",
        "(",
        "[a",
        "{{ ",
        "{{ batch(",
        "SELECT ",
        "-- ",
        "# ",
        "a.",
        "$a$b$",
        "E'\\",
        "\n#",
    ],
)
def test_a_long_hostile_text_is_read_in_linear_time(piece):
    def seconds(size: int) -> float:
        sql = "SELECT " + piece * (size // len(piece))
        # This thread's own time, and without the garbage collector (timeit sees to that): what other processes do, and
        # how much else this one holds in memory, says nothing about the reading.
        return timeit.timeit(lambda: read_statement(sql), timer=time.thread_time, number=1)

    small = min(seconds(12_500) for _ in range(3))
    # Sixteen times the text: linear reading takes 16 times as long, quadratic reading 256 times, each time.
    assert any(seconds(200_000) < 100 * small for _ in range(3))
