"""Stands in for the delivery in a dry run: counts what would be sent, sends nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_halo.api.client import Stats
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.links import DecideLink
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import identify_body, link_body, users_update_body
from airflow_provider_halo.records.problem import Problem

__all__ = ["DryRun"]

# A token's place in the bytes counted: a bulk token has about this many characters.
_TOKEN = "x" * 150


@dataclass
class DryRun:
    """The surface of `Delivery`, without a server. Records that would be sent are ``skipped``.

    :param emit: takes each outcome.
    :param signs_users: whether calls that name one user would carry that user's token.
    :param stats: the requests that it would have taken.
    """

    emit: Callable[[Outcome], None]
    signs_users: bool
    stats: Stats = field(default_factory=Stats, init=False)

    async def companies(self, chunks: AsyncIterator[Sequence[Change]]) -> None:
        """Count one companies/identify call per company."""
        async for chunk in chunks:
            for company in chunk:
                self._count(len(identify_body(company.payload)))
            self._skip(chunk)

    async def users(self, chunks: AsyncIterator[Sequence[Change]], *, decide_link: DecideLink | None = None) -> None:
        """Count one users/update call per chunk, and one companies/identify call per link."""
        async for chunk in chunks:
            due = [user for user in chunk if user.sends_record]
            if due:
                self._count(len(users_update_body([user.payload for user in due], token=_TOKEN)))
                self._skip(due)
            self._link(chunk, decide_link)

    async def identify(self, chunks: AsyncIterator[Sequence[Change]], *, decide_link: DecideLink | None = None) -> None:
        """Count one users/identify call per user, and one companies/identify call per link."""
        async for chunk in chunks:
            for user in chunk:
                self._count(len(identify_body(user.payload, token=self._token)))
            self._skip(chunk)
            self._link(chunk, decide_link)

    async def links(self, chunks: AsyncIterator[Sequence[Change]], *, decide_link: DecideLink) -> None:
        """Count one companies/identify call per link."""
        async for chunk in chunks:
            self._link(chunk, decide_link)

    def _link(self, chunk: Sequence[Change], decide_link: DecideLink | None) -> None:
        if decide_link is None:
            return
        for user in chunk:
            decision = decide_link(user.payload)
            if isinstance(decision, Problem):
                self.emit(Outcome(scope="links", status="skipped", problem=decision))
            elif decision and not user.sends_link:
                self.emit(Outcome(scope="links", status="unchanged"))
            elif decision:
                self._count(len(link_body(user.payload.key, user.payload.company_id or "", token=self._token)))
                self.emit(Outcome(scope="links", status="skipped", changes=(user,)))

    @property
    def _token(self) -> str | None:
        return _TOKEN if self.signs_users else None

    def _count(self, size: int) -> None:
        self.stats.requests += 1
        self.stats.bytes += size

    def _skip(self, chunk: Sequence[Change]) -> None:
        if chunk:
            scope = chunk[0].payload.scope
            self.emit(Outcome(scope=scope, status="skipped", count=len(chunk), changes=tuple(chunk)))
