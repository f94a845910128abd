"""What a limit of requests per second promises, as it can be seen where the requests arrive."""

from __future__ import annotations

from collections.abc import Iterable

LATE = 0.5  # seconds


def assert_held(arrivals: Iterable[float], rate: float) -> None:
    """No window of one or two seconds holds more requests than the rate allows, and those that were late.

    A window of T seconds holds up to one more than rate * T by itself, which is where its edges lie. And a request may be
    late: by the way from a database to its sender, by a loop that is busy, by a connection that has to be opened first.
    On a machine that is busy with other things these are tenths of a second, so half a second's worth is allowed for.
    Four senders that don't know of each other would bring four times the rate.

    :param arrivals: seconds, by the clock of the server.
    """
    arrived = sorted(arrivals)
    for seconds in (1.0, 2.0):
        most = max(sum(begins <= other < begins + seconds for other in arrived) for begins in arrived)
        assert most <= rate * (seconds + LATE) + 1, f"{most} requests in {seconds:g} s at {rate:g} a second"
