"""When a request may start, and when a failed one is sent again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Final, final

from airflow_provider_halo.api.adaptive import AdaptiveRate, Wait
from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.exceptions import HaloError, TransientError

__all__ = ["LongPause", "Pacer", "Patience", "Permit", "RetryBudget"]

log = logging.getLogger(__name__)

_FIRST_BACKOFF: Final = 0.5  # seconds; the longest wait before the second try, doubled for each try after it
_LONGEST_BACKOFF: Final = 30.0
_TURNS_AT_ONCE: Final = (
    3  # times that a request refused by 429 is sent at its next turn; more, and it is this one's fault
)
_PAUSE_WORTH_A_LINE: Final = 10.0  # seconds; nobody who reads the log notices a shorter pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How a client waits for Halo.

    :param longest_pause: seconds of a pause that it sits out; a longer one is a `LongPause`.
    :param unanswered: seconds for which Halo had taken no request before the client began. They count towards
        `max_retry_seconds` until it takes one.
    """

    longest_pause: float = inf
    unanswered: float = 0.0


class LongPause(HaloError):
    """Halo asked for a pause that is longer than the client is to sit out (`Patience`); nothing is wrong.

    It isn't for users to catch: whoever set the limit goes on when the pause is over.

    :param seconds: how long it is.
    :param unanswered: at its end, the seconds for which Halo will have taken no request.
    """

    def __init__(self, seconds: float, unanswered: float = 0.0) -> None:
        super().__init__(f"Halo asked to wait for {seconds:.0f} s")
        self.seconds = seconds
        self.unanswered = unanswered


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to start one request.

    :param number: counts the requests of the client.
    :param waited: seconds that it waited for its turn, which is our own doing, not Halo's.
    :param start: its number among all requests of the account in this process.
    """

    number: int
    waited: float
    start: int = 0


@final
class RetryBudget:
    """The time that one request has for its retries, and the wait before each of them.

    The budget starts when the first try starts. Waiting for our own rate limit doesn't use it up: at a low rate that may
    take longer than the budget, with nothing amiss.

    :param seconds: how long the request may be retried.
    :param timer: seconds of a clock that never jumps.
    """

    __slots__ = ("_backoff", "_seconds", "_started", "_throttled", "_timer", "_waited", "began")

    def __init__(self, seconds: float, timer: Callable[[], float]) -> None:
        self._seconds = seconds
        self._timer = timer
        self._started = False
        self._waited = 0.0
        self._backoff = _FIRST_BACKOFF
        self._throttled = 0
        self.began = timer()

    def start_try(self, permit: Permit) -> None:
        """A try starts now, with this permit."""
        if self._started:
            self._waited += permit.waited
        else:
            self._started = True
            self.began = self._timer()

    def remaining(self) -> float:
        """Seconds left; negative when the time is up."""
        return self._seconds - (self._timer() - self.began - self._waited)

    def wait_after(self, error: TransientError) -> float | None:
        """Seconds to wait before the next try: what Halo asked for, or the backoff where that is longer.

        After a 429 it is nothing at first: the request goes back to where all wait for their turn, at a rate that is lower
        now. Otherwise the backoff has full jitter, a random wait between 0 and 0.5, 1, 2 … 30 s, so that workers that failed together
        don't come back together. It is only our own guess, so it is cut to the time left: the last try comes at its end.

        :return: None when there is no further try: the time is up, or a `Retry-After` goes beyond it.
        """
        remaining = self.remaining()
        retry_after = error.retry_after or 0.0
        if remaining <= 0 or retry_after > remaining:
            return None
        if error.status == 429 and self._throttled < _TURNS_AT_ONCE:
            self._throttled += 1
            return 0.0
        backoff = random.uniform(0, self._backoff)  # noqa: S311 (jitter, nothing secret)
        self._backoff = min(_LONGEST_BACKOFF, 2 * self._backoff)
        return max(retry_after, min(backoff, remaining))


@final
class Pacer:
    """Paces all requests of one client, whichever worker sends them. Of one event loop: not for several threads.

    The window bounds the requests in flight. It begins at its maximum, is halved when Halo is in trouble (5xx, timeouts,
    broken connections) and grows by one for each window of successes. Of a burst of failures only the first halves it:
    the others were sent at the old pace and say nothing about the new one. A 429 leaves it alone: that is about the rate.

    :param max_in_flight: the window's maximum.
    :param limiter: bounds the requests per second as somebody configured; None for no such limit.
    :param rate: finds what Halo takes; of all clients of the account in this process.
    :param timer: seconds of a clock that never jumps, the rate's.
    :param sleep: waits for so many seconds of that clock.
    :param longest_pause: seconds of a pause that is sat out.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        limiter: Limiter | None,
        timer: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rate: AdaptiveRate | None = None,
        longest_pause: float = inf,
    ) -> None:
        self._longest_pause = longest_pause
        self._max = float(max_in_flight)
        self._window = self._max
        self._limiter = limiter
        self._rate = rate or AdaptiveRate(now=timer())
        self._timer = timer
        self._sleep = sleep
        self._gate = asyncio.Lock()  # first come, first served
        self._waited_for_halo = 0.0  # seconds that whoever was first at the gate waited there for Halo
        self._in_flight = 0
        self._started = 0
        self._judged = 0  # the last request that had begun when the window was halved
        self._slow = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def window(self) -> int:
        """Requests that may be in flight now."""
        return int(self._window)

    @property
    def held_for(self) -> float:
        """Seconds until the next request may start; 0 where none was asked to wait."""
        return self._rate.held_for(self._timer())

    @property
    def rate(self) -> float | None:
        """Requests per second that Halo was found to take; None where it has refused none for their rate."""
        return self._rate.limit(self._timer())

    async def acquire(self, budget: float) -> Permit:
        """Wait for permission to start a request; give it back with `release`.

        :param budget: seconds that the request has left.
        :raises TransientError: when Halo asked for a longer pause than that; ``retry_after`` says how long.
        :raises LongPause: when it asked for one that isn't to be sat out.
        :raises LedgerError: when the limiter's bucket is in a ledger, whose database can't be used.
        """
        await self._take_place()
        try:
            start, waited = await self.turn(budget)
        except BaseException:  # whatever ends the wait, cancellation included, the place is free again
            self._free_place()
            raise
        self._started += 1
        return Permit(self._started, waited, start)

    async def turn(self, budget: float) -> tuple[int, float]:
        """Wait for the rate alone, first the configured one, then the one that was found.

        For a request that is repeated in the place of the one before, too. This has to be the last wait: whatever is
        waited for after it would let several requests start together.

        :return: the request's number in `AdaptiveRate`, and the seconds that it took, without those that Halo asked for.
        """
        began, before = self._timer(), self._waited_for_halo
        while True:
            if self._limiter is not None:
                await self._limiter.acquire()
            start = await self._pass_gate(budget)
            if start is not None:
                return start, self._timer() - began - (self._waited_for_halo - before)

    async def _pass_gate(self, budget: float) -> int | None:
        """Wait for the rate that was found. None after a pause with a limiter, whose turn is lost by then."""
        self._refuse_long_pause(budget)
        async with self._gate:
            while isinstance(start := self._rate.start(self._timer()), Wait):
                paused = self._refuse_long_pause(budget)
                await self._sleep(start.seconds)
                if start.for_halo:
                    self._waited_for_halo += start.seconds
                if paused and self._limiter is not None:
                    return None
            return start

    def _refuse_long_pause(self, budget: float) -> bool:
        """Whether there is a pause.

        :raises TransientError: when it is longer than the time that the request has left.
        :raises LongPause: when it isn't to be sat out.
        """
        pause = self.held_for
        if pause and pause > budget:
            raise TransientError(f"Halo asked to wait for another {pause:.0f} s", retry_after=pause)
        if pause > self._longest_pause:
            raise LongPause(pause)
        return pause > 0

    def release(self) -> None:
        """The request has ended, one way or another."""
        self._free_place()

    def succeeded(self) -> None:
        """Halo took a request, or refused it for what it says: it isn't overloaded."""
        self._rate.passed(self._timer())
        if self._window >= self._max:
            return
        self._window = min(self._max, self._window + 1 / self._window)
        self._hand_places_over()
        if self._window >= self._max and self._slow:
            self._slow = False
            log.info("Halo keeps up again: back to %d requests at once", self.window)

    def slowed(self, permit: Permit, error: TransientError) -> None:
        """Halo could not take a request: slow down, and pause where it asks for it."""
        now = self._timer()
        pause = error.retry_after or 0.0
        longer = self._is_longer(pause, now)
        waits = f", after a pause of {pause:.0f} s" if pause else ""
        if error.status == 429:
            news = self._rate.refused(permit.start, now, error.retry_after)
            if news or longer:
                log.warning("%s: %s%s", error, news or "waiting", waits)
            return
        self._rate.failed(permit.start)
        if pause:
            self._rate.hold(now + pause)
        self._halve_window(permit)
        if not self._slow or longer:
            self._slow = True
            log.warning("%s: slowing down to %d requests at once%s", error, self.window, waits)

    def _is_longer(self, pause: float, now: float) -> bool:
        """Whether a pause is worth a line in the log: it ends well after the one that is being kept."""
        return pause >= _PAUSE_WORTH_A_LINE and now + pause > now + self.held_for + _PAUSE_WORTH_A_LINE

    def _halve_window(self, permit: Permit) -> None:
        """Let half as many requests be in flight, once for all that had begun when it was halved last."""
        if permit.number > self._judged:
            self._judged = self._started
            self._window = max(1.0, self._window / 2)

    async def _take_place(self) -> None:
        """Take a place in the window. First come, first served: a free place goes to whoever has waited longest."""
        if not self._waiting and self._in_flight < self.window:
            self._in_flight += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # handed over and cancelled in one turn of the loop
                self._free_place()
            raise

    def _free_place(self) -> None:
        self._in_flight -= 1
        self._hand_places_over()

    def _hand_places_over(self) -> None:
        while self._waiting and self._in_flight < self.window:
            place = self._waiting.popleft()
            if not place.done():  # done: its waiter was cancelled
                self._in_flight += 1
                place.set_result(None)
