from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

BLAMES = ["nameless", "named", "partial", "counted"]


@pytest.mark.parametrize("blame", BLAMES)
def test_a_bad_user_is_rejected_and_the_others_are_stored(run, halo, in_chunks, users_of, blame):
    server = halo(bad={"u7"}, blame=blame)
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(100))))
    assert done.counts == {"users stored": 99, "users rejected": 1}
    assert done.keys("users", "rejected") == ["u7"]
    assert sorted(server.users) == done.keys("users", "stored")


def test_a_rejection_says_why(run, halo, in_chunks, users_of):
    server = halo(bad={"u7"}, says=lambda key: f"user {key}: email ada@example.com is taken")
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(10))))
    assert done.problems == snapshot(["users u7: Halo refuses it: user u7: email … is taken"])


@given(
    count=st.integers(1, 1_000),
    bad=st.sets(st.integers(0, 999), max_size=5),
    blame=st.sampled_from(BLAMES),
)
@settings(max_examples=60, deadline=None)
def test_exactly_the_bad_are_rejected_at_the_cost_of_a_bisection(*, run, halo, in_chunks, users_of, count, bad, blame):
    keys = {f"u{number}" for number in bad if number < count}
    server = halo(bad=set(keys), blame=blame)
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(count))))
    assert done.keys("users", "rejected") == sorted(keys)
    assert done.keys("users", "stored") == sorted({f"u{number}" for number in range(count)} - keys)
    assert sorted(server.users) == done.keys("users", "stored")
    few = max(1, len(keys))
    # For each bad user a way down the tree, two calls a level, and the one that finds it alone.
    assert len(server.calls) <= 1 + 2 * len(keys) * (math.ceil(math.log2(max(2, count) / few)) + 1)


@given(bad=st.sets(st.integers(0, 299)), chunk=st.sampled_from([1, 7, 100, 300]), lanes=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_no_mix_of_bad_users_loses_a_good_one(*, run, halo, in_chunks, users_of, bad, chunk, lanes):
    # Each for a cause of its own, or it would be the plan that is wrong.
    server = halo(bad={f"u{number}" for number in bad}, says=lambda key: "bad " + "x" * int(key[1:]))
    done = run(server, max_in_flight=lanes)(lambda delivery: delivery.users(in_chunks(users_of(300), chunk)))
    assert done.keys("users", "rejected") == sorted(server.bad)
    assert done.keys("users", "stored") == sorted({f"u{number}" for number in range(300)} - server.bad)
    assert set(server.users) == {f"u{number}" for number in range(300)} - server.bad


def test_when_the_left_half_passes_the_right_one_is_not_sent_whole(run, halo, in_chunks, users_of):
    server = halo(bad={"u7"})
    run(server)(lambda delivery: delivery.users(in_chunks(users_of(8))))
    # All, 0-3 pass, so 4-7 are to blame; 4-5 pass, so 6-7 are; 6 passes; 7 is refused alone.
    assert [size for _, size in server.calls] == [8, 4, 2, 1, 1]


def test_a_single_user_is_never_rejected_on_a_guess(run, halo, in_chunks, users_of):
    """A server that refuses once for no reason loses nobody."""

    class Moody(halo):
        def _update(self, users, update_only):
            self.bad = {"u3"} if not self.calls[1:] else set()
            return super()._update(users, update_only)

    server = Moody()
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(4))))
    assert done.counts == {"users stored": 4}


def test_users_that_halo_names_are_each_tried_alone(run, halo, in_chunks, users_of):
    server = halo(bad={"u3", "u5"}, blame="named")
    run(server)(lambda delivery: delivery.users(in_chunks(users_of(1_000))))
    assert [size for _, size in server.calls] == [1_000, 998, 1, 1]


