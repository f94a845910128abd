"""The ledger of an Airflow connection, and the rate that tasks share through it or without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Final, Protocol, final

import sqlalchemy
from airflow.sdk import get_current_context

from airflow_provider_halo.api.limiting import Limiter, process_limiter
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome, as_change
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.databases import engine_of
from airflow_provider_halo.ledger.acknowledged import AT_ONCE
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.plan.model import QueryScope
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.erased import ErasedSkipper

__all__ = ["Forgetting", "airflow_ledger", "current_task", "limiter_of", "share_of", "unpooled_ledger"]

log = logging.getLogger(__name__)

NONE: Final = "none"  # in place of a connection id: no ledger, whatever is configured


@contextmanager
def airflow_ledger(conn_id: str | None = None) -> Iterator[Ledger | None]:
    """The ledger of a connection, while it is needed.

    :param conn_id: the connection; None or an empty text takes ``[halo] ledger_conn_id``, ``none`` takes no ledger.
    :raises SetupError: when the connection is missing, or its database can't hold a ledger.
    """
    ledger_conn_id = _ledger_conn_id(conn_id)
    if ledger_conn_id is None:
        yield None
        return
    # Connections are kept: a batch asks the ledger once for each thousand records. One that broke while it waited is
    # found out when it is used, and the question is asked again.
    engine = engine_of(ledger_conn_id, "The ledger connection")
    try:
        yield Ledger(engine, ledger_conn_id)
    finally:
        engine.dispose()


def unpooled_ledger(conn_id: str | None = None) -> Ledger | None:
    """The ledger of a connection for one who can't say when it is no longer needed: it keeps no connection open.

    :param conn_id: as of `airflow_ledger`.
    :raises SetupError: when the connection is missing, or its database can't hold a ledger.
    """
    ledger_conn_id = _ledger_conn_id(conn_id)
    if ledger_conn_id is None:
        return None
    return Ledger(engine_of(ledger_conn_id, "The ledger connection", poolclass=sqlalchemy.NullPool), ledger_conn_id)


def _ledger_conn_id(conn_id: str | None) -> str | None:
    """The connection to use; None for no ledger."""
    ledger_conn_id = (conn_id or "").strip() or config.ledger_conn_id()
    return ledger_conn_id if ledger_conn_id and ledger_conn_id != NONE else None


@final
class Forgetting:
    """Makes what is written by hand unknown to the ledger, so that the next sync restores the truth of the plan.

    Before it is sent, for a process that is killed may have sent it; and after, for a sync that ran at the same time may
    have written its own down in between.
    """

    def __init__(self, ledger: Ledger, settings: HaloSettings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._sent: dict[Scope, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def before(self, scope: QueryScope, records: Iterable[Payload | Problem]) -> Iterator[Change | Outcome]:
        """Pass records on as changes, forgotten, block by block; those that were erased are skipped."""
        skipper = ErasedSkipper(self._ledger.erased(self._settings), scope)
        passing = iter(records)
        while block := list(islice(passing, AT_ONCE)):
            kept, skipped = skipper.sort_out(block)
            yield from skipped
            changes = list(map(as_change, kept))
            due = [change for change in changes if isinstance(change, Change)]
            for touched_scope, keys in _touched(due).items():
                self._ledger.forget(self._settings, touched_scope, keys)
            yield from changes

    def sent(self, outcome: Outcome) -> None:
        """Note what was sent, well or not. Called in the event loop's thread, while requests are on the way."""
        for scope, keys in _touched(outcome.changes).items():
            waiting = self._sent.setdefault(scope, [])
            waiting += keys
            if len(waiting) >= AT_ONCE:
                self._sent[scope] = []
                self._tasks.add(asyncio.create_task(asyncio.to_thread(self._forget, scope, waiting)))

    async def finish(self) -> None:
        """Forget the rest, and wait until all is forgotten."""
        for scope, keys in self._sent.items():
            await asyncio.to_thread(self._forget, scope, keys)
        await asyncio.gather(*self._tasks)

    def _forget(self, scope: Scope, keys: list[str]) -> None:
        self._ledger.forget(self._settings, scope, keys)


def _touched(changes: Iterable[Change]) -> dict[Scope, list[str]]:
    """The keys of records, and of the links that may be sent with them."""
    touched: dict[Scope, list[str]] = {}
    for change in changes:
        payload = change.payload
        touched.setdefault(payload.scope, []).append(payload.key)
        if payload.company_id is not None:
            touched.setdefault("links", []).append(payload.key)
    return touched


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
    """The part of a connection's requests per second that a task may send where no ledger counts for all of them, 0 to 1.

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
    _warn_of_pool(task.pool, config.pool(), settings.conn_id, settings.requests_per_second / slots)
    return 1.0 / slots


def current_task() -> Pooled | None:
    """The task that this process runs; None outside of tasks."""
    try:
        task: Pooled = get_current_context()["task"]
    except RuntimeError:
        return None
    return task


@cache  # once in a process, which may make a hook for each record
def _warn_of_pool(pool: str, halo_pool: str, conn_id: str, rate: float) -> None:
    log.warning(
        "This task runs in the pool %r, so it sends %g requests per second at most, on top of those of the pool %r. For "
        "all tasks together to hold requests_per_second of the connection %r, give it pool=%r, or set [halo] "
        "ledger_conn_id.",
        *(pool, rate, halo_pool, conn_id, halo_pool),
    )
