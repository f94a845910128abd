"""The guide's checklist against plans that meet it, that don't, and whose text doesn't tell."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.plan.findings import Finding, render_findings
from airflow_provider_halo.plan.lint import lint

POOR = """\
version: 1
source: db
companies:
  key: id
  traits: {sql: "SELECT id, domain FROM t"}
  context:
    stuff: {label: Data, type: list, empty: omit, sql: "SELECT id, status FROM s LIMIT 5"}
    more: {label: more_stuff, sql: "SELECT * FROM m WHERE day = '{{ ds }}'"}
    again: {label: Twice, type: list, rows: one, sql: "SELECT id, a FROM x"}
    twice: {label: twice, sql: "SELECT id, a FROM x"}
users:
  key: uid
  company: id
  send_context: false
  traits: {sql: "SELECT uid, id, name, avatar FROM u"}
  context:
    onboarding: {label: Onboarding, type: status, sql: "SELECT uid, id, has_form FROM o"}
questions:
  - ask: How do I start?
    answered_by: [users.context.onboarding]
"""


def test_a_plan_that_says_all_meets_every_point(plans):
    text = plans.right.replace("s.is_trial", "s.billing_status")
    text = text.replace("email, role, has_form FROM", "email, role, created_at AS signed_up_at, has_form FROM")
    text = text.replace(
        "users:\n",
        "    billing:\n      label: Billing & Credits\n      type: metric\n      sql: SELECT team_id, credits FROM c\nusers:\n",
    )
    text = text.replace("type: error\n", "type: list\n").replace("label: Open Problems", "label: Open Cases")
    findings = lint(plans.load(text))
    assert render_findings(findings) == snapshot(
        """\
✓ user traits: name, email, role
✓ user traits from the product: has_form
✓ signed_up_at of users
✓ onboarding milestones: has_form
✓ company traits: name, plan
✓ company traits on billing: billing_status, contract_term
✓ context on onboarding and activity: users.context.onboarding
✓ context on product metrics: companies.context.metrics
✓ context on integration status: companies.context.integrations
✓ context on billing and usage: companies.context.billing
✓ errors are included: companies.context.integrations
✓ every label describes its entry
✓ companies.context.errors: its items have an id and a name
✓ entries have the values that Halo documents for their types
✓ no query cuts its rows short
✓ an entry without rows is sent as empty
✓ every query names its columns
✓ Why isn't my HubSpot sync working? Answered by companies.context.integrations

18 of 18 points met.\
"""
    )
    assert all(finding.ok for finding in findings)


def test_a_poor_plan_is_told_every_mend_with_its_place(plans):
    findings = lint(plans.load(POOR))
    assert render_findings(findings) == snapshot(
        """\
