"""What the API accepts: every rule as a pure check that raises a Refusal, which says whether it is documented."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal

import msgspec

__all__ = [
    "COMPANY",
    "USER",
    "Documented",
    "Kind",
    "Refusal",
    "check_record",
    "parse_iso_8601",
    "read_event_user",
    "read_id",
    "read_object",
    "read_users",
]

DOCS_URL: Final = "https://docs.haloagents.ai/api-reference#reserved-traits"  # documented: there is one; its text isn't
USERS_PER_CALL: Final = 1000
EVENTS_PER_CALL: Final = 100
EVENT_METADATA_BYTES: Final = 10_000
EVENT_TYPE_LENGTH: Final = 100
CUSTOM_FIELDS_LENGTH: Final = 10_000

TERMS: Final = ("monthly", "quarterly", "annual", "bi_annual")
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "renewal_status": (
        *("up_for_renewal", "in_progress", "likely_to_renew", "expansion_opportunity", "set_to_cancel"),
        *("set_to_cancel_trial", "at_risk", "renewed", "lost"),
    ),
    "contract_term": TERMS,
    "payment_terms": TERMS,
}
DATES: Final = ("signed_up_at", "renewal_date")
ENTRY_TYPES: Final = frozenset(
    ("list", "integration", "error", "status", "config", "feature", "metric", "relationship", "custom"),
)


Documented = Literal["yes", "rule", "no"]
"""Whether HaloAgents documents a refusal: with its status; the rule, but not what breaking it is answered; not at all."""


class Refusal(Exception):
    """A request that is refused.

    :param status: the HTTP status.
    :param error: the text of the answer's ``error``; it names fields and keys, never the values of traits.
    :param documented: whether HaloAgents documents it.
    :param more: further members of the answer.
    """

    def __init__(self, status: int, error: str, *, documented: Documented = "no", **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.documented = documented
        self.more = more

    @property
    def body(self) -> dict[str, object]:
        """The answer's JSON object."""
        return {"error": self.error, **self.more}


@dataclass(frozen=True)
class Kind:
    """What differs between users and companies.

    :param noun: ``user`` or ``company``.
    :param limit: the most bytes of traits and context in one call.
    :param columns: traits that have a column of their own; all others are custom fields.
    :param reserved: traits that are refused.
    """

    noun: str
    limit: int
    columns: frozenset[str]
    reserved: frozenset[str]


_SHARED_COLUMNS: Final = (
    *("name", "signed_up_at", "renewal_date", "renewal_status", "contract_term", "payment_terms"),
    *("on_contract", "mrr", "arr"),
)
_SHARED_RESERVED: Final = ("id", "external_id", "org_id", "created_at", "updated_at", "last_contacted_at")
USER: Final = Kind(
    noun="user",
    limit=20_000,
    columns=frozenset((*_SHARED_COLUMNS, "email")),
    reserved=frozenset((*_SHARED_RESERVED, "company_id", "first_seen", "last_seen")),
)
COMPANY: Final = Kind(
    noun="company",
    limit=50_000,
    columns=frozenset((*_SHARED_COLUMNS, "domain", "industry", "plan", "employee_count")),
    reserved=frozenset((*_SHARED_RESERVED, "health_score", "team_size")),
)

