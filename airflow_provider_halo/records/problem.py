"""What is wrong with one record: a value that is counted and shown, never raised."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

__all__ = ["BROKEN_TEXT", "SCOPES", "STATUSES", "InvalidValue", "Problem", "Scope", "Status"]

Scope = Literal["companies", "users", "links"]
Status = Literal["stored", "unchanged", "skipped", "rejected", "failed"]  # what became of a record
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

BROKEN_TEXT: Final = "holds text that is no Unicode (a lone surrogate)"


class Problem(msgspec.Struct, frozen=True):
    """Why one record can't be stored.

    :param scope: ``companies``, ``users`` or ``links``.
    :param key: the record's key, as Halo knows it.
    :param field: the trait or entry at fault (``traits.mrr``, ``context.integrations``); empty for the record as a whole.
    :param reason: what is wrong, in words, without the value.
    """

    scope: Scope
    key: str
    field: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.scope} {self.key}"
        return f"{where}: {self.field}: {self.reason}" if self.field else f"{where}: {self.reason}"


class InvalidValue(ValueError):
    """A value or key that has no form in JSON. Caught where the record is built, and turned into a `Problem`.

    :param reason: what is wrong, without the value.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
