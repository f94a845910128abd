"""What ends a run, and that nobody is lost from the counts then."""

from __future__ import annotations

import asyncio

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import (
    ContextRefused,
    HaloUnavailable,
    SecretMissing,
    SystemicRefusal,
    TokenRefused,
    UnexpectedAnswer,
    WidgetKeyRefused,
)

CONTEXT = b'{"onboarding":{"label":"Onboarding","value":{"step":3}}}'


def ends(kind, done, work):
    with pytest.raises(kind) as caught:
        done(work)
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "tries"), [(401, WidgetKeyRefused, 1), (403, TokenRefused, 2), (404, UnexpectedAnswer, 1)]
)
def test_a_wrong_credential_ends_it_within_a_request_per_lane(*, run, halo, in_chunks, users_of, status, kind, tries):
    server = halo(status=status)
    done = run(server, max_in_flight=4)
    ends(kind, done, lambda delivery: delivery.users(in_chunks(users_of(10_000), 100)))
    assert len(server.calls) <= 4 * tries
    assert done.counts.keys() == {"users failed"}
    assert done.counts["users failed"] <= 4 * 100


def test_without_a_secret_nothing_is_sent(run, halo, in_chunks, users_of):
    server = halo()
    done = run(server, identity_secret=None)
    ends(SecretMissing, done, lambda delivery: delivery.users(in_chunks(users_of(10))))
    assert server.calls == []


def test_a_halo_that_is_down_ends_it_and_all_that_was_read_is_counted(run, halo, in_chunks, companies_of):
    server = halo(status=503)
    done = run(server, max_in_flight=3)
    said = ends(HaloUnavailable, done, lambda delivery: delivery.companies(in_chunks(companies_of(500), 50)))
    assert "run it again when Halo is back" in said
    assert done.counts == {"companies failed": 50}


def test_users_under_way_and_links_not_yet_made_are_failed_when_it_ends(run, halo, in_chunks, users_of):
    class Revoked(halo):
        async def __call__(self, request):
            if len(self.links) == 25:
                self.status = 401
            return await super().__call__(request)

    server = Revoked()
    done = run(server, max_in_flight=2)
    ends(
        WidgetKeyRefused,
        done,
        lambda delivery: delivery.users(in_chunks(users_of(300), 100), decide_link=lambda user: True),
    )
    counts = done.counts
    assert counts["links stored"] == 25
    assert counts["links stored"] + counts["links failed"] == counts["users stored"]
    assert counts["users stored"] + counts.get("users failed", 0) in {100, 200, 300}


def test_an_error_of_the_source_ends_it_and_no_lane_is_left(run, halo, changes_of):
    async def broken():
        yield changes_of(10)
        await asyncio.sleep(0)
        raise OSError("the database went away")

    done = run(halo(), max_in_flight=4)
    assert ends(OSError, done, lambda delivery: delivery.users(broken())) == "the database went away"


def test_a_cancelled_run_counts_what_it_had_taken(run, halo, in_chunks, companies_of):
    class Stuck(halo):
        async def __call__(self, request):
            await asyncio.Event().wait()

    async def work(delivery):
        task = asyncio.create_task(delivery.companies(in_chunks(companies_of(10))))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    done = run(Stuck(), max_in_flight=3)(work)
    assert done.counts == {"companies failed": 10}


def test_twenty_refusals_of_companies_with_one_cause_end_it(run, halo, in_chunks, companies_of):
    server = halo(
        bad={f"c{number}" for number in range(500)}, says=lambda key: f"{key}: mrr must be a number, not 17{key[1:]}"
    )
    done = run(server)
    said = ends(SystemicRefusal, done, lambda delivery: delivery.companies(in_chunks(companies_of(500), 100)))
    assert said == snapshot(
        "Halo refused 20 companies in a row for the same cause, and stored none in between: companies/identify: "
        "400: c19: mrr must be a number, not 1719 (for example c0, c1, c2). The cause is the plan, not the records: fix "
        "the plan and run it again."
    )
    assert len(server.calls) == 20
    assert done.counts == {"companies rejected": 20, "companies failed": 80}


def test_refusals_with_causes_of_their_own_end_nothing(run, halo, in_chunks, companies_of):
    server = halo(bad={f"c{number}" for number in range(100)}, says=lambda key: "bad " + "x" * int(key[1:]))
    done = run(server)(lambda delivery: delivery.companies(in_chunks(companies_of(100))))
    assert done.counts == {"companies rejected": 100}


