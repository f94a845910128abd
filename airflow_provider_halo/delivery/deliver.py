"""Brings payloads to Halo and says what became of each: one company a request, users in full requests, links one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.responses import Answer
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.users import Settled, Settlement, Streak, rejection
from airflow_provider_halo.delivery.workers import Chunks, Workers
from airflow_provider_halo.exceptions import PayloadTooLarge, RequestRefused, TransientError
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import SCOPES, Problem, Scope, Status

DecideLink: TypeAlias = "Callable[[Payload], bool | Problem]"


class Delivery:
    """Delivers payloads over one client, with as many coroutines as it may have requests in flight.

    A record that Halo refuses is an outcome. What ends the run is raised: `AuthError`, `UnexpectedAnswer`,
    `SecretMissing` and `DeliveryStopped` with its kinds. Whatever had been taken from the source by then is emitted as
    failed where it isn't settled, so that the outcomes add up to what was read.

    :param emit: takes each outcome, in the thread of the event loop.
    :param update_only: skip users that Halo doesn't know (users/update only).
    """

    def __init__(self, client: HaloClient, emit: Callable[[Outcome], None], *, update_only: bool = False) -> None:
        self._client = client
        self._emit = emit
        self._settlement = Settlement(client, emit, update_only=update_only)
        self._streaks = {scope: Streak(scope) for scope in SCOPES}

    async def companies(self, chunks: Chunks) -> None:
        """Send one companies/identify per company."""

        async def send(company: Payload) -> None:
            await self._one("companies", company, lambda: self._client.identify_company(company))

        await self._each("companies", chunks, send)

    async def users(self, chunks: Chunks, *, decide_link: DecideLink | None = None) -> None:
        """Send users by users/update, each chunk as one request where Halo takes it so, and link those that are stored.

        Users that Halo has as they are (`Payload.unchanged`) are linked only.

        :param decide_link: asked for each stored user once its chunk is settled: True links it, False doesn't, a
            problem says why its link is skipped. None links nobody.
        """

        async def settle(chunk: Sequence[Payload]) -> Iterable[Payload]:
            due = [user for user in chunk if not user.unchanged]
            settled = await self._settlement.settle(due) if due else Settled()
            if decide_link is None:
                return ()
            for user in settled.unsure:
                if decide_link(user) is True:
                    self._settled(
                        "links", user, "skipped", "Halo skipped some users of its request without saying which"
                    )
            there = [user for user in chunk if user.unchanged] + settled.stored
            return [user for user in there if self._to_link(user, decide_link)]

        await self._work("links", chunks, settle, self._link)

    async def identify(self, chunks: Chunks, *, decide_link: DecideLink | None = None) -> None:
        """Send one users/identify per user, which **marks it as active now**, and link those that are stored."""

        async def send(user: Payload) -> None:
            stored = await self._one("users", user, lambda: self._client.identify_user(user))
            if stored and decide_link is not None and self._to_link(user, decide_link):
                await self._link(user)

        await self._each("users", chunks, send)

    async def links(self, chunks: Chunks, *, decide_link: DecideLink) -> None:
        """Link users to their companies and send nothing else of them."""

        async def decide(chunk: Sequence[Payload]) -> Iterable[Payload]:
            return [user for user in chunk if self._to_link(user, decide_link)]

        await self._work("links", chunks, decide, self._link)

    def _to_link(self, user: Payload, decide_link: DecideLink) -> bool:
        decision = decide_link(user)
        if isinstance(decision, Problem):
            self._emit(Outcome(scope="links", status="skipped", payloads=(user,), problem=decision))
            return False
        return decision

    async def _link(self, user: Payload) -> None:
        company = user.company_id or ""  # decide_link says yes only to a user that has one
        await self._one("links", user, lambda: self._client.link_user(user.key, company))

    async def _each(self, scope: Scope, chunks: Chunks, send: Callable[[Payload], Awaitable[None]]) -> None:
        async def unpack(chunk: Sequence[Payload]) -> Iterable[Payload]:
            return chunk

        await self._work(scope, chunks, unpack, send)

    async def _work(
        self,
        scope: Scope,
        chunks: Chunks,
        open_chunk: Callable[[Sequence[Payload]], Awaitable[Iterable[Payload]]],
        send: Callable[[Payload], Awaitable[None]],
    ) -> None:
        def give_up(payload: Payload) -> None:
            self._settled(scope, payload, "failed", "not sent when the run stopped")

        lanes = Workers(self._client.settings.max_in_flight, open_chunk=open_chunk, do=send, give_up=give_up)
        await lanes.run(chunks)

    async def _one(self, scope: Scope, payload: Payload, call: Callable[[], Awaitable[Answer]]) -> bool:
        """Send one record by a request of its own, emit what became of it, and say whether it is stored.

        :raises SystemicRefusal: when it is one refusal too many of its kind.
        """
        streak = self._streaks[scope]
        try:
            await call()
        except RequestRefused as refused:
            body = None if scope == "links" else payload
            self._emit(
                Outcome(
                    scope=scope,
                    status="rejected",
                    payloads=(payload,),
                    problem=rejection(scope, payload.key, refused, body),
                )
            )
            if streak.refused(refused, payload.key):
                raise streak.error() from None
            return False
        except PayloadTooLarge:
            self._settled(scope, payload, "rejected", "is too large for Halo (413)")
            return False
        except TransientError as error:
            self._settled(scope, payload, "failed", f"Halo didn't take the request: {error}")
            return False
        except BaseException as error:  # cancellation too: nobody may be lost from the counts
            self._settled(scope, payload, "failed", f"not settled when the run stopped ({type(error).__name__})")
            raise
        streak.success()
        self._emit(Outcome(scope=scope, status="stored", payloads=(payload,)))
        return True

    def _settled(self, scope: Scope, payload: Payload, status: Status, reason: str) -> None:
        problem = Problem(scope, payload.key, "", reason)
        self._emit(Outcome(scope=scope, status=status, payloads=(payload,), problem=problem))
