"""Says what refusals mean: a bad record, a wrong plan, or a server that takes no context."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from airflow_provider_halo.exceptions import ApiError, ContextRefused, RequestBlocked, SystemicRefusal
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope

__all__ = ["SYSTEMIC", "ContextProbe", "RefusalStreak", "refusal_problem", "trait_names"]

SYSTEMIC: Final = 20  # design §4.5: so many single refusals with one cause and no success between them
_SAMPLES: Final = 3  # keys that the message names
_CONTEXT_WITNESSES: Final = 2  # users that Halo takes without their context, and not with it
_CONTEXT_PROBES: Final = 5  # users may be bad for another reason, so more than two may have to be asked about
_DIGITS: Final = re.compile(r"\d+")

_MASK: Final = "…"
_BLOCKED: Final = (
    "look for what may look like an attack (markup, SQL, a path) in its values, and leave it out of the plan's SQL or have "
    "the rule changed; the next run tries it again"
)
_PLAN_ADVICE: Final = "The cause is the plan, not the records: fix the plan and run it again."
_BLOCKED_ADVICE: Final = (
    "Neither plan nor records are the cause: have requests to Halo let through, and run it again. Or, should these be "
    "Halo's own words, check the connection."
)

_Cause: TypeAlias = "tuple[int | None, tuple[str, ...], str]"


@dataclass
class RefusalStreak:
    """The refusals of single records of one scope since its last success, all for the same cause."""

    scope: Scope
    cause: _Cause | None = None
    keys: list[str] = field(default_factory=list)
    message: str = ""
    advice: str = _PLAN_ADVICE
    count: int = 0

    def end(self) -> None:
        """A record of this scope was stored: the next refusal is the first again."""
        self.cause, self.count = None, 0
        self.keys.clear()

    def add(self, error: ApiError, key: str) -> bool:
        """Count the refusal of a single record, and say whether it is time to take it for systemic."""
        cause = _cause_of(error, key)
        if self.cause is None or not _is_same_cause(cause, self.cause):
            self.end()
            self.cause = cause
        self.count += 1
        self.message = str(error)
        self.advice = _BLOCKED_ADVICE if isinstance(error, RequestBlocked) else _PLAN_ADVICE
        if len(self.keys) < _SAMPLES:
            self.keys.append(key)
        return self.count >= SYSTEMIC

    def error(self) -> SystemicRefusal:
        """The error that ends the run."""
        return SystemicRefusal(
            f"Halo refused {self.count} {self.scope} in a row for the same cause, and stored none in between: {self.message} "
            f"(for example {', '.join(self.keys)}). {self.advice}"
        )


class ContextProbe:
    """Finds out whether Halo takes ``context`` inside users/update, which isn't documented.

    A user with context that is refused is sent once more without it, for as long as no user with context was accepted
    and the question is open.
    """

    def __init__(self) -> None:
        self._is_accepted = False
        self._probes = 0
        self._witnesses: list[str] = []

    def accept(self, *, with_context: bool) -> None:
        """Some users were stored; ``with_context``: at least one of them carried context."""
        self._is_accepted = self._is_accepted or with_context

    def wants(self, user: Payload) -> bool:
        """Whether this refused user is to be sent once more without its context. Counts the probe."""
        if self._is_accepted or not user.context or self._probes >= _CONTEXT_PROBES:
            return False
        self._probes += 1
        return True

    def add_witness(self, user: Payload) -> None:
        """This user was refused with its context and stored without it.

        :raises ContextRefused: when another one was before it.
        """
        self._witnesses.append(user.key)
        if len(self._witnesses) >= _CONTEXT_WITNESSES and not self._is_accepted:
            raise ContextRefused(
                f"Halo refuses users that carry context in users/update, and takes the same users without it (tried with "
                f"{', '.join(self._witnesses)}). Set send_context: false under the plan's users, and run it again."
            )


def refusal_problem(scope: Scope, key: str, error: ApiError, payload: Payload | None = None) -> Problem:
    """Why a record that Halo refused, or something before it, can't be stored."""
    if isinstance(error, RequestBlocked):
        return Problem(scope, key, "", f"{error.message}; {_BLOCKED}")
    reserved = [name for name in error.reserved_keys if payload is None or name in trait_names(payload)]
    field_name = f"traits.{reserved[0]}" if reserved else ""
    return Problem(scope, key, field_name, f"Halo refuses it: {_message_of(error, key)}")


def trait_names(payload: Payload) -> frozenset[str]:
    """Names of the traits in a payload, read back from its bytes."""
    if not payload.traits:
        return frozenset()
    return frozenset(msgspec.json.decode(payload.traits, type=dict[str, msgspec.Raw]))


def _cause_of(error: ApiError, key: str) -> _Cause:
    """What a refusal is for, so that two records refused for one thing compare equal: key and digits don't count."""
    text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", "#", _message_of(error, key))
    return error.status, error.reserved_keys, _DIGITS.sub("#", text)


def _is_same_cause(one: _Cause, other: _Cause) -> bool:
    """Whether two refusals are for one thing. What is masked in a message may be any word: records differ in it."""
    if one[:2] != other[:2]:
        return False
    words, others = one[2].split(), other[2].split()
    return len(words) == len(others) and all(
        word == said or _MASK in word or _MASK in said for word, said in zip(words, others, strict=True)
    )


def _message_of(error: ApiError, key: str) -> str:
    """What Halo said of one record: its own error where the answer has one, else the error of the whole."""
    return error.user_errors.get(key) or error.message