def test_a_success_between_starts_the_count_anew(run, halo, in_chunks, companies_of):
    server = halo(bad={f"c{number}" for number in range(100) if number % 20})
    done = run(server)(lambda delivery: delivery.companies(in_chunks(companies_of(100))))
    assert done.counts == {"companies stored": 5, "companies rejected": 95}


def test_twenty_refused_links_end_it(run, halo, in_chunks, users_of):
    server = halo(bad={f"u{number}" for number in range(100)})
    done = run(server)
    ends(
        SystemicRefusal, done, lambda delivery: delivery.links(in_chunks(users_of(100)), decide_link=lambda user: True)
    )
    assert done.counts == {"links rejected": 20, "links failed": 80}


@pytest.mark.parametrize("blame", ["nameless", "named", "partial", "counted"])
def test_a_plan_that_is_wrong_for_every_user_ends_early(run, halo, in_chunks, users_of, blame):
    server = halo(bad={f"u{number}" for number in range(5_000)}, blame=blame)
    done = run(server)
    said = ends(SystemicRefusal, done, lambda delivery: delivery.users(in_chunks(users_of(5_000))))
    assert "The cause is the plan, not the records" in said
    assert len(server.calls) <= 60
    assert sum(done.counts.values()) == 1_000


def test_values_that_are_masked_in_some_of_the_messages_do_not_make_them_different_causes(
    run, halo, in_chunks, users_of
):
    server = halo(bad={f"u{number}" for number in range(5_000)}, says=lambda key: "plan is none of free, pro, team")
    done = run(server)
    users = [
        user
        for number in range(0, 1_000, 2)
        for user in (
            *users_of(1, start=number, traits=b'{"plan":"Pro"}'),
            *users_of(1, start=number + 1, traits=b'{"plan":"Team"}'),
        )
    ]
    ends(SystemicRefusal, done, lambda delivery: delivery.users(in_chunks(users)))
    assert done.problems[:2] == [
        "users u0: Halo refuses it: plan is none of free, …, team",
        "users u1: Halo refuses it: plan is none of free, pro, …",
    ]


def test_a_reserved_trait_in_every_user_ends_early_and_is_named(run, halo, in_chunks, users_of):
    server = halo(reserved=frozenset({"created_at"}))
    done = run(server)
    users = users_of(1_000, traits=b'{"created_at":"2026-01-01"}')
    said = ends(SystemicRefusal, done, lambda delivery: delivery.users(in_chunks(users)))
    assert "Reserved keys" in said
    assert len(server.calls) == 1 + 20 + 1
    assert done.problems[0] == snapshot("users u0: traits.created_at: Halo refuses it: Reserved keys")


@pytest.mark.parametrize("blame", ["nameless", "named", "partial", "counted"])
@pytest.mark.parametrize("first", [0, 400, 960])
def test_forty_bad_neighbours_in_a_sound_chunk_end_nothing(*, run, halo, in_chunks, users_of, blame, first):
    server = halo(bad={f"u{number}" for number in range(first, first + 40)}, blame=blame)
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(1_000))))
    assert done.counts == {"users stored": 960, "users rejected": 40}


def test_a_server_that_refuses_context_is_recognised_and_named_once(run, halo, in_chunks, users_of):
    server = halo(takes_context=False)
    done = run(server)
    said = ends(ContextRefused, done, lambda delivery: delivery.users(in_chunks(users_of(1_000, context=CONTEXT))))
    assert said == snapshot(
        "Halo refuses users that carry context in users/update, and takes the same users without it (tried with u0, u1). "
        "Set send_context: false under the plan's users, and run it again."
    )
    assert len(server.calls) < 20
    assert set(server.users) == {"u0", "u1"}
    assert done.counts == {"users rejected": 2, "users failed": 998}
    assert done.problems[:2] == [
        f"users {key}: context: Halo refuses it with its context; its traits were stored" for key in ("u0", "u1")
    ]


def test_a_bad_user_with_context_is_just_a_bad_user_where_context_is_taken(run, halo, in_chunks, users_of):
    server = halo(bad={"u0", "u1", "u2"}, says=lambda key: "bad " + "x" * int(key[1:]))
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(100, context=CONTEXT))))
    assert done.counts == {"users stored": 97, "users rejected": 3}
    assert len(server.contexts) == 97


def test_bad_users_first_do_not_hide_a_server_that_refuses_context(run, halo, in_chunks, users_of):
    server = halo(takes_context=False, bad={"u0", "u1"}, says=lambda key: "bad " + "x" * int(key[1:]))
    done = run(server)
    ends(ContextRefused, done, lambda delivery: delivery.users(in_chunks(users_of(100, context=CONTEXT))))
    assert done.counts == {"users rejected": 4, "users failed": 96}
