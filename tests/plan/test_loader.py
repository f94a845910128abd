"""A right plan becomes queries with every default worked in; a wrong file is told in one sentence."""

from __future__ import annotations

import os

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import Query, Statement

MOMENTS = frozenset({"signed_up_at", "renewal_date"})


def entry_of(plans, options: str, *, plan_options: str = "") -> Query:
    """The query of one company entry with these options."""
    text = (
        f"version: 1\nsource: db\n{plan_options}"
        "companies:\n  key: id\n  traits: {sql: SELECT id FROM t}\n  context:\n    entry:\n      label: Some Entry\n"
        "      sql: SELECT * FROM e\n" + "".join(f"      {line}\n" for line in options.split("\n") if line)
    )
    (query,) = plans.load(text).entries("companies")
    return query


def test_a_plan_becomes_its_queries_in_the_order_of_the_file(plans):
    plan = plans.load(plans.right)
    assert [query.name for query in plan.queries] == [
        "companies.traits",
        "companies.context.metrics",
        "companies.context.integrations",
        "companies.context.errors",
        "users.traits",
        "users.context.onboarding",
    ]
    assert plan.path == "halo.yaml"
    assert plan.traits("users") == Query(
        name="users.traits",
        scope="users",
        source="forms_app",
        statement=Statement(
            pieces=("SELECT id AS user_id, team_id, name, email, role, has_form FROM users",),
            columns=("user_id", "team_id", "name", "email", "role", "has_form"),
        ),
        key="user_id",
        company="team_id",
        file="halo.yaml",
        line=31,
        empty={},
        timestamps=MOMENTS,
    )
    integrations = plan.entries("companies")[1]
    assert integrations == Query(
        name="companies.context.integrations",
        scope="companies",
        source="forms_app",
        statement=Statement(
            pieces=("-- what is connected\nSELECT team_id, service, connected, status, error\nFROM integrations",),
            columns=("team_id", "service", "connected", "status", "error"),
        ),
        key="team_id",
        company="team_id",
        file="sql/integrations.sql",
        line=1,
        entry_key="integrations",
        entry=plan.plan.companies.context["integrations"],
        shape="map",
        empty={},
    )
    assert str(integrations.problem("is wrong")) == snapshot(
        "sql/integrations.sql, line 1: companies.context.integrations.sql: is wrong"
    )


@pytest.mark.parametrize(
    ("options", "shape", "empty"),
    [
        ("", "object", {}),
        ("type: metric", "object", {}),
        ("type: status", "object", {}),
        ("type: config", "object", {}),
        ("type: feature", "object", {}),
        ("type: custom", "object", {}),
        ("type: list", "array", []),
        ("type: error", "array", []),
        ("type: error\nrows: one", "object", {}),
        ("rows: many", "array", []),
        ("type: metric\nrows: many", "array", []),
        ("type: integration\nname: service", "map", {}),
        ("type: relationship\nname: kind", "map", {}),
        ("type: integration\nvalue: state", "scalar", None),
        ("type: integration\nrows: many", "array", []),
        ("name: service", "map", {}),
        ("value: state", "scalar", None),
        ("value: state\nempty: none at all", "scalar", "none at all"),
        ("value: state\nempty: 0", "scalar", 0),
        ("empty: {forms: 0, since: 2025-01-01}", "object", {"forms": 0, "since": "2025-01-01"}),
        ("type: list\nempty: [{label: nothing}]", "array", [{"label": "nothing"}]),
    ],
)
def test_an_entry_gets_its_shape_and_empty_value(plans, options, shape, empty):
    query = entry_of(plans, options)
    assert (query.shape, query.empty, query.sends_empty) == (shape, empty, True)


def test_empty_omit_sends_nothing_for_a_record_without_rows(plans):
    query = entry_of(plans, "type: list\nempty: omit")
    assert (query.empty, query.sends_empty) == ([], False)


@pytest.mark.parametrize(
    ("plan_options", "options", "nulls"),
    [
        ("", "", "send"),
        ("nulls: omit\n", "", "omit"),
        ("nulls: omit\n", "nulls: send", "send"),
        ("", "nulls: omit", "omit"),
        ("nulls: omit\n", "value: state", "send"),
    ],
)
def test_nulls_of_the_entry_go_before_those_of_the_plan_and_a_value_is_always_sent(plans, plan_options, options, nulls):
    assert entry_of(plans, options, plan_options=plan_options).nulls == nulls


def test_marked_columns_reach_the_query_and_traits_know_their_moments(plans):
    query = entry_of(plans, "booleans: [connected]\ntimestamps: [since]\nsource: other")
    assert (query.booleans, query.timestamps, query.source) == (frozenset({"connected"}), frozenset({"since"}), "other")
    plan = plans.load(
        "version: 1\ncompanies:\n  key: id\n  traits:\n    sql: SELECT * FROM t\n    source: own\n    nulls: omit\n"
        "    booleans: [paying]\n    timestamps: [trial_ends]\n"
    )
    traits = plan.traits("companies")
    assert (traits.source, traits.nulls, traits.booleans) == ("own", "omit", frozenset({"paying"}))
    assert traits.timestamps == MOMENTS | {"trial_ends"}


