"""The client: each write of the API as one call, sent at a pace, repeated while that helps, with the right token."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, final

import httpx

from airflow_provider_halo.api.limiting import Limiter, process_limiter
from airflow_provider_halo.api.pacing import Pacer, repeated
from airflow_provider_halo.api.responses import Answer, read_response
from airflow_provider_halo.api.tokens import TokenBook
from airflow_provider_halo.api.transport import Channel
from airflow_provider_halo.contract import COMPANIES_IDENTIFY, USERS_IDENTIFY, USERS_PER_UPDATE, USERS_UPDATE
from airflow_provider_halo.exceptions import (
    ApiError,
    AuthError,
    HaloUnavailable,
    SecretMissing,
    TokenRefused,
    TransientError,
    UnexpectedAnswer,
)
from airflow_provider_halo.records.payload import Payload, identify_body, link_body, users_update_body
from airflow_provider_halo.settings import HaloSettings

log = logging.getLogger(__name__)

_SILENCES_IN_DOUBT: Final = 2  # empty answers of a path that are not believed, before it is taken for a mute one


@dataclass
class Stats:
    """What a client has sent so far.

    :param requests: requests, repeated ones included.
    :param retries: how many of them were repetitions.
    :param bytes: bytes of their bodies.
    """

    requests: int = 0
    retries: int = 0
    bytes: int = 0


@final
class HaloClient:
    """One Halo connection, as an asynchronous context manager; for one event loop.

    Any number of coroutines may call it at once: `settings.max_in_flight` bounds what is on the way, all of them share
    one pace, and a pause that Halo asks for holds them all.

    Every call may raise:

    - `RequestRefused`, `PayloadTooLarge`: Halo won't store what was sent;
    - `AuthError`: a credential is wrong; `UnexpectedAnswer`: the base URL is. Neither is repeated;
    - `TransientError`: this request found no success within `settings.max_retry_seconds`, while others did;
    - `HaloUnavailable`: no request of this client did, for all that time;
    - `LedgerError`: the limiter's bucket is in a ledger, whose database can't be used.

    :param settings: how to reach Halo.
    :param limiter: holds `settings.requests_per_second`, which is several clients' together; None holds it within this
        process.
    :param transport: another httpx transport; closed with the client. None opens connections of its own.
    :param clock: seconds since 1970, for tokens and dates.
    :param timer: seconds of a clock that never jumps, for waits and budgets.
    :param sleep: waits for so many seconds of ``timer``.
    """

    def __init__(
        self,
        settings: HaloSettings,
        *,
        limiter: Limiter | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.stats = Stats()
        self._channel = Channel(settings, transport)
        self._clock = clock
        self._timer = timer
        self._sleep = sleep
        self._tokens = TokenBook(settings.identity_secret) if settings.identity_secret else None
        self._pacer = Pacer(
            max_in_flight=settings.max_in_flight,
            limiter=limiter or process_limiter(settings),
            timer=timer,
            sleep=sleep,
        )
        self._spoken: set[str] = set()  # paths that were answered with content
        self._silences: Counter[str] = Counter()
        self._answered = float("-inf")  # when Halo last gave an answer that was worth something

    async def __aenter__(self) -> HaloClient:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.__aexit__(kind, error, trace)

    async def update_users(self, payloads: Sequence[Payload], *, update_only: bool = False) -> Answer:
        """Upsert users by users/update, which marks nobody as active (documented).

        :param payloads: 1 to 1,000 users.
        :param update_only: skip users that Halo doesn't know.
        :raises SecretMissing: when the connection has no identity secret, which this call always needs (documented).
        :raises ValueError: for no users or more than 1,000.
        """
        if not 1 <= len(payloads) <= USERS_PER_UPDATE:
            raise ValueError(f"users/update takes 1 to {USERS_PER_UPDATE:,} users, not {len(payloads):,}")
        tokens = self._tokens
        if tokens is None:
            raise SecretMissing(
                f"Halo connection {self.settings.conn_id!r} has no identity_secret, and users/update, the call that "
                "marks nobody as active, needs one. Two ways out: set identity_secret in the connection's extras; or, "
                "for people who are present now, use activity=True on IdentifyOperator."
            )
        return await self._send(
            USERS_UPDATE,
            lambda token: users_update_body(payloads, token=token or "", update_only=update_only),
            token=lambda: tokens.bulk(self._clock()),
        )

    async def identify_user(self, payload: Payload, *, session_id: str | None = None) -> Answer:
        """Upsert one user by users/identify. **Marks it as active now** and may start automations (documented)."""
        return await self._send(
            USERS_IDENTIFY,
            lambda token: identify_body(payload, token=token, session_id=session_id),
            token=self._token_of(payload.key),
        )

    async def identify_company(self, payload: Payload) -> Answer:
        """Upsert one company by companies/identify (documented)."""
        return await self._send(COMPANIES_IDENTIFY, lambda _: identify_body(payload))

    async def link_user(self, user_id: str, company_id: str) -> Answer:
        """Link a user to a company, by companies/identify without traits (documented)."""
        return await self._send(
            COMPANIES_IDENTIFY,
            lambda token: link_body(user_id, company_id, token=token),
            token=self._token_of(user_id),
        )

    async def test(self) -> tuple[bool, str]:
        """Try the credentials without storing anything: (whether they pass, one sentence that says so or what to do).

        Sends one empty users/update, or without a secret one empty companies/identify. Credentials are judged before
        the body, so 400 is the answer of a Halo that accepts them (assumed). Not repeated.
        """
        secret = self._tokens is not None
        path = USERS_UPDATE if secret else COMPANIES_IDENTIFY
        body = users_update_body((), token=self._tokens.bulk(self._clock())) if self._tokens else b"{}"
        await self._pacer.turn()
        try:
            await self._exchange(path, body)
        except TransientError as error:
            return False, f"Halo can't be reached at {self.settings.base_url}: {error.message}."
        except TokenRefused as error:
            if secret:
                return False, f"The widget key passes, but Halo refuses the identity secret: {_token_advice(error)}."
            return False, f"Halo refuses the call for want of a token ({error.message}): set identity_secret."
        except (AuthError, UnexpectedAnswer) as error:
            return False, f"{error.message}."
        except ApiError as error:
            if error.status != 400:
                return False, f"Halo answers {error.status} to an empty request: {error.message}."
        if secret:
            return True, "The widget key and the identity secret both pass."
        return True, (
            "The widget key passes. There is no identity_secret: companies can be synced, users can't "
            "(users/update always needs it)."
        )

    def _token_of(self, user_id: str) -> Callable[[], str] | None:
        tokens = self._tokens
        if tokens is None or not self.settings.signs_users:
            return None
        return lambda: tokens.user(user_id, self._clock())

    async def _send(
        self, path: str, body: Callable[[str | None], bytes], *, token: Callable[[], str] | None = None
    ) -> Answer:
        """Send one request until it is answered for good. The body is joined anew for each try, with its token."""
        began = self._timer()
        budget = self.settings.max_retry_seconds
        started = False
        waited = 0.0  # for turns, since then: at a low rate these may take longer than the budget, with nothing amiss

        def remaining() -> float:
            return budget - (self._timer() - began - waited)

        async def attempt() -> Answer:
            nonlocal began, started, waited
            slot = await self._pacer.acquire(longest_pause=remaining())
            if not started:  # the wait for a place is no wait for Halo
                began, started = self._timer(), True
            else:
                waited += slot.waited
            try:
                answer = await self._authorised(path, body, token)
            except TransientError as error:
                self._pacer.slowed(slot, error)
                raise
            except ApiError:
                self._alive()
                raise
            finally:
                self._pacer.release()
            self._alive()
            return answer

        try:
            return await repeated(attempt, remaining=remaining, sleep=self._sleep, before_retry=self._count_retry)
        except TransientError as error:
            if self._answered >= began:
                raise
            raise HaloUnavailable(
                f"Halo ({self.settings.base_url}) took no request for {self._timer() - began:.0f} s; the last cause: "
                f"{error}. What was stored stays stored: run it again when Halo is back, or raise max_retry_seconds "
                f"(now {budget:g}) in the connection {self.settings.conn_id!r}."
            ) from error

    async def _authorised(
        self, path: str, body: Callable[[str | None], bytes], token: Callable[[], str] | None
    ) -> Answer:
        """Send once; after a 403 make another token and send once more."""
        used = token() if token else None
        try:
            return await self._exchange(path, body(used))
        except TokenRefused as error:
            if used is None or token is None or self._tokens is None:
                raise _explained(error, "set identity_secret, and leave verify_identity empty or on") from None
            self._tokens.refused(used)
            log.info("%s: Halo refuses a token; trying once more with a new one", path)
        self._count_retry()
        await self._pacer.turn()
        try:
            return await self._exchange(path, body(token()))
        except TokenRefused as error:
            raise _explained(error, _token_advice(error)) from None

    async def _exchange(self, path: str, body: bytes) -> Answer:
        self.stats.requests += 1
        self.stats.bytes += len(body)
        reply = await self._channel.post(path, body)
        answer = read_response(reply.status, reply.headers, reply.body, path=path, now=self._clock())
        if answer.empty:
            self._doubt(path)
        elif answer.status != 204:
            self._spoken.add(path)
        return answer

    def _doubt(self, path: str) -> None:
        """Take an empty yes for an accident of something in between, unless this call is never answered otherwise.

        The exact answer of users/update isn't documented, so a server that always answers with nothing must be borne;
        but one that spoke before hasn't stored what it answers with silence, as far as anyone can know.
        """
        self._silences[path] += 1
        if path in self._spoken or self._silences[path] <= _SILENCES_IN_DOUBT:
            raise TransientError("an empty answer", status=200, path=path)

    def _alive(self) -> None:
        self._answered = self._timer()
        self._pacer.succeeded()

    def _count_retry(self) -> None:
        self.stats.retries += 1


def _token_advice(error: TokenRefused) -> str:
    return f"check identity_secret and this machine's clock ({error.message})"


def _explained(error: TokenRefused, advice: str) -> TokenRefused:
    text = advice if error.message in advice else f"{advice} ({error.message})"
    return TokenRefused(text, status=error.status, path=error.path, user_errors=error.user_errors)
