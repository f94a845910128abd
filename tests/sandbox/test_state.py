"""What calls leave behind: merges, times, links, automations; digests; and what survives a restart."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = datetime.now(timezone.utc)  # tokens are made by the real one

    def __call__(self):
        return self.now

    def pass_(self, **time):
        self.now += timedelta(**time)


def at(moment):
    return moment.isoformat(timespec="microseconds")


def test_traits_merge_and_a_context_entry_is_replaced_whole(halo):
    halo.company("c1", traits={"a": 1, "b": {"x": 1}}, context={"k": {"label": "K", "type": "list", "value": [1, 2]}})
    halo.company("c1", traits={"b": {"y": 2}, "c": None}, context={"l": {"label": "L", "value": 1}})
    halo.company("c1", context={"k": {"label": "K2", "value": {}}})
    company = halo.admin("companies/c1")
    assert company["traits"] == {"a": 1, "b": {"y": 2}, "c": None}
    assert company["context"] == {"k": {"label": "K2", "value": {}}, "l": {"label": "L", "value": 1}}


def test_only_identify_moves_last_seen_and_starts_automations(halo_with):
    clock = Clock()
    halo = halo_with(clock=clock)
    imported = at(clock.now)
    halo.update({"user_id": "u1", "traits": {"a": 1}}, {"user_id": "u2"})
    clock.pass_(minutes=1)
    seen = at(clock.now)
    halo.user("u1", traits={"b": 2})
    halo.user("u3")
    clock.pass_(minutes=1)
    updated = at(clock.now)
    before = halo.admin("last_seen")
    assert halo.update(*({"user_id": f"u{number}", "traits": {"c": 3}} for number in (1, 2, 3))).json() == {
        "created": 0,
        "updated": 3,
        "skipped": 0,
    }
    halo.company("c1", user_id="u2")
    assert halo.admin("last_seen") == before
    nothing = {"context": {}, "company_id": None}
    assert halo.admin("users/u1") == {
        **nothing,
        "user_id": "u1",
        "traits": {"a": 1, "b": 2, "c": 3},
        "signed_up_at": imported,
        "created_at": imported,
        "updated_at": updated,
        "first_seen": seen,
        "last_seen": seen,
    }
    assert halo.admin("users/u2") == {
        **nothing,
        "user_id": "u2",
        "traits": {"c": 3},
        "signed_up_at": imported,
        "created_at": imported,
        "updated_at": updated,
        "first_seen": None,
        "last_seen": None,
        "company_id": "c1",
    }
    counts = {"users": 3, "companies": 1, "links": 1, "users_seen": 2, "automations": {"user_created": 1}}
    assert halo.admin("state") == counts
    clock.pass_(minutes=1)
    halo.user("u1")
    assert halo.admin("last_seen") != before
    assert halo.admin("users/u1")["first_seen"] == seen
    assert halo.admin("users/u1")["last_seen"] == at(clock.now)


def test_an_event_makes_the_user_it_is_of_and_moves_last_seen(halo):
    halo.update({"user_id": "u1"})
    halo.post("events", {"events": [{"event_type": "x"}]})
    assert halo.admin("users/u1")["last_seen"] is None
    halo.post("events", {"events": [{"event_type": "x"}], "user_id": "u1"})
    assert halo.admin("users/u1")["last_seen"] is not None
    halo.post("events", {"events": [{"event_type": "x"}], "user_id": "u9"})
    assert halo.admin("users/u9")["last_seen"] is not None
    assert halo.admin("state")["users_seen"] == 2


def test_update_only_skips_unknown_users_and_counts_them(halo):
    halo.update({"user_id": "u1"})
    answer = halo.update({"user_id": "u1"}, {"user_id": "u2"}, {"user_id": "u3"}, update_only=True)
    assert answer.json() == {"created": 0, "updated": 1, "skipped": 2}
    assert halo.get("/_sandbox/users/u2").status_code == 404


def test_a_user_is_linked_to_the_company_of_the_last_call_that_said_so(halo):
    halo.update({"user_id": "u1"}, {"user_id": "u2"})
    halo.company("c1", user_id="u1")
    halo.company("c1", user_id="u2")
    assert halo.admin("companies/c1")["user_ids"] == ["u1", "u2"]
    assert halo.company("c2", user_id="u1").json()["team_size"] == 1
    assert halo.admin("companies/c1")["user_ids"] == ["u2"]
    assert halo.admin("users/u1")["company_id"] == "c2"


@pytest.mark.parametrize("bad_user", ["nameless", "named", "partial"])
def test_a_bad_user_fails_the_batch_or_only_itself_as_set(halo_with, bad_user):
    halo = halo_with(bad_user=bad_user)
    bad = {"user_id": "bad", "traits": {"renewal_status": "maybe"}}
    answer = halo.update({"user_id": "u1"}, bad, {"user_id": "u2"})
    reason = (
        "traits.renewal_status must be one of up_for_renewal, in_progress, likely_to_renew, expansion_opportunity, "
        "set_to_cancel, set_to_cancel_trial, at_risk, renewed, lost"
    )
    expected = {
        "nameless": (400, {"error": reason}, 0),
        "named": (
            400,
            {"error": "1 invalid users; nothing was stored", "errors": [{"user_id": "bad", "error": reason}]},
            0,
        ),
        "partial": (
            200,
            {"created": 2, "updated": 0, "skipped": 0, "errors": [{"user_id": "bad", "error": reason}]},
            2,
        ),
    }
    assert (answer.status_code, answer.json(), halo.server.store.counts()["users"]) == expected[bad_user]


def test_a_poisonous_user_is_refused_without_a_word(halo_with):
    halo = halo_with(poison=frozenset({"u2"}), bad_user="partial")
    assert halo.update({"user_id": "u1"}, {"user_id": "u2"}).json() == {"error": "Bad request"}
    assert halo.user("u2").json() == {"error": "Bad request"}
    assert halo.update({"user_id": "u1"}).status_code == 200
    assert halo.admin("state")["users"] == 1


def test_context_in_an_update_can_be_refused(halo_with):
    halo = halo_with(refuse_context=True)
    context = {"k": {"label": "K", "value": 1}}
    assert halo.update({"user_id": "u1", "context": context}).status_code == 400
    assert halo.update({"user_id": "u1"}).status_code == 200
    assert halo.user("u1", context=context).status_code == 200


def test_the_digest_is_of_what_was_sent_and_not_of_when_or_in_which_order(halo, halo_with):
    def fill(caller, order):
        for number in order:
            caller.update({"user_id": f"u{number}", "traits": {"a": {"x": 1, "y": 2}, "b": number}})
        caller.company("c1", traits={"name": "A"}, user_id="u1")

    def fill_otherwise(caller):
        caller.company("c1", user_id="u1")
        caller.update({"user_id": "u2", "traits": {"b": 2}}, {"user_id": "u1", "traits": {"a": 0, "b": 1}})
        caller.update(*({"user_id": f"u{number}", "traits": {"a": {"y": 2, "x": 1}}} for number in (1, 2)))
        caller.company("c1", traits={"name": "A"})

    other, third = halo_with(), halo_with(clock=lambda: datetime.now(timezone.utc) + timedelta(seconds=30))
    fill(halo, (1, 2))
    fill(other, (2, 1))
    fill_otherwise(third)
    digests = {caller.admin("digest")["digest"] for caller in (halo, other, third)}
    assert len(digests) == 1
    for change in (
        lambda: halo.update({"user_id": "u1", "traits": {"b": 1.5}}),
        lambda: halo.update({"user_id": "u1", "context": {"k": {"label": "K", "value": None}}}),
        lambda: halo.update({"user_id": "u9"}),
        lambda: halo.company("c2"),
        lambda: halo.company("c2", user_id="u1"),
    ):
        change()
        digests.add(halo.admin("digest")["digest"])
    assert len(digests) == 6


def test_the_export_has_every_record(halo):
    halo.company("c1", traits={"name": "A"}, user_id="u1")
    halo.update({"user_id": "u2"}, {"user_id": "u1"})
    lines = [json.loads(line) for line in halo.get("/_sandbox/export").text.splitlines()]
    assert [line.get("user_id") or line["company_id"] for line in lines] == ["c1", "u1", "u2"]
    assert lines[1] == halo.admin("users/u1")


def test_ids_may_have_slashes_blanks_and_any_letters(halo):
    for key in ("a/b", "ü ?&#%", "..", "0"):
        halo.update({"user_id": key})
        assert halo.server.store.user(key)["user_id"] == key
    assert halo.get("/_sandbox/users/a/b").json()["user_id"] == "a/b"
    assert halo.get("/_sandbox/users/%C3%BC%20%3F%26%23%25").json()["user_id"] == "ü ?&#%"


def test_a_file_keeps_everything_over_a_restart(halo_with, tmp_path):
    path = tmp_path / "state.sqlite"
    halo = halo_with(file=path)
    halo.update({"user_id": "u1", "traits": {"a": 1}}, {"user_id": "u2"})
    halo.user("u3", context={"k": {"label": "K", "value": [1]}})
    halo.update({"user_id": "u1", "traits": {"b": None}})
    halo.company("c1", traits={"name": "A"}, user_id="u1")
    halo.company("c2", user_id="u1")
    paths = ("state", "digest", "last_seen", "users/u1", "users/u2", "users/u3", "companies/c1", "companies/c2")
    before = [halo.admin(path) for path in paths]
    halo.server.close()
    again = halo_with(file=path)
    assert [again.admin(path) for path in paths] == before
    again.client.post(f"{again.server.root}/_sandbox/reset")
    again.server.close()
    empty = {"users": 0, "companies": 0, "links": 0, "users_seen": 0, "automations": {}}
    assert halo_with(file=path).admin("state") == empty


def test_a_file_that_is_no_state_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be told from an empty one\n" * 50)
    with pytest.raises(sqlite3.DatabaseError):
        SandboxServer(SandboxConfig(file=path))


def test_a_stopped_server_goes_on_at_the_same_port_with_what_it_knew(halo_with):
    halo = halo_with()
    halo.update({"user_id": "u1"})
    url = halo.server.url
    halo.server.stop()
    assert not halo.server.running
    halo.server.start()
    assert halo.server.url == url
    assert halo.admin("state")["users"] == 1
