"""Brings chunks of users to their outcomes, and says what refusals mean: a bad record, or a wrong plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final, TypeAlias

import msgspec

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.responses import Answer
from airflow_provider_halo.contract import USERS_PER_UPDATE, USERS_UPDATE
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.exceptions import (
    ApiError,
    ContextRefused,
    PayloadTooLarge,
    RequestRefused,
    SystemicRefusal,
    TransientError,
)
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope

SYSTEMIC: Final = 20  # design §4.5: so many single refusals with one cause and no success between them
_SAMPLES: Final = 3  # keys that the message names
_CONTEXT_WITNESSES: Final = 2  # users that Halo takes without their context, and not with it
_CONTEXT_PROBES: Final = 5  # users may be bad for another reason, so more than two may have to be asked about
_DIGITS: Final = re.compile(r"\d+")

Cause: TypeAlias = "tuple[int | None, tuple[str, ...], str]"


def cause_of(error: ApiError, key: str) -> Cause:
    """What a refusal is for, so that two records refused for one thing compare equal: key and digits don't count."""
    text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", "#", said_of(error, key))
    return error.status, error.reserved_keys, _DIGITS.sub("#", text)


def said_of(error: ApiError, key: str) -> str:
    """What Halo said of one record: its own error where the answer has one, else the error of the whole."""
    return error.user_errors.get(key) or error.message


@dataclass
class Streak:
    """The refusals of single records of one scope since its last success, all for the same cause."""

    scope: Scope
    cause: Cause | None = None
    keys: list[str] = field(default_factory=list)
    said: str = ""
    count: int = 0

    def success(self) -> None:
        """A record of this scope was stored."""
        self.cause, self.count = None, 0
        self.keys.clear()

    def refused(self, error: ApiError, key: str) -> bool:
        """Note the refusal of a single record, and say whether it is time to take it for systemic."""
        cause = cause_of(error, key)
        if cause != self.cause:
            self.success()
            self.cause = cause
        self.count += 1
        self.said = str(error)
        if len(self.keys) < _SAMPLES:
            self.keys.append(key)
        return self.count >= SYSTEMIC

    def error(self) -> SystemicRefusal:
        """The error that ends the run."""
        return SystemicRefusal(
            f"Halo refused {self.count} {self.scope} in a row for one cause, and stored none between them: {self.said} "
            f"(for example {', '.join(self.keys)}). That is the plan, not the records: mend it and run it again."
        )


class ContextWatch:
    """Whether Halo takes ``context`` inside users/update, which isn't documented.

    A user with context that is refused is sent once more without it, for as long as no user with context was accepted
    and the question is open.
    """

    def __init__(self) -> None:
        self._accepted = False
        self._probes = 0
        self._witnesses: list[str] = []

    def accepted(self, *, with_context: bool) -> None:
        """Some users were stored; ``with_context``: at least one of them carried context."""
        self._accepted = self._accepted or with_context

    def asks_for(self, user: Payload) -> bool:
        """Whether this refused user is to be sent once more without its context. Counts the probe."""
        if self._accepted or not user.context or self._probes >= _CONTEXT_PROBES:
            return False
        self._probes += 1
        return True

    def witness(self, user: Payload) -> None:
        """This user was refused with its context and stored without it.

        :raises ContextRefused: when another one was before it.
        """
        self._witnesses.append(user.key)
        if len(self._witnesses) >= _CONTEXT_WITNESSES and not self._accepted:
            raise ContextRefused(
                f"Halo refuses users that carry context in users/update, and takes the same users without it (tried with "
                f"{', '.join(self._witnesses)}). Set send_context: false under the plan's users, and run it again."
            )


def rejection(scope: Scope, key: str, error: ApiError, payload: Payload | None = None) -> Problem:
    """Why a record that Halo refused can't be stored."""
    reserved = [name for name in error.reserved_keys if payload is None or name in trait_names(payload)]
    at = f"traits.{reserved[0]}" if reserved else ""
    return Problem(scope, key, at, f"Halo refuses it: {said_of(error, key)}")


def trait_names(payload: Payload) -> frozenset[str]:
    """Names of the traits in a payload, read back from its bytes."""
    return (
        frozenset(msgspec.json.decode(payload.traits, type=dict[str, msgspec.Raw])) if payload.traits else frozenset()
    )


_HALF: Final = 0.55  # of a body that was too large: a half, and a little for chunks that weigh more than that one
_FRAME: Final = 40  # bytes of names, quotes and braces around one user in a body, about


@dataclass(eq=False)
class _Group:
    """Users that are sent together.

    :param known_bad: whether Halo is known to refuse this very group, so that it needn't be sent to be split.
    :param right: the other half of a group that was refused: if this one passes whole, that one is to blame.
    """

    users: Sequence[Payload]
    known_bad: bool = False
    right: _Group | None = None


