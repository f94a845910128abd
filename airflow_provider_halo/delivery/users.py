"""Brings chunks of users to their outcomes: in full requests, and by bisection where Halo refuses one of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Final

import msgspec

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.responses import Answer
from airflow_provider_halo.contract import USERS_PER_UPDATE, USERS_UPDATE
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.refusals import (
    SYSTEMIC,
    ContextProbe,
    RefusalStreak,
    refusal_problem,
    trait_names,
)
from airflow_provider_halo.exceptions import PayloadTooLarge, RequestBlocked, RequestRefused, TransientError
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem

__all__ = ["ChunkResult", "UserDelivery"]

_HALF: Final = 0.55  # of a body that was too large: a half, and a little for chunks that weigh more than that one
_FRAME: Final = 40  # bytes of names, quotes and braces around one user in a body, about


@dataclass(eq=False)
class _Group:
    """Users that are sent together.

    :param known_bad: whether Halo is known to refuse this very group, so that it needn't be sent to be split.
    :param right: the other half of a group that was refused: if this one passes whole, that one is to blame.
    """

    users: Sequence[Change]
    known_bad: bool = False
    right: _Group | None = None

    @cached_property
    def weight(self) -> int:
        """Bytes of the users in a request's body, about."""
        return sum(len(user.payload.key) + user.payload.size for user in self.users) + _FRAME * len(self.users)


@dataclass(frozen=True)
class ChunkResult:
    """What a chunk came to, as far as links care.

    :param stored: users that were stored.
    :param unsure: users of which Halo stored some and skipped some, without saying which.
    """

    stored: list[Change] = field(default_factory=list)
    unsure: list[Change] = field(default_factory=list)


@dataclass(eq=False)
class _ChunkState:
    """A chunk under way: the groups still to be sent (the next one last), and the users that are being sent now."""

    stack: list[_Group]
    current: Sequence[Change] = ()
    result: ChunkResult = field(default_factory=ChunkResult)


class _BodyLimit:
    """The size of a users/update body that Halo takes, as learned from its 413s (no such limit is documented)."""

    def __init__(self) -> None:
        self._most: float = float("inf")
        self._accepted = 0

    def accept(self, group: _Group) -> None:
        """This group was taken in one body."""
        self._accepted = max(self._accepted, group.weight)

    def refuse(self, group: _Group) -> None:
        """This group was too much for one body."""
        if group.weight > self._accepted:  # else it is one of the users that is too large, and not the sum of them
            self._most = min(self._most, max(group.weight * _HALF, self._accepted))

    def reset(self) -> None:
        """One user was too large alone, which explains the refusals of all bodies that it was in: forget them."""
        self._most = float("inf")

    def bodies(self, group: _Group) -> int:
        """Into how many bodies a group goes, as far as is known."""
        return max(ceil(len(group.users) / USERS_PER_UPDATE), ceil(group.weight / self._most), 1)


