"""The page: what it lists, that nothing in a trait becomes markup, and who may see it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from airflow_provider_halo.sandbox.reading import UNDOCUMENTED

EVIL = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>"


class Elements(HTMLParser):
    """Names of all elements with their attributes, and all text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_companies_and_users_are_listed_paged_and_found_by_id_or_name(halo):
    halo.update(*({"user_id": f"u{number:03}", "traits": {"name": f"Name {number}"}} for number in range(60)))
    halo.company("c1", traits={"name": "Acme Forms"}, user_id="u001")
    first = halo.get("/").text
    assert "Acme Forms" in first
    assert 'href="/record?scope=companies&amp;id=c1"' in first
    users = [halo.get(f"/?scope=users&page={page}").text for page in (1, 2, 3, 99, "x")]
    assert [("u000<" in page, "u030<" in page, "u059<" in page) for page in users] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, False, True),
        (True, False, False),
    ]
    assert "page 2 of 3" in " ".join(users[1].split())
    by_name = halo.get("/?scope=users&q=NAME 42").text
    assert ("u042<" in by_name, "u041<" in by_name) == (True, False)
    assert "u017<" in halo.get("/?scope=users&q=u017").text
    assert "No companies with “nobody”" in halo.get("/?q=nobody").text


def test_a_record_shows_the_reading_the_data_and_the_times(halo):
    halo.company("c1", traits={"name": "Acme"}, context={"k": {"label": "Notes", "value": ["first"]}}, user_id="u1")
    halo.update({"user_id": "u1", "traits": {"name": "Ada"}})
    company = Elements(halo.get("/record?scope=companies&id=c1").text)
    assert f"[Company: Acme] {UNDOCUMENTED}\nname: Acme\n\n[Notes]\n- first\n" in company.text
    assert '"label": "Notes"' in company.text
    assert ("a", {"href": "/record?scope=users&id=u1"}) in company.elements
    user = Elements(halo.get("/record?scope=users&id=u1").text)
    assert "never: no call has marked this user active" in user.text
    assert ("a", {"href": "/record?scope=companies&id=c1"}) in user.elements
    halo.user("u1")
    assert halo.admin("users/u1")["last_seen"] in halo.get("/record?scope=users&id=u1").text
    assert halo.get("/record?scope=users&id=nobody").status_code == 404


def test_the_page_says_of_each_refusal_whether_it_is_documented(halo):
    halo.user("u1", traits={"created_at": 1})
    halo.user("u1", traits={"signed_up_at": "soon"})
    halo.post("users/identify", {}, key="x")
    halo.client.post(f"{halo.server.root}/_sandbox/faults", json=["503:times=1"])
    halo.user("u1")
    told = [(refusal["result"], refusal["documented"]) for refusal in halo.admin("refusals")]
    assert told == [("503", ""), ("401", "no"), ("400", "rule"), ("400", "yes")]
    rows = Elements(halo.get("/").text).text
    assert [word for word in ("yes", "the rule", "no") if word not in rows] == []


def test_nothing_that_is_sent_becomes_markup(halo):
    context = {EVIL: {"label": EVIL, "type": "list", "value": [{"label": EVIL, "id": EVIL, "status": EVIL}]}}
    halo.company(EVIL, traits={"name": EVIL, EVIL: EVIL}, context=context, user_id=EVIL)
    halo.update({"user_id": EVIL, "traits": {"name": EVIL, EVIL: [EVIL]}, "context": context})
    halo.update({"user_id": "u1", "context": {EVIL: 1}})
    halo.post(EVIL, {})
    paths = ["/", "/?scope=users", *(f"/?q={EVIL}&scope={scope}" for scope in ("users", EVIL))]
    paths += [f"/record?scope={scope}&id={EVIL}{end}" for scope in ("users", "companies") for end in ("", "gone")]
    for path in paths:
        answer = halo.get(path)
        page = Elements(answer.text)
        assert EVIL in page.text, path
        assert not [element for element in page.elements if element[0] in ("script", "img")], path
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")], path
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_loads_nothing_from_elsewhere(halo):
    halo.company("c1")
    for path in ("/", "/record?scope=companies&id=c1"):
        for tag, attributes in Elements(halo.get(path).text).elements:
            assert tag not in ("script", "link", "img", "iframe")
            for name in ("href", "src", "action"):
                assert attributes.get(name, "/").startswith("/"), (tag, attributes)


@pytest.mark.parametrize("path", ["/", "/record?scope=users&id=u1", "/_sandbox/state", "/_sandbox/export"])
def test_foreign_pages_and_names_that_lead_here_are_turned_away(halo, path):
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert halo.client.get(f"{halo.server.root}{path}", headers=headers).status_code == 403
    same = {"host": f"localhost:{halo.server.port}", "origin": f"http://localhost:{halo.server.port}"}
    halo.update({"user_id": "u1"})
    assert halo.client.get(f"{halo.server.root}{path}", headers=same).status_code == 200


def test_a_foreign_page_can_not_make_the_sandbox_forget(halo):
    halo.update({"user_id": "u1"})
    url = f"{halo.server.root}/_sandbox/reset"
    assert halo.client.post(url, headers={"origin": "https://evil.example"}).status_code == 403
    assert halo.admin("state")["users"] == 1
    assert halo.client.post(url).json()["users"] == 0


def test_the_admin_calls_can_be_opened_to_other_names(halo_with):
    halo = halo_with(open_admin=True)
    headers = {"host": "sandbox:8484"}
    assert halo.client.get(f"{halo.server.root}/_sandbox/state", headers=headers).status_code == 200
