from __future__ import annotations

import asyncio
import logging
import time
from itertools import pairwise

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.api.limiting import ProcessBucket, RateLimiter
from airflow_provider_halo.api.pacing import Pacer
from airflow_provider_halo.exceptions import TransientError


@pytest.fixture
def pacer(clock):
    return Pacer(max_in_flight=8, limiter=None, timer=clock, sleep=clock.sleep)


def overloaded(retry_after: float | None = None) -> TransientError:
    return TransientError("slow down", status=429, path="users/update", retry_after=retry_after)


def down() -> TransientError:
    return TransientError("an empty answer", status=500, path="users/update")


async def take(pacer: Pacer, count: int = 1):
    return [await pacer.acquire(60) for _ in range(count)]


def test_no_more_than_the_window_are_in_flight(pacer):
    async def scenario():
        await take(pacer, 8)
        ninth = asyncio.create_task(pacer.acquire(60))
        await asyncio.sleep(0)
        assert not ninth.done()
        pacer.release()
        assert (await ninth).number == 9

    asyncio.run(scenario())


def test_a_burst_of_failures_halves_the_window_once(pacer):
    async def scenario():
        for permit in await take(pacer, 8):
            pacer.slowed(permit, down())
            pacer.release()
        assert pacer.window == 4
        (permit,) = await take(pacer)
        pacer.slowed(permit, down())
        assert pacer.window == 2

    asyncio.run(scenario())


def test_the_window_never_closes_and_grows_back_one_by_one(pacer):
    async def scenario():
        for _ in range(10):
            (permit,) = await take(pacer)
            pacer.slowed(permit, down())
            pacer.release()
        windows = [pacer.window]
        for _ in range(40):
            pacer.succeeded()
            windows.append(pacer.window)
        assert windows[0] == 1
        assert windows[-1] == 8
        assert all(later - earlier in {0, 1} for earlier, later in pairwise(windows))
        assert 20 < windows.index(8) < 40  # 1 + 2 + … + 7, about

    asyncio.run(scenario())


def test_nobody_starts_before_retry_after_has_passed(pacer, clock):
    async def scenario():
        (permit,) = await take(pacer)
        began = clock()
        pacer.slowed(permit, overloaded(retry_after=20))
        pacer.release()
        await asyncio.gather(*(pacer.acquire(60) for _ in range(3)))
        assert clock() >= began + 20

    asyncio.run(scenario())


def test_a_429_that_does_not_say_how_long_lowers_the_rate_and_leaves_the_window(pacer, clock):
    async def scenario():
        assert pacer.rate is None
        for permit in await take(pacer, 8):
            clock.now += 0.01
            pacer.slowed(permit, overloaded())
            pacer.release()
        began = clock()
        await asyncio.gather(*(pacer.acquire(60) for _ in range(8)))
        return clock() - began

    # 8 were sent within 10 ms, which was too much, and nothing passed: half of 800 a second, and that rising.
    assert 0.01 <= asyncio.run(scenario()) <= 0.05
    assert pacer.window == 8
    assert pacer.held_for == 0


def test_a_pause_longer_than_the_budget_is_not_sat_out(pacer, clock):
    async def scenario():
        (permit,) = await take(pacer)
        pacer.slowed(permit, overloaded(retry_after=600))
        pacer.release()
        with pytest.raises(TransientError, match="another 600 s") as caught:
            await pacer.acquire(60)
        assert caught.value.retry_after == 600
        assert clock.slept == []
        clock.now += 600
        await take(pacer, 4)  # its place was given back

    asyncio.run(scenario())


def test_who_waits_longest_comes_first(pacer):
    async def scenario():
        await take(pacer, 8)
        order: list[int] = []

        async def wait(name: int) -> None:
            await pacer.acquire(60)
            order.append(name)
            pacer.release()

        tasks = [asyncio.create_task(wait(name)) for name in range(5)]
        await asyncio.sleep(0)
        pacer.release()
        barger = asyncio.create_task(wait(99))
        await asyncio.gather(*tasks, barger)
        assert order == [0, 1, 2, 3, 4, 99]

    asyncio.run(scenario())


def test_a_waiter_that_is_cancelled_takes_no_place(pacer):
    async def scenario():
        await take(pacer, 8)
        first, second = (asyncio.create_task(pacer.acquire(60)) for _ in range(2))
        await asyncio.sleep(0)
        pacer.release()  # hands the place to the first …
        first.cancel()  # … which is cancelled before it runs
        assert (await asyncio.wait_for(second, 1)).number == 9

    asyncio.run(scenario())


def test_one_line_says_that_it_slows_down_and_one_that_it_is_over(pacer, caplog):
    async def scenario():
        for permit in await take(pacer, 8):
            pacer.slowed(permit, down())
            pacer.release()
        for _ in range(40):
            pacer.succeeded()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == snapshot(
        [
            ("WARNING", "users/update: 500: an empty answer: slowing down to 4 requests at once"),
            ("INFO", "Halo keeps up again: back to 8 requests at once"),
        ]
    )


def test_the_log_says_once_that_the_rate_is_looked_for_and_once_what_it_is(pacer, clock, caplog):
    async def scenario():
        for permit in await take(pacer, 8):
            pacer.slowed(permit, overloaded(retry_after=2))
            pacer.release()
        for _ in range(3):
            for _ in range(60):
                await take(pacer)
                pacer.succeeded()
                pacer.release()
                clock.now += 0.05
            (permit,) = await take(pacer)
            pacer.slowed(permit, overloaded())
            pacer.release()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == snapshot(
        [
            (
                "WARNING",
                "users/update: 429: slow down: too many requests a second; looking for the rate that Halo takes, after a pause of 2 s",
            ),
            ("WARNING", "users/update: 429: slow down: Halo takes about 20 requests a second; keeping to that"),
        ]
    )


def test_the_limiter_bounds_what_is_started():
    async def scenario():
        limiter = RateLimiter(ProcessBucket(), 100)
        pacer = Pacer(max_in_flight=100, limiter=limiter, timer=time.monotonic, sleep=asyncio.sleep)
        began = time.monotonic()
        await asyncio.gather(*(pacer.acquire(60) for _ in range(31)))
        return time.monotonic() - began

    assert 0.29 < asyncio.run(scenario()) < 1


def test_after_a_pause_that_halo_asked_for_requests_start_one_by_one_as_ever():
    async def scenario():
        pacer = Pacer(
            max_in_flight=8, limiter=RateLimiter(ProcessBucket(), 50), timer=time.monotonic, sleep=asyncio.sleep
        )
        permit = await pacer.acquire(60)
        waiting = [asyncio.create_task(pacer.acquire(60)) for _ in range(4)]
        await asyncio.sleep(0)
        asked = time.monotonic()
        pacer.slowed(permit, overloaded(retry_after=0.2))
        await asyncio.gather(*waiting)
        return time.monotonic() - asked

    # The pause, and three turns of 20 ms between the four: without the limiter they would start at its end, together.
    assert asyncio.run(scenario()) >= 0.2 + 3 * 0.02