✗ user traits lack email and role: select them in users.traits (halo.yaml, line 15) [user-basics]
✗ no user trait comes from the product: add what support asks about, for example has_created_form (halo.yaml, line 15) [user-product-traits]
✗ users have no signed_up_at, so Halo uses the time of the import: select the time of sign-up AS signed_up_at (halo.yaml, line 15) [user-sign-up]
✗ no has_… column, so the AI can't tell how far a user has come: add milestones such as has_created_form (halo.yaml, line 15) [milestones]
✗ company traits lack name and plan: select them in companies.traits (halo.yaml, line 5) [company-basics]
✗ no company trait is about billing: add billing_status, renewal_date, mrr or similar (halo.yaml, line 5) [company-billing]
✗ no context on onboarding and activity: add an entry of type status (halo.yaml) [context-onboarding]
✗ no context on product metrics: add an entry of type metric with counts (halo.yaml) [context-metrics]
✗ no context on integration status: add an entry of type integration (halo.yaml) [context-integrations]
✗ no context on billing and usage: add an entry of type metric with credits, limits, invoices (halo.yaml) [context-billing]
✗ nothing tells the AI what is broken: add an entry of type error, or an error column to the integrations (halo.yaml) [context-errors]
✗ companies.context.stuff: the label Data tells the AI nothing: describe the entry, for example Connected Integrations (halo.yaml, line 7) [labels]
✗ companies.context.more: the label more_stuff looks like a column: write it as a heading, for example Connected Integrations (halo.yaml, line 8) [labels]
✗ companies.context.twice: the label twice is that of companies.context.again too, and the AI can't tell them apart: change one of them (halo.yaml, line 10) [labels]
✗ companies.context.stuff: its items lack a label, name or title and an id, needed to refer to them: select what is missing (halo.yaml, line 7) [lists]
✗ companies.context.again: the value of type list is documented as a list of objects: `rows: many` makes one of the rows (halo.yaml, line 9) [forms]
✗ companies.context.stuff: LIMIT counts the rows of all records together, so that most of them lose theirs: use the entry's `limit:` and `order_by:`, which hold for each record (halo.yaml, line 7) [row-limits, error]
✗ companies.context.stuff: with `empty: omit`, the AI keeps the old value when the last row is gone: remove it (halo.yaml, line 7) [stale]
✗ companies.context.more: `SELECT *` also sends every column added to the table later: name the columns that support needs (halo.yaml, line 8) [all-columns]
✗ companies.context.more: {{ ds }} in quotes goes to the database as it is, because templates aren't filled in: remove it (halo.yaml, line 8) [templates]
✗ "How do I start?" is answered only by users.context.onboarding, which isn't sent because of `send_context: false`: remove that line (halo.yaml) [questions]

