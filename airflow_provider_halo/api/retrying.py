"""Repeats one request for as long as it is worth it: backoff with jitter, never before `Retry-After`, within a budget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

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