class UserDelivery:
    """Brings chunks of users to their outcomes. One for a whole run: what it learns holds for the next chunks too.

    :param emit: takes each outcome.
    :param update_only: skip users that Halo doesn't know.
    """

    def __init__(self, client: HaloClient, emit: Callable[[Outcome], None], *, update_only: bool) -> None:
        self._client = client
        self._emit = emit
        self._update_only = update_only
        self._limit = _BodyLimit()
        self._streak = RefusalStreak("users")
        self._context = ContextProbe()

    async def deliver(self, users: Sequence[Change]) -> ChunkResult:
        """Send a chunk and emit an outcome for every user in it.

        :raises HaloError: for what ends the run; the users whose fate isn't known by then were emitted as failed.
        """
        chunk = _ChunkState(stack=[_Group(users)])
        try:
            while chunk.stack:
                group = chunk.stack.pop()
                chunk.current = group.users
                chunk.stack += await self._send(group, chunk)
        except BaseException as error:  # cancellation too: nobody may be lost from the counts
            reason = f"not settled when the run stopped ({type(error).__name__})"
            for unsettled in (chunk.current, *(group.users for group in chunk.stack)):
                self._fail(unsettled, reason)
            raise
        return chunk.result

    async def _send(self, group: _Group, chunk: _ChunkState) -> list[_Group]:
        """Send one group and emit what became of it, or give the groups to send in its place, the first one last."""
        if len(group.users) == 1:
            return await self._send_single(group, chunk)
        bodies = self._limit.bodies(group)
        if bodies > 1:
            return _equal_groups(group.users, bodies)
        if group.known_bad:
            return _halves(group.users, refused=True)
        try:
            answer = await self._update(group.users)
        except RequestRefused as refused:
            return _blamed_groups(group.users, refused) or _halves(group.users, refused=True)
        except PayloadTooLarge:
            self._limit.refuse(group)
            return _halves(group.users)
        except TransientError as error:
            self._fail(group.users, f"Halo didn't take the request: {error}")
            return []
        return await self._take_answer(group, answer, chunk)

    async def _send_single(self, group: _Group, chunk: _ChunkState) -> list[_Group]:
        user = group.users[0]
        try:
            answer = await self._update(group.users)
        except RequestRefused as refused:
            await self._refuse(user, refused, chunk)
            return []
        except PayloadTooLarge:
            self._limit.reset()
            self._reject(user, Problem("users", user.payload.key, "", "is too large for Halo (413)"))
            return []
        except TransientError as error:
            self._fail(group.users, f"Halo didn't take the request: {error}")
            return []
        return await self._take_answer(group, answer, chunk)

    async def _update(self, users: Sequence[Change]) -> Answer:
        return await self._client.update_users([user.payload for user in users], update_only=self._update_only)

    async def _take_answer(self, group: _Group, answer: Answer, chunk: _ChunkState) -> list[_Group]:
        """Emit what a yes says of each user; give the groups to send again where it doesn't."""
        if answer.user_errors or answer.unnamed_errors:
            return await self._take_errors(group, answer, chunk)
        self._store(group.users, answer.skipped, chunk.result)
        if group.right is not None:
            group.right.known_bad = True
        self._limit.accept(group)
        return []

    async def _take_errors(self, group: _Group, answer: Answer, chunk: _ChunkState) -> list[_Group]:
        """Reject the users that an answer names; where it counts errors without naming anyone, find them by halving."""
        named, others = _split_by_key(group.users, answer.user_errors)
        unnamed = answer.unnamed_errors + len(answer.user_errors.keys() - {user.payload.key for user in named})
        refused = RequestRefused(
            next(iter(answer.user_errors.values()), "the answer counts an error and names no user"),
            status=answer.status,
            path=USERS_UPDATE,
            user_errors=answer.user_errors,
        )
        if unnamed and len(group.users) == 1 and others:
            await self._refuse(others[0], refused, chunk)
            return []
        is_systemic = self._reject_named(named, refused)
        chunk.current = others
        if unnamed and others:
            return _halves(others, refused=True) if len(others) > 1 else [_Group(others)]
        if others:
            self._store(others, answer.skipped, chunk.result)
        elif is_systemic:
            await self._question_plan(chunk)
        self._limit.accept(group)
        return []

    def _reject_named(self, users: Sequence[Change], refused: RequestRefused) -> bool:
        """Reject users whom an answer names; gives whether so many in a row were refused that the plan is in doubt."""
        is_systemic = False
        for user in users:
            self._reject(user, refusal_problem("users", user.payload.key, refused, user.payload))
            is_systemic = self._streak.add(refused, user.payload.key)
        return is_systemic

    async def _refuse(self, user: Change, refused: RequestRefused, chunk: _ChunkState) -> None:
        """A user was refused alone: reject it, unless it is the plan that is to blame."""
        payload = user.payload
        is_blocked = isinstance(refused, RequestBlocked)
        if (
            not is_blocked
            and self._context.wants(payload)
            and await self._is_stored_alone(msgspec.structs.replace(payload, context=b""))
        ):
            reason = "Halo refuses it with its context; its traits were stored"
            self._reject(user, Problem("users", payload.key, "context", reason))
            chunk.current = ()
            self._context.add_witness(payload)
            return
        self._reject(user, refusal_problem("users", payload.key, refused, payload), is_curable=is_blocked)
        chunk.current = ()
        if self._streak.add(refused, payload.key):
            await self._question_plan(chunk)

    async def _question_plan(self, chunk: _ChunkState) -> None:
        """Ask whether twenty refusals in a row are the plan's fault.

        They may be neighbours in a chunk that is sound else. It is when as many of it were stored; if not, the user
        farthest from them decides, who is sent again with its group, which does no harm.

        :raises SystemicRefusal: when that one is refused too, or there is none.
        """
        if len(chunk.result.stored) + len(chunk.result.unsure) < SYSTEMIC:
            farthest = chunk.stack[0].users[-1] if chunk.stack else None
            if farthest is None or not await self._is_stored_alone(farthest.payload):
                raise self._streak.error()
        self._streak.end()

    async def _is_stored_alone(self, user: Payload) -> bool:
        try:
            answer = await self._client.update_users([user], update_only=self._update_only)
        except (RequestRefused, PayloadTooLarge, TransientError):
            return False
        return not answer.user_errors and not answer.unnamed_errors

    def _store(self, users: Sequence[Change], skipped: int, result: ChunkResult) -> None:
        self._streak.end()
        if skipped >= len(users):
            self._emit(Outcome(scope="users", status="skipped", count=len(users), changes=tuple(users)))
            return
        self._context.accept(with_context=any(user.payload.context for user in users))
        if not skipped:
            self._emit(Outcome(scope="users", status="stored", count=len(users), changes=tuple(users)))
            result.stored.extend(users)
            return
        # Which ones were skipped isn't said, so nobody may be remembered as stored.
        self._emit(Outcome(scope="users", status="stored", count=len(users) - skipped, unsure=tuple(users)))
        self._emit(Outcome(scope="users", status="skipped", count=skipped))
        result.unsure.extend(users)

    def _reject(self, user: Change, problem: Problem, *, is_curable: bool = False) -> None:
        rejection = Outcome(scope="users", status="rejected", changes=(user,), problem=problem, is_curable=is_curable)
        self._emit(rejection)

    def _fail(self, users: Sequence[Change], reason: str) -> None:
        if users:
            more = f" (with {len(users) - 1:,} more in one request)" if len(users) > 1 else ""
            problem = Problem("users", users[0].payload.key, "", reason + more)
            self._emit(Outcome(scope="users", status="failed", count=len(users), changes=tuple(users), problem=problem))