def test_a_reserved_trait_is_found_in_the_payloads_without_halving(run, halo, in_chunks, users_of):
    server = halo(reserved=frozenset({"created_at", "id"}))
    users = users_of(500) + users_of(2, traits=b'{"created_at":"2026-01-01","plan":"pro"}', start=500)
    done = run(server)(lambda delivery: delivery.users(in_chunks(users)))
    assert [size for _, size in server.calls] == [502, 500, 1, 1]
    assert done.counts == {"users stored": 500, "users rejected": 2}
    assert done.problems == snapshot(
        [
            "users u500: traits.created_at: Halo refuses it: Reserved keys",
            "users u501: traits.created_at: Halo refuses it: Reserved keys",
        ]
    )


def test_blame_for_somebody_who_was_not_sent_is_not_believed(run, halo, in_chunks, users_of):
    class Confused(halo):
        def _update(self, users, update_only):
            answer = super()._update(users, update_only)
            return type(answer)(answer.status_code, content=answer.content.replace(b"u7", b"usr_0815"))

    server = Confused(bad={"u7"}, blame="partial", says=lambda key: "Bad request")
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(50))))
    assert done.keys("users", "rejected") == ["u7"]
    assert len(done.keys("users", "stored")) == 49


def test_a_body_that_is_too_large_is_halved_and_the_next_ones_are_cut_beforehand(run, halo, in_chunks, users_of):
    server = halo(body_limit=40_000)  # 1,000 of these users are about 50,000 bytes
    done = run(server)(lambda delivery: delivery.users(in_chunks(users_of(3_000))))
    assert done.counts == {"users stored": 3_000}
    assert [size for _, size in server.calls] == [1_000, 500, 500, 500, 500, 500, 500]


def test_a_user_that_is_too_large_alone_is_rejected_and_the_others_stay_together(run, halo, in_chunks, users_of):
    class Strict(halo):
        def _update(self, users, update_only):
            if any(len(user["traits"]["plan"]) > 100 for user in users):
                return type(super()._update([], False))(413)
            return super()._update(users, update_only)

    server = Strict()
    users = users_of(2_000)
    users[0] = type(users[0])("users", "u0", b'{"plan":"' + b"x" * 101 + b'"}', b"", "c0")
    done = run(server)(lambda delivery: delivery.users(in_chunks(users)))
    assert done.counts == {"users stored": 1_999, "users rejected": 1}
    assert done.problems == snapshot(["users u0: is too large for Halo (413)"])
    assert server.calls[-1] == ("users/update", 1_000)  # that it was too large says nothing about the next chunk
    assert len(server.calls) <= 1 + 2 * 10 + 1


def test_skips_that_are_only_counted_are_counted(run, halo, in_chunks, users_of):
    server = halo(known={"u1", "u2"})
    done = run(server, update_only=True)(
        lambda delivery: delivery.users(in_chunks(users_of(5)), decide_link=lambda user: True)
    )
    assert done.counts == {"users stored": 2, "users skipped": 3, "links skipped": 5}
    assert done.keys("users", "stored") == []  # which ones isn't known, so nobody may be remembered
    assert server.links == {}


def test_when_all_are_skipped_it_is_known_who(run, halo, in_chunks, users_of):
    done = run(halo(known=set()), update_only=True)(lambda delivery: delivery.users(in_chunks(users_of(3))))
    assert (done.counts, done.keys("users", "skipped")) == ({"users skipped": 3}, ["u0", "u1", "u2"])


def test_a_request_that_never_succeeds_fails_its_users_and_the_others_go_on(run, halo, in_chunks, users_of):
    server = halo(broken={"u5"})
    # Another lane keeps succeeding, so it is this request and not Halo that is broken.
    done = run(server, max_in_flight=2)(
        lambda delivery: delivery.users(in_chunks(users_of(6_000), 10), decide_link=lambda user: True)
    )
    assert done.counts["users failed"] == 10
    assert done.keys("users", "failed") == [f"u{number}" for number in range(10)]
    assert done.counts["users stored"] == done.counts["links stored"] == 5_990
