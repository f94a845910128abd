"""The guide's checklist against plans that meet it, that don't, and whose text doesn't tell."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.plan.lint import Finding, lint, render_findings

POOR = """\
version: 1
source: db
companies:
  key: id
  traits: {sql: "SELECT id, domain FROM t"}
  context:
    stuff: {label: Data, type: list, empty: omit, sql: "SELECT id, status FROM s"}
    more: {label: more_stuff, sql: "SELECT * FROM m WHERE day = '{{ ds }}'"}
    again: {label: Twice, sql: "SELECT id, a FROM x"}
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
        "✓ user traits: name, email, role\n"
        "✓ user traits from the product: has_form\n"
        "✓ signed_up_at of users\n"
        "✓ onboarding milestones: has_form\n"
        "✓ company traits: name, plan\n"
        "✓ company traits on billing: billing_status, contract_term\n"
        "✓ context on onboarding and activity: users.context.onboarding\n"
        "✓ context on product metrics: companies.context.metrics\n"
        "✓ context on integration status: companies.context.integrations\n"
        "✓ context on billing and usage: companies.context.billing\n"
        "✓ what is broken is told: companies.context.integrations\n"
        "✓ every label says what it heads\n"
        "✓ companies.context.errors: its items carry an id and a name\n"
        "✓ an entry is sent empty when its rows are gone\n"
        "✓ every query names its columns\n"
        "✓ Why isn't my HubSpot sync working? Answered by companies.context.integrations\n"
        "\n"
        "16 of 16 points met."
    )
    assert all(finding.ok for finding in findings)


def test_a_poor_plan_is_told_every_mend_with_its_place(plans):
    findings = lint(plans.load(POOR))
    assert render_findings(findings) == snapshot(
        "✗ user traits lack email and role: select them in users.traits (halo.yaml, line 15) [user-basics]\n"
        "✗ user traits say nothing of the product: add what support asks about, for example has_created_form (halo.yaml, line 15) [user-product-traits]\n"
        "✗ users have no signed_up_at, so Halo takes the time of the import for it: select it AS signed_up_at (halo.yaml, line 15) [user-sign-up]\n"
        "✗ no has_… column, so the AI can't tell how far somebody came: add milestones such as has_created_form (halo.yaml, line 15) [milestones]\n"
        "✗ company traits lack name and plan: select them in companies.traits (halo.yaml, line 5) [company-basics]\n"
        "✗ company traits say nothing of billing: add billing_status, renewal_date, mrr or the like (halo.yaml, line 5) [company-billing]\n"
        "✗ no context on onboarding and activity: add an entry of type status (halo.yaml) [context-onboarding]\n"
        "✗ no context on product metrics: add an entry of type metric with counts (halo.yaml) [context-metrics]\n"
        "✗ no context on integration status: add an entry of type integration (halo.yaml) [context-integrations]\n"
        "✗ no context on billing and usage: add an entry of type metric with credits, limits, invoices (halo.yaml) [context-billing]\n"
        "✗ nothing tells the AI what is broken: add an entry of type error, or an error column to the integrations (halo.yaml) [context-errors]\n"
        "✗ companies.context.stuff: the label Data tells the AI nothing: say what it heads, for example Connected Integrations (halo.yaml, line 7) [labels]\n"
        "✗ companies.context.more: the label more_stuff reads like a column: write it as a heading, for example Connected Integrations (halo.yaml, line 8) [labels]\n"
        "✗ companies.context.twice: the label twice heads companies.context.again too: the AI can't tell them apart (halo.yaml, line 10) [labels]\n"
        "✗ companies.context.stuff: its items lack a label, name or title and an id, by which the AI and the customer name them (halo.yaml, line 7) [lists]\n"
        "✗ companies.context.stuff: `empty: omit` leaves the old value with the AI when the last row is gone: drop it (halo.yaml, line 7) [stale]\n"
        "✗ companies.context.more: `SELECT *` sends whatever a table gets next: name the columns that support needs (halo.yaml, line 8) [all-columns]\n"
        "✗ companies.context.more: {{ ds }} in quotes goes to the database as these characters: templates aren't filled in (halo.yaml, line 8) [templates]\n"
        "✗ How do I start? is answered by nothing that is sent: `send_context: false` keeps users.context.onboarding back (halo.yaml) [questions]\n"
        "\n"
        "0 of 19 points met, 19 to mend."
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
    }
    assert all(finding.ok for finding in unknown)
    assert unknown[0] == Finding(
        rule="user-basics",
        severity="unknown",
        text="user traits name, email, role: can't be told: the SQL leaves column names open "
        "(a `*`, or an expression without AS)",
        place="halo.yaml, line 12",
    )
    assert render_findings(findings).endswith("8 can't be told from the text.")


@pytest.mark.parametrize(
    ("scope", "rule", "text"),
    [
        ("companies", "users", "the plan has no users: the AI knows nobody by name"),
        ("users", "companies", "the plan has no companies: the AI knows no plan and no billing"),
    ],
)
def test_a_missing_scope_is_a_point_to_mend(plans, scope, rule, text):
    company = "  company: team\n" if scope == "users" else ""
    plan = plans.load(
        f"version: 1\nsource: db\n{scope}:\n  key: id\n{company}  traits: {{sql: 'SELECT id, team FROM t'}}\n"
    )
    assert Finding(rule=rule, severity="warn", text=text, place="halo.yaml") in lint(plan)


def test_a_plan_without_questions_is_asked_for_them(plans):
    text = plans.right[: plans.right.index("questions:")]
    (finding,) = [finding for finding in lint(plans.load(text)) if finding.rule == "questions"]
    assert finding == Finding(
        rule="questions",
        severity="warn",
        text="no questions: list what support is asked most and the keys that answer it",
        place="halo.yaml",
    )


def test_only_lists_of_rows_are_asked_for_ids_and_many_names_are_cut_short(plans):
    text = plans.changed("type: integration\n", "type: list\n")
    text = text.replace("has_form FROM", "has_form, has_page, has_call, has_plan, has_bot FROM")
    findings = {finding.rule: finding for finding in lint(plans.load(text))}
    assert "lists" not in findings
    assert findings["milestones"].text == snapshot(
        "onboarding milestones: has_bot, has_call, has_form, has_page and 1 more"
    )
