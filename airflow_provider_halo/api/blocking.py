"""Runs a coroutine to its end from code that isn't asynchronous, wherever that code runs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_blocking(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and wait for it, also in a thread whose event loop is already running (a notebook, an async task)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo") as executor:
        return executor.submit(context.run, asyncio.run, coroutine).result()
