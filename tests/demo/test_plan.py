"""The worked example: the same state from every database, all points of the checklist, the guide's five answers."""

from __future__ import annotations

import pytest

from airflow_provider_halo.plan.findings import render_findings
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.sample.data import write_sample
from airflow_provider_halo.sample.spread import EXAMPLE_TEAM
from demo.answers import EXAMPLE_USER, answers
from demo.change import break_integration, change_sample
from demo.proof import missing, snapshot


def said(halo, engine):
    found = answers(halo.api.company(EXAMPLE_TEAM), halo.api.user(EXAMPLE_USER), engine)
    return [(answer.ask, answer.said, answer.right) for answer in found]


def test_the_plan_meets_every_point_of_the_guides_checklist():
    assert render_findings(lint(load_plan(PLAN))).splitlines()[-1] == "22 of 22 points met."


def test_the_demo_asks_what_the_plan_says_it_answers(halo, product):
    engine = product(companies=1, users=20)
    halo.sync(engine)
    asked = [question.ask for question in load_plan(PLAN).plan.questions]
    assert [ask for ask, _, _ in said(halo, engine)] == asked


def test_the_five_questions_are_answered_from_what_halo_has_stored(halo, product):
    engine = product(companies=8, users=120)
    report = halo.sync(engine)
    assert (report.companies.stored, report.users.stored, report.total("rejected"), report.total("failed")) == (
        8,
        120,
        0,
        0,
    )
    assert said(halo, engine) == [
        ("How many submissions have I received?", "1,847 in total across 12 forms.", True),
        (
            "Why isn't HubSpot syncing?",
            "HubSpot is connected, but in error: Token expired: reconnect HubSpot to resume syncing.",
            True,
        ),
        ("Can I use the AI features?", "Yes: 362 of 500 AI credits remain on the Business plan.", True),
        (
            "How do I get started?",
            "This user has created forms and has not booked a meeting yet: that comes next.",
            True,
        ),
        ("What plan am I on?", "Business, annual billing, active.", True),
    ]
    assert missing(engine, snapshot(halo.api)) == []


def test_an_answer_that_is_a_week_old_is_told_from_a_right_one(halo, product):
    engine = product(companies=1, users=20)
    halo.sync(engine)
    change_sample(engine)
    assert [right for _, _, right in said(halo, engine)] == [False, False, True, True, True]
    halo.sync(engine)
    assert [right for _, _, right in said(halo, engine)] == [True] * 5
    assert said(halo, engine)[1][1] == "HubSpot is connected and syncing."


def test_what_was_removed_and_what_broke_reaches_the_ai(halo, product):
    engine = product(companies=1, users=20)
    halo.sync(engine)
    change_sample(engine)
    break_integration(engine)
    halo.sync(engine)
    read = halo.api.as_the_ai_reads_it(EXAMPLE_TEAM).split("\n\n")
    assert [part for part in read if part.startswith("[Connected Integrations]")] == [
        (
            "[Connected Integrations] (integration)\n"
            "- Google calendar: connected, ERROR -- Calendar access revoked: reconnect the account\n"
            "- Hubspot: connected, active\n"
            "- Zapier: not connected"
        )
    ]


@pytest.mark.databases
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_the_same_plan_gives_the_same_state_on_every_database(halo, product, server_database, name):
    halo.sync(product(companies=40, users=400))
    from_sqlite = halo.digest()
    halo.server.store.reset()
    engine = server_database(name)
    write_sample(engine, 40, 400)
    halo.sync(engine)
    assert halo.digest() == from_sqlite
