"""What the demo claims can also fail: a user marked active, an automation, a record too few, a link gone wrong."""

from __future__ import annotations

import dataclasses

from demo.people import be_present
from demo.proof import changed, missing, moved, snapshot, started


def test_a_sync_moves_no_last_seen_and_starts_no_automation(halo, product):
    engine = product(companies=3, users=40)
    assert be_present(engine, halo.settings, 5) == 5
    before = snapshot(halo.api)
    halo.sync(engine)
    after = snapshot(halo.api)
    assert (moved(before, after), started(before, after)) == ([], 0)
    assert (len(before.seen), len(after.seen)) == (5, 40)


def test_a_user_who_was_marked_active_is_found(halo, product):
    engine = product(companies=3, users=40)
    be_present(engine, halo.settings, 2)
    before = snapshot(halo.api)
    be_present(engine, halo.settings, 4)
    after = snapshot(halo.api)
    assert moved(before, after) == ["1", "2", "3", "4"]
    assert started(before, after) == 2  # the two that Halo didn't know yet


def test_a_record_that_changed_is_found(halo, product):
    engine = product(companies=3, users=40)
    halo.sync(engine)
    before = snapshot(halo.api)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ai_credits SET used = 500 WHERE team_id = 1")
    halo.sync(engine)
    assert changed(before, snapshot(halo.api)) == {("companies", "1")}


def test_what_the_sandbox_lacks_or_has_too_much_is_named(halo, product):
    engine = product(companies=3, users=40)
    halo.sync(engine)
    complete = snapshot(halo.api)
    assert missing(engine, complete) == []
    contents = dict(complete.contents)
    del contents["companies", "2"]
    contents["users", "999"] = ({}, {}, None)
    contents["users", "1"] = (*contents["users", "1"][:2], "3")
    assert missing(engine, dataclasses.replace(complete, contents=contents)) == [
        "1 companies are not stored, for example 2",
        "1 users are not in the database, for example 999",
        "1 links are not as in the database, for example 1",
    ]