def test_columns_that_the_text_leaves_open_are_no_mistake(plans):
    text = plans.right.replace("SELECT user_id, team_id, step, done FROM", "SELECT * FROM")
    text = text.replace("SELECT id AS user_id, team_id, name, email, role, has_form", "SELECT lower(x), team_id")
    assert plans.problems(text) == []


def test_column_names_are_found_whatever_their_case(plans):
    assert plans.problems(plans.changed("SELECT user_id, team_id, step", "SELECT USER_ID, Team_Id, step")) == []


def test_users_may_stand_alone_and_companies_too(plans):
    users = "users:\n  key: id\n  company: team\n  traits: {sql: 'SELECT id, team FROM u'}\n"
    companies = "companies:\n  key: org_id\n  traits: {sql: SELECT org_id FROM c}\n"
    head = "version: 1\nsource: db\n"
    assert [query.name for query in plans.load(head + users).queries] == ["users.traits"]
    assert [query.name for query in plans.load(head + companies).queries] == ["companies.traits"]
    assert plans.load(head + users).traits("companies") is None
    assert [query.name for query in plans.load(head + users + companies).queries] == [
        "users.traits",
        "companies.traits",
    ]


def test_a_reserved_name_may_be_the_key_or_company_column(plans):
    text = "version: 1\nsource: db\nusers:\n  key: id\n  company: company_id\n  traits: {sql: 'SELECT id, company_id FROM u'}\n"
    assert plans.problems(text) == []


def test_send_context_false_keeps_the_queries_of_user_context_out_but_still_checks_them(plans):
    off = plans.changed("  company: team_id\n", "  company: team_id\n  send_context: false\n")
    assert plans.load(off).entries("users") == ()
    assert plans.problems(off.replace("step, done FROM onboarding", "step, done, step FROM onboarding")) == snapshot(
        [
            "halo.yaml, line 37: users.context.onboarding.sql: the query returns two columns named step. Rename one with AS."
        ]
    )


def test_every_problem_is_told_at_once_in_the_order_of_the_file_with_those_of_sql_files_last(plans):
    plans.write("sql/integrations.sql", "SELECT team_id, service,\n  {{ ds }} AS day\nFROM integrations; DROP TABLE x")
    text = plans.right
    for old, new in (
        ("type: metric", "type: metrics"),
        ("limit: 20", "limit: -1"),
        ("  key: user_id\n", ""),
        ("'annual'", "'yearly'"),
        ("answered_by: [", "answered_by: [users.context.nothing, "),
        ("    integrations:\n", "    metrics: {}\n    integrations:\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    known_types = "list, integration, error, status, config, feature, metric, relationship, custom"
    known_answers = (
        "companies.traits, companies.context.metrics, companies.context.integrations, companies.context.errors, "
        "users.traits, users.context.onboarding"
    )
    assert plans.problems(text) == [
        "halo.yaml, line 8: companies.traits.sql: contract_term is 'yearly', which Halo doesn't accept. Allowed values: monthly, quarterly, annual, bi_annual.",
        f"halo.yaml, line 13: companies.context.metrics.type: 'metrics' isn't a context type. Did you mean metric? Known types: {known_types}.",
        "halo.yaml, line 16: companies.context.metrics: duplicate key, first used on line 11. Keep one of them.",
        "halo.yaml, line 27: companies.context.errors.limit: is -1, but must be at least 1.",
        "halo.yaml, line 28: users.key: missing. Name the column that identifies the record, for example `key: team_id`.",
        f"halo.yaml, line 39: questions[0].answered_by[0]: users.context.nothing isn't in the plan. Known keys: {known_answers}.",
        'sql/integrations.sql, line 2: companies.context.integrations.sql: templates aren\'t supported in SQL. Only {{ batch("column") }} is filled in.',
        "sql/integrations.sql, line 3: companies.context.integrations.sql: a second statement begins here. A query must be a single SELECT (or WITH … SELECT).",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "halo.yaml: the file is empty. A plan begins with `version: 1`."),
        (b"# nothing yet\n", "halo.yaml: the file is empty. A plan begins with `version: 1`."),
        (b"just a text", "halo.yaml, line 1: not a mapping. A plan begins with `version: 1`."),
        (b"- a\n- b\n", "halo.yaml, line 1: not a mapping. A plan begins with `version: 1`."),
        (
            b"version: 1\nname: \xff\xfe\n",
            "halo.yaml, line 2: not valid UTF-8 from this line on. Save the file as UTF-8.",
        ),
        (b"x" * 1_000_001, "halo.yaml: 1,000,001 bytes long, and at most 1,000,000 are read. Is it the right file?"),
    ],
)
def test_a_file_that_is_no_plan_is_one_problem(plans, content, expected):
    assert plans.problems(content) == [expected]


