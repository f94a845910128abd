"""Stands in for the delivery in a dry run: counts what would be sent, sends nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import Payload, identify_body, link_body, users_update_body
from airflow_provider_halo.records.problem import Problem

# A token's place in the bytes counted: a bulk token has about this many characters.
_TOKEN = "x" * 150


@dataclass
class DryRun:
    """The surface of `Delivery`, without a server. Records that would be sent are ``skipped``.

    :param emit: takes each outcome.
    :param signs_users: whether calls that name one user would carry that user's token.
    """

    emit: Callable[[Outcome], None]
    signs_users: bool
    requests: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    async def companies(self, chunks: AsyncIterator[Sequence[Payload]]) -> None:
        """Count one companies/identify call per company."""
        async for chunk in chunks:
            for payload in chunk:
                self._count(len(identify_body(payload)))
            self._skip(chunk)

    async def users(
        self,
        chunks: AsyncIterator[Sequence[Payload]],
        *,
        decide_link: Callable[[Payload], bool | Problem] | None = None,
    ) -> None:
        """Count one users/update call per chunk, and one companies/identify call per link."""
        async for chunk in chunks:
            due = [user for user in chunk if not user.unchanged]
            if due:
                self._count(len(users_update_body(due, token=_TOKEN)))
                self._skip(due)
            self._link(chunk, decide_link)

    async def identify(
        self,
        chunks: AsyncIterator[Sequence[Payload]],
        *,
        decide_link: Callable[[Payload], bool | Problem] | None = None,
    ) -> None:
        """Count one users/identify call per user, and one companies/identify call per link."""
        async for chunk in chunks:
            for payload in chunk:
                self._count(len(identify_body(payload, token=self._token)))
            self._skip(chunk)
            self._link(chunk, decide_link)

    async def links(
        self, chunks: AsyncIterator[Sequence[Payload]], *, decide_link: Callable[[Payload], bool | Problem]
    ) -> None:
        """Count one companies/identify call per link."""
        async for chunk in chunks:
            self._link(chunk, decide_link)

    def _link(self, chunk: Sequence[Payload], decide_link: Callable[[Payload], bool | Problem] | None) -> None:
        if decide_link is None:
            return
        for payload in chunk:
            decision = decide_link(payload)
            if isinstance(decision, Problem):
                self.emit(Outcome(scope="links", status="skipped", problem=decision))
            elif decision:
                self._count(len(link_body(payload.key, payload.company_id or "", token=self._token)))
                self.emit(Outcome(scope="links", status="skipped", payloads=(payload,)))

    @property
    def _token(self) -> str | None:
        return _TOKEN if self.signs_users else None

    def _count(self, size: int) -> None:
        self.requests += 1
        self.bytes += size

    def _skip(self, chunk: Sequence[Payload]) -> None:
        if chunk:
            self.emit(Outcome(scope=chunk[0].scope, status="skipped", count=len(chunk), payloads=tuple(chunk)))
