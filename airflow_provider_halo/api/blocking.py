"""Runs a coroutine to its end from code that isn't asynchronous, wherever that code runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final, TypeVar, cast

__all__ = ["run_blocking", "stop_running"]

Result = TypeVar("Result")


class _Tasks(set[tuple[asyncio.AbstractEventLoop, "asyncio.Task[Any]"]]):
    """Tasks that run, each with its event loop.

    :param cancelled: none may begin any more.
    """

    cancelled = False

    def cancel(self) -> bool:
        """Cancel all of them; whether there was anything. May be called by a signal's handler."""
        tasks = list(self)
        for loop, task in tasks:
            with contextlib.suppress(RuntimeError):  # it ended meanwhile
                loop.call_soon_threadsafe(task.cancel)
        return bool(tasks)


_running: Final = _Tasks()  # of the process, since that is what a signal is sent to


def run_blocking(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and wait for it, also in a thread whose event loop is already running (a notebook, an async task).

    An alarm that somebody has set on this process (SIGALRM, by which Airflow ends a task that takes too long) ends the
    coroutine first, and then does what it was set for.

    :raises asyncio.CancelledError: when `stop_running` ended it.
    """
    own = _Tasks()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with _alarm_held(own):
            return asyncio.run(_stoppable(coroutine, own))
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo") as executor:
        future = executor.submit(context.run, asyncio.run, _stoppable(coroutine, own))
        try:
            return future.result()
        except BaseException:  # perhaps of the one who waits: then the coroutine needn't go on
            own.cancelled = True
            own.cancel()
            raise


def stop_running() -> bool:
    """Cancel whatever `run_blocking` runs in this process. May be called by a signal's handler.

    :return: whether there was anything.
    """
    return _running.cancel()


@contextlib.contextmanager
def _alarm_held(running: _Tasks) -> Iterator[None]:
    """Keep an alarm's exception out of the event loop, and raise it when that has ended.

    The handler would raise it wherever the main thread is at that moment: in a callback the loop would log it and go on, in
    a task it would take the place of that task's own error.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    handler = signal.getsignal(signal.SIGALRM)
    if not callable(handler):
        yield
        return
    rung: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        rung.append((number, frame))
        running.cancelled = True
        running.cancel()

    signal.signal(signal.SIGALRM, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        if rung:
            handler(*rung[0])


async def _stoppable(coroutine: Coroutine[Any, Any, Result], own: _Tasks) -> Result:
    running = (asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task()))
    for tasks in (_running, own):
        tasks.add(running)
    try:
        if own.cancelled:
            coroutine.close()
            raise asyncio.CancelledError
        return await coroutine
    finally:
        for tasks in (_running, own):
            tasks.discard(running)
