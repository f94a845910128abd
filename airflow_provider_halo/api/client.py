"""The client: each write of the API as one call, paced, retried while that helps, with the right token."""

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

from airflow_provider_halo.api.adaptive import account_rate
from airflow_provider_halo.api.limiting import Limiter, process_limiter
from airflow_provider_halo.api.pacing import LongPause, Pacer, Patience, RetryBudget
from airflow_provider_halo.api.responses import Answer, read_response
from airflow_provider_halo.api.tokens import IdentityTokens
from airflow_provider_halo.api.transport import HaloTransport
from airflow_provider_halo.api.witnesses import SIGNED_ADVICE, UNSIGNED_ADVICE, Call, Witnesses, blocked
from airflow_provider_halo.contract import COMPANIES_IDENTIFY, USERS_IDENTIFY, USERS_PER_UPDATE, USERS_UPDATE
from airflow_provider_halo.exceptions import (
    ApiError,
    AuthError,
    HaloUnavailable,
    PayloadTooLarge,
    RequestBlocked,
    RequestRefused,
    SecretMissing,
    TokenRefused,
    TransientError,
    UnexpectedAnswer,
    UnreadableAnswer,
)
from airflow_provider_halo.records.payload import Payload, identify_body, link_body, users_update_body
from airflow_provider_halo.settings import HaloSettings

__all__ = ["HaloClient", "Stats"]

log = logging.getLogger(__name__)

_EMPTY_ANSWERS_DOUBTED: Final = (
    2  # after these, a path that never answered with content is taken for one that never does
)
_UNREADABLE_DOUBTED: Final = 4  # of one request in a row; then it may be for what the request says


