"""Brings changes to Halo and says what became of each: one company a request, users in full requests, links one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.responses import Answer
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.links import DecideLink
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.refusals import RefusalStreak, refusal_problem
from airflow_provider_halo.delivery.users import ChunkResult, UserDelivery
from airflow_provider_halo.delivery.workers import ChunkStream, Workers
from airflow_provider_halo.exceptions import PayloadTooLarge, RequestBlocked, RequestRefused, TransientError
from airflow_provider_halo.records.problem import SCOPES, Problem, Scope, Status

__all__ = ["Delivery"]


class Delivery:
    """Delivers changes over one client, with as many coroutines as it may have requests in flight.

    A record that Halo refuses is an outcome. What ends the run is raised: `AuthError`, `UnexpectedAnswer`,
    `SecretMissing` and `DeliveryStopped` with its kinds. Whatever had been taken from the source by then is emitted as
    failed where it isn't settled, so that the outcomes add up to what was read.

    :param emit: takes each outcome, in the thread of the event loop.
    :param update_only: skip users that Halo doesn't know (users/update only).
    """

    def __init__(self, client: HaloClient, emit: Callable[[Outcome], None], *, update_only: bool = False) -> None:
        self._client = client
        self._emit = emit
        self._users = UserDelivery(client, emit, update_only=update_only)
        self._streaks = {scope: RefusalStreak(scope) for scope in SCOPES}

    async def companies(self, chunks: ChunkStream) -> None:
        """Send one companies/identify per company."""

        async def send(company: Change) -> None:
            await self._send_single("companies", company, lambda: self._client.identify_company(company.payload))

        await self._send_each("companies", chunks, send)

    async def users(self, chunks: ChunkStream, *, decide_link: DecideLink | None = None) -> None:
        """Send users by users/update, each chunk as one request where Halo takes it so, and link those that are stored.

        Users that Halo has as they are (not `Change.sends_record`) are linked only.

        :param decide_link: asked for each stored user once its chunk is settled. None links nobody.
        """

        async def send_chunk(chunk: Sequence[Change]) -> Iterable[Change]:
            due = [user for user in chunk if user.sends_record]
            result = await self._users.deliver(due) if due else ChunkResult()
            if decide_link is None:
                return ()
            self._skip_unsure_links(result.unsure, decide_link)
            unchanged = [user for user in chunk if not user.sends_record]
            return [user for user in unchanged + result.stored if self._is_link_due(user, decide_link)]

        await self._work("links", chunks, send_chunk, self._link)

    async def identify(self, chunks: ChunkStream, *, decide_link: DecideLink | None = None) -> None:
        """Send one users/identify per user, which **marks it as active now**, and link those that are stored."""

        async def send(user: Change) -> None:
            stored = await self._send_single("users", user, lambda: self._client.identify_user(user.payload))
            if stored and decide_link is not None and self._is_link_due(user, decide_link):
                await self._link(user)

        await self._send_each("users", chunks, send)

    async def links(self, chunks: ChunkStream, *, decide_link: DecideLink) -> None:
        """Link users to their companies and send nothing else of them."""

        async def decide(chunk: Sequence[Change]) -> Iterable[Change]:
            return [user for user in chunk if self._is_link_due(user, decide_link)]

        await self._work("links", chunks, decide, self._link)

    def _is_link_due(self, user: Change, decide_link: DecideLink) -> bool:
        decision = decide_link(user.payload)
        if isinstance(decision, Problem):
            self._emit(Outcome(scope="links", status="skipped", changes=(user,), problem=decision))
            return False
        if decision and not user.sends_link:
            self._emit(Outcome(scope="links", status="unchanged"))
            return False
        return decision

    def _skip_unsure_links(self, users: Iterable[Change], decide_link: DecideLink) -> None:
        for user in users:
            if decide_link(user.payload) is not True:
                continue
            if user.sends_link:
                reason = "Halo skipped some users of its request without saying which"
                self._emit_problem("links", user, "skipped", reason)
            else:
                self._emit(Outcome(scope="links", status="unchanged"))

    async def _link(self, user: Change) -> None:
        company = user.payload.company_id or ""  # decide_link says yes only to a user that has one
        await self._send_single("links", user, lambda: self._client.link_user(user.payload.key, company))

    async def _send_each(self, scope: Scope, chunks: ChunkStream, send: Callable[[Change], Awaitable[None]]) -> None:
        async def unpack(chunk: Sequence[Change]) -> Iterable[Change]:
            return chunk

        await self._work(scope, chunks, unpack, send)

    async def _work(
        self,
        scope: Scope,
        chunks: ChunkStream,
        open_chunk: Callable[[Sequence[Change]], Awaitable[Iterable[Change]]],
        send: Callable[[Change], Awaitable[None]],
    ) -> None:
        def give_up(change: Change) -> None:
            self._emit_problem(scope, change, "failed", "not sent when the run stopped")

        workers = Workers(self._client.settings.max_in_flight, open_chunk=open_chunk, do=send, give_up=give_up)
        await workers.run(chunks)

    async def _send_single(self, scope: Scope, change: Change, call: Callable[[], Awaitable[Answer]]) -> bool:
        """Send one record by a request of its own, emit what became of it, and say whether it is stored.

        :raises SystemicRefusal: when it is one refusal too many of its kind.
        """
        streak = self._streaks[scope]
        try:
            await call()
        except RequestRefused as refused:
            key = change.payload.key
            problem = refusal_problem(scope, key, refused, None if scope == "links" else change.payload)
            is_curable = isinstance(refused, RequestBlocked)
            self._emit(
                Outcome(scope=scope, status="rejected", changes=(change,), problem=problem, is_curable=is_curable)
            )
            if streak.add(refused, key):
                raise streak.error() from None
            return False
        except PayloadTooLarge:
            self._emit_problem(scope, change, "rejected", "is too large for Halo (413)")
            return False
        except TransientError as error:
            self._emit_problem(scope, change, "failed", f"Halo didn't take the request: {error}")
            return False
        except BaseException as error:  # cancellation too: nobody may be lost from the counts
            self._emit_problem(scope, change, "failed", f"not settled when the run stopped ({type(error).__name__})")
            raise
        streak.end()
        self._emit(Outcome(scope=scope, status="stored", changes=(change,)))
        return True

    def _emit_problem(self, scope: Scope, change: Change, status: Status, reason: str) -> None:
        problem = Problem(scope, change.payload.key, "", reason)
        self._emit(Outcome(scope=scope, status=status, changes=(change,), problem=problem))
