"""Faults that a sandbox plays: what is done to which requests, read from a short text or from JSON."""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

__all__ = ["HELP", "Fault", "FaultError", "Faults", "parse_fault", "read_fault"]

Kind = Literal["status", "reset", "truncate", "delay", "empty", "html", "expire"]
When = Literal["before", "during", "after"]

_RETRY_AFTER: Final = re.compile(r"date\+\d{1,5}(\.\d+)?|(?!date\+)[ -~]*")
_RANGES: Final[tuple[tuple[str, int, float], ...]] = (
    *((name, 1, math.inf) for name in ("nth", "first", "every", "times")),
    ("probability", 0, 1),
    ("status", 200, 599),
    ("seconds", 0, 3600),
)
HELP: Final = (
    "KIND[:KEY=VALUE,...], KIND one of a status (429, 500, ...), reset, reset_before, reset_during, reset_after, "
    "truncate, delay, empty, html, expire (the token that is sent expires with this call); KEYs: path, contains, nth, first, every, times, probability, seed, when, "
    "retry_after (seconds or date+SECONDS), seconds, body. Example: 429:every=10,retry_after=2"
)


class FaultError(ValueError):
    """A fault that can't be understood; the text says what is wrong and what is possible."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. A request is hit when all that is given holds; requests are counted per rule, from 1.

    :param kind: what happens: another ``status``, a ``reset`` connection, a ``truncate`` (half an answer), a ``delay``, an
        ``empty`` 200, a 200 with ``html``, or an ``expire``: the request's token counts as expired from now on.
    :param path: only requests whose path has this in it.
    :param contains: only requests whose body has this in it.
    :param nth: only this one of the matching requests.
    :param first: the first of the matching requests that may be hit.
    :param every: each so-many-th of the matching requests.
    :param times: at most so many hits.
    :param probability: how likely a hit is, 0 to 1.
    :param seed: makes ``probability`` repeatable.
    :param status: of ``status``: the HTTP status.
    :param when: of ``reset``: ``before`` anything is stored, ``during`` the answer or ``after`` storing but before the
        answer; of ``status``: ``before``, or ``after`` what was sent is stored all the same.
    :param retry_after: of ``status``: the Retry-After header; ``date+5`` sends the HTTP date 5 seconds ahead.
    :param seconds: of ``delay``: how long.
    :param body: of ``status`` and ``html``: the answer's text, HTML when it starts with ``<``.
    """

    kind: Kind
    path: str = ""
    contains: str = ""
    nth: int | None = None
    first: int = 1
    every: int | None = None
    times: int | None = None
    probability: float | None = None
    seed: int = 0
    status: int = 500
    when: When = "before"
    retry_after: str | None = None
    seconds: float = 1.0
    body: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that could never hit or can't be sent.

        :raises FaultError: when one is out of range.
        """
        for name, lowest, highest in _RANGES:
            number = getattr(self, name)
            if number is not None and not lowest <= number <= highest:
                limits = "1 or more" if highest == math.inf else f"between {lowest} and {highest}"
                raise FaultError(f"{name}={number} must be {limits}")
        if self.kind == "status" and self.when == "during":
            raise FaultError("when=during is for reset; a status comes before or after storing")
        if self.retry_after is not None and not _RETRY_AFTER.fullmatch(self.retry_after):
            raise FaultError(f"retry_after={self.retry_after!r} must be printable ASCII, or date+SECONDS")


def parse_fault(text: str) -> Fault:
    """Read a fault as it stands on a command line or in a URL, ``KIND[:KEY=VALUE,...]``; see ``HELP``.

    :raises FaultError: when the text can't be understood.
    """
    name, _, rest = text.strip().partition(":")
    fields: dict[str, str] = {}
    if name.isdecimal():
        fields |= {"kind": "status", "status": name}
    elif name.startswith("reset_"):
        fields |= {"kind": "reset", "when": name.removeprefix("reset_")}
    else:
        fields["kind"] = name
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise FaultError(f"fault {text!r}: {part!r} is not KEY=VALUE; expected {HELP}")
        if key in fields:
            raise FaultError(f"fault {text!r}: {key} is given twice")
        fields[key] = value
    return _convert(fields, text)


def read_fault(value: object) -> Fault:
    """Read a fault from decoded JSON: a text as for ``parse_fault``, or an object with the fields of ``Fault``.

    :raises FaultError: when it is neither.
    """
    return parse_fault(value) if isinstance(value, str) else _convert(value, "in JSON")


def _convert(fields: Any, text: str) -> Fault:
    try:
        # Texts become numbers: a command line has nothing else.
        return msgspec.convert(fields, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise FaultError(f"fault {text!r}: {error}; expected {HELP}") from None


@dataclass
class _Rule:
    fault: Fault
    matched: int = 0
    hits: int = 0
    dice: random.Random = field(default_factory=random.Random)

    def hit(self, path: str, body: bytes) -> bool:
        fault = self.fault
        if fault.path not in path or fault.contains.encode() not in body:
            return False
        self.matched += 1
        # The dice are thrown for each matching request, so that the other conditions don't shift their order.
        lucky = fault.probability is None or self.dice.random() < fault.probability
        due = lucky and self._is_turn()
        self.hits += due
        return due

    def _is_turn(self) -> bool:
        """Whether the request that was counted last is one of those that the fault may hit."""
        fault = self.fault
        if fault.nth is not None and self.matched != fault.nth:
            return False
        if fault.every is not None and self.matched % fault.every:
            return False
        return self.matched >= fault.first and (fault.times is None or self.hits < fault.times)


class Faults:
    """The rules in force and what they have seen; may be changed from any thread while requests run."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self.set(faults)

    def set(self, faults: Iterable[Fault]) -> None:
        """Put these rules in place of the old ones; counting starts anew."""
        rules = [_Rule(fault, dice=random.Random(fault.seed)) for fault in faults]  # noqa: S311 - a test's dice, no secret
        with self._lock:
            self._rules = rules

    def decide(self, path: str, body: bytes) -> list[Fault]:
        """Count one request; what happens to it: all delays that are due, and at most one other fault, the first."""
        with self._lock:
            due = [rule.fault for rule in self._rules if rule.hit(path, body)]
        delays = [fault for fault in due if fault.kind == "delay"]
        return delays + [fault for fault in due if fault.kind != "delay"][:1]

    def describe(self) -> list[dict[str, Any]]:
        """The rules with how many requests each has matched and hit."""
        with self._lock:
            return [
                {**msgspec.structs.asdict(rule.fault), "matched": rule.matched, "hits": rule.hits}
                for rule in self._rules
            ]