@dataclass
class Stats:
    """What a client has sent so far.

    :param requests: requests, repeated ones included.
    :param retries: how many of them were repetitions.
    :param bytes: bytes of their bodies.
    :param throttled: how many requests Halo refused for their rate (429).
    :param requests_per_second: the rate that Halo was found to take; None where it refused none for its rate.
    """

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    throttled: int = 0
    requests_per_second: float | None = None


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
    - `LedgerError`: the limiter's bucket is in a ledger, whose database can't be used;
    - `LongPause`: Halo asked for a pause that ``patience`` doesn't sit out.

    :param settings: how to reach Halo.
    :param limiter: holds `settings.requests_per_second`, which is several clients' together; None holds it within this
        process.
    :param patience: which pauses are sat out.
    :param stats: counts what is sent; None begins anew.
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
        patience: Patience | None = None,
        stats: Stats | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.stats = stats or Stats()
        self._transport = HaloTransport(settings, transport)
        self._clock = clock
        self._timer = timer
        self._sleep = sleep
        self._tokens = IdentityTokens(settings.identity_secret) if settings.identity_secret else None
        self._patience = patience or Patience()
        self._pacer = Pacer(
            max_in_flight=settings.max_in_flight,
            limiter=limiter or process_limiter(settings),
            # Another clock than the process's is a world of its own.
            rate=account_rate(settings) if timer is time.monotonic else None,
            timer=timer,
            sleep=sleep,
            longest_pause=self._patience.longest_pause,
        )
        self._witnesses = Witnesses(self._passes, settings.base_url)
        self._unanswered = self._patience.unanswered  # before this client began; 0 from its first answer on
        self._began = timer()
        self._paths_with_content: set[str] = set()  # that were answered with content at least once
        self._empty_answers: Counter[str] = Counter()  # by path
        self._last_answered = float("-inf")  # when Halo last accepted a request, or refused it for what it says

    async def __aenter__(self) -> HaloClient:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

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

        def body(users: Sequence[Payload]) -> Callable[[str | None], bytes]:
            return lambda token: users_update_body(users, token=token or "", update_only=update_only)

        call = Call(USERS_UPDATE, body(payloads), lambda: tokens.bulk(self._clock()), witness=body(payloads[-1:]))
        return await self._send(call)

    async def identify_user(self, payload: Payload, *, session_id: str | None = None) -> Answer:
        """Upsert one user by users/identify. **Marks it as active now** and may start automations (documented)."""
        # Without a witness: to send it once more would be another sign of activity.
        return await self._send(
            Call(
                USERS_IDENTIFY,
                lambda token: identify_body(payload, token=token, session_id=session_id),
                self._token_of(payload.key),
                names_user=True,
            )
        )

    async def identify_company(self, payload: Payload) -> Answer:
        """Upsert one company by companies/identify (documented)."""

        def body(_: str | None) -> bytes:
            return identify_body(payload)

        return await self._send(Call(COMPANIES_IDENTIFY, body, witness=body))

    async def link_user(self, user_id: str, company_id: str) -> Answer:
        """Link a user to a company, by companies/identify without traits (documented; whether that is activity isn't)."""

        def body(token: str | None) -> bytes:
            return link_body(user_id, company_id, token=token)

        return await self._send(Call(COMPANIES_IDENTIFY, body, self._token_of(user_id), names_user=True, witness=body))

    async def test(self) -> tuple[bool, str]:
        """Try the credentials without storing anything: (whether they pass, one sentence that says so or what to do).

        Sends one empty users/update, or without a secret one empty companies/identify. Credentials are judged before
        the body, so 400 is the answer of a Halo that accepts them (assumed). Not repeated.
        """
        has_secret = self._tokens is not None
        path = USERS_UPDATE if has_secret else COMPANIES_IDENTIFY
        body = users_update_body((), token=self._tokens.bulk(self._clock())) if self._tokens else b"{}"
        await self._pacer.turn(self.settings.timeout)
        try:
            await self._exchange(path, body)
        except TransientError as error:
            return False, f"Halo can't be reached at {self.settings.base_url}: {error.message}."
        except TokenRefused as error:
            if has_secret:
                advised = _with_advice(error, SIGNED_ADVICE).message
                return False, f"The widget key passes, but Halo refuses the identity secret: {advised}."
            return False, "Halo refuses the call for want of a token: set identity_secret."
        except (AuthError, UnexpectedAnswer) as error:
            return False, f"{error.message}."
        except ApiError as error:
            if error.status != 400:
                return False, f"Halo answers {error.status} to an empty request: {error.message}."
        if has_secret:
            return True, "The widget key and the identity secret both pass."
        return True, (
            "The widget key passes. There is no identity_secret: companies can be synced, users can't "
            "(users/update always needs it)."
        )

    def _token_of(self, user_id: str) -> Callable[[], str] | None:
        tokens = self._tokens
        if tokens is None or not self.settings.signs_users:
            return None
        return lambda: tokens.for_user(user_id, self._clock())

    async def _send(self, call: Call) -> Answer:
        """Send one request until it is answered for good. The body is joined anew for each try, with its token."""
        budget = RetryBudget(self.settings.max_retry_seconds - self._unanswered, self._timer)
        unreadable = 0
        while True:
            try:
                return await self._try_once(call, budget)
            except TransientError as error:
                unreadable = unreadable + 1 if isinstance(error, UnreadableAnswer) else 0
                if await self._is_blocked(call, error, unreadable):
                    raise blocked(error) from None
                wait = budget.wait_after(error)
                if wait is None:
                    if self._last_answered >= budget.began:
                        raise  # Halo answers other requests: it is this one that fails
                    raise self._unavailable(error, self._timer() - budget.began + self._unanswered) from error
                if wait > self._patience.longest_pause:
                    raise self._long_pause(wait) from None
            except LongPause as pause:
                raise self._long_pause(pause.seconds) from None
            await self._sleep(wait)
            self._count_retry()

    async def _is_blocked(self, call: Call, error: TransientError, unreadable: int) -> bool:
        """Whether it is this request that something refuses with unreadable answers: now and then the witnesses are asked.

        :param unreadable: how many answers in a row were.
        """
        is_doubted = unreadable > 0 and unreadable % _UNREADABLE_DOUBTED == 0
        return is_doubted and bool(await self._witnesses.pass_still(call, error))

    async def _try_once(self, call: Call, budget: RetryBudget) -> Answer:
        """Send one request when the pacer allows it, and tell the pacer how it went."""
        permit = await self._pacer.acquire(budget.remaining())
        budget.start_try(permit)
        try:
            answer = await self._authorised(call)
        except TransientError as error:
            self._pacer.slowed(permit, error)
            if error.status == 429:
                self.stats.throttled += 1
                self.stats.requests_per_second = self._pacer.rate
            raise
        except ApiError:
            self._note_answer()
            raise
        finally:
            self._pacer.release()
        self._note_answer()
        return answer

    def _long_pause(self, seconds: float) -> LongPause:
        now = self._timer()
        silent = (
            now - self._began + self._unanswered if self._last_answered < self._began else now - self._last_answered
        )
        return LongPause(seconds, unanswered=silent + seconds)

    def _unavailable(self, error: TransientError, seconds: float) -> HaloUnavailable:
        return HaloUnavailable(
            f"Halo ({self.settings.base_url}) took no request for {seconds:.0f} s; the last cause: {error}. "
            "What was stored stays stored: run it again when Halo is back, or raise max_retry_seconds "
            f"(now {self.settings.max_retry_seconds:g}) in the connection {self.settings.conn_id!r}."
        )

    async def _authorised(self, call: Call) -> Answer:
        """Send once; after a 403 make another token and send once more.

        Whether what is refused all the same is refused for what it says, or with all the others, the witnesses know.
        """
        sent_token = call.token() if call.token else None
        try:
            answer = await self._exchange(call.path, call.body(sent_token))
        except TokenRefused as error:
            if sent_token is None:
                raise await self._witnesses.judge(call, _with_advice(error, UNSIGNED_ADVICE)) from None
            answer = await self._with_new_token(call, sent_token)
        except (RequestBlocked, UnexpectedAnswer) as error:
            judged = await self._witnesses.judge(call, error)
            # Halo itself may refuse a token in words of a form that nobody documents. A user's was made for this call.
            is_token_in_doubt = error.status == 403 and call.path == USERS_UPDATE
            if sent_token is None or not is_token_in_doubt or isinstance(judged, RequestBlocked):
                raise judged from None
            answer = await self._with_new_token(call, sent_token)
        self._witnesses.note(call)
        return answer

    async def _with_new_token(self, call: Call, refused_token: str) -> Answer:
        if self._tokens is not None:
            self._tokens.discard(refused_token)
        log.info("%s: Halo refuses a token; trying once more with a new one", call.path)
        try:
            return await self._again(call)
        except TokenRefused as error:
            raise await self._witnesses.judge(call, _with_advice(error, SIGNED_ADVICE)) from None
        except (RequestBlocked, UnexpectedAnswer) as error:
            raise await self._witnesses.judge(call, error) from None

    async def _passes(self, witness: Call) -> bool:
        """Whether Halo answers a request, be it by a no of its own."""
        try:
            await self._again(witness)
        except (TokenRefused, RequestBlocked, UnexpectedAnswer, UnreadableAnswer):
            return False
        except (RequestRefused, PayloadTooLarge):
            pass
        return True

    async def _again(self, call: Call) -> Answer:
        self._count_retry()
        await self._pacer.turn(self.settings.max_retry_seconds)
        return await self._exchange(call.path, call.body(call.token() if call.token else None))

    async def _exchange(self, path: str, body: bytes) -> Answer:
        self.stats.requests += 1
        self.stats.bytes += len(body)
        response = await self._transport.post(path, body)
        answer = read_response(
            response.status, response.headers, response.body, path=path, now=self._clock(), sent=body
        )
        if answer.empty:
            self._judge_empty_answer(path)
        elif answer.status != 204:
            self._paths_with_content.add(path)
        return answer

    def _judge_empty_answer(self, path: str) -> None:
        """Take an empty 2xx for an accident of something in between, unless this call is never answered otherwise.

        The exact answer of users/update isn't documented, so a server that always answers with nothing has to be
        accepted; but where one answered with content before, nobody can know that it stored what it answers with nothing.
        """
        self._empty_answers[path] += 1
        if path in self._paths_with_content or self._empty_answers[path] <= _EMPTY_ANSWERS_DOUBTED:
            raise TransientError("an empty answer", status=200, path=path)

    def _note_answer(self) -> None:
        self._last_answered = self._timer()
        self._unanswered = 0.0
        self._pacer.succeeded()

    def _count_retry(self) -> None:
        self.stats.retries += 1


def _with_advice(error: TokenRefused, advice: str) -> TokenRefused:
    # What Halo says of it is a code, or else our own words.
    code = "" if " " in error.message or not error.message else f" ({error.message})"
    return TokenRefused(f"{advice}{code}", status=error.status, path=error.path, user_errors=error.user_errors)
