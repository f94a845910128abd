"""Checked users and companies, and the bytes that leave for Halo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.records.problem import BROKEN_TEXT, Problem, Scope
from airflow_provider_halo.records.values import Json


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
    """

    scope: Scope
    key: str
    traits: bytes
    context: bytes
    company_id: str | None = None

    @property
    def size(self) -> int:
        """Bytes of traits and context together: what the documented limits count."""
        return len(self.traits) + len(self.context)


def payload_of(record: Company | User) -> Payload | Problem:
    """Encode a record and hold it against the documented limits; one that is too large is refused whole, never cut."""
    if isinstance(record, User):
        scope: Scope = "users"
        key, company_id = record.user_id, record.company_id
        limit, columns, reserved = USER_BYTES, USER_COLUMNS, USER_RESERVED
    else:
        scope, key, company_id = "companies", record.company_id, None
        limit, columns, reserved = COMPANY_BYTES, COMPANY_COLUMNS, COMPANY_RESERVED
    traits = record.traits
    if not reserved.isdisjoint(traits):
        name = min(reserved & traits.keys())
        return Problem(scope, key, f"traits.{name}", "is a name that Halo reserves; give it another name")
    for name, allowed in ENUMERATIONS.items():
        value = traits.get(name)
        if value is not None and value not in allowed:
            return Problem(scope, key, f"traits.{name}", f"is none of {', '.join(allowed)}")
    try:
        payload = Payload(
            scope,
            key,
            to_json(traits) if traits else b"",
            to_json(record.context) if record.context else b"",
            company_id,
        )
    except UnicodeEncodeError:
        return Problem(scope, key, _broken_text(record), BROKEN_TEXT)
    if payload.size > limit:
        return Problem(
            scope, key, _largest(record), f"{payload.size:,} bytes of traits and context; Halo takes {limit:,}"
        )
    # The custom fields are a part of the traits, so short traits need no second look.
    if len(payload.traits) > CUSTOM_FIELDS_CHARACTERS:
        custom: dict[str, Json] = {name: value for name, value in traits.items() if name not in columns}
        characters = len(to_json(custom).decode())
        if characters > CUSTOM_FIELDS_CHARACTERS:
            return Problem(
                scope,
                key,
                _largest(record, custom),
                f"{characters:,} characters of custom fields; Halo takes {CUSTOM_FIELDS_CHARACTERS:,}",
            )
    return payload


def within_limits(scope: Scope, traits: Sequence[bytes], contexts: Sequence[bytes]) -> bool:
    """Whether `payload_of` certainly refuses none of some records for its size.

    :param traits: their traits as JSON bytes, at least one; ``contexts``: their contexts.
    """
    longest = max(map(len, traits))
    limit = USER_BYTES if scope == "users" else COMPANY_BYTES
    return longest <= CUSTOM_FIELDS_CHARACTERS and longest + max(map(len, contexts)) <= limit


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


def _fields(record: Company | User) -> dict[str, object]:
    fields: dict[str, object] = {f"traits.{name}": value for name, value in record.traits.items()}
    fields.update({f"context.{name}": entry for name, entry in record.context.items()})
    return fields


def _largest(record: Company | User, traits: dict[str, Json] | None = None) -> str:
    fields = _fields(record) if traits is None else {f"traits.{name}": value for name, value in traits.items()}
    return max(fields, key=lambda name: len(to_json(fields[name])))


def _broken_text(record: Company | User) -> str:
    for name, value in _fields(record).items():
        try:
            to_json(value)
        except UnicodeEncodeError:
            # The name itself may be what is broken; a problem's text must be printable.
            return name.encode("utf-8", "replace").decode()
    return ""
