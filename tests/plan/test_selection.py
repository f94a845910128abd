"""`only` chooses what a run sends; the traits query still drives the reading."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.selection import Selection, select

KNOWN = (
    "companies, companies.traits, companies.context, companies.context.metrics, companies.context.integrations, "
    "companies.context.errors, users, users.traits, users.context, users.context.onboarding, links"
)


def chosen(selection: Selection) -> dict[str, object]:
    """Everything that a selection tells, as plain values."""
    return {
        scope: (
            selection.reads(scope),
            selection.sends(scope),
            selection.traits(scope),
            [query.entry_key for query in selection.entries(scope)],
        )
        for scope in ("companies", "users")
    } | {"links": selection.links}


OFF = (False, False, False, [])
ENTRIES = ["metrics", "integrations", "errors"]


@pytest.mark.parametrize(
    ("only", "companies", "users", "links"),
    [
        ([], (True, True, True, ENTRIES), (True, True, True, ["onboarding"]), True),
        (["companies"], (True, True, True, ENTRIES), OFF, False),
        (["users"], OFF, (True, True, True, ["onboarding"]), False),
        (["links"], OFF, (True, False, False, []), True),
        (["companies.traits"], (True, True, True, []), OFF, False),
        (["companies.context"], (True, True, False, ENTRIES), OFF, False),
        (["companies.context.errors"], (True, True, False, ["errors"]), OFF, False),
        (
            ["companies.context.errors", "companies.context.metrics"],
            (True, True, False, ["metrics", "errors"]),
            OFF,
            False,
        ),
        (["companies.traits", "companies.context.errors"], (True, True, True, ["errors"]), OFF, False),
        (["users.traits", "links"], OFF, (True, True, True, []), True),
        (["users.context.onboarding"], OFF, (True, True, False, ["onboarding"]), False),
        (["users.context", "companies"], (True, True, True, ENTRIES), (True, True, False, ["onboarding"]), False),
    ],
)
def test_only_chooses_what_is_sent(plans, only, companies, users, links):
    selection = select(plans.load(plans.right), only)
    assert chosen(selection) == {"companies": companies, "users": users, "links": links}
    assert (selection.companies, selection.users) == (companies[1], users[1])


def test_a_plan_without_users_selects_companies_alone(plans):
    plan = plans.load("version: 1\nsource: db\ncompanies:\n  key: id\n  traits: {sql: SELECT id FROM t}\n")
    assert chosen(select(plan)) == {"companies": (True, True, True, []), "users": OFF, "links": False}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["user"], [f"user isn't in the plan. Did you mean users? Known names: {KNOWN}."]),
        (
            ["companies.context.error", "nothing", "users", "nothing"],
            [
                f"companies.context.error isn't in the plan. Did you mean companies.context.errors? Known names: {KNOWN}.",
                f"nothing isn't in the plan. Known names: {KNOWN}.",
            ],
        ),
        ([""], [f"a blank name isn't in the plan. Known names: {KNOWN}."]),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_known(plans, only, expected):
    plan = plans.load(plans.right)
    with pytest.raises(PlanError) as caught:
        select(plan, only)
    assert [str(problem) for problem in caught.value.problems] == [f"halo.yaml: only: {text}" for text in expected]


def test_user_context_that_is_switched_off_is_told_so(plans):
    plan = plans.load(plans.changed("  company: team_id\n", "  company: team_id\n  send_context: false\n"))
    assert chosen(select(plan))["users"] == (True, True, True, [])
    with pytest.raises(PlanError) as caught:
        select(plan, ["users.context"])
    assert str(caught.value) == snapshot(
        "halo.yaml: only: users.context can't be sent: the plan has `send_context: false` for its users. Remove that line to send it."
    )
