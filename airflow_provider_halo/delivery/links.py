"""Decides which users are linked to their company: only to a company that Halo has and the plan knows."""

from __future__ import annotations

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


class KnownCompanies:
    """The companies of a batch, by what became of them.

    A link is a companies/identify call, which would make a company that isn't there: so a user of a company that the
    companies query doesn't give, or that was refused, is stored but not linked.
    """

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._refused: set[str] = set()

    @property
    def seen(self) -> set[str]:
        """Every company that something is known of."""
        return self._there | self._refused

    def add(self, company_id: str) -> None:
        """Note a company that the companies query gives."""
        self._there.add(company_id)

    def note(self, outcome: Outcome) -> None:
        """Note what became of a company; outcomes of other scopes are passed over."""
        if outcome.scope != "companies":
            return
        if outcome.status in {"rejected", "failed"}:
            self._refused.update(payload.key for payload in outcome.payloads)
            if outcome.problem is not None:
                self._refused.add(outcome.problem.key)
        else:
            self._there.update(payload.key for payload in outcome.payloads)

    def decide(self, user: Payload) -> bool | Problem:
        """Whether to link a stored user: True, False (it has no company), or why its link is skipped."""
        company = user.company_id
        if company is None:
            return False
        if company in self._refused:
            return Problem("links", user.key, "", "its company was not stored")
        if company not in self._there:
            return Problem("links", user.key, "", "its company is not in the companies query")
        return True
