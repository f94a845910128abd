"""The rate that is found, held against quotas in a world whose clock is the test's: senders, a way there, a way back."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_halo.api.adaptive import AdaptiveRate, Wait
from airflow_provider_halo.sandbox.quota import Quota, QuotaRule

LANES = 8
WAY = 0.001  # seconds, there and back alike
LATE = 0.001  # that a timer wakes up late, at most


class World:
    """Lanes of some processes that send to one quota as fast as they are let."""

    def __init__(self, rule: QuotaRule, *, processes: int = 1, seed: int = 1) -> None:
        self.now = 0.0
        self.quota = Quota(rule, timer=lambda: self.now)
        self.rates = [AdaptiveRate() for _ in range(processes)]
        self.passed = [0] * processes
        self.refused = 0
        self.early = 0  # requests that came before a Retry-After was over
        self._not_before = [-math.inf] * processes
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._gates = [deque(range(LANES)) for _ in range(processes)]

    def run(self, seconds: float) -> None:
        for process in range(len(self.rates)):
            self._after(0.0, lambda process=process: self._ask(process))
        until = self.now + seconds
        while self._events and self._events[0][0] < until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self._events.clear()

    @property
    def share_refused(self) -> float:
        return self.refused / (self.refused + sum(self.passed))

    @property
    def evenness(self) -> float:
        return sum(self.passed) ** 2 / (len(self.passed) * sum(passed**2 for passed in self.passed))

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), event))

    def _ask(self, process: int) -> None:
        gate = self._gates[process]
        while gate:
            start = self.rates[process].start(self.now)
            if isinstance(start, Wait):
                self._after(start.seconds + self._random.uniform(0, LATE), lambda: self._ask(process))
                return
            gate.popleft()
            self._after(WAY, lambda start=start: self._arrive(process, start))

    def _arrive(self, process: int, start: int) -> None:
        wait = self.quota.enter()
        self.quota.leave()
        rule = self.quota.rule
        if wait is None:
            self._after(WAY, lambda: self._back(process, start, None))
            return
        seconds = float(max(1, math.ceil(wait))) if rule.retry_after == "seconds" else None
        self._after(WAY, lambda: self._back(process, start, (seconds,)))

    def _back(self, process: int, start: int, refusal: tuple[float | None] | None) -> None:
        if refusal is None:
            self.passed[process] += 1
            self.rates[process].passed(self.now)
        else:
            self.refused += 1
            self.rates[process].refused(start, self.now, refusal[0])
        waiting = bool(self._gates[process])
        self._gates[process].append(1)
        if not waiting:
            self._ask(process)


@pytest.mark.parametrize(
    ("rule", "seconds", "available", "least", "most_refused"),
    [
        (QuotaRule(quota="100/s", burst=10), 20, 2_010, 0.9, 0.03),
        (QuotaRule(quota="2000/s", burst=100), 10, 20_100, 0.9, 0.03),
        (QuotaRule(quota="200/s", burst=1), 20, 4_000, 0.6, 0.03),
        (QuotaRule(quota="20/s", burst=1), 30, 600, 0.7, 0.15),
        (QuotaRule(quota="200/s", burst=100, retry_after="seconds"), 10, 2_100, 0.6, 0.03),
        (QuotaRule(quota="200/s", burst=100, retry_after="seconds"), 50, 10_100, 0.75, 0.03),
        (QuotaRule(quota="100/s", burst=10, retry_after="seconds"), 50, 5_010, 0.7, 0.03),
        (QuotaRule(quota="600/10s"), 60, 3_600, 0.85, 0.04),
        (QuotaRule(quota="600/10s", retry_after="seconds"), 60, 3_600, 0.85, 0.04),
    ],
    ids=lambda value: (
        f"{value.quota}, burst {value.burst}, {value.retry_after}" if isinstance(value, QuotaRule) else ""
    ),
)
def test_a_quota_that_nobody_tells_of_is_used_and_seldom_exceeded(rule, seconds, available, least, most_refused):
    world = World(rule)
    world.run(seconds)
    assert sum(world.passed) / available >= least
    assert world.share_refused <= most_refused


def test_several_processes_share_a_quota_evenly():
    world = World(QuotaRule(quota="200/s", burst=10), processes=4)
    world.run(30)
    assert sum(world.passed) / 6_010 >= 0.7
    assert world.share_refused <= 0.04
    assert world.evenness >= 0.7


def test_a_quota_that_changes_is_found_again():
    world = World(QuotaRule(quota="100/s", burst=10))
    world.run(10)
    for quota, seconds, least in (("20/s", 10, 0.6), ("200/s", 20, 0.75)):
        before = sum(world.passed)
        world.quota.set(QuotaRule(quota=quota, burst=10))
        world.run(seconds)
        assert (sum(world.passed) - before) / (float(quota[:-2]) * seconds) >= least


def test_without_a_quota_nothing_ever_waits():
    rate = AdaptiveRate()
    assert [rate.start(0.0) for _ in range(1_000)] == list(range(1, 1_001))
    assert rate.limit(0.0) is None


def test_of_requests_that_were_under_way_together_only_the_first_refusal_cuts_the_rate():
    rate = AdaptiveRate()
    starts = [rate.start(at / 1_000) for at in range(100)]
    rate.refused(starts[0], 0.1, None)
    cut = rate.limit(0.1)
    for start in starts[1:]:
        rate.refused(start, 0.1, None)
    assert rate.limit(0.1) == cut == pytest.approx(500, rel=0.05)  # half of what was sent: nothing had passed


def test_after_a_pause_one_request_goes_alone_and_the_others_wait_for_its_answer():
    rate = AdaptiveRate()
    rate.refused(rate.start(0.0), 0.0, 2.0)
    assert rate.start(1.9) == Wait(pytest.approx(0.1), for_halo=True)
    alone = rate.start(2.2)
    assert isinstance(alone, int)
    assert isinstance(rate.start(2.3), Wait)
    rate.passed(2.4)
    assert isinstance(rate.start(3.5), int)


def test_while_nothing_passes_halo_is_asked_ever_more_seldom_but_at_least_every_five_seconds():
    rate, now, asked = AdaptiveRate(), 0.0, []
    while now < 120:
        start = rate.start(now)
        if isinstance(start, Wait):
            now += max(start.seconds, 0.001)
        else:
            asked.append(now)
            rate.refused(start, now, None)
    distances = [later - earlier for earlier, later in pairwise(asked)]
    assert len(asked) < 60
    assert max(distances) <= 5.01
    assert distances[-1] == pytest.approx(5, abs=0.5)


@settings(max_examples=50, deadline=None)
@given(
    quota=st.sampled_from(["5/s", "50/s", "700/s", "60/2s"]),
    retry_after=st.sampled_from(["none", "seconds"]),
    processes=st.integers(1, 3),
    seed=st.integers(0, 1_000),
)
def test_no_quota_ever_stops_a_sender_for_good(quota, retry_after, processes, seed):
    world = World(QuotaRule(quota=quota, retry_after=retry_after), processes=processes, seed=seed)
    world.run(20)
    before = sum(world.passed)
    world.run(20)
    assert sum(world.passed) > before