def test_a_plan_with_a_byte_order_mark_and_windows_line_ends_is_right(plans):
    assert plans.problems(b"\xef\xbb\xbf" + plans.right.replace("\n", "\r\n").encode()) == []


def test_a_path_that_gives_no_file_is_one_problem(plans):
    def told(path) -> str:
        with pytest.raises(PlanError) as caught:
            load_plan(path)
        (problem,) = caught.value.problems
        assert isinstance(problem, PlanProblem)
        return str(problem)

    os.mkfifo(plans.folder / "pipe")
    assert told("none.yaml") == snapshot(
        "none.yaml: no such file. Check the path, and the directory that it starts from."
    )
    assert told(plans.folder / "sql") == f"{plans.folder}/sql: a directory, not a file. Give the path of a file in it."
    assert told("pipe") == snapshot("pipe: not a regular file. Give the path of a text file.")
    assert told("a\0b") == snapshot("a\x00b: the path contains a NUL character. Remove it.")
    assert told("x" * 5000).endswith(": can't be read: File name too long.")


def test_sql_files_are_found_from_the_plans_folder_also_above_it(plans):
    plans.write("common/one.sql", "SELECT id FROM t")
    text = "version: 1\nsource: db\ncompanies:\n  key: id\n  traits: {sql: ../common/one.sql}\n"
    (query,) = load_plan(plans.write("plans/halo.yaml", text)).queries
    assert (query.file, query.line, query.statement.pieces) == ("plans/../common/one.sql", 1, ("SELECT id FROM t",))


def test_sql_that_ends_like_a_file_name_is_still_sql(plans):
    text = "version: 1\nsource: db\ncompanies:\n  key: id\n  traits: {sql: SELECT id FROM my.sql}\n"
    assert plans.load(text).queries[0].statement.pieces == ("SELECT id FROM my.sql",)


def test_yaml_anchors_may_repeat_a_part_of_a_plan(plans):
    text = (
        "version: 1\nsource: db\ncompanies:\n  key: id\n  traits: &same\n    sql: SELECT id, org FROM t\n"
        "users:\n  key: id\n  company: org\n  traits: *same\n"
    )
    assert [query.line for query in plans.load(text).queries] == [6, 6]


def test_a_plan_of_a_hundred_entries_loads(plans):
    entry = "    e{0}:\n      label: Entry {0}\n      sql: |\n        SELECT team_id, count(*) AS n{0},\n          max(x) AS m\n        FROM t{0}\n"
    entries = "".join(entry.format(number) for number in range(100))
    text = plans.changed("    metrics:\n", f"{entries}    metrics:\n")
    assert len(plans.load(text).queries) == 106


def test_a_wrong_column_is_told_with_its_own_line_where_the_lines_of_the_sql_are_those_of_the_file(plans):
    select = "SELECT\n{0}  team_id,\n{0}  service,\n{0}  count(*) AS\n{0}  service\n{0}FROM x"
    twice = "the query returns two columns named service. Rename one with AS."
    inline = "sql: SELECT user_id, team_id, step, done FROM onboarding"
    for style, line in (("|", 41), (">", 37)):
        text = plans.changed(inline, f"sql: {style}\n        " + select.format("        "))
        text = text.replace("key: user_id\n", "key: service\n").replace("id AS user_id,", "id AS service,")
        assert plans.problems(text) == [f"halo.yaml, line {line}: users.context.onboarding.sql: {twice}"]
    plans.write("sql/integrations.sql", select.format(""))
    assert plans.problems(plans.right) == [
        f"sql/integrations.sql, line 5: companies.context.integrations.sql: {twice}",
    ]


def test_reserved_names_and_wrong_literals_are_told_with_their_own_lines(plans):
    text = plans.changed(
        "t.name, t.created_at AS signed_up_at, s.plan,", "t.name,\n        t.id,\n        t.created_at,"
    )
    text = text.replace(" 'annual' AS", "\n        'yearly'\n        AS")
    assert plans.problems(text) == snapshot(
        [
            "halo.yaml, line 9: companies.traits.sql: id is a name that Halo reserves. Rename it in the SQL, for example `id AS record_id`.",
            "halo.yaml, line 10: companies.traits.sql: created_at is a name that Halo reserves. Rename it in the SQL, for example `created_at AS signed_up_at`.",
            "halo.yaml, line 12: companies.traits.sql: contract_term is 'yearly', which Halo doesn't accept. Allowed values: monthly, quarterly, annual, bi_annual.",
        ]
    )
