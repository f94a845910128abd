"""Tells whether a refusal is for all requests or for what one of them says: what passed before is sent once more.

A 403 may come from Halo, for a credential, or from a firewall before it, for a word in a trait; their answers don't
always show it, and a mistake is dear: a run stopped for one record, or records rejected for a revoked secret.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, final

import msgspec

from airflow_provider_halo.contract import USERS_UPDATE
from airflow_provider_halo.exceptions import (
    ApiError,
    HaloError,
    HaloUnavailable,
    RequestBlocked,
    TokenRefused,
    UnreadableAnswer,
)
from airflow_provider_halo.records.payload import users_update_body

__all__ = ["SIGNED_ADVICE", "UNSIGNED_ADVICE", "Call", "Witnesses", "blocked"]

SIGNED_ADVICE: Final = "check identity_secret and this machine's clock"
UNSIGNED_ADVICE: Final = "set identity_secret, and leave verify_identity empty or on"

_Kind: TypeAlias = "tuple[str, bool]"


# Made for each request: a struct takes a tenth of the time that a frozen dataclass does.
class Call(msgspec.Struct, frozen=True):
    """One request before it has a token.

    :param path: path below the base URL.
    :param body: gives the body with a token in it.
    :param token: makes the token that it needs; None where it needs none.
    :param names_user: whether a single user is named in it, for whom Halo may want a token.
    :param witness: a body of the same kind that does no harm when it is sent again later; None where there is none.
    """

    path: str
    body: Callable[[str | None], bytes]
    token: Callable[[], str] | None = None
    names_user: bool = False
    witness: Callable[[str | None], bytes] | None = None


@final
class Witnesses:
    """The last call of each kind that Halo took. Of one event loop.

    :param passes: sends a call and says whether Halo itself answered it.
    :param base_url: where Halo is, for messages.
    """

    def __init__(self, passes: Callable[[Call], Awaitable[bool]], base_url: str) -> None:
        self._passes = passes
        self._base_url = base_url
        self._by_kind: dict[_Kind, Call] = {}
        self._lock = asyncio.Lock()
        self._looks: Counter[_Kind] = Counter()
        self._passed: dict[_Kind, bool] = {}

    def note(self, call: Call) -> None:
        """Halo took this call."""
        if call.witness is not None:
            self._by_kind[call.path, call.names_user] = call

    async def judge(self, call: Call, error: ApiError) -> HaloError:
        """The error that a refusal comes to: `RequestBlocked` where it is for what this call says."""
        still_pass = await self.pass_still(call, error)
        if still_pass is None:
            return error
        if still_pass:
            return blocked(error)
        if isinstance(error, RequestBlocked):
            return HaloUnavailable(
                f"{error}. It lets nothing else pass either. What was stored stays stored: have requests to "
                f"{self._base_url} let through, and run it again. Or, should these be Halo's own words, {SIGNED_ADVICE}."
            )
        return error

    async def pass_still(self, call: Call, error: ApiError) -> bool | None:
        """Whether what Halo took before passes while this call doesn't; None where there is nothing to try.

        Calls that are refused at the same time share one look.
        """
        kind = (call.path, call.names_user)
        taken = self._by_kind.get(kind)
        if taken is not None and taken.witness is not None:
            witness: Call | None = Call(taken.path, taken.witness, taken.token)
        else:
            witness = _neutral(call, error)
        if witness is None:
            return None
        looks = self._looks[kind]
        async with self._lock:
            if self._looks[kind] == looks:
                self._passed[kind] = await self._passes(witness)
                self._looks[kind] += 1
            return self._passed[kind]


def blocked(error: ApiError) -> RequestBlocked:
    """The error of a call that was refused for what it says, by something in front of Halo."""
    message = f"HTTP {error.status}, while others like it pass: a firewall or proxy in front of Halo refused it"
    if isinstance(error, RequestBlocked):
        message = error.message
    elif isinstance(error, UnreadableAnswer):
        message = f"HTTP {error.status} from a firewall or proxy in front of Halo, not Halo's answer ({error.message})"
    return RequestBlocked(message, status=error.status, path=error.path)


def _neutral(call: Call, error: ApiError) -> Call | None:
    """A call that stores nothing, for the time before anything has passed; None where it would say nothing.

    Halo judges credentials before the body, and refuses these for what they lack (assumed, as by `HaloClient.test`).
    """
    if call.path == USERS_UPDATE:
        return Call(USERS_UPDATE, lambda token: users_update_body((), token=token or ""), call.token)
    if isinstance(error, TokenRefused) and call.names_user:
        return None  # the token of one user is refused or missing, and this names none
    return Call(call.path, lambda _: b"{}")
