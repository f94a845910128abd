"""The rate at which Halo takes requests, which it doesn't publish: found by being refused, and kept to."""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from typing import Final, NamedTuple, final

from airflow_provider_halo.settings import HaloSettings

__all__ = ["AdaptiveRate", "Wait", "account_rate"]

_CREDIT: Final = 0.003  # seconds that a start may be late and still keep its place: timers round up to a millisecond
_KEPT: Final = 0.8  # of the rate that was refused, where enough passed before to know that it wasn't far off
_KEPT_AFTER_FEW: Final = 0.5  # of it, where that isn't known
_ENOUGH: Final = 10  # requests that passed since the last cut
_SHORTEST_RETURN: Final = 2.0  # seconds in which the rate comes back to the one that was refused
_LONGEST_RETURN: Final = 30.0
_RETURN_OF_PAUSE: Final = 6.0  # times the pause that a refusal costs: the longer it is, the rarer it must be
_GROWTH: Final = 0.5  # of the return's time, in which the next step beyond it is tried; at least the shortest return
_STEP: Final = 50.0  # requests a second, at least, of that step; after it the rate doubles each second
_SLOWEST: Final = 0.2  # requests a second: while none passes, Halo is asked every 5 s at least
_HALVED_DOWN_TO: Final = 2.0  # requests a second; below, while none passes, the rate falls more gently
_MEASURED: Final = 0.5  # seconds over which the rate that was really sent is measured, at most
_FEWEST_MEASURED: Final = 5  # requests, below which it isn't known
_SPREAD: Final = 0.1  # seconds after a pause within which the first request starts, so that processes don't all at once
_PROBE: Final = 0.005  # seconds between two looks at whether the lone request under way has its answer
_PROBE_LOST: Final = 5.0  # seconds after which a lone request without an answer holds up nobody
_NO_PROBE: Final = (0, -math.inf)
_TOLD_AFTER: Final = 1.0  # seconds without a refusal after which it is known what Halo takes
_TOLD_AGAIN: Final = 1.5  # times the rate that the log told last, up or down: worth another line


class Wait(NamedTuple):
    """Why a request may not start yet, and when to ask again.

    :param seconds: until then.
    :param for_halo: whether it is Halo that is waited for (a pause that it asked for, or until it takes anything at
        all), not our own pace.
    """

    seconds: float
    for_halo: bool


