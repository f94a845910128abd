"""A quota on requests, of the kinds that APIs have: a token bucket, a fixed window, so many at once."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, Literal

import msgspec

__all__ = ["QUOTA_HELP", "RETRY_AFTER", "Quota", "QuotaError", "QuotaRule", "read_quota"]

RetryAfter = Literal["none", "seconds", "date"]
RETRY_AFTER: Final[tuple[RetryAfter, ...]] = ("none", "seconds", "date")
QUOTA_HELP: Final = "200/s (a bucket that fills up evenly) or 600/10s (so many in each 10 seconds)"
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)?s")


class QuotaError(ValueError):
    """A quota that can't be understood; the text says what is wrong and what is possible."""


class QuotaRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is let through.

    :param quota: ``200/s`` is a token bucket; ``600/10s`` a fixed window; empty for no such limit.
    :param burst: what a full bucket holds; by default what one second gives.
    :param at_once: requests that may be under way together; None for any number.
    :param retry_after: how a refusal says when to come back: not at all, in whole seconds, or as a date.
    """

    quota: str = ""
    burst: int | None = None
    at_once: int | None = None
    retry_after: RetryAfter = "none"

    def __post_init__(self) -> None:
        """Refuse what could never be kept.

        :raises QuotaError: when a value is no quota.
        """
        matched = _RATE.fullmatch(self.quota)
        if self.quota and not _is_rate(matched):
            raise QuotaError(f"{self.quota!r} is no quota; give {QUOTA_HELP}")
        is_bucket = matched is not None and matched[2] is None
        if self.burst is not None and (self.burst < 1 or not is_bucket):
            raise QuotaError("burst is at least 1, and only a bucket such as 200/s has one")
        if self.at_once is not None and self.at_once < 1:
            raise QuotaError("at_once is at least 1")


def _is_rate(matched: re.Match[str] | None) -> bool:
    """Whether a text is a rate that lets anything through."""
    return matched is not None and float(matched[1]) > 0 and float(matched[2] or 1) > 0


def read_quota(value: Any) -> QuotaRule:
    """A rule from JSON.

    :raises QuotaError: when it isn't one.
    """
    try:
        return msgspec.convert(value, QuotaRule)
    except msgspec.ValidationError as error:
        raise QuotaError(str(error)) from error


class Quota:
    """Keeps a rule, which may change while the server runs. For any thread.

    :param timer: seconds of a clock that never jumps.
    """

    def __init__(self, rule: QuotaRule | None = None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._under_way = 0
        self.set(rule or QuotaRule())

    def set(self, rule: QuotaRule) -> None:
        """Keep another rule from now on; what it has to give is full."""
        with self._lock:
            self.rule = rule
            matched = _RATE.fullmatch(rule.quota)
            self._count = float(matched[1]) if matched else math.inf
            self._window = float(matched[2]) if matched and matched[2] else None
            self._burst = float(rule.burst or max(1.0, self._count))
            self._left = self._burst if self._window is None else self._count
            self._at = self._timer()

    def enter(self) -> float | None:
        """Let a request in, whose end `leave` tells: None. Or the seconds until the next one may come.

        A refused request has entered, too.
        """
        with self._lock:
            self._under_way += 1
            if self.rule.at_once is not None and self._under_way > self.rule.at_once:
                return 1.0
            if not self.rule.quota:
                return None
            return self._take()

    def leave(self) -> None:
        """A request has its answer."""
        with self._lock:
            self._under_way -= 1

    def _take(self) -> float | None:
        now = self._timer()
        if self._window is None:
            self._left = min(self._burst, self._left + (now - self._at) * self._count)
            self._at = now
            wait = (1 - self._left) / self._count
        else:
            if now - self._at >= self._window:
                self._at = now - (now - self._at) % self._window
                self._left = self._count
            wait = self._at + self._window - now
        if self._left < 1:
            return wait
        self._left -= 1
        return None

    def header(self, wait: float, now: datetime) -> str | None:
        """The ``Retry-After`` of a refusal; None for none."""
        if self.rule.retry_after == "none":
            return None
        if self.rule.retry_after == "seconds":
            return str(max(1, math.ceil(wait)))
        moment = now + timedelta(seconds=wait)
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + timedelta(seconds=1)
        return format_datetime(moment, usegmt=True)
