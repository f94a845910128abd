"""Writes answers down behind the senders: as soon as they come, as many as have come, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeAlias, final

import sqlalchemy as sa

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Entry
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.records.problem import Problem, Scope

Rejected: TypeAlias = "tuple[Problem, int | None]"
"""A rejected record, and the size of its payload where it came to one."""

_MOST_WAITING: Final = 4 * AT_ONCE  # records; then the reading waits, so that the memory stays flat


@final
class Recorder:
    """A thread that writes down what became of a batch's records, as a context manager that waits until all is.

    What is lost when the process is killed is what came in while the last transaction was under way: the next run sends
    it once more.

    :param written: what an outcome is written down as; called in the thread.
    :raises LedgerError: on leaving, when the database could not be used.
    """

    def __init__(
        self, run: Run, written: Callable[[Outcome], tuple[list[Entry], list[Rejected]]], *, has_rejects: bool
    ) -> None:
        self._run = run
        self._written = written
        self._has_rejects = has_rejects
        self._outcomes: list[Outcome] = []
        self._waiting = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failure: Exception | None = None
        # A daemon: a process that is told to end must not wait for a database that is away.
        self._thread = threading.Thread(target=self._work, name="halo-ledger", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self._check()

    def put(self, outcome: Outcome) -> None:
        """Write an outcome down, soon. Never waits: it is called where requests are sent."""
        with self._changed:
            self._outcomes.append(outcome)
            self._waiting += outcome.count
            self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Wait while too much is waiting to be written.

        :raises LedgerError: when the database could not be used.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < _MOST_WAITING or self._failure is not None)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outcomes or self._closing)
                outcomes, self._outcomes = self._outcomes, []
                if not outcomes:
                    return
            try:
                self._write(outcomes)
            except Exception as error:  # noqa: BLE001 (not swallowed: raised again in the threads that read and send)
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._waiting -= sum(outcome.count for outcome in outcomes)
                self._changed.notify_all()

    def _write(self, outcomes: list[Outcome]) -> None:
        pages = self._run.pages
        entries: list[Entry] = []
        rejected: list[Rejected] = []
        for outcome in outcomes:
            some_entries, some_rejected = self._written(outcome)
            entries += some_entries
            rejected += some_rejected
        stored: dict[Scope, list[str]] = {}
        if self._has_rejects:
            for entry in entries:
                if entry.fingerprint is not None:
                    stored.setdefault(entry.scope, []).append(entry.key)
        self._has_rejects = self._has_rejects or bool(rejected)

        def work(connection: sa.Connection) -> None:
            for at in range(0, len(entries), AT_ONCE):
                pages.book.acknowledge(connection, self._run.id, entries[at : at + AT_ONCE])
            for scope, keys in stored.items():
                for at in range(0, len(keys), AT_ONCE):
                    pages.rejects.settled(connection, scope, keys[at : at + AT_ONCE])
            pages.rejects.note(connection, self._run.id, rejected)

        if entries or rejected:
            pages.book.database.write(work)
