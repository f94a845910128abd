"""Checked users and companies, and the bytes that leave for Halo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Final

import msgspec

from airflow_provider_halo.contract import (
    COMPANY_BYTES,
    COMPANY_COLUMNS,
    COMPANY_RESERVED,
    CUSTOM_FIELDS_CHARACTERS,
    ENUMERATIONS,
    USER_BYTES,
    USER_COLUMNS,
    USER_RESERVED,
)
from airflow_provider_halo.encoding import is_broken, to_json
from airflow_provider_halo.records.problem import BROKEN_TEXT, InvalidRecords, InvalidValue, Problem, Scope, not_among
from airflow_provider_halo.records.values import Json

__all__ = [
    "Company",
    "ContextEntry",
    "Payload",
    "User",
    "identify_body",
    "link_body",
    "payload_of",
    "payloads_of",
    "users_update_body",
]

_RAW_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ContextEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One context entry, as the API takes it (documented).

    :param label: heads the section in the AI's prompt.
    :param value: any JSON value, or one that is encoded already.
    :param type: one of `contract.CONTEXT_TYPES`; None lets Halo pick a rendering.
    """

    label: str
    value: Json | msgspec.Raw
    type: str | None = None


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """One company: its key, traits by name and context entries by key."""

    company_id: str
    traits: dict[str, Json] = {}
    context: dict[str, ContextEntry] = {}


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user: its key, its company's key (None: belongs to none), traits by name and context entries by key."""

    user_id: str
    company_id: str | None = None
    traits: dict[str, Json] = {}
    context: dict[str, ContextEntry] = {}


