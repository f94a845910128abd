"""Turns of a limiter, on a clock that passes only while everybody waits: to the last digit the same each time."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from itertools import pairwise

import httpx
import pytest

from airflow_provider_halo.api.limiting import ProcessBucket, RateLimiter, process_limiter


class _Selector(selectors.DefaultSelector):
    """In place of waiting, the loop's clock goes on."""

    now = 1_000.0

    def select(self, timeout=None):
        self.now += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self):
        return self.selector.now


class Simulation:
    """Senders on one clock; `started` is when each request began, in seconds since the simulation did."""

    def __init__(self):
        self.loop = _Loop()
        self.began = self.loop.time()
        self.bucket = ProcessBucket(self.loop.time)
        self.started: list[float] = []

    def limiter(self, rate: float) -> RateLimiter:
        return RateLimiter(self.bucket, rate, timer=self.loop.time)

    def now(self) -> float:
        return round(self.loop.time() - self.began, 6)

    async def send(self, limiter: RateLimiter, count: int, *, lasting: float = 0.0) -> None:
        for _ in range(count):
            await limiter.acquire()
            self.started.append(self.now())
            await asyncio.sleep(lasting)

    def run(self, scenario) -> list[float]:
        try:
            self.loop.run_until_complete(scenario)
        finally:
            self.loop.close()
        return self.started


@pytest.fixture
def simulation():
    return Simulation()


def evenly(count: int, rate: float, *, since: float = 0.0) -> list[float]:
    return [round(since + at / rate, 6) for at in range(count)]


@pytest.mark.parametrize("rate", [0.001, 0.25, 1.5, 4, 30, 1_000])
def test_requests_start_evenly_from_the_first_on_at_whatever_rate(simulation, rate):
    async def scenario():
        limiter = simulation.limiter(rate)
        await asyncio.gather(*(simulation.send(limiter, 5) for _ in range(8)))

    assert simulation.run(scenario()) == evenly(40, rate)


@pytest.mark.parametrize("rate", [0.25, 10, 100])
def test_senders_that_share_a_bucket_hold_the_rate_together_and_lose_nothing(simulation, rate):
    async def scenario():
        await asyncio.gather(*(simulation.send(simulation.limiter(rate), 30) for _ in range(4)))

    started = simulation.run(scenario())
    # Whoever is done leaves turns of its last lease behind: less than half of a quarter of a second's each.
    assert len(started) == 120
    assert all(later - earlier >= 1 / rate - 1e-6 for earlier, later in pairwise(started))
    assert started[-1] <= 119 / rate + 4 * 0.125


def test_each_of_several_senders_gets_its_turn(simulation):
    order = []

    async def sender(name: str) -> None:
        limiter = simulation.limiter(2)
        for _ in range(3):
            await limiter.acquire()
            order.append(name)
            await asyncio.sleep(0)  # a request would take its time

    async def scenario():
        await asyncio.gather(*(sender(name) for name in "abc"))

    simulation.run(scenario())
    assert order == list("abcabcabc")


def test_a_pause_is_followed_by_no_burst(simulation):
    async def scenario():
        limiter = simulation.limiter(40)
        await simulation.send(limiter, 20)
        await asyncio.sleep(10)
        await asyncio.gather(*(simulation.send(limiter, 1) for _ in range(20)))

    started = simulation.run(scenario())
    assert started[20:] == evenly(20, 40, since=started[20])
    assert started[20] >= 10


def test_a_turn_that_passed_while_all_were_busy_is_lost(simulation):
    async def scenario():
        # Two at a time that take a third of a second each: six a second, of the ten that they might.
        limiter = simulation.limiter(10)
        await asyncio.gather(*(simulation.send(limiter, 12, lasting=1 / 3) for _ in range(2)))

    started = simulation.run(scenario())
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(started))


def test_a_sender_that_is_cancelled_while_it_waits_has_reserved_no_more_than_a_turn(simulation):
    async def scenario():
        gone, limiter = simulation.limiter(1), simulation.limiter(1)
        await gone.acquire()
        waiting = [asyncio.create_task(gone.acquire()) for _ in range(50)]
        await asyncio.sleep(0.5)
        for task in waiting:
            task.cancel()
        await simulation.send(limiter, 3)

    assert simulation.run(scenario()) == [2, 3, 4]  # the turn of second 1 is lost, with 50 that waited for theirs


def test_a_sender_of_one_request_reserves_no_more_than_that(simulation):
    async def scenario():
        for _ in range(20):  # a hook makes a client for each call
            await simulation.send(simulation.limiter(100), 1)

    assert simulation.run(scenario()) == evenly(20, 100)


class SlowBucket:
    """A bucket that is far away."""

    def __init__(self, bucket: ProcessBucket, seconds: float) -> None:
        self.bucket = bucket
        self.seconds = seconds

    async def reserve(self, count: int, rate: float) -> float:
        first = await self.bucket.reserve(count, rate)
        await asyncio.sleep(self.seconds)
        return first


@pytest.mark.parametrize(
    ("rate", "way", "most"),
    [
        (1_000, 0.02, 1.3),  # 20 turns pass on the way from the bucket, which is a twelfth of a long lease
        (100, 0.1, 1.8),
        (4, 0.4, 1.8),  # even the one that was reserved has passed
        (4, 10, 42),
    ],
)
def test_a_bucket_that_is_slow_to_answer_costs_turns_but_holds_nobody_up_for_good(simulation, rate, way, most):
    async def scenario():
        limiter = RateLimiter(SlowBucket(simulation.bucket, way), rate, timer=simulation.loop.time)
        await asyncio.gather(*(simulation.send(limiter, 125) for _ in range(8)))

    started = simulation.run(scenario())
    assert len(started) == 1_000
    # None is early, and the first is late by the way from the bucket.
    assert 999 / rate - way <= started[-1] - started[0] <= most * 1_000 / rate


def test_threads_of_a_process_share_its_bucket(settings):
    given = settings(widget_key="ab_live_of_this_test", requests_per_second=100)
    ended: list[float] = []

    async def send():
        limiter = process_limiter(given)
        for _ in range(10):
            await limiter.acquire()
        ended.append(time.monotonic())

    began = time.monotonic()
    threads = [threading.Thread(target=lambda: asyncio.run(send())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 40 requests are 39 turns. The promise is an upper bound: how much later than that a machine is done isn't asked.
    assert max(ended) - began >= 0.39


@pytest.mark.parametrize(
    ("statuses", "starts"),
    [
        ([200, 200, 200], [0, 100, 200]),
        ([500, 429, 200, 200, 200], [0, 100, 200, 300, 400]),  # repeated after a failure, or after a pause
        ([403, 200, 200, 200], [0, 100, 200, 300]),  # repeated at once, with another token
    ],
)
def test_a_repeated_request_counts_like_any_other(client_of, clock, user, statuses, starts):
    # At 100 s a turn, which are no part of the 60 s that a request may be repeated for.
    began, arrived = clock(), []

    def halo(_: httpx.Request) -> httpx.Response:
        arrived.append(clock() - began)
        return httpx.Response(statuses[len(arrived) - 1], json={"updated": 1})

    async def scenario():
        limiter = RateLimiter(ProcessBucket(clock), 0.01, timer=clock, sleep=clock.sleep)
        async with client_of(halo, limiter=limiter) as client:
            for _ in range(3):
                await client.update_users([user])

    asyncio.run(scenario())
    assert arrived == pytest.approx(starts)


def test_without_a_limit_there_is_no_limiter(settings):
    assert process_limiter(settings()) is None
