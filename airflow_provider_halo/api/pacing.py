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

from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.exceptions import HaloError, TransientError

__all__ = ["LongPause", "Pacer", "Patience", "Permit", "RetryBudget"]

log = logging.getLogger(__name__)

_FIRST_BACKOFF: Final = 0.5  # seconds; the longest wait before the second try, doubled for each try after it
_LONGEST_BACKOFF: Final = 30.0
_FIRST_PAUSE: Final = 0.5  # seconds, after a 429 that doesn't say how long; doubled while no request succeeds
_LONGEST_PAUSE: Final = 30.0
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
    """

    number: int
    waited: float


@final
class RetryBudget:
    """The time that one request has for its retries, and the wait before each of them.

    The budget starts when the first try starts. Waiting for our own rate limit doesn't use it up: at a low rate that may
    take longer than the budget, with nothing amiss.

    :param seconds: how long the request may be retried.
    :param timer: seconds of a clock that never jumps.
    """

    __slots__ = ("_backoff", "_seconds", "_started", "_timer", "_waited", "began")

    def __init__(self, seconds: float, timer: Callable[[], float]) -> None:
        self._seconds = seconds
        self._timer = timer
        self._started = False
        self._waited = 0.0
        self._backoff = _FIRST_BACKOFF
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

        The backoff has full jitter, a random wait between 0 and 0.5, 1, 2 … 30 s, so that workers that failed together
        don't come back together. It is only our own guess, so it is cut to the time left: the last try comes at its end.

        :return: None when there is no further try: the time is up, or a `Retry-After` goes beyond it.
        """
        remaining = self.remaining()
        retry_after = error.retry_after or 0.0
        if remaining <= 0 or retry_after > remaining:
            return None
        backoff = random.uniform(0, self._backoff)  # noqa: S311 (jitter, nothing secret)
        self._backoff = min(_LONGEST_BACKOFF, 2 * self._backoff)
        return max(retry_after, min(backoff, remaining))


@final
class Pacer:
    """Paces all requests of one client, whichever worker sends them. Of one event loop: not for several threads.

    The window begins at its maximum, is halved when Halo is overloaded (429, 5xx, timeouts, broken connections) and
    grows by one for each window of successes. Of a burst of failures only the first halves it: the others were sent at
    the old pace and say nothing about the new one.

    :param max_in_flight: the window's maximum.
    :param limiter: bounds the requests per second; None for no such limit.
    :param timer: seconds of a clock that never jumps.
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
        longest_pause: float = inf,
    ) -> None:
        self._longest_pause = longest_pause
        self._max = float(max_in_flight)
        self._window = self._max
        self._limiter = limiter
        self._timer = timer
        self._sleep = sleep
        self._held_until = float("-inf")
        self._next_pause = _FIRST_PAUSE
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
        return max(0.0, self._held_until - self._timer())

    async def acquire(self, budget: float) -> Permit:
        """Wait for permission to start a request; give it back with `release`.

        :param budget: seconds that the request has left.
        :raises TransientError: when Halo asked for a longer pause than that; ``retry_after`` says how long.
        :raises LongPause: when it asked for one that isn't to be sat out.
        :raises LedgerError: when the limiter's bucket is in a ledger, whose database can't be used.
        """
        await self._take_place()
        try:
            await self._wait_out_pause(budget)
            waited = await self.turn()
            while self.held_for:  # since it waited for its turn, which is lost
                await self._wait_out_pause(budget)
                waited += await self.turn()
        except BaseException:  # whatever ends the wait, cancellation included, the place is free again
            self._free_place()
            raise
        self._started += 1
        return Permit(self._started, waited)

    async def turn(self) -> float:
        """Wait for the rate limit alone; for a request that is repeated in the place of the one before.

        This has to be the last wait: whatever is waited for after it would let several requests start together.

        :return: seconds that it took.
        """
        began = self._timer()
        if self._limiter is not None:
            await self._limiter.acquire()
        return self._timer() - began

    def release(self) -> None:
        """The request has ended, one way or another."""
        self._free_place()

    def succeeded(self) -> None:
        """Halo took a request, or refused it for what it says: it isn't overloaded."""
        self._next_pause = _FIRST_PAUSE
        if self._window >= self._max:
            return
        self._window = min(self._max, self._window + 1 / self._window)
        self._hand_places_over()
        if self._window >= self._max and self._slow:
            self._slow = False
            log.info("Halo keeps up again: back to %d requests at once", self.window)

    def slowed(self, permit: Permit, error: TransientError) -> None:
        """Halo could not take a request: slow down, and pause where it asks for it."""
        first_of_burst = permit.number > self._judged
        if first_of_burst:
            self._judged = self._started
            self._window = max(1.0, self._window / 2)
        pause = self._pause_after(error, first_of_burst=first_of_burst)
        until = self._timer() + pause
        longer = until > self._held_until + _PAUSE_WORTH_A_LINE
        self._held_until = max(self._held_until, until)
        if not self._slow or (longer and pause >= _PAUSE_WORTH_A_LINE):
            self._slow = True
            waits = f", after a pause of {pause:.0f} s" if pause else ""
            log.warning("%s: slowing down to %d requests at once%s", error, self.window, waits)

    def _pause_after(self, error: TransientError, *, first_of_burst: bool) -> float:
        """Seconds that no request starts: what Halo asks for, or after a 429 without a time our own guess."""
        if error.retry_after is not None:
            return error.retry_after
        if error.status != 429 or not first_of_burst:
            return 0.0
        pause = self._next_pause
        self._next_pause = min(_LONGEST_PAUSE, 2 * self._next_pause)
        return pause

    async def _wait_out_pause(self, budget: float) -> None:
        while pause := self.held_for:
            if pause > budget:
                raise TransientError(f"Halo asked to wait for another {pause:.0f} s", retry_after=pause)
            if pause > self._longest_pause:
                raise LongPause(pause)
            await self._sleep(pause)

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
