"""Writes down what became of a batch's records, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, final

import sqlalchemy as sa

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Acknowledgement
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.sync.acknowledgements import Rejection

__all__ = ["LedgerWriter"]

_MOST_WAITING: Final = 4 * AT_ONCE  # records; then the reading waits, so that the memory stays flat


@final
class LedgerWriter:
    """A thread that writes down what became of a batch's records, as a context manager that waits until all is.

    What is lost when the process is killed is what came in while the last transaction was under way: the next run sends
    it once more.

    :param rows_of: what an outcome is written down as; called in the thread.
    :param has_rejects: whether the ledger has rejections of the plan, which a stored record ends.
    :param has_marked: whether it has emptied records with traits that say they are gone, which a stored record hasn't.
    :raises LedgerError: on leaving, when the database could not be used.
    """

    def __init__(
        self,
        run: Run,
        rows_of: Callable[[Outcome], tuple[list[Acknowledgement], list[Rejection]]],
        *,
        has_rejects: bool,
        has_marked: bool,
    ) -> None:
        self._run = run
        self._rows_of = rows_of
        self._has_rejects = has_rejects
        self._has_marked = has_marked
        self._outcomes: list[Outcome] = []
        self._waiting = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._failure: Exception | None = None
        # A daemon: a process that is told to end must not wait for a database that is away.
        self._thread = threading.Thread(target=self._work, name="halo-ledger", daemon=True)

    def __enter__(self) -> LedgerWriter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self._raise_failure()

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
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outcomes or self._is_closing)
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

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        acknowledgements: list[Acknowledgement] = []
        rejections: list[Rejection] = []
        for outcome in outcomes:
            acknowledged, rejected = self._rows_of(outcome)
            acknowledgements += acknowledged
            rejections += rejected
        stored = _stored_keys(acknowledgements) if self._has_rejects or self._has_marked else {}
        self._has_rejects = self._has_rejects or bool(rejections)
        plan_ledger = self._run.plan_ledger

        def work(connection: sa.Connection) -> None:
            for at in range(0, len(acknowledgements), AT_ONCE):
                plan_ledger.acknowledged.acknowledge(connection, self._run.id, acknowledgements[at : at + AT_ONCE])
            for scope, keys in stored.items():
                for at in range(0, len(keys), AT_ONCE):
                    plan_ledger.rejects.delete(connection, scope, keys[at : at + AT_ONCE])
                    if self._has_marked:
                        plan_ledger.gone.unmark(connection, scope, keys[at : at + AT_ONCE])
            plan_ledger.rejects.add(connection, self._run.id, rejections)

        if acknowledgements or rejections:
            plan_ledger.acknowledged.database.write(work)


def _stored_keys(acknowledgements: Sequence[Acknowledgement]) -> dict[Scope, list[str]]:
    stored: dict[Scope, list[str]] = {}
    for acknowledgement in acknowledgements:
        if acknowledgement.fingerprint is not None:
            stored.setdefault(acknowledgement.scope, []).append(acknowledgement.key)
    return stored