_ISO_8601: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:T(?P<minute>\d\d:\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def read_object(body: bytes) -> dict[str, Any]:
    """Body of a request as a JSON object.

    :raises Refusal: 400 when it is not JSON, or not an object.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: bad UTF-8
        raise Refusal(400, "body is not valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "body must be a JSON object")
    return value


def read_id(body: dict[str, Any], name: str) -> str:
    """The non-empty string under ``name``.

    :raises Refusal: 400 when it is missing, empty, or of another type.
    """
    if name not in body:
        raise Refusal(400, f"{name} is required", documented="rule")
    value = body[name]
    if not isinstance(value, str):
        raise Refusal(400, f"{name} must be a string", documented="rule")
    if not value:
        raise Refusal(400, f"{name} must not be empty")
    return value


def check_record(record: dict[str, Any], kind: Kind, *, in_bulk: bool = False) -> None:
    """Hold ``traits`` and ``context`` of one user or company against the documented rules.

    :param in_bulk: in a ``users/update``, of which neither size nor reserved traits are documented: assumed as elsewhere.
    :raises Refusal: 400; for reserved traits with every offending key and a link to the documentation.
    """
    traits = record.get("traits", {})
    context = record.get("context", {})
    if not isinstance(traits, dict):
        raise Refusal(400, "traits must be an object", documented="rule")
    if not isinstance(context, dict):
        raise Refusal(400, "context must be an object", documented="rule")
    _check_traits(traits, kind, in_bulk=in_bulk)
    for key, entry in context.items():
        _check_entry(key, entry)
    _check_size(record, kind, in_bulk=in_bulk)


def parse_iso_8601(value: object) -> datetime | None:
    """An ISO 8601 date or time as a moment, a missing offset read as UTC; None when it is none, or no such day exists."""
    match = _ISO_8601.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+0000").replace(":", "").ljust(5, "0")
    # Spelt out in the one form that Python 3.10 reads, too.
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    text = f"{match['day']}T{match['minute'] or '00:00'}:{match['second'] or '00'}.{fraction}{zone[:3]}:{zone[3:]}"
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except (ValueError, OverflowError):  # no such day or hour; or an offset that leads out of the years 1 to 9999
        return None


def read_users(body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Entries of ``users/update`` with their ids; the traits are not looked at.

    :raises Refusal: 400 when ``users`` isn't an array of 1 to 1,000 objects with a ``user_id`` each.
    """
    if not isinstance(body.get("update_only", False), bool):
        raise Refusal(400, "update_only must be true or false", documented="rule")
    users = body.get("users")
    if not isinstance(users, list):
        raise Refusal(400, "users must be an array", documented="rule")
    if not 1 <= len(users) <= USERS_PER_CALL:
        raise Refusal(400, f"users must hold 1 to {USERS_PER_CALL} entries, not {len(users)}", documented="rule")
    for entry in users:
        if not isinstance(entry, dict):
            raise Refusal(400, "every entry of users must be an object", documented="rule")
    return [(read_id(entry, "user_id"), entry) for entry in users]


def read_event_user(body: dict[str, Any]) -> str | None:
    """Id of the user whose events a body of ``events`` brings; None where it names none.

    :raises Refusal: 400 when there are too many events, or one isn't as documented.
    """
    events = body.get("events")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise Refusal(400, "events must be an array of objects", documented="rule")
    if not 1 <= len(events) <= EVENTS_PER_CALL:
        text = f"events must hold 1 to {EVENTS_PER_CALL} entries, not {len(events)}"
        raise Refusal(400, text, documented="rule")
    for event in events:
        _check_event(event)
    return read_id(body, "user_id") if "user_id" in body else None


def _check_event(event: dict[str, Any]) -> None:
    if len(read_id(event, "event_type")) > EVENT_TYPE_LENGTH:
        raise Refusal(400, f"event_type may have {EVENT_TYPE_LENGTH} characters", documented="rule")
    for name in ("page_url", "element_selector"):
        if not isinstance(event.get(name, ""), str):
            raise Refusal(400, f"{name} must be a string", documented="rule")
    if len(msgspec.json.encode(event.get("metadata"))) > EVENT_METADATA_BYTES:
        raise Refusal(400, f"metadata of an event may have {EVENT_METADATA_BYTES} bytes", documented="rule")


def _check_traits(traits: dict[str, Any], kind: Kind, *, in_bulk: bool) -> None:
    if not kind.reserved.isdisjoint(traits):
        keys = sorted(kind.reserved.intersection(traits))
        text = f"traits use reserved keys: {', '.join(keys)}"
        raise Refusal(400, text, documented="no" if in_bulk else "yes", reserved_keys=keys, docs_url=DOCS_URL)
    for name, allowed in CHOICES.items():
        # What a null does is not documented. It is taken, since a client has no other way to empty a value.
        if traits.get(name) is not None and traits[name] not in allowed:
            raise Refusal(400, f"traits.{name} must be one of {', '.join(allowed)}", documented="rule")
    for name in DATES:
        if traits.get(name) is not None and parse_iso_8601(traits[name]) is None:
            raise Refusal(400, f"traits.{name} must be an ISO 8601 date or time", documented="rule")


def _check_entry(key: str, entry: object) -> None:
    if not key:
        raise Refusal(400, "context has an empty key")
    if not isinstance(entry, dict):
        raise Refusal(400, f"context.{key} must be an object", documented="rule")
    if not isinstance(entry.get("label"), str):
        raise Refusal(400, f"context.{key}.label must be a string", documented="rule")
    if "value" not in entry:
        raise Refusal(400, f"context.{key}.value is required", documented="rule")
    if "type" in entry and (not isinstance(entry["type"], str) or entry["type"] not in ENTRY_TYPES):
        raise Refusal(400, f"context.{key}.type must be one of {', '.join(sorted(ENTRY_TYPES))}", documented="rule")


def _check_size(record: dict[str, Any], kind: Kind, *, in_bulk: bool) -> None:
    documented: Documented = "no" if in_bulk else "rule"
    # Measured as compact JSON, whatever blanks the caller sent.
    size = sum(len(msgspec.json.encode(record[part])) for part in ("traits", "context") if part in record)
    if size > kind.limit:
        raise Refusal(
            400, f"traits and context have {size} bytes; a {kind.noun} may have {kind.limit}", documented=documented
        )
    if size <= CUSTOM_FIELDS_LENGTH:
        return  # A part is never longer than the whole: nothing more to measure.
    custom = {name: value for name, value in record.get("traits", {}).items() if name not in kind.columns}
    length = len(msgspec.json.encode(custom).decode())
    if length > CUSTOM_FIELDS_LENGTH:
        raise Refusal(
            400, f"custom fields have {length} characters; {CUSTOM_FIELDS_LENGTH} are allowed", documented=documented
        )
