"""What the rows of an entry become where they are no plain ones: of one name, without a name, of an integration."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.source.entries import numbered

ENTRY = """\
companies:
  key: team_id
  traits: {sql: SELECT id AS team_id FROM teams}
  context:
    x: {label: Connected Services, %s}
"""
NUMBERED = "name: service, duplicates: number, sql: 'SELECT team_id, service, n FROM t'"


def values_of(result):
    return {record.company_id: record.context["x"].value for record in result.records if "x" in record.context}


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_one_name_are_numbered_in_the_order_of_their_content_or_of_the_plan(database, plan, read, reverse):
    rows = [(1, "S3 prod", 3), (1, "S3 prod", 1), (1, "S3 prod (2)", 9), (1, "S3 prod", 20), (1, "Zoom", None)]
    database.table("teams", "id INT", [(1,), (2,)])
    database.table("t", "team_id INT, service VARCHAR(20), n INT", rows[::-1] if reverse else rows)
    by_content = read(database, plan(ENTRY % NUMBERED), "companies")
    assert values_of(by_content) == {
        "1": {
            "S3 prod": {"n": 1},
            "S3 prod (2)": {"n": 9},
            "S3 prod (3)": {"n": 20},
            "S3 prod (4)": {"n": 3},
            "Zoom": {"n": None},
        },
        "2": {},
    }
    assert not by_content.warnings
    by_order = read(database, plan(ENTRY % f"order_by: [n desc], nulls: omit, {NUMBERED}"), "companies")
    assert values_of(by_order)["1"] == {
        "S3 prod": {"n": 20},
        "S3 prod (2)": {"n": 9},
        "S3 prod (3)": {"n": 3},
        "S3 prod (4)": {"n": 1},
        "Zoom": {},
    }


@given(st.lists(st.sampled_from(["a", "a (2)", "a (2) (2)", "a (3)", "b"]), max_size=12))
def test_every_row_keeps_a_name_of_its_own_and_the_first_of_each_name_keeps_that_one(names):
    given_names = numbered(names)
    assert len(set(given_names)) == len(names)
    assert {names[at] for at in range(len(names)) if names.index(names[at]) == at} <= set(given_names)
    assert all(new == old or new.startswith(f"{old} (") for new, old in zip(given_names, names, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "duplicates: number",
            snapshot("is for entries with `name:`. It numbers rows of one name: add name, or remove duplicates."),
        ),
        ("name: service, duplicates: yes", snapshot("is true, but must be number.")),
        (
            "name: service, order_by: [n]",
            snapshot("is for lists only, and this entry is a mapping by name. Add `rows: many`, or remove order_by."),
        ),
        (
            "name: service, duplicates: number, limit: 5",
            snapshot("is for lists only, and this entry is a mapping by name. Add `rows: many`, or remove limit."),
        ),
        (
            "type: integration, name: service, timestamps: [connected]",
            snapshot("connected of an integration is a boolean, as Halo documents it. Remove it here."),
        ),
    ],
)
def test_duplicates_are_for_names_and_an_order_of_names_for_duplicates(plan, options, message):
    with pytest.raises(PlanError) as raised:
        plan(ENTRY % f"{options}, sql: 'SELECT team_id, service, n, connected FROM t'")
    assert raised.value.problems[0].message == message


@pytest.mark.parametrize(
    ("column", "on", "off"),
    [("SMALLINT", 1, 0), ("INT", 1, 0), ("BOOLEAN", True, False), ("NUMERIC(1)", 1, 0), ("DOUBLE PRECISION", 1.0, 0.0)],
)
def test_connected_of_an_integration_is_a_boolean_by_itself(database, plan, read, column, on, off):
    database.table("teams", "id INT", [(1,)])
    database.table("t", f"team_id INT, service VARCHAR(20), connected {column}", [(1, "a", on), (1, "b", off)])
    entry = "type: integration, name: service, sql: SELECT * FROM t"
    result = read(database, plan(ENTRY % entry), "companies")
    assert values_of(result) == {"1": {"a": {"connected": True}, "b": {"connected": False}}}
    assert [type(row["connected"]) for row in values_of(result)["1"].values()] == [bool, bool]
    assert not result.warnings
    untyped = read(database, plan(ENTRY % "name: service, sql: SELECT * FROM t"), "companies")
    assert isinstance(values_of(untyped)["1"]["a"]["connected"], type(on)) or column == "BOOLEAN"


def test_a_connected_that_is_no_boolean_is_told_and_not_guessed(database, plan, read):
    database.table("teams", "id INT", [(1,)])
    database.table(
        "t",
        "team_id INT, service VARCHAR(20), connected VARCHAR(20)",
        [(1, "a", "true"), (1, "b", "yes"), (1, "c", None), (1, "d", "1")],
    )
    entry = "type: integration, name: service, sql: 'SELECT * FROM t'"
    result = read(database, plan(ENTRY % entry), "companies")
    assert {name: row["connected"] for name, row in values_of(result)["1"].items()} == {
        "a": "true",
        "b": "yes",
        "c": None,
        "d": "1",
    }
    assert result.warnings == snapshot(
        Counter({"companies.context.x: rows whose `connected` is no boolean, and Halo documents none without": 4})
    )
    missing = read(database, plan(ENTRY % entry.replace("*", "team_id, service")), "companies")
    assert missing.warnings == result.warnings


def test_rows_without_a_name_beyond_what_is_kept_never_pass_for_all(sqlite, plan, read):
    sqlite.table("teams", "id INT", [(1,)])
    sqlite.table("t", "team_id INT, service VARCHAR(20)")
    sqlite.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 20000) "
        "INSERT INTO t SELECT 1, CASE i WHEN 20001 THEN 'hubspot' END FROM n"
    )
    result = read(sqlite, plan(ENTRY % "name: service, sql: SELECT * FROM t"), "companies")
    assert values_of(result) == {}