class Payload(msgspec.Struct, frozen=True, gc=False):
    """One record, ready to be sent.

    :param scope: ``users`` or ``companies``.
    :param key: the record's key.
    :param traits: its traits as JSON bytes; empty bytes leave the key out of the request.
    :param context: its context as JSON bytes; empty bytes leave the key out of the request.
    :param company_id: of a user: the company to link it to, or None.
    :param left_out: what of it isn't in these bytes although the database has it, and why: entries, or rows of them.
    """

    scope: Scope
    key: str
    traits: bytes
    context: bytes
    company_id: str | None = None
    left_out: tuple[Problem, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of traits and context together: what the documented limits count."""
        return len(self.traits) + len(self.context)


def payload_of(record: Company | User) -> Payload | Problem:
    """Encode a record and hold it against the documented limits; one that is too large is refused whole, never cut."""
    scope: Scope = "users" if isinstance(record, User) else "companies"
    key = record.user_id if isinstance(record, User) else record.company_id
    company_id = record.company_id if isinstance(record, User) else None
    try:
        _check_traits(scope, record.traits)
        traits = _encoded(record.traits, "traits")
        context = _encoded(record.context, "context")
    except InvalidValue as problem:
        return Problem(scope, key, problem.field, problem.reason)
    invalid = _oversize(scope, traits, context, record.traits, record.context)
    if invalid is not None:
        return Problem(scope, key, invalid.field, invalid.reason)
    return Payload(scope, key, traits, context, company_id)


def payloads_of(  # noqa: PLR0917 (the columns of one table: no one of them has a default)
    scope: Scope,
    keys: Sequence[str],
    traits: Sequence[bytes | InvalidValue],
    contexts: Sequence[bytes | InvalidValue],
    company_ids: Iterable[str | None],
    invalid: InvalidRecords,
    *,
    trait_names: Iterable[str],
    entry_keys: Iterable[str] = (),
) -> list[Payload | Problem]:
    """Make the payloads of many records, whose values are encoded already, as `payload_of` makes each.

    :param traits: of each record, as a JSON object. That Halo takes their names and values was looked at before.
    :param contexts: of each record, as a JSON object; empty bytes where it has no entries.
    :param company_ids: of users: the company to link each to.
    :param invalid: why records can't be sent; those that are too large are added.
    :param trait_names: the traits in the order in which they were given, and ``entry_keys`` the entries: of two fields
        that make a record equally large, the first is told.
    """
    invalid.add_from(contexts)
    invalid.add_from(traits)
    sent_traits, sent_contexts = _only_bytes(traits, invalid), _only_bytes(contexts, invalid)
    if b"{}" in sent_traits:
        sent_traits = [b"" if encoded == b"{}" else encoded for encoded in sent_traits]
    if not _surely_within_limits(scope, sent_traits, sent_contexts):
        for place, sizes in enumerate(zip(sent_traits, sent_contexts, strict=True)):
            problem = _oversize(scope, *sizes, trait_names, entry_keys)
            if problem is not None:
                invalid.setdefault(place, problem)
    payloads: list[Payload | Problem] = list(map(Payload, repeat(scope), keys, sent_traits, sent_contexts, company_ids))
    for place, problem in invalid.items():
        payloads[place] = Problem(scope, keys[place], problem.field, problem.reason)
    return payloads


def _check_traits(scope: Scope, traits: Mapping[str, Json]) -> None:
    """Refuse names and values that Halo doesn't take.

    :raises InvalidValue: for the first of them.
    """
    reserved = (USER_RESERVED if scope == "users" else COMPANY_RESERVED) & traits.keys()
    if reserved:
        raise InvalidValue("is a name that Halo reserves; give it another name", f"traits.{min(reserved)}")
    for name, allowed in ENUMERATIONS.items():
        value = traits.get(name)
        if value is not None and value not in allowed:
            raise InvalidValue(not_among(allowed), f"traits.{name}")


def _encoded(members: Mapping[str, object], part: str) -> bytes:
    """Traits or context as JSON; empty bytes for none.

    :raises InvalidValue: for text that is no Unicode.
    """
    try:
        return to_json(members) if members else b""
    except UnicodeEncodeError:
        name = next((name for name, value in members.items() if is_broken(value)), None)
        # The name itself may be what is broken; a problem's text must be printable.
        field = "" if name is None else f"{part}.{name}".encode("utf-8", "replace").decode()
        raise InvalidValue(BROKEN_TEXT, field) from None


def _only_bytes(column: Sequence[bytes | InvalidValue], invalid: InvalidRecords) -> Sequence[bytes]:
    """A column with empty bytes in place of what can't be sent."""
    if not invalid:
        return column  # type: ignore[return-value]  # all reasons of the column are among them
    return [b"" if isinstance(value, InvalidValue) else value for value in column]


def _surely_within_limits(scope: Scope, traits: Sequence[bytes], contexts: Sequence[bytes]) -> bool:
    """Whether the longest of the traits and the longest of the contexts alone tell that no record is too large."""
    longest = max(map(len, traits), default=0)
    longest_context = max(map(len, contexts), default=0)
    return longest <= CUSTOM_FIELDS_CHARACTERS and longest + longest_context <= _largest_size(scope)


def _largest_size(scope: Scope) -> int:
    return USER_BYTES if scope == "users" else COMPANY_BYTES


def _oversize(
    scope: Scope, traits: bytes, context: bytes, trait_names: Iterable[str], entry_keys: Iterable[str]
) -> InvalidValue | None:
    """Why a record is too large, with its largest field; None when it isn't."""
    size = len(traits) + len(context)
    if size > _largest_size(scope):
        fields = {**_sizes(traits, "traits", trait_names), **_sizes(context, "context", entry_keys)}
        reason = f"{size:,} bytes of traits and context; Halo takes {_largest_size(scope):,}"
        return InvalidValue(reason, max(fields, key=fields.__getitem__))
    if len(traits) <= CUSTOM_FIELDS_CHARACTERS:  # the custom fields are a part of the traits
        return None
    columns = USER_COLUMNS if scope == "users" else COMPANY_COLUMNS
    custom = {name: value for name, value in _RAW_MEMBERS.decode(traits).items() if name not in columns}
    characters = len(to_json(custom).decode())
    if characters <= CUSTOM_FIELDS_CHARACTERS:
        return None
    fields = _sizes(to_json(custom), "traits", trait_names)
    reason = f"{characters:,} characters of custom fields; Halo takes {CUSTOM_FIELDS_CHARACTERS:,}"
    return InvalidValue(reason, max(fields, key=fields.__getitem__))


def _sizes(members: bytes, part: str, names: Iterable[str]) -> dict[str, int]:
    """How many bytes each member of a JSON object has, in the order of the names."""
    raw = _RAW_MEMBERS.decode(members or b"{}")
    return {f"{part}.{name}": memoryview(raw[name]).nbytes for name in names if name in raw}


def users_update_body(users: Iterable[Payload], *, token: str, update_only: bool = False) -> bytes:
    """Body of users/update. ``token`` is a bulk token; ``update_only`` skips users that Halo doesn't know."""
    parts = b",".join([_members(user, b'"user_id":' + to_json(user.key)) for user in users])
    head = b'"update_only":true,' if update_only else b""
    return b"{" + head + b'"user_token":' + to_json(token) + b',"users":[' + parts + b"]}"


def identify_body(payload: Payload, *, token: str | None = None, session_id: str | None = None) -> bytes:
    """Body of users/identify or companies/identify for one record; ``token`` is that user's token."""
    name = b'"user_id":' if payload.scope == "users" else b'"company_id":'
    members = [name + to_json(payload.key)]
    if session_id is not None:
        members.append(b'"session_id":' + to_json(session_id))
    if token is not None:
        members.append(b'"user_token":' + to_json(token))
    return _members(payload, b",".join(members))


def link_body(user_id: str, company_id: str, *, token: str | None = None) -> bytes:
    """Body of the companies/identify call that links a user to a company and changes nothing else."""
    body = {"company_id": company_id, "user_id": user_id}
    if token is not None:
        body["user_token"] = token
    return to_json(body)


def _members(payload: Payload, rest: bytes) -> bytes:
    context = b'"context":' + payload.context + b"," if payload.context else b""
    traits = b'"traits":' + payload.traits + b"," if payload.traits else b""
    return b"{" + context + traits + rest + b"}"
