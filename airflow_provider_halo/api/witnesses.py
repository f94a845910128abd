"""Tells whether a refusal is for all requests or for what one of them says: what passed before is sent once more.

A 403 may come from Halo, for a credential, or from a firewall before it, for a word in a trait; their answers don't
always show it, and a mistake is dear: a run stopped for one record, or records rejected for a revoked secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, final

__all__ = ["Call", "Witnesses"]

Body: TypeAlias = "Callable[[str | None], bytes]"
"""Gives a request's body with a token in it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it has a token.

    :param path: path below the base URL.
    :param token: makes the token that it needs; None where it needs none.
    :param names_user: whether a single user is named in it, for whom Halo may want a token.
    :param witness: a body of the same kind that does no harm when it is sent again later; None where there is none.
    """

    path: str
    body: Body
    token: Callable[[], str] | None = None
    names_user: bool = False
    witness: Body | None = None


@final
class Witnesses:
    """The last call of each kind that Halo took. Of one event loop.

    :param passes: sends a call and says whether Halo itself answered it.
    """

    def __init__(self, passes: Callable[[Call], Awaitable[bool]]) -> None:
        self._passes = passes
        self._by_kind: dict[tuple[str, bool], Call] = {}
        self._lock = asyncio.Lock()
        self._looks = 0
        self._passed = False

    def note(self, call: Call) -> None:
        """Halo took this call."""
        if call.witness is not None:
            self._by_kind[_kind(call)] = Call(call.path, call.witness, call.token, call.names_user)

    async def still_pass(self, call: Call, neutral: Call | None) -> bool | None:
        """Whether what Halo took before passes while this call doesn't; None where there is nothing to try.

        Calls that are refused at the same time share one look.

        :param neutral: what is tried while Halo has taken nothing of this kind yet.
        """
        witness = self._by_kind.get(_kind(call), neutral)
        if witness is None:
            return None
        looks = self._looks
        async with self._lock:
            if self._looks == looks:
                self._passed = await self._passes(witness)
                self._looks += 1
            return self._passed


def _kind(call: Call) -> tuple[str, bool]:
    return call.path, call.names_user