def _halves(users: Sequence[Change], *, refused: bool = False) -> list[_Group]:
    """The halves of a group, the left one last; ``refused``: at least one of the two holds somebody who is to blame."""
    middle = len(users) // 2
    right = _Group(users[middle:])
    return [right, _Group(users[:middle], right=right if refused else None)]


def _equal_groups(users: Sequence[Change], count: int) -> list[_Group]:
    """A group cut into so many groups of about the same size, the first one last."""
    size = ceil(len(users) / count)
    return [_Group(users[start : start + size]) for start in reversed(range(0, len(users), size))]


def _blamed_groups(users: Sequence[Change], refused: RequestRefused) -> list[_Group]:
    """Split off those whom a refusal blames, each to stand alone; none where it doesn't say.

    Blame is tried, not believed: nobody is rejected who wasn't refused alone. The others go first, so that their
    success shows that the plan as a whole is sound.
    """
    blamed, others = _split_by_key(users, refused.user_errors)
    if not blamed and refused.reserved_keys:
        reserved = frozenset(refused.reserved_keys)
        offending = {user.payload.key for user in users if not reserved.isdisjoint(trait_names(user.payload))}
        blamed, others = _split_by_key(users, offending)
    if not blamed:
        return []
    groups = [_Group([user]) for user in reversed(blamed)]
    return [*groups, _Group(others)] if others else groups


def _split_by_key(users: Sequence[Change], keys: Container[str]) -> tuple[list[Change], list[Change]]:
    """The users whose keys are among these, and the others."""
    return (
        [user for user in users if user.payload.key in keys],
        [user for user in users if user.payload.key not in keys],
    )
