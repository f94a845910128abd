"""A firewall in front of Halo: what it refuses for a word in a record costs that record, and what it refuses for all stops."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot
from product import stopped_by

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import HaloUnavailable, SystemicRefusal, TokenRefused
from airflow_provider_halo.sandbox.faults import parse_fault

ATTACK = "<script>"
NOTHING = '{"message":"Forbidden"}'  # as a firewall says it that speaks JSON


def fill(app, *, users=300, attackers=(5, 150)):
    app.fill(
        teams=[(team, ATTACK if team == 3 else f"Team {team}", "pro") for team in range(1, 9)],
        users=[
            (user, (user - 1) % 8 + 1, f"Eve {ATTACK}" if user in attackers else f"User {user}", "e", user)
            for user in range(1, users + 1)
        ],
    )


def play(app, *faults):
    app.server.faults.set([parse_fault(fault) for fault in faults])


def keys(problems):
    return sorted((problem.scope, problem.key) for problem in problems)


ANSWERS = {
    "page": "403",
    "text": "403:body=Forbidden",
    "empty": "403:body=",
    "JSON": "403:body=" + NOTHING,
    "406": "406",
    "404": "404",
    "405": "405:body=<html><title>Human Verification</title></html>",
    "redirect": "302",
}


@pytest.mark.parametrize(
    ("answer", "batch_size", "remembers"),
    [
        *[("page", size, remembers) for size in (1, 2, 300, 5_000) for remembers in (True, False)],
        *[(answer, 300, False) for answer in list(ANSWERS)[1:]],
    ],
)
def test_what_a_firewall_refuses_costs_its_own_record_whatever_its_status_and_body(app, answer, batch_size, remembers):
    fill(app)
    if remembers:
        app.with_ledger()
    fault = ANSWERS[answer]
    play(app, f"{fault}{',' if ':' in fault else ':'}contains={ATTACK}")
    report = app.sync(batch_size=batch_size, jobs=2)
    assert keys(report.rejects) == [("companies", "3"), ("users", "150"), ("users", "5")]
    assert (report.companies, report.users) == (Counts(stored=7, rejected=1), Counts(stored=298, rejected=2))
    assert set(app.server.store.find("users")) == {str(user) for user in range(1, 301)} - {"5", "150"}
    assert set(app.server.store.find("companies")) == set("12345678") - {"3"}
    assert all("firewall or proxy in front of Halo" in problem.reason for problem in report.rejects)
    assert "Eve" not in str(report.rejects)


def test_the_rejection_says_what_happened_and_what_to_do(app):
    fill(app)
    play(app, f"403:contains={ATTACK},path=users/update")
    report = app.sync()
    assert [str(problem) for problem in report.rejects] == snapshot(
        [
            "users 150: HTTP 403 without Halo's JSON error: a firewall or proxy in front of Halo refused this request (an HTML page); look for what may look like an attack (markup, SQL, a path) in its values, and leave it out of the plan's SQL or have the rule changed; the next run tries it again",
            "users 5: HTTP 403 without Halo's JSON error: a firewall or proxy in front of Halo refused this request (an HTML page); look for what may look like an attack (markup, SQL, a path) in its values, and leave it out of the plan's SQL or have the rule changed; the next run tries it again",
        ]
    )


def test_with_a_ledger_it_is_tried_again_by_each_run_and_nothing_else_is(app):
    app.with_ledger()
    fill(app)
    play(app, f"403:contains={ATTACK}")
    app.sync_and_close()
    seen = app.server.requests.describe()["total"]
    again = app.sync_and_close()
    assert (again.companies, again.users) == (Counts(unchanged=7, rejected=1), Counts(unchanged=298, rejected=2))
    assert app.server.requests.describe()["total"] - seen < 20
    play(app)  # the rule was changed
    healed = app.sync_and_close()
    assert (healed.companies, healed.users) == (Counts(stored=1, unchanged=7), Counts(stored=2, unchanged=298))
    assert app.plan_ledger().rejects.any() is False


def test_a_link_that_is_blocked_costs_that_link(app):
    fill(app, attackers=())
    play(app, '403:path=companies/identify,contains="user_id":"7"')
    report = app.sync()
    assert report.users == Counts(stored=300)
    assert report.links.rejected == 1
    assert keys(report.rejects) == [("links", "7")]


def test_context_that_is_blocked_is_not_taken_for_context_that_halo_refuses(app):
    app.use_plan(app.plan_text.replace("team_id, visits FROM users", "team_id, name AS note FROM users"))
    app.use_plan(app.plan_text.replace("team_id, name, email FROM users", "team_id, email FROM users"))
    fill(app, attackers=range(1, 10))
    play(app, f"403:contains={ATTACK},path=users/update")
    report = app.sync()
    assert report.users == Counts(stored=291, rejected=9)


@pytest.mark.parametrize("only", [["users"], ["companies"]])
def test_a_firewall_that_lets_nothing_pass_is_an_outage_and_no_record_is_rejected(app, only):
    app.with_ledger()
    fill(app)
    play(app, "403")
    with stopped_by(HaloUnavailable) as stopped:
        app.sync(only=only)
    assert str(stopped.value).partition("/identify" if only == ["companies"] else "/update")[2] == (
        ": 403: HTTP 403 without Halo's JSON error: a firewall or proxy in front of Halo refused this request (an HTML page). "
        "It lets nothing else pass either. What was stored stays stored: have requests to "
        f"{app.server.url} let through, and run it again. Or, should these be Halo's own words, check identity_secret and "
        "this machine's clock."
    )
    assert stopped.value.report.total("rejected") == 0
    assert app.server.requests.describe()["total"] <= 2 * app.settings.max_in_flight
    play(app)
    assert app.sync(only=only).total("stored") == (300 if only == ["users"] else 8)


def test_a_firewall_that_closes_in_mid_run_is_one_too(app):
    app.with_ledger()
    fill(app)
    play(app, "403:first=12,path=companies/identify")
    with stopped_by(HaloUnavailable) as stopped:
        app.sync()
    assert stopped.value.report.total("rejected") == 0
    play(app)
    assert app.sync().links.stored >= 290


def test_a_firewall_that_objects_to_every_record_ends_the_run_early_and_blames_none_for_good(app):
    app.with_ledger()
    fill(app, attackers=range(1, 301))
    play(app, f"403:contains={ATTACK}")
    with stopped_by(SystemicRefusal) as stopped:
        app.sync(only=["users"])
    assert str(stopped.value) == snapshot(
        "Halo refused 20 users in a row for the same cause, and stored none in between: users/update: 403: HTTP 403 without Halo's JSON error: a firewall or proxy in front of Halo refused this request (an HTML page) (for example 1, 10, 100). Neither plan nor records are the cause: have requests to Halo let through, and run it again. Or, should these be Halo's own words, check the connection."
    )
    assert app.server.requests.describe()["total"] <= 100  # each refused group, and a look whether others pass
    play(app)
    assert app.sync(only=["users"]).users == Counts(stored=300)


def test_a_secret_that_is_revoked_in_mid_run_stops_it_and_no_record_is_rejected(app_of):
    app = app_of(max_in_flight=1)
    fill(app, users=2_500, attackers=())
    play(app, '403:first=2,path=users/update,body={"error":"bad signature"}')
    with stopped_by(TokenRefused) as stopped:
        app.sync(link_users=False)
    assert stopped.value.report.users == Counts(stored=1_000, failed=1_000)
    # The refused one, once more with a new token, and a user that had passed.
    assert app.server.requests.describe()["by_path"]["users/update"] == {"200": 1, "403": 3}


def test_a_link_without_the_token_that_halo_wants_is_no_firewall(app_of):
    app = app_of(verify_identity=False)  # and the sandbox verifies
    fill(app, attackers=())
    with stopped_by(TokenRefused, match="set identity_secret, and leave verify_identity empty or on") as stopped:
        app.sync()
    assert (stopped.value.report.companies.stored, stopped.value.report.links.rejected) == (8, 0)


@pytest.mark.parametrize("remembers", [True, False], ids=["ledger", "no ledger"])
def test_a_page_that_asks_whether_you_are_human_is_no_yes_and_costs_the_record_that_it_is_for(app_of, remembers):
    app = app_of()
    fill(app, users=3, attackers=(2,))
    if remembers:
        app.with_ledger()
    play(app, f"200:contains={ATTACK},path=users/update,body=<html><title>Just a moment</title></html>")
    report = app.sync()
    assert [str(problem).partition(";")[0] for problem in report.rejects] == [
        "users 2: HTTP 200 from a firewall or proxy in front of Halo, not Halo's answer (the answer is an HTML page, not JSON)"
    ]
    assert (report.users, app.server.store.find("users")) == (Counts(stored=2, rejected=1), ["1", "3"])


def test_a_page_in_place_of_every_answer_is_an_outage_and_no_yes(app_of):
    app = app_of(max_retry_seconds=1)
    fill(app, users=20, attackers=())
    play(app, "200:path=users/update,body=<html>")
    with stopped_by(HaloUnavailable) as stopped:
        app.sync()
    assert (stopped.value.report.users, app.server.store.find("users")) == (Counts(failed=20), [])