@dataclass(frozen=True)
class Settled:
    """What a chunk came to, as far as links care.

    :param stored: users that were stored.
    :param unsure: users of which Halo stored some and skipped some, without saying which.
    """

    stored: list[Payload] = field(default_factory=list)
    unsure: list[Payload] = field(default_factory=list)


@dataclass(eq=False)
class _Chunk:
    """A chunk under way: the groups still to be sent (the next one last) and the users that are being settled now."""

    stack: list[_Group]
    current: Sequence[Payload] = ()
    settled: Settled = field(default_factory=Settled)


class BodyLimit:
    """The size of a users/update body that Halo takes, as learned from its 413s (no such limit is documented)."""

    def __init__(self) -> None:
        self._most: float = float("inf")
        self._accepted = 0

    def accepted(self, users: Sequence[Payload]) -> None:
        """These users were taken in one body."""
        self._accepted = max(self._accepted, _weight(users))

    def refused(self, users: Sequence[Payload]) -> None:
        """These users were too much for one body."""
        weight = _weight(users)
        if weight > self._accepted:  # else it is one of the users that is too large, and not the sum of them
            self._most = min(self._most, max(weight * _HALF, self._accepted))

    def refused_alone(self) -> None:
        """One user was too large alone, which explains the refusals of all bodies that it was in: unlearn them."""
        self._most = float("inf")

    def parts(self, users: Sequence[Payload]) -> int:
        """Into how many bodies these users go, as far as is known."""
        return max(ceil(len(users) / USERS_PER_UPDATE), ceil(_weight(users) / self._most), 1)


def _weight(users: Sequence[Payload]) -> int:
    return sum(user.size + len(user.key) + _FRAME for user in users)