0 of 21 points met, 1 error, 20 to fix.\
"""
    )
    assert not any(finding.ok for finding in findings)


def test_columns_that_the_text_leaves_open_are_neither_met_nor_failed(plans):
    text = (
        "version: 1\nsource: db\n"
        "companies:\n  key: id\n  traits: {sql: SELECT t.* FROM t}\n  context:\n"
        "    integrations: {label: Connected Services, type: integration, name: s, sql: SELECT * FROM i}\n"
        "    forms: {label: Latest Forms, type: list, sql: 'SELECT id, lower(x) FROM f'}\n"
        "users:\n  key: uid\n  company: id\n  traits: {sql: SELECT * FROM u}\n"
    )
    findings = lint(plans.load(text))
    unknown = [finding for finding in findings if finding.severity == "unknown"]
    assert {finding.rule for finding in unknown} == {
        "user-basics",
        "user-product-traits",
        "user-sign-up",
        "milestones",
        "company-basics",
        "company-billing",
        "context-errors",
        "lists",
        "forms",
    }
    assert all(finding.ok for finding in unknown)
    assert unknown[0] == Finding(
        rule="user-basics",
        severity="unknown",
        text="user traits name, email, role: unknown, because the SQL doesn't name all of its columns "
        "(a `*`, or an expression without AS)",
        location="halo.yaml, line 12",
    )
    assert render_findings(findings).endswith("9 unknown.")


@pytest.mark.parametrize(
    ("scope", "rule", "text"),
    [
        ("companies", "users", "the plan has no users, so the AI knows nobody by name: add users"),
        (
            "users",
            "companies",
            "the plan has no companies, so the AI knows nothing of plans and billing: add companies",
        ),
    ],
)
def test_a_missing_scope_is_a_point_to_mend(plans, scope, rule, text):
    company = "  company: team\n" if scope == "users" else ""
    plan = plans.load(
        f"version: 1\nsource: db\n{scope}:\n  key: id\n{company}  traits: {{sql: 'SELECT id, team FROM t'}}\n"
    )
    assert Finding(rule=rule, severity="warn", text=text, location="halo.yaml") in lint(plan)


def test_a_plan_without_questions_is_asked_for_them(plans):
    text = plans.right[: plans.right.index("questions:")]
    (finding,) = [finding for finding in lint(plans.load(text)) if finding.rule == "questions"]
    assert finding == Finding(
        rule="questions",
        severity="warn",
        text="no questions: list what support is asked most, and the keys that answer it",
        location="halo.yaml",
    )


def test_only_lists_of_rows_are_asked_for_ids_and_many_names_are_cut_short(plans):
    text = plans.changed("type: integration\n", "type: list\n")
    text = text.replace("has_form FROM", "has_form, has_page, has_call, has_plan, has_bot FROM")
    findings = {finding.rule: finding for finding in lint(plans.load(text))}
    assert "lists" not in findings
    assert findings["milestones"].text == snapshot(
        "onboarding milestones: has_bot, has_call, has_form, has_page and 1 more"
    )


def test_the_columns_that_only_pick_a_users_row_are_named_and_count_for_nothing(plans):
    text = plans.changed("  company: team_id\n", "  company: team_id\n  prefer: [has_form desc, role, email]\n")
    findings = {finding.rule: finding.text for finding in lint(plans.load(text))}
    assert findings["prefer"] == snapshot(
        "users.prefer (has_form desc, role, email) picks the row of a user who has several; has_form is only for that, and not sent"
    )
    assert findings["milestones"] == snapshot(
        "no has_… column, so the AI can't tell how far a user has come: add milestones such as has_created_form"
    )


def test_one_key_in_the_context_of_users_and_companies_is_found(plans):
    entry = '    usage: {{label: {0}, type: status, sql: "SELECT {1}, n FROM u"}}\n'
    text = (
        "version: 1\nsource: db\n"
        'companies:\n  key: cid\n  traits: {sql: "SELECT cid, name FROM c"}\n  context:\n'
        + entry.format("Usage of the Team", "cid")
        + 'users:\n  key: uid\n  company: cid\n  traits: {sql: "SELECT uid, cid, name FROM u"}\n  context:\n'
        + entry.format("Usage of the User", "uid, cid")
    )
    found = [str(finding.text) for finding in lint(plans.load(text)) if finding.rule == "shared-keys"]
    assert found == [
        (
            "users.context.usage: companies have an entry usage too, and Halo doesn't document which of the two the AI reads: "
            "give one of them another key"
        )
    ]


def integration(plans, query, options="name: service"):
    """What is found in the form of an integration."""
    text = plans.right.replace("      name: service\n", "".join(f"      {line}\n" for line in options.split("\n")))
    plans.write("sql/integrations.sql", query)
    return [
        (finding.severity, finding.text)
        for finding in lint(plans.load(text))
        if finding.rule == "forms" and "companies.context.integrations" in finding.text
    ]


@pytest.mark.parametrize(
    ("query", "options", "found"),
    [
        ("SELECT team_id, service, connected, status, error FROM i", "name: service", snapshot([])),
        ("SELECT team_id, service, connected FROM i", "name: service", snapshot([])),
        (
            "SELECT team_id, service, status FROM i",
            "name: service",
            snapshot(
                [
                    (
                        "error",
                        "companies.context.integrations: the query returns no column connected, without which the AI may read 'not connected' for everything: select what is connected AS connected (a boolean, or 1 and 0)",
                    )
                ]
            ),
        ),
        (
            "SELECT team_id, service, connected, error FROM i",
            "name: service",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.integrations: Halo documents an error only beside a status that is 'error': select status, too",
                    )
                ]
            ),
        ),
        (
            "SELECT team_id, service, connected, status, synced_at, plan FROM i",
            "name: service",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.integrations: plan, synced_at: Halo documents no place where the AI is shown it: say it in status or error, or in an entry of another type",
                    )
                ]
            ),
        ),
        (
            "SELECT * FROM i",
            "name: service",
            snapshot(
                [
                    (
                        "unknown",
                        "companies.context.integrations: connected of its integration: unknown, because the SQL doesn't name all of its columns (a `*`, or an expression without AS)",
                    )
                ]
            ),
        ),
        ("SELECT team_id, service, connected, i.* FROM i", "name: service", snapshot([])),
        (
            "SELECT team_id, service, connected FROM i",
            "rows: many",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.integrations: the value of type integration is documented as an object of objects by name, {hubspot: {connected: true, …}}: `name:` makes one of the rows",
                    )
                ]
            ),
        ),
        (
            "SELECT team_id, connected FROM i",
            "value: connected",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.integrations: the value of type integration is documented as an object of objects by name, {hubspot: {connected: true, …}}: `name:` makes one of the rows",
                    )
                ]
            ),
        ),
    ],
)
def test_an_integration_has_the_documented_form_or_is_told_what_it_lacks(plans, query, options, found):
    assert integration(plans, query, options) == found


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (
            "type: list, sql: 'SELECT id, id AS ref, title FROM x'",
            snapshot([("ok", "entries have the values that Halo documents for their types")]),
        ),
        (
            "type: list, name: title, sql: 'SELECT id, id AS ref, title FROM x'",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.x: the value of type list is documented as a list of objects: `rows: many` makes one of the rows",
                    )
                ]
            ),
        ),
        (
            "type: error, sql: 'SELECT id, area, message, since FROM x'",
            snapshot([("ok", "entries have the values that Halo documents for their types")]),
        ),
        (
            "type: error, sql: 'SELECT id, area, text FROM x'",
            snapshot(
                [("warn", "companies.context.x: its items lack message, which Halo documents: name the columns so")]
            ),
        ),
        (
            "type: error, rows: one, sql: 'SELECT id, area, message FROM x'",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.x: the value of type error is documented as a list of objects: `rows: many` makes one of the rows",
                    )
                ]
            ),
        ),
        (
            "type: metric, sql: 'SELECT id, forms FROM x'",
            snapshot([("ok", "entries have the values that Halo documents for their types")]),
        ),
        (
            "type: metric, rows: many, sql: 'SELECT id, forms FROM x'",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.x: the value of type metric is documented as an object, of one row: remove `rows`, `name` or `value`",
                    )
                ]
            ),
        ),
        (
            "type: metric, value: forms, sql: 'SELECT id, forms FROM x'",
            snapshot(
                [
                    (
                        "warn",
                        "companies.context.x: the value of type metric is documented as an object, of one row: remove `rows`, `name` or `value`",
                    )
                ]
            ),
        ),
        (
            "type: status, rows: many, sql: 'SELECT id, forms FROM x'",
            snapshot([("ok", "entries have the values that Halo documents for their types")]),
        ),
        (
            "rows: many, sql: 'SELECT id, forms FROM x'",
            snapshot([("ok", "entries have the values that Halo documents for their types")]),
        ),
    ],
)
def test_each_type_whose_value_is_documented_is_held_against_it(plans, entry, found):
    plan = plans.load(
        "version: 1\nsource: db\ncompanies:\n  key: id\n  traits: {sql: SELECT id FROM t}\n  context:\n"
        f"    x: {{label: Some Entry, {entry}}}\n"
    )
    assert [(finding.severity, finding.text) for finding in lint(plan) if finding.rule == "forms"] == found


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            "type: list, sql: 'SELECT id, n AS title FROM x ORDER BY n LIMIT 5'",
            snapshot(
                "companies.context.x: LIMIT counts the rows of all records together, so that most of them lose theirs: use the entry's `limit:` and `order_by:`, which hold for each record"
            ),
        ),
        (
            "sql: 'SELECT TOP 5 id, n FROM x'",
            snapshot(
                "companies.context.x: TOP counts the rows of all records together, so that most of them lose theirs: choose each record's row in the SQL, by GROUP BY or row_number()"
            ),
        ),
    ],
)
def test_a_row_limit_of_a_whole_query_is_an_error_with_the_way_out(plans, entry, text):
    plan = plans.load(
        "version: 1\nsource: db\ncompanies:\n  key: id\n  traits: {sql: SELECT id FROM t LIMIT 100}\n  context:\n"
        f"    x: {{label: Some Entry, {entry}}}\n"
    )
    traits, entry = [finding for finding in lint(plan) if finding.rule == "row-limits"]
    assert traits.text == snapshot(
        "companies.traits: LIMIT leaves companies out, and perhaps others in each batch: remove it; for a trial, name a few companies by `halo sync --company`"
    )
    assert (entry.severity, entry.location, entry.text) == ("error", "halo.yaml, line 7", text)
