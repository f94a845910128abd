"""The ledger of an Airflow connection, or none; and what is to be forgotten of it when somebody writes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, final

import sqlalchemy

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.databases import engine_of
from airflow_provider_halo.ledger.acknowledged import AT_ONCE
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.settings import HaloSettings

NONE: Final = "none"  # in place of a connection id: no ledger, whatever is configured


@contextmanager
def airflow_ledger(conn_id: str | None = None) -> Iterator[Ledger | None]:
    """The ledger of a connection, while it is needed.

    :param conn_id: the connection; None or an empty text takes ``[halo] ledger_conn_id``, ``none`` takes no ledger.
    :raises SetupError: when the connection is missing, or its database can't hold a ledger.
    """
    wanted = _wanted(conn_id)
    if wanted is None:
        yield None
        return
    # Connections are kept: a batch asks the ledger once for each thousand records. One that broke while it waited is
    # found out when it is used, and the question is asked again.
    engine = engine_of(wanted, "The ledger connection")
    try:
        yield Ledger(engine, wanted)
    finally:
        engine.dispose()


def unpooled_ledger(conn_id: str | None = None) -> Ledger | None:
    """The ledger of a connection for one who can't say when it is no longer needed: it keeps no connection open.

    :param conn_id: as of `airflow_ledger`.
    :raises SetupError: when the connection is missing, or its database can't hold a ledger.
    """
    wanted = _wanted(conn_id)
    if wanted is None:
        return None
    return Ledger(engine_of(wanted, "The ledger connection", poolclass=sqlalchemy.NullPool), wanted)


def _wanted(conn_id: str | None) -> str | None:
    wanted = (conn_id or "").strip() or config.ledger_conn_id()
    return wanted if wanted and wanted != NONE else None


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

    def before(self, made: Iterator[Payload | Outcome]) -> Iterator[Payload | Outcome]:
        """Pass records on, forgotten, block by block."""
        while block := list(islice(made, AT_ONCE)):
            payloads = [record for record in block if isinstance(record, Payload)]
            for scope, keys in _touched(payloads).items():
                self._ledger.forget(self._settings, scope, keys)
            yield from block

    def sent(self, outcome: Outcome) -> None:
        """Note what was sent, well or not. Called in the event loop's thread, while requests are on the way."""
        for scope, keys in _touched(outcome.payloads).items():
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


def _touched(payloads: tuple[Payload, ...] | list[Payload]) -> dict[Scope, list[str]]:
    """The keys of records, and of the links that may be sent with them."""
    touched: dict[Scope, list[str]] = {}
    for payload in payloads:
        touched.setdefault(payload.scope, []).append(payload.key)
        if payload.company_id is not None:
            touched.setdefault("links", []).append(payload.key)
    return touched
