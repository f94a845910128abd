"""Decides which users are linked to their company: only to a company that Halo has and the plan knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem

__all__ = ["DecideLink", "KnownCompanies"]

DecideLink: TypeAlias = "Callable[[Payload], bool | Problem]"
"""Whether a stored user is linked to its company: True links it, False doesn't, a problem says why its link is skipped."""


class KnownCompanies:
    """The companies of a batch, by what became of them.

    A link is a companies/identify call, which would make a company that isn't there: so a user of a company that the
    companies query doesn't give, or that was refused, is stored but not linked.
    """

    def __init__(self) -> None:
        self._present: set[str] = set()
        self._refused: set[str] = set()

    @property
    def seen(self) -> set[str]:
        """Every company that something is known of."""
        return self._present | self._refused

    def add(self, company_id: str) -> None:
        """Note a company that the companies query gives."""
        self._present.add(company_id)

    def note(self, outcome: Outcome) -> None:
        """Note what became of a company; outcomes of other scopes are passed over."""
        if outcome.scope != "companies":
            return
        keys = [change.payload.key for change in outcome.changes]
        if outcome.status not in {"rejected", "failed"}:
            self._present.update(keys)
            return
        self._refused.update(keys)
        if outcome.problem is not None:
            self._refused.add(outcome.problem.key)

    def decide_link(self, user: Payload) -> bool | Problem:
        """Whether to link a stored user: True, False (it has no company), or why its link is skipped."""
        company = user.company_id
        if company is None:
            return False
        if company in self._refused:
            return Problem("links", user.key, "", "its company was not stored")
        if company not in self._present:
            return Problem("links", user.key, "", "its company is not in the companies query")
        return True
