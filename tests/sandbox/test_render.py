"""What the AI reads: the documented texts letter by letter; all else is data, and marked as not documented."""

from __future__ import annotations

import pytest

from airflow_provider_halo.sandbox.reading import UNDOCUMENTED, render_entry


def lines(value, kind=None):
    entry = {"label": "L", "value": value}
    return render_entry(entry if kind is None else {**entry, "type": kind}).splitlines()


def test_the_documented_list_reads_as_documented():
    item = {"event_name": "purchase", "label": "Purchase Event", "status": "active"}
    assert lines([item], "list") == ["[L] (list)", '- "Purchase Event" (event_name: purchase) -- active']


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ({"name": "Signup", "status": "paused"}, '"Signup" -- paused'),
        ({"title": "Contact", "event_name": "contact"}, '"Contact" (event_name: contact)'),
        ({"label": "Bare", "status": None}, '"Bare"'),
    ],
)
def test_an_item_without_some_of_its_documented_members_leaves_them_out(item, line):
    assert lines([item], "list") == ["[L] (list)", f"- {line}"]


@pytest.mark.parametrize(
    ("item", "data"),
    [
        ({"title": "Webhook", "form_id": "f1"}, "title: Webhook, form_id: f1"),  # an id other than the example's
        ({"id": 7, "name": "Signup", "status": "paused"}, "id: 7, name: Signup, status: paused"),
        ({"name": "Signup", "label": "S"}, "name: Signup, label: S"),  # which of the two is shown?
        ({"form": "Contact", "count": 3}, "form: Contact, count: 3"),  # no title
        ({"label": "S", "since": "2026"}, "label: S, since: 2026"),  # whether other members are shown
        ("text", "text"),
        (5, "5"),
    ],
)
def test_an_item_of_another_form_is_shown_as_data_and_marked(item, data):
    assert lines([item], "list") == ["[L] (list)", f"- {data} {UNDOCUMENTED}"]


def test_the_documented_integrations_read_as_documented():
    services = {
        "facebook_ads": {"connected": True, "status": "active"},
        "google_ads": {"connected": True, "status": "error", "error": "Token expired"},
        "hubspot": {"connected": False},
        "zapier": {"connected": True},
        "mailchimp": {"connected": True, "status": "active", "error": None},
        "slack": {"connected": False, "status": "disconnected"},
    }
    assert lines(services, "integration") == [
        "[L] (integration)",
        "- Facebook ads: connected, active",
        "- Google ads: connected, ERROR -- Token expired",
        "- Hubspot: not connected",
        "- Zapier: connected",
        "- Mailchimp: connected, active",
        "- Slack: not connected",
    ]


@pytest.mark.parametrize(
    ("state", "data"),
    [
        ({"status": "active"}, "status: active"),  # no `connected`
        ({"status": "error", "error": "Token expired"}, "status: error, error: Token expired"),
        ({"connected": None, "status": "active"}, "connected: null, status: active"),
        ({"connected": 1, "status": "active"}, "connected: 1, status: active"),
        ({"connected": "yes"}, "connected: yes"),
        ({"connected": False, "error": "Expired"}, "connected: false, error: Expired"),
        ({"connected": False, "status": "error"}, "connected: false, status: error"),
        (
            {"connected": False, "status": "error", "error": "Expired"},
            "connected: false, status: error, error: Expired",
        ),
        ({"connected": True, "error": "Card declined"}, "connected: true, error: Card declined"),
        (
            {"connected": True, "status": "active", "error": "Declined"},
            "connected: true, status: active, error: Declined",
        ),
        ({"connected": True, "status": "error"}, "connected: true, status: error"),
        (
            {"connected": True, "status": "error", "error_message": "Declined"},
            "connected: true, status: error, error_message: Declined",
        ),
        ({"connected": True, "last_error": "Declined"}, "connected: true, last_error: Declined"),
        ({"connected": True, "since": "2026"}, "connected: true, since: 2026"),
        ({}, ""),
        ("connected", "connected"),
        (None, "null"),
        (True, "true"),
    ],
)
def test_an_integration_of_another_form_is_shown_as_data_and_marked(state, data):
    assert lines({"hubspot": state}, "integration") == ["[L] (integration)", f"- Hubspot: {data} {UNDOCUMENTED}"]


@pytest.mark.parametrize("kind", [None, "custom"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", 1], ["- a", "- 1"]),
        ("text", ["text"]),
        (0.5, ["0.5"]),
        (True, ["true"]),
        (["a", {"x": 1, "y": None}, [2]], ["- a", f"- x: 1, y: null {UNDOCUMENTED}", f"- [2] {UNDOCUMENTED}"]),
    ],
)
def test_without_a_type_the_value_decides_and_objects_in_bullets_are_marked(value, expected, kind):
    head = "[L] (custom)" if kind else "[L]"
    assert lines(value, kind) == [head, *expected]


def test_lines_of_names_and_values_are_marked_since_their_form_is_not_documented():
    value = {"forms": 12, "paid": True, "more": {"x": [1]}}
    assert lines(value) == [f"[L] {UNDOCUMENTED}", "forms: 12", "paid: true", 'more: {"x":[1]}']


@pytest.mark.parametrize("kind", [None, "custom", "list", "integration", "status"])
@pytest.mark.parametrize(("value", "shown"), [([], []), ({}, []), (None, ["null"])])
def test_how_an_empty_entry_is_shown_is_not_documented(kind, value, shown):
    assert lines(value, kind) == [f"[L] ({kind}) {UNDOCUMENTED}" if kind else f"[L] {UNDOCUMENTED}", *shown]


@pytest.mark.parametrize("kind", ["status", "metric", "config", "feature", "error", "relationship"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1}, ["a: 1"]),
        ([{"area": "billing", "message": "Failed"}], ["- area: billing, message: Failed"]),
        ("x", ["x"]),
    ],
)
def test_a_type_without_a_documented_text_is_marked(kind, value, shown):
    assert lines(value, kind) == [f"[L] ({kind}) {UNDOCUMENTED}", *shown]


@pytest.mark.parametrize(("kind", "value"), [("list", {"a": 1}), ("integration", ["a"]), ("integration", "x")])
def test_a_documented_type_with_an_unusual_value_is_marked_too(kind, value):
    assert lines(value, kind)[0] == f"[L] ({kind}) {UNDOCUMENTED}"


def test_a_user_is_read_with_their_company(halo):
    halo.update({"user_id": "u1", "traits": {"name": "Ada", "is_admin": True}})
    own = f"[User Profile] {UNDOCUMENTED}\nname: Ada\nis_admin: true\n"
    assert halo.get("/_sandbox/ai/users/u1").text == own
    halo.company("c1", traits={"plan": "pro"}, context={"k": {"label": "Notes", "value": ["x"]}}, user_id="u1")
    company = f"[Company: c1] {UNDOCUMENTED}\nplan: pro\n\n[Notes]\n- x\n"
    assert halo.get("/_sandbox/ai/companies/c1").text == company
    assert halo.get("/_sandbox/ai/users/u1").text == f"{own}\n{company}"
    halo.company("c1", traits={"name": "Acme"})
    assert halo.get("/_sandbox/ai/companies/c1").text.startswith(
        f"[Company: Acme] {UNDOCUMENTED}\nplan: pro\nname: Acme\n"
    )
    assert halo.get("/_sandbox/ai/companies/c9").status_code == 404