class Settlement:
    """Brings chunks of users to their outcomes. One for a whole run: what it learns holds for the next chunks too.

    :param emit: takes each outcome.
    :param update_only: skip users that Halo doesn't know.
    """

    def __init__(self, client: HaloClient, emit: Callable[[Outcome], None], *, update_only: bool) -> None:
        self._client = client
        self._emit = emit
        self._update_only = update_only
        self._limit = BodyLimit()
        self._streak = Streak("users")
        self._context = ContextWatch()

    async def settle(self, users: Sequence[Payload]) -> Settled:
        """Send a chunk and emit an outcome for every user in it.

        :raises HaloError: for what ends the run; the users that it leaves unsettled were emitted as failed.
        """
        chunk = _Chunk(stack=[_Group(users)])
        try:
            while chunk.stack:
                group = chunk.stack.pop()
                chunk.current = group.users
                chunk.stack += await self._send(group, chunk)
        except BaseException as error:  # cancellation too: nobody may be lost from the counts
            reason = f"not settled when the run stopped ({type(error).__name__})"
            for left in (chunk.current, *(group.users for group in chunk.stack)):
                self._failed(left, reason)
            raise
        return chunk.settled

    async def _send(self, group: _Group, chunk: _Chunk) -> list[_Group]:
        """Send one group and emit what became of it, or give the groups to send in its place, the first one last."""
        users = group.users
        if len(users) > 1:
            parts = self._limit.parts(users)
            if parts > 1:
                return _even(users, parts)
            if group.known_bad:
                return _halves(users, refused=True)
        try:
            answer = await self._client.update_users(users, update_only=self._update_only)
        except RequestRefused as refused:
            if len(users) == 1:
                await self._refused(users[0], refused, chunk)
                return []
            return _blamed(users, refused) or _halves(users, refused=True)
        except PayloadTooLarge:
            if len(users) == 1:
                self._limit.refused_alone()
                self._reject(users[0], Problem("users", users[0].key, "", "is too large for Halo (413)"))
                return []
            self._limit.refused(users)
            return _halves(users)
        except TransientError as error:
            self._failed(users, f"Halo didn't take the request: {error}")
            return []
        return await self._answered(group, answer, chunk)

    async def _answered(self, group: _Group, answer: Answer, chunk: _Chunk) -> list[_Group]:
        """Emit what a yes says of each user; where it counts errors without naming anyone, find them by halving."""
        named, others = _named(group.users, answer.user_errors)
        unnamed = answer.unnamed_errors + len(answer.user_errors.keys() - {user.key for user in named})
        refused = RequestRefused(
            next(iter(answer.user_errors.values()), "the answer counts an error and names no user"),
            status=answer.status,
            path=USERS_UPDATE,
            user_errors=answer.user_errors,
        )
        if unnamed and len(group.users) == 1 and others:
            await self._refused(others[0], refused, chunk)
            return []
        systemic = False
        for user in named:
            self._reject(user, rejection("users", user.key, refused, user))
            systemic = self._streak.refused(refused, user.key)
        chunk.current = others
        if unnamed and others:
            return _halves(others, refused=True) if len(others) > 1 else [_Group(others)]
        if others:
            self._stored(others, answer.skipped, chunk.settled)
            if group.right is not None and not named:
                group.right.known_bad = True
        elif systemic:
            await self._question(chunk)
        self._limit.accepted(group.users)
        return []

    async def _refused(self, user: Payload, refused: RequestRefused, chunk: _Chunk) -> None:
        """A user was refused alone: reject it, unless it is the plan that is to blame."""
        if self._context.asks_for(user) and await self._stored_alone(msgspec.structs.replace(user, context=b"")):
            self._reject(
                user, Problem("users", user.key, "context", "Halo refuses it with its context; its traits were stored")
            )
            chunk.current = ()
            self._context.witness(user)
            return
        self._reject(user, rejection("users", user.key, refused, user))
        chunk.current = ()
        if self._streak.refused(refused, user.key):
            await self._question(chunk)

    async def _question(self, chunk: _Chunk) -> None:
        """Ask whether twenty refusals in a row are the plan's fault.

        They may be neighbours in a chunk that is sound else. It is when as many of it were stored; if not, the user
        farthest from them decides, who is sent again with its group, which does no harm.

        :raises SystemicRefusal: when that one is refused too, or there is none.
        """
        if len(chunk.settled.stored) + len(chunk.settled.unsure) < SYSTEMIC:
            farthest = chunk.stack[0].users[-1] if chunk.stack else None
            if farthest is None or not await self._stored_alone(farthest):
                raise self._streak.error()
        self._streak.success()

    async def _stored_alone(self, user: Payload) -> bool:
        try:
            answer = await self._client.update_users([user], update_only=self._update_only)
        except (RequestRefused, PayloadTooLarge, TransientError):
            return False
        return not answer.user_errors and not answer.unnamed_errors

    def _stored(self, users: Sequence[Payload], skipped: int, settled: Settled) -> None:
        self._streak.success()
        if skipped >= len(users):
            self._emit(Outcome(scope="users", status="skipped", count=len(users), payloads=tuple(users)))
            return
        self._context.accepted(with_context=any(user.context for user in users))
        if not skipped:
            self._emit(Outcome(scope="users", status="stored", count=len(users), payloads=tuple(users)))
            settled.stored.extend(users)
            return
        # Which ones were skipped isn't said, so nobody may be remembered as stored.
        self._emit(Outcome(scope="users", status="stored", count=len(users) - skipped, unsure=tuple(users)))
        self._emit(Outcome(scope="users", status="skipped", count=skipped))
        settled.unsure.extend(users)

    def _reject(self, user: Payload, problem: Problem) -> None:
        self._emit(Outcome(scope="users", status="rejected", payloads=(user,), problem=problem))

    def _failed(self, users: Sequence[Payload], reason: str) -> None:
        if users:
            more = f" (with {len(users) - 1:,} more in one request)" if len(users) > 1 else ""
            problem = Problem("users", users[0].key, "", reason + more)
            self._emit(
                Outcome(scope="users", status="failed", count=len(users), payloads=tuple(users), problem=problem)
            )


def _halves(users: Sequence[Payload], *, refused: bool = False) -> list[_Group]:
    """The halves of a group, the left one last; ``refused``: at least one of the two holds somebody who is to blame."""
    middle = len(users) // 2
    right = _Group(users[middle:])
    return [right, _Group(users[:middle], right=right if refused else None)]


def _even(users: Sequence[Payload], parts: int) -> list[_Group]:
    """A group cut into so many groups of about the same size, the first one last."""
    size = ceil(len(users) / parts)
    return [_Group(users[start : start + size]) for start in reversed(range(0, len(users), size))]


def _blamed(users: Sequence[Payload], refused: RequestRefused) -> list[_Group]:
    """Split off those whom a refusal blames, each to stand alone; none where it doesn't say.

    Blame is tried, not believed: nobody is rejected who wasn't refused alone. The others go first, so that their
    success shows that the plan as a whole is sound.
    """
    blamed, others = _named(users, refused.user_errors)
    if not blamed and refused.reserved_keys:
        reserved = frozenset(refused.reserved_keys)
        guilty = {user.key for user in users if not reserved.isdisjoint(trait_names(user))}
        blamed, others = _named(users, guilty)
    if not blamed:
        return []
    groups = [_Group([user]) for user in reversed(blamed)]
    return [*groups, _Group(others)] if others else groups


def _named(users: Sequence[Payload], keys: Container[str]) -> tuple[list[Payload], list[Payload]]:
    """The users whose keys are among these, and the others."""
    return [user for user in users if user.key in keys], [user for user in users if user.key not in keys]
