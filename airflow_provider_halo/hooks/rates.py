"""Requests a second, held across tasks: by the ledger where there is one, else by giving each task its part of them."""

from __future__ import annotations

import logging
from functools import cache
from typing import Protocol

from airflow.sdk import get_current_context

from airflow_provider_halo.api.limiting import Limiter, process_limiter
from airflow_provider_halo.hooks import config
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.settings import HaloSettings

log = logging.getLogger(__name__)


class Pooled(Protocol):
    """A task, as far as its pool goes."""

    @property
    def pool(self) -> str:
        """The pool's name."""

    @property
    def pool_slots(self) -> int:
        """How many of its slots the task takes."""


def limiter_of(settings: HaloSettings, ledger: Ledger | None, task: Pooled | None) -> Limiter | None:
    """What holds a connection's requests per second in a task; None where there is no such limit.

    :param task: None outside of tasks.
    :raises SetupError: without a ledger, when ``[halo] pool_slots`` is no number of slots.
    """
    if ledger is not None:
        return ledger.limiter(settings)
    return process_limiter(settings, share=share_of(settings, task))


def share_of(settings: HaloSettings, task: Pooled | None) -> float:
    """The part of a connection's requests per second that a task may send where no ledger counts for all of them.

    A task knows its pool's name and how many slots it takes, not how many there are (no Airflow API tells it): that is
    ``[halo] pool_slots``. Of a task in another pool nobody knows how many run beside it. It gets the part of one slot,
    which comes on top, and is told so.

    :param task: None outside of tasks: all of it.
    :raises SetupError: when ``[halo] pool_slots`` is no number of slots.
    """
    if settings.requests_per_second is None or task is None:
        return 1.0
    slots = config.pool_slots()
    if task.pool == config.pool():
        return min(1.0, task.pool_slots / slots)
    _warn(task.pool, config.pool(), settings.conn_id, settings.requests_per_second / slots)
    return 1.0 / slots


def current_task() -> Pooled | None:
    """The task that this process runs; None outside of tasks."""
    try:
        task: Pooled = get_current_context()["task"]
    except RuntimeError:
        return None
    return task


@cache  # once in a process, which may make a hook for each record
def _warn(pool: str, wanted: str, conn_id: str, rate: float) -> None:
    log.warning(
        "This task runs in the pool %r, so it sends %g requests per second at most, on top of those of the pool %r. For "
        "all tasks together to hold requests_per_second of the connection %r, give it pool=%r, or set [halo] "
        "ledger_conn_id.",
        *(pool, rate, wanted, conn_id, wanted),
    )