@final
class AdaptiveRate:
    """Finds the rate of one Halo account, and spaces the requests of all its clients in this process by it.

    There is no limit until Halo first answers 429. Each refusal cuts the rate below the one that was refused. From there
    it comes back along a cubic curve, which dwells at the refused rate, and goes on beyond it, faster and faster: a quota
    may have grown, or another sender have left. While nothing passes at all, one request at a time asks.

    For threads and event loops of one process. Times are seconds of one clock that never jumps.

    :param rate: requests per second to begin with; None: no limit until the first refusal.
    :param now: the time at which it begins.
    """

    def __init__(self, rate: float | None = None, now: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._refused = rate or 0.0  # the rate that was refused last
        self._cut = rate  # what that refusal left of it; None: nothing was refused yet
        self._cut_at = now
        self._return = _SHORTEST_RETURN
        self._next = -math.inf  # when the next request may start
        self._held_until = -math.inf
        self._alone = False  # one request at a time, until one passes
        self._probe = _NO_PROBE  # the lone request under way: its number, and when it began
        self._started = 0
        self._judged = 0  # the last request that had started when the rate was cut
        self._passed = 0  # since the rate was cut
        self._starts: deque[float] = deque(maxlen=4096)  # of the last half second
        self._told = 0.0

    def held_for(self, now: float) -> float:
        """Seconds of a pause that Halo asked for and that isn't over; 0 where there is none."""
        return max(0.0, self._held_until - now)

    def limit(self, now: float) -> float | None:
        """Requests per second that may start now; None for no limit."""
        if self._cut is None:
            return None
        since = now - self._cut_at
        if self._alone:
            return self._cut
        if since <= self._return:
            return self._refused - (self._refused - self._cut) * (1 - max(0.0, since) / self._return) ** 3
        step = max(self._refused - self._cut, _STEP)
        growing, growth = since - self._return, max(_SHORTEST_RETURN, self._return * _GROWTH)
        if growing <= growth:
            return float(self._refused + step * (growing / growth) ** 3)
        return float((self._refused + step) * 2 ** min(growing - growth, 30.0))

    def start(self, now: float) -> int | Wait:
        """Start a request: its number; or how long to wait before asking again."""
        with self._lock:
            if now < self._held_until:
                return Wait(self._held_until - now, for_halo=True)
            if self._alone and now - self._probe[1] < _PROBE_LOST:
                return Wait(_PROBE, for_halo=True)
            place = max(self._next, now - _CREDIT)
            if place > now:
                return Wait(place - now, for_halo=self._alone)
            limit = self.limit(now)
            if limit is not None:
                self._next = place + 1 / limit
            self._started += 1
            if self._alone:
                self._probe = (self._started, now)
            self._starts.append(now)
            return self._started

    def passed(self, now: float) -> None:
        """Halo took a request, or refused it for what it says."""
        with self._lock:
            self._passed += 1
            if self._alone:
                self._alone = False
                self._cut_at = max(self._cut_at, now)  # from here the rate comes back
            self._probe = _NO_PROBE

    def failed(self, number: int) -> None:
        """A request failed in another way than by its rate, which says nothing of the rate."""
        with self._lock:
            self._answered(number)

    def hold(self, until: float) -> None:
        """Start nothing before ``until``, then one request alone, within a tenth of a second."""
        with self._lock:
            self._hold(until)

    def refused(self, number: int, now: float, retry_after: float | None) -> str:
        """Halo refused a request for its rate. Of those that were under way together the first cuts the rate.

        :param retry_after: seconds of the pause that Halo asks for.
        :return: what is worth a line in the log; empty for nothing.
        """
        with self._lock:
            self._answered(number)
            news = ""
            if number > self._judged:
                self._judged = self._started
                news = self._news(now)
                self._lower(now, retry_after or 0.0)
            if retry_after:
                self._hold(now + retry_after)
            return news

    def _hold(self, until: float) -> None:
        self._held_until = max(self._held_until, until)
        self._next = max(self._next, self._held_until + random.uniform(0, _SPREAD))  # noqa: S311 (nothing secret)
        self._alone = True

    def _answered(self, number: int) -> None:
        if self._probe[0] == number:
            self._probe = _NO_PROBE

    def _lower(self, now: float, pause: float) -> None:
        """Cut the rate below the one that was refused: the lower of what was allowed and what was sent."""
        known = [rate for rate in (self.limit(now), self._sent_rate(now)) if rate is not None]
        refused = max(min(known, default=_STEP), _SLOWEST)
        cut = refused * (_KEPT if self._passed >= _ENOUGH else _KEPT_AFTER_FEW)
        if pause:
            # A burst was taken, then nothing: what is really to be had lies between the two.
            seconds = max(now - self._cut_at, 0.001) + pause
            cut = min(cut, math.sqrt(refused * max(1, self._passed) / seconds))
        elif not self._passed and self._cut is not None:
            self._alone = True
            if refused < _HALVED_DOWN_TO:
                cut = refused * _KEPT
        self._refused, self._cut = refused, max(cut, _SLOWEST)
        self._cut_at = now + pause
        self._return = min(_LONGEST_RETURN, max(_SHORTEST_RETURN, _RETURN_OF_PAUSE * pause))
        self._next = max(self._next, self._cut_at + min(1 / self._cut, _SPREAD)) if pause else now + 1 / self._cut
        self._passed = 0
        self._starts.clear()

    def _sent_rate(self, now: float) -> float | None:
        """Requests per second that were started of late; None where they were too few to tell."""
        while self._starts and self._starts[0] < now - _MEASURED:
            self._starts.popleft()
        if len(self._starts) < _FEWEST_MEASURED:
            return None
        return len(self._starts) / max(now - self._starts[0], 0.001)

    def _news(self, now: float) -> str:
        if self._cut is None:
            return "too many requests a second; looking for the rate that Halo takes"
        seconds = now - self._cut_at
        if seconds < _TOLD_AFTER or self._passed < _ENOUGH:
            return ""
        rate = self._passed / seconds
        if self._told / _TOLD_AGAIN < rate < self._told * _TOLD_AGAIN:
            return ""
        self._told = rate
        return f"Halo takes about {rate:,.0f} requests a second; keeping to that"


# One for each account: a hook makes a client for each call, and `halo sync --jobs` one for each batch.
_RATES: Final[dict[tuple[str, str], AdaptiveRate]] = {}
_RATES_LOCK: Final = threading.Lock()


def account_rate(settings: HaloSettings) -> AdaptiveRate:
    """The rate of a Halo account that this process has found so far; times are those of `time.monotonic`."""
    with _RATES_LOCK:
        return _RATES.setdefault((settings.base_url, settings.widget_key), AdaptiveRate())
