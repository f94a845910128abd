"""When a request may leave, and when a failed one is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.exceptions import TransientError

Result = TypeVar("Result")

# Full jitter: a random wait between 0 and 0.5, 1, 2 … 30 s, so that lanes that failed together don't come back together.
_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=30)


def wait_before_retry(state: RetryCallState, remaining: float) -> float:
    """Seconds until the next try: what Halo asked for, or the backoff where that is longer.

    The backoff, which is only our own guess, is cut to the time that is left, so that the last try comes at its end.
    """
    return max(_asked(state), min(_BACKOFF(state), remaining))


def _asked(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after or 0.0) if isinstance(error, TransientError) else 0.0


async def repeated(
    attempt: Callable[[], Awaitable[Result]],
    *,
    remaining: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    before_retry: Callable[[], None],
) -> Result:
    """Call ``attempt`` until it succeeds, fails for good, or its time is up.

    :param remaining: seconds left for waits. A `Retry-After` that doesn't fit in ends the tries at once: the wait would
        be in vain.
    :param sleep: waits for so many seconds.
    :param before_retry: called before each try but the first.
    :raises TransientError: the last one, when the time is up. Any other error is raised as it comes.
    """
    try:
        return await attempt()  # most succeed at once, which needn't take the machinery for those that don't
    except TransientError as error:
        failures = iter([error])

    async def again() -> Result:
        for failure in failures:
            raise failure
        return await attempt()

    def enough(state: RetryCallState) -> bool:
        left = remaining()
        return left <= 0 or _asked(state) > left

    async def pause(seconds: float) -> None:
        await sleep(seconds)
        before_retry()

    tries = AsyncRetrying(
        retry=retry_if_exception_type(TransientError),
        wait=lambda state: wait_before_retry(state, max(0.0, remaining())),
        stop=enough,
        sleep=pause,
        reraise=True,
    )
    return await tries(again)


log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.5  # seconds, after a 429 that doesn't say how long; doubled while no request succeeds
_LONGEST_PAUSE: Final = 30.0
_PAUSE_WORTH_A_LINE: Final = 10.0  # a shorter pause isn't noticed by anyone who reads the log


@dataclass(frozen=True, slots=True)
class Slot:
    """Leave for one request.

    :param number: counts the requests of the client.
    :param waited: seconds that it waited for its turn, which is our own doing, not Halo's.
    """

    number: int
    waited: float


class Pacer:
    """Paces all requests of one client, whichever lane they come from. Of one event loop: not for several threads.

    The window begins at its maximum, is halved when Halo is overloaded (429, 5xx, timeouts, broken connections) and
    grows by one for each window of successes. Of a burst of failures only the first halves it: the others were sent at
    the old pace and say nothing about the new one.

    :param max_in_flight: the window's maximum.
    :param limiter: bounds the requests per second; None for no such limit.
    :param timer: seconds of a clock that never jumps.
    :param sleep: waits for so many seconds of that clock.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        limiter: Limiter | None,
        timer: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
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

    async def acquire(self, longest_pause: float) -> Slot:
        """Wait for leave to start a request; give it back by `release`.

        :param longest_pause: seconds; a pause longer than that is not sat out.
        :raises TransientError: when Halo asked for a longer pause than that; ``retry_after`` says how long.
        :raises LedgerError: when the limiter's bucket is in a ledger, whose database can't be used.
        """
        await self._room()
        try:
            await self._sit_out(longest_pause)
            waited = await self.turn()
            while self.held_for:  # since it waited for its turn, which is lost
                await self._sit_out(longest_pause)
                waited += await self.turn()
        except BaseException:  # whatever ends the wait, cancellation included, the place is free again
            self._leave()
            raise
        self._started += 1
        return Slot(self._started, waited)

    async def turn(self) -> float:
        """Wait for the limiter's leave alone; for a request that is repeated in the place of the one before.

        The last of the waits: whatever is waited for after it would let several requests start together.

        :return: seconds that it took.
        """
        began = self._timer()
        if self._limiter is not None:
            await self._limiter.acquire()
        return self._timer() - began

    def release(self) -> None:
        """The request has ended, one way or another."""
        self._leave()

    def succeeded(self) -> None:
        """Halo took a request, or refused it for what it says: it isn't overloaded."""
        self._next_pause = _FIRST_PAUSE
        if self._window >= self._max:
            return
        self._window = min(self._max, self._window + 1 / self._window)
        self._wake()
        if self._window >= self._max and self._slow:
            self._slow = False
            log.info("Halo keeps up again: back to %d requests at once", self.window)

    def slowed(self, slot: Slot, error: TransientError) -> None:
        """Halo could not take a request: slow down, and pause where it asks for it."""
        fresh = slot.number > self._judged
        if fresh:
            self._judged = self._started
            self._window = max(1.0, self._window / 2)
        pause = error.retry_after
        if pause is None and error.status == 429 and fresh:
            pause = self._next_pause
            self._next_pause = min(_LONGEST_PAUSE, 2 * self._next_pause)
        until = self._timer() + (pause or 0.0)
        longer = until > self._held_until + _PAUSE_WORTH_A_LINE
        self._held_until = max(self._held_until, until)
        if not self._slow or (pause and longer and pause >= _PAUSE_WORTH_A_LINE):
            self._slow = True
            waits = f", after a pause of {pause:.0f} s" if pause else ""
            log.warning("%s: slowing down to %d requests at once%s", error, self.window, waits)

    async def _sit_out(self, longest_pause: float) -> None:
        while pause := self.held_for:
            if pause > longest_pause:
                raise TransientError(f"Halo asked to wait for another {pause:.0f} s", retry_after=pause)
            await self._sleep(pause)

    async def _room(self) -> None:
        """Take a place in the window. First come, first served: a place that falls free is handed to who waits longest."""
        if not self._waiting and self._in_flight < self.window:
            self._in_flight += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # handed over and cancelled in one turn of the loop
                self._leave()
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._in_flight < self.window:
            place = self._waiting.popleft()
            if not place.done():  # done: its waiter was cancelled
                self._in_flight += 1
                place.set_result(None)
