"""What is wrong with one record: a value that is counted and shown, never raised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

import msgspec

from airflow_provider_halo.records.shown import shown_key

__all__ = [
    "BROKEN_TEXT",
    "SCOPES",
    "STATUSES",
    "InvalidRecords",
    "InvalidValue",
    "Problem",
    "Scope",
    "Status",
    "not_among",
]

Scope = Literal["companies", "users", "links"]
Status = Literal["stored", "partial", "unchanged", "skipped", "rejected", "failed"]  # what became of a record
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
        where = f"{self.scope} {shown_key(self.key)}"
        return f"{where}: {self.field}: {self.reason}" if self.field else f"{where}: {self.reason}"


class InvalidValue(ValueError):
    """A value or key that can't be sent. Where a record is built it becomes a `Problem`.

    One value is converted or this is raised; in a column of many it stands in the value's place.

    :param reason: what is wrong, without the value.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class InvalidRecords(dict[int, InvalidValue]):
    """Why some of many records can't be sent, by their place among them: the first reason of each stands."""

    def add_from(self, column: Sequence[object]) -> None:
        """Add the reasons that stand in place of a column's values."""
        if InvalidValue in frozenset(map(type, column)):
            for place, value in enumerate(column):
                if isinstance(value, InvalidValue):
                    self.setdefault(place, value)


def not_among(allowed: Iterable[str]) -> str:
    """The reason of a value that must be one of those that Halo takes."""
    return f"is none of {', '.join(allowed)}"
