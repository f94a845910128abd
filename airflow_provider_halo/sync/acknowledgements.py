"""Says what an outcome is written down as in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.acknowledged import Acknowledgement
from airflow_provider_halo.plan.digest import part_names
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.records.fingerprint import keep_parts, merge_parts
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.sync.changes import ChangeFinder

__all__ = ["Acknowledgements", "Rejection"]

Rejection: TypeAlias = "tuple[Problem, int | None]"
"""A rejected record, and the size of its payload where it came to one."""


class Acknowledgements:
    """Makes the ledger's rows of outcomes.

    :param finders: which found the changes, by the scope of records.
    """

    def __init__(self, plan: LoadedPlan, finders: Mapping[QueryScope, ChangeFinder]) -> None:
        self._finders: Mapping[Scope, ChangeFinder] = dict(finders.items())
        self._plan_parts: dict[Scope, frozenset[str]] = {scope: frozenset(part_names(plan, scope)) for scope in finders}

    def of(self, outcome: Outcome) -> tuple[list[Acknowledgement], list[Rejection]]:
        """What an outcome is written down as.

        Where nobody knows whether Halo has stored a record (a lost answer, one that only counts), that is written down,
        too, although the ledger has it as unknown: it may not be so any more when another run was at it meanwhile.
        """
        if outcome.unsure or outcome.status == "failed":
            return self._unknown(outcome.scope, outcome.unsure or outcome.changes), []
        if outcome.status == "stored":
            stored = self._stored_links if outcome.scope == "links" else self._stored
            return stored(outcome.scope, outcome.changes), []
        if outcome.problem is None:
            return [], []
        if outcome.scope == "links":
            return self._unknown(outcome.scope, outcome.changes), [(outcome.problem, None)]
        size = outcome.changes[0].payload.size if outcome.changes else None
        if outcome.is_curable:
            return self._unknown(outcome.scope, outcome.changes), [(outcome.problem, size)]
        return self._refused(outcome.scope, outcome.changes), [(outcome.problem, size)]

    def _stored(self, scope: Scope, changes: Iterable[Change]) -> list[Acknowledgement]:
        parts_of = self._finders[scope].fingerprints.parts
        rows = []
        for change in changes:
            mark = change.mark
            if mark is None:
                continue
            parts = parts_of(change.payload)
            if mark.parts:
                parts = merge_parts(keep_parts(mark.parts, self._plan_parts[scope]), parts)
            rows.append(
                Acknowledgement(
                    scope=scope, key=change.payload.key, token=mark.token, fingerprint=mark.fingerprint, parts=parts
                )
            )
        return rows

    def _stored_links(self, scope: Scope, changes: Iterable[Change]) -> list[Acknowledgement]:
        return [
            Acknowledgement(scope=scope, key=change.payload.key, token=link.token, fingerprint=link.fingerprint)
            for change in changes
            if (link := change.link) is not None
        ]

    def _unknown(self, scope: Scope, changes: Iterable[Change]) -> list[Acknowledgement]:
        return [
            Acknowledgement(scope=scope, key=change.payload.key, token=mark.token, fingerprint=None)
            for change in changes
            if (mark := change.link if scope == "links" else change.mark) is not None
        ]

    def _refused(self, scope: Scope, changes: Iterable[Change]) -> list[Acknowledgement]:
        return [
            Acknowledgement(
                scope=scope,
                key=change.payload.key,
                token=mark.token,
                fingerprint=None,
                refused=self._finders[scope].refusal(mark.fingerprint),
            )
            for change in changes
            if (mark := change.mark) is not None
        ]
