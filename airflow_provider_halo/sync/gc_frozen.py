"""Keeps Python's garbage collector from walking, again and again, through what was there before a sync began."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["gc_frozen"]

_lock = threading.Lock()
_holders = 0
_is_ours = False


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Leave the objects that are there now out of collections until the last such ``with`` block ends.

    They are mostly modules and classes, some hundred thousand with Airflow, and never garbage; a sync makes and drops
    millions of small objects, so that full collections come all the time. Where somebody else has frozen objects (for
    processes that are forked, say), nothing is done.
    """
    global _holders, _is_ours  # noqa: PLW0603 (the collector is one for the whole process, too)
    with _lock:
        _holders += 1
        if _holders == 1:
            _is_ours = not gc.get_freeze_count()  # counts one by one: not for every batch
            if _is_ours:
                gc.freeze()
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders and _is_ours:
                gc.unfreeze()
