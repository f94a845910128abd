"""Companies, links and users that are present now: one request each."""

from __future__ import annotations

import asyncio

from inline_snapshot import snapshot

from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


def test_each_company_is_one_request_and_a_bad_one_is_rejected(run, halo, in_chunks, companies_of):
    server = halo(bad={"c3"}, says=lambda key: "plan 'gold' is unknown")
    done = run(server, max_in_flight=4)(lambda delivery: delivery.companies(in_chunks(companies_of(50), 8)))
    assert done.counts == {"companies stored": 49, "companies rejected": 1}
    assert done.problems == snapshot(["companies c3: Halo refuses it: plan 'gold' is unknown"])
    assert server.calls == [("companies/identify", 1)] * 50
    assert done.client.stats.requests == 50


def test_a_company_that_is_too_large_is_rejected(run, halo, in_chunks):
    company = Payload("companies", "c1", b'{"name":"' + b"x" * 500 + b'"}', b"")
    done = run(halo(body_limit=300))(lambda delivery: delivery.companies(in_chunks([company])))
    assert (done.counts, done.problems) == snapshot(
        (
            {"companies rejected": 1},
            ["companies c1: is too large for Halo (413)"],
        )
    )


def test_stored_users_are_linked_as_it_is_decided(run, halo, in_chunks, users_of):
    server = halo(bad={"u5"})

    def decide(user: Payload) -> bool | Problem:
        if user.key == "u6":
            return Problem("links", "u6", "", "its company is not in the companies query")
        return user.key != "u7"

    done = run(server, max_in_flight=3)(
        lambda delivery: delivery.users(in_chunks(users_of(20), 10), decide_link=decide)
    )
    linked = sorted({f"u{number}" for number in range(20)} - {"u5", "u6", "u7"})
    assert done.counts == {"users stored": 19, "users rejected": 1, "links stored": 17, "links skipped": 1}
    assert done.keys("links", "stored") == linked
    assert set(server.links) == {(key, f"c{int(key[1:]) % 7}") for key in linked}


def test_links_go_on_while_the_source_is_slow(run, halo, changes_of):
    server = halo()
    linked_when_asked: list[int] = []

    async def slow():
        yield changes_of(30)
        for _ in range(200):
            await asyncio.sleep(0)
        linked_when_asked.append(len(server.links))
        yield changes_of(30, start=30)

    done = run(server, max_in_flight=4)(lambda delivery: delivery.users(slow(), decide_link=lambda user: True))
    assert linked_when_asked == [30]
    assert done.counts == {"users stored": 60, "links stored": 60}


def test_a_source_is_read_no_further_ahead_than_the_lanes_can_take(run, halo, changes_of):
    server = halo()
    ahead: list[int] = []

    async def source():
        for start in range(0, 2_000, 10):
            yield changes_of(10, start=start)
            ahead.append(start + 10 - len(server.links))

    run(server, max_in_flight=4)(lambda delivery: delivery.users(source(), decide_link=lambda user: True))
    assert max(ahead) <= (4 + 1) * 10


def test_no_more_requests_are_in_flight_than_allowed(run, halo, in_chunks, users_of):
    server = halo()
    run(server, max_in_flight=5)(
        lambda delivery: delivery.users(in_chunks(users_of(200), 20), decide_link=lambda user: True)
    )
    assert server.most_in_flight == 5


def test_links_alone_send_nothing_else(run, halo, in_chunks, users_of):
    server = halo(bad={"u2"})
    done = run(server)(lambda delivery: delivery.links(in_chunks(users_of(4)), decide_link=lambda user: True))
    assert done.counts == {"links stored": 3, "links rejected": 1}
    assert done.problems == snapshot(["links u2: Halo refuses it: Bad request"])
    assert (server.users, server.companies) == ({}, {})


def test_users_who_are_present_are_identified_and_linked(run, halo, in_chunks, users_of):
    server = halo(bad={"u1"})
    done = run(server)(lambda delivery: delivery.identify(in_chunks(users_of(3)), decide_link=lambda user: True))
    assert done.counts == {"users stored": 2, "users rejected": 1, "links stored": 2}
    assert [path for path, _ in server.calls] == [
        "users/identify",
        "companies/identify",
        "users/identify",
        "users/identify",
        "companies/identify",
    ]


def test_a_sync_never_identifies_a_user(run, halo, in_chunks, users_of):
    server = halo(bad={"u1"})
    run(server)(lambda delivery: delivery.users(in_chunks(users_of(50)), decide_link=lambda user: True))
    assert {path for path, _ in server.calls} == {"users/update", "companies/identify"}


def test_an_empty_source_sends_nothing(run, halo, in_chunks):
    server = halo()
    done = run(server, max_in_flight=8)(lambda delivery: delivery.users(in_chunks([])))
    assert (done.outcomes, server.calls) == ([], [])
