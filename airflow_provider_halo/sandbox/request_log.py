"""The API's requests: counts by path and result, bytes, how many at once, the last calls, refusals with their reasons."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

__all__ = ["Call", "RequestLog", "find_leaks"]

KEPT_REFUSALS: Final = 50
KEPT_CALLS: Final = 10_000


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request, as it is remembered: nothing of what it said.

    :param began: when its first byte was here, in seconds since 1970 by the sandbox's clock.
    :param ended: when its answer was on its way.
    :param path: the path under the base URL.
    :param result: the status, or what became of the connection.
    :param retry_after: the answer's Retry-After; empty where it had none.
    :param leaks: where a secret was that must not be there.
    """

    began: float
    ended: float
    path: str
    result: str
    retry_after: str = ""
    leaks: tuple[str, ...] = ()


class RequestLog:
    """Counts of the API's requests; safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        with self._lock:
            self._results: dict[str, Counter[str]] = {}
            self._refusals: deque[dict[str, Any]] = deque(maxlen=KEPT_REFUSALS)
            self._calls: deque[Call] = deque(maxlen=KEPT_CALLS)
            self._bytes = 0
            self._in_flight = 0
            self._max_in_flight = 0
            self._injected = 0

    def begin(self) -> None:
        """A request has come in."""
        with self._lock:
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def end(
        self, call: Call, *, size: int, at: datetime, reason: str = "", documented: str = "", injected: bool = False
    ) -> None:
        """A request is done.

        :param call: what is remembered of it.
        :param size: bytes of the request's body.
        :param reason: why it was refused; names fields and keys, no values of traits and no credentials.
        :param documented: whether HaloAgents documents that it is refused: ``yes``, ``rule`` or ``no``; empty for a fault.
        :param injected: whether a fault did it; a delay by itself leaves the answer whole, so it does not count.
        """
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)  # a reset may have happened in between
            self._bytes += size
            self._results.setdefault(call.path, Counter())[call.result] += 1
            self._calls.append(call)
            self._injected += injected
            if reason:
                refusal = {"at": at.isoformat(timespec="milliseconds"), "path": call.path, "result": call.result}
                self._refusals.append({**refusal, "reason": reason, "documented": documented, "injected": injected})

    def describe(self) -> dict[str, Any]:
        """All counts as JSON-ready values."""
        with self._lock:
            return {
                "total": sum(sum(results.values()) for results in self._results.values()),
                "by_path": {path: dict(results) for path, results in sorted(self._results.items())},
                "bytes": self._bytes,
                "in_flight": self._in_flight,
                "max_in_flight": self._max_in_flight,
                "faults_injected": self._injected,
            }

    def calls(self) -> list[Call]:
        """The last calls, in the order in which they ended."""
        with self._lock:
            return list(self._calls)

    def refusals(self) -> list[dict[str, Any]]:
        """The last refusals, the newest first."""
        with self._lock:
            return list(reversed(self._refusals))


def find_leaks(
    url: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, widget_key: str, identity_secret: str
) -> tuple[str, ...]:
    """Where a request carries a secret that must not be there, which a client must never do.

    The identity secret is never sent (documented: it signs tokens); the widget key in ``Authorization`` alone
    (documented).

    :param url: path and query, as they came.
    :param headers: names in lower case.
    :return: such as ``widget key in the body``; empty where all is well.
    """
    places = [("the URL", url), ("the body", body)]
    places += [(f"the header {name.decode('latin-1')}", value) for name, value in headers]
    secret, key = identity_secret.encode(), widget_key.encode()
    leaks = [f"identity secret in {place}" for place, text in places if secret in text]
    leaks += [f"widget key in {place}" for place, text in places if key in text and place != "the header authorization"]
    return tuple(leaks)
