"""Runs a coroutine to its end from code that isn't asynchronous, wherever that code runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

__all__ = ["run_blocking", "stop_running"]

Result = TypeVar("Result")

# Of the process, since that is what a signal is sent to.
_running: set[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = set()


def run_blocking(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and wait for it, also in a thread whose event loop is already running (a notebook, an async task).

    :raises asyncio.CancelledError: when `stop_running` ended it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_stoppable(coroutine))
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo") as executor:
        return executor.submit(context.run, asyncio.run, _stoppable(coroutine)).result()


def stop_running() -> bool:
    """Cancel whatever `run_blocking` runs in this process. May be called by a signal's handler.

    :return: whether there was anything.
    """
    running = list(_running)
    for loop, task in running:
        with contextlib.suppress(RuntimeError):  # it ended meanwhile
            loop.call_soon_threadsafe(task.cancel)
    return bool(running)


async def _stoppable(coroutine: Coroutine[Any, Any, Result]) -> Result:
    running = (asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task()))
    _running.add(running)
    try:
        return await coroutine
    finally:
        _running.discard(running)
