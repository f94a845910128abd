"""A batch: which part of the companies and users one task brings to Halo. It holds keys and counts, never people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from airflow_provider_halo.records.shown import shown_key

__all__ = ["Batch", "Key", "KeyType"]

KeyType = Literal["integer", "text", "uuid"]
Key: TypeAlias = "int | str | UUID"


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One batch, as it travels through XCom (`to_dict`, `from_dict`).

    Exactly one of five shapes:

    - a range of company keys, half open: ``first <= key < next``; None as a bound leaves that side open;
    - ``no_company``: the users that belong to no company;
    - ``companies``: these companies and their users (`users_too`), and no others;
    - ``user``: this one user, with ``companies`` holding its company when that is to be sent too;
    - ``gone``: the records that the run's look has found to be gone, which are emptied.

    :param key_type: type of the company keys, so that bounds are bound as what they are.
    :param user_key_type: type of ``user``.
    :param repeated_users: whether the users query gives any user in several rows, found out over the whole query; None
        where nobody has asked.
    :param plain: names of the queries whose keys were found to be the records' own texts (`source.matches`), ``*`` for
        all; the rows of others are matched to records by the database.
    :param index: number of the batch, from 1; ``of``: how many the run has.
    :param expected_companies: companies in it when it was planned; an estimate for progress and labels.
    :param expected_users: users in it when it was planned.
    """

    key_type: KeyType = "integer"
    first: int | str | None = None
    next: int | str | None = None
    no_company: bool = False
    companies: tuple[int | str, ...] | None = None
    users_too: bool = True
    user: int | str | None = None
    user_key_type: KeyType = "integer"
    repeated_users: bool | None = None
    gone: bool = False
    plain: tuple[str, ...] = ()
    index: int = 1
    of: int = 1
    expected_companies: int | None = None
    expected_users: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON for XCom; `from_dict` reads it back."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))  # to_builtins would leave a tuple
        return {"label": self.label, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Batch:
        """Read what `to_dict` wrote.

        :raises msgspec.ValidationError: for anything else; its text names the key.
        """
        return msgspec.convert({name: value for name, value in data.items() if name != "label"}, cls)

    @property
    def is_by_name(self) -> bool:
        """Whether somebody asked for this company or user, so that the batch is all of its run."""
        return self.of == 1 and (self.user is not None or (self.companies is not None and not self.users_too))

    @property
    def label(self) -> str:
        """The batch in a few words, for task labels and logs."""
        if self.user is not None:
            return f"user {shown_key(self.user)}"
        if self.companies is not None:
            head = ", ".join(map(shown_key, self.companies[:3]))
            more = len(self.companies) - 3
            return f"companies {head}" + (f" and {more} more" if more > 0 else "")
        if self.gone:
            return f"{self.index}/{self.of}: records that are gone"
        users = "" if self.expected_users is None else f", {self.expected_users:,} users"
        return f"{self.index}/{self.of}: {self._range_label}{users}"

    @property
    def _range_label(self) -> str:
        if self.no_company:
            return "users without a company"
        if self.first is None and self.next is None:
            return "all companies"
        if self.first is None:
            return f"companies before {shown_key(self.next)}"
        if self.next is None:
            return f"companies from {shown_key(self.first)}"
        return f"companies {shown_key(self.first)} to before {shown_key(self.next)}"

    def bind(self, key: int | str | None, key_type: KeyType | None = None) -> Key | None:
        """A bound or key as the Python value that a database driver takes for its type."""
        if key is not None and (key_type or self.key_type) == "uuid":
            return UUID(str(key))
        return key
