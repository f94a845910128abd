"""The rate limit: turns at even distances, reserved a few at a time from a bucket that all senders share."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, final

from airflow_provider_halo.settings import HaloSettings

__all__ = ["Bucket", "Limiter", "ProcessBucket", "RateLimiter", "process_limiter"]

_LEASE_SECONDS: Final = 0.25  # reserved at once at most; what is left of them when a task ends is lost


class Limiter(Protocol):
    """Bounds the requests of a client per second."""

    async def acquire(self) -> None:
        """Wait until the next request may start. Repeated requests have to ask, too."""


class Bucket(Protocol):
    """A leaky bucket: the time of one Halo account, of which each request takes its share."""

    async def reserve(self, count: int, rate: float) -> float:
        """Reserve the next free turns, ``1 / rate`` seconds each.

        :return: when the first begins, as `time.monotonic` counts.
        """


@final
class RateLimiter:
    """Gives turns that lie ``1 / rate`` seconds apart, also from those of other senders with the same bucket.

    A turn that nobody used is lost, so that a pause is never followed by a burst. Turns are reserved for a quarter of a
    second at most, and the next ones when the last of them has begun: a sender that ends, or is killed, leaves no more
    than that unused. A sender that needs few reserves few.

    Of one event loop: not for several threads, each of which makes its own on the bucket that they share.

    :param rate: requests per second, above 0.
    :param timer: seconds of a clock that never jumps, the bucket's.
    :param sleep: waits for so many seconds of that clock.
    """

    def __init__(
        self,
        bucket: Bucket,
        rate: float,
        *,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bucket = bucket
        self._rate = rate
        self._timer = timer
        self._sleep = sleep
        self._most_turns = max(1, int(rate * _LEASE_SECONDS))
        self._lock = asyncio.Lock()  # first come, first served
        self._first = 0.0  # when the lease's first turn begins
        self._count = 0  # turns in the lease
        self._next = 0  # the first of them that is still to be had
        self._taken = 0  # how many of them were of use
        self._last = float("-inf")  # when the turn begins that was taken last

    async def acquire(self) -> None:
        """Wait until the next request may start."""
        async with self._lock:
            turn = self._current()
            if turn >= self._count:
                await self._until(self._last)
                turn = await self._renew()
            self._next = turn + 1
            self._taken += 1
            begins = self._last = self._first + turn / self._rate
        await self._until(begins)

    def _current(self) -> int:
        """The first turn of the lease that has neither been taken nor passed."""
        return max(self._next, math.ceil((self._timer() - self._first) * self._rate))

    async def _renew(self) -> int:
        """Reserve the next lease; returns the turn that is left of it first."""
        count = min(self._most_turns, max(1, 2 * self._taken))
        self._first = await self._bucket.reserve(count, self._rate)
        self._count, self._next = count, 0
        # What passed on the way from the bucket is lost, but not all: a bucket that is slow to answer must not hold a
        # sender up for good. And it was wanted, so that the next lease is longer.
        self._taken = min(self._current(), count - 1)
        return self._taken

    async def _until(self, moment: float) -> None:
        wait = moment - self._timer()
        if wait > 0:
            await self._sleep(wait)


@final
class ProcessBucket:
    """A bucket that all threads of this process share.

    :param timer: seconds of a clock that never jumps.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._reserved_until = float("-inf")

    async def reserve(self, count: int, rate: float) -> float:
        """Reserve the next free turns, as `Bucket` says."""
        with self._lock:  # held for these two lines
            first = max(self._reserved_until, self._timer())
            self._reserved_until = first + count / rate
            return first


# One for each account: a hook makes a client for each call, and `halo sync --jobs` one for each batch.
_BUCKETS: Final[dict[tuple[str, str], ProcessBucket]] = {}
_BUCKETS_LOCK: Final = threading.Lock()


def process_limiter(settings: HaloSettings, *, share: float = 1.0) -> Limiter | None:
    """A limiter that keeps `settings.requests_per_second` within this process; None where there is no such limit.

    :param share: the part of it that this process may have, above 0 and at most 1.
    """
    if settings.requests_per_second is None:
        return None
    with _BUCKETS_LOCK:
        bucket = _BUCKETS.setdefault((settings.base_url, settings.widget_key), ProcessBucket())
    return RateLimiter(bucket, settings.requests_per_second * share)
