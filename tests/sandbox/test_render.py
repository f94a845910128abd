"""What the AI reads: the documented texts letter by letter, the others marked."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.sandbox.page import render_entry


def test_a_list_reads_as_documented():
    items = [
        {"label": "Purchase Event", "event_name": "purchase", "status": "active"},
        {"name": "Signup", "id": 7, "event_name": "signup", "status": "paused"},
        {"title": "Webhook", "form_id": "f1"},
        {"label": "Bare"},
        {"form": "Contact", "count": 3},
        "text",
        5,
    ]
    assert render_entry({"label": "Active Tracking Events", "type": "list", "value": items}).splitlines() == snapshot(
        [
            "[Active Tracking Events] (list)",
            '- "Purchase Event" (event_name: purchase) -- active',
            '- "Signup" (id: 7) -- paused',
            '- "Webhook" (form_id: f1)',
            '- "Bare"',
            "- form: Contact, count: 3",
            "- text",
            "- 5",
        ]
    )


def test_an_integration_reads_as_documented():
    services = {
        "facebook_ads": {"connected": True, "status": "active"},
        "google_ads": {"connected": True, "status": "error", "error": "Token expired"},
        "hubspot": {"connected": False},
        "zapier": {"connected": True},
        "slack": {"connected": True, "status": "error"},
        "stripe": {"connected": True, "error": "Card declined"},
        "mailchimp": {"connected": True, "status": "active", "error": None},
    }
    assert render_entry(
        {"label": "Connected Integrations", "type": "integration", "value": services}
    ).splitlines() == snapshot(
        [
            "[Connected Integrations] (integration)",
            "- Facebook ads: connected, active",
            "- Google ads: connected, ERROR -- Token expired",
            "- Hubspot: not connected",
            "- Zapier: connected",
            "- Slack: connected, ERROR",
            "- Stripe: connected, ERROR -- Card declined",
            "- Mailchimp: connected, active",
        ]
    )


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (["a", 1, {"x": 1, "y": None}], ["- a", "- 1", "- x: 1, y: null"]),
        ({"forms": 12, "paid": True, "more": {"x": [1]}}, ["forms: 12", "paid: true", 'more: {"x":[1]}']),
        ("text", ["text"]),
        (0.5, ["0.5"]),
        (None, ["null"]),
        ([], []),
        ({}, []),
    ],
)
def test_without_a_type_the_value_decides(value, lines):
    assert render_entry({"label": "L", "value": value}).splitlines() == ["[L]", *lines]


@pytest.mark.parametrize("kind", ["status", "metric", "config", "feature", "error", "relationship"])
def test_what_is_not_documented_is_marked(kind):
    text = render_entry({"label": "L", "type": kind, "value": {"a": 1}})
    assert text == f"[L] ({kind}) (format not documented)\na: 1"


@pytest.mark.parametrize(("kind", "value"), [("list", {"a": 1}), ("integration", ["a"]), ("integration", None)])
def test_a_documented_type_with_an_unusual_value_is_marked_too(kind, value):
    assert "(format not documented)" in render_entry({"label": "L", "type": kind, "value": value})


def test_a_user_is_read_with_their_company(halo):
    halo.update({"user_id": "u1", "traits": {"name": "Ada", "is_admin": True}})
    own = "[User Profile]\nname: Ada\nis_admin: true\n"
    assert halo.get("/_sandbox/ai/users/u1").text == own
    halo.company("c1", traits={"plan": "pro"}, context={"k": {"label": "Notes", "value": ["x"]}}, user_id="u1")
    company = "[Company: c1]\nplan: pro\n\n[Notes]\n- x\n"
    assert halo.get("/_sandbox/ai/companies/c1").text == company
    assert halo.get("/_sandbox/ai/users/u1").text == f"{own}\n{company}"
    halo.company("c1", traits={"name": "Acme"})
    assert halo.get("/_sandbox/ai/companies/c1").text.startswith("[Company: Acme]\nplan: pro\nname: Acme\n")
    assert halo.get("/_sandbox/ai/companies/c9").status_code == 404
