"""What the AI reads of a user or a company: exactly where HaloAgents documents the text, else the data, and marked so.

A preview that guesses looks better than what Halo may show, and hides what should be mended: an integration without
``connected`` might be read as "not connected". So nothing is guessed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["UNDOCUMENTED", "render_company", "render_entry", "render_user"]

UNDOCUMENTED: Final = "(not documented how Halo shows this)"

_TITLES: Final = frozenset(("label", "name", "title"))  # documented: one of them is shown; which of several isn't
_ITEM: Final = frozenset(("event_name", "status"))  # documented by the example: "Purchase Event" (event_name: purchase)
_SERVICE: Final = frozenset(("connected", "status", "error"))


def render_user(user: Mapping[str, Any], company: Mapping[str, Any] | None = None) -> str:
    """The profile of a user, their context, and those of the company they are linked to.

    :param user: with ``traits`` and ``context``.
    :param company: the linked company, likewise.
    """
    sections = [_profile("[User Profile]", user["traits"]), *_entries(user["context"])]
    if company is not None:
        sections.append(render_company(company).rstrip("\n"))
    return "\n\n".join(sections) + "\n"


def render_company(company: Mapping[str, Any]) -> str:
    """The profile of a company and its context.

    :param company: with ``company_id``, ``traits`` and ``context``.
    """
    name = company["traits"].get("name") or company["company_id"]
    return "\n\n".join([_profile(f"[Company: {_text(name)}]", company["traits"]), *_entries(company["context"])]) + "\n"


def render_entry(entry: Mapping[str, Any]) -> str:
    """One context entry: its heading and its lines.

    :param entry: with ``label``, ``value`` and maybe ``type``.
    """
    kind, value = entry.get("type"), entry["value"]
    head = f"[{entry['label']}]" + (f" ({kind})" if kind else "")
    lines = _documented(kind, value)
    return "\n".join([f"{head} {UNDOCUMENTED}", *_data(value)] if lines is None else [head, *lines])


def _documented(kind: Any, value: Any) -> list[str] | None:
    """The lines of a value, where the text is documented that its type is shown as; else None."""
    if value and kind == "list" and isinstance(value, list):
        return [_item(item) for item in value]
    if value and kind == "integration" and isinstance(value, dict):
        return [_service(name, state) for name, state in value.items()]
    return _custom(value) if kind in (None, "custom") else None  # documented: the value decides


def _custom(value: Any) -> list[str] | None:
    if isinstance(value, list) and value:
        return [_bullet(item) for item in value]
    return [_text(value)] if isinstance(value, str | int | float) else None


def _profile(head: str, traits: Mapping[str, Any]) -> str:
    """Documented: the heading, and that lines of names and values follow; their form and order aren't."""
    return "\n".join([f"{head} {UNDOCUMENTED}", *_pairs(traits)])


def _entries(context: Mapping[str, Any]) -> list[str]:
    return [render_entry(entry) for entry in context.values()]


def _item(item: Any) -> str:
    """Documented: ``- "Purchase Event" (event_name: purchase) -- active``."""
    given = _given(item)
    titles = _TITLES.intersection(given)
    if len(titles) != 1 or not given.keys() <= titles | _ITEM:
        return f"- {_inline(item)} {UNDOCUMENTED}"
    line = f'- "{_text(given[next(iter(titles))])}"'
    if "event_name" in given:
        line += f" (event_name: {_text(given['event_name'])})"
    return f"{line} -- {_text(given['status'])}" if "status" in given else line


def _service(name: str, state: Any) -> str:
    """Documented: ``- Google ads: connected, ERROR -- Token expired``; ``- Hubspot: not connected``."""
    shown = name.replace("_", " ")
    shown = shown[:1].upper() + shown[1:]
    reading = _state(_given(state))
    return f"- {shown}: {_inline(state)} {UNDOCUMENTED}" if reading is None else f"- {shown}: {reading}"


def _state(given: Mapping[str, Any]) -> str | None:
    """How the state of an integration is documented to read; None where it isn't."""
    connected, status, error = (given.get(name) for name in ("connected", "status", "error"))
    if not isinstance(connected, bool) or not given.keys() <= _SERVICE or (error is None) == (status == "error"):
        return None  # without `connected`; with other keys for the error; an error alone, or the status alone
    if error is not None:
        return f"connected, ERROR -- {_text(error)}" if connected else None
    if not connected:
        return "not connected"
    return "connected" if status is None else f"connected, {_text(status)}"


def _given(value: Any) -> dict[str, Any]:
    """Members that say something: a null is taken for a member that isn't there (assumed)."""
    return {name: member for name, member in value.items() if member is not None} if isinstance(value, dict) else {}


def _bullet(item: Any) -> str:
    return f"- {_inline(item)} {UNDOCUMENTED}" if isinstance(item, dict | list) else f"- {_text(item)}"


def _data(value: Any) -> list[str]:
    """A value without a documented text: what it holds, line by line."""
    if isinstance(value, dict):
        return _pairs(value)
    return [f"- {_inline(item)}" for item in value] if isinstance(value, list) else [_text(value)]


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {_text(value)}" for name, value in values.items()]


def _inline(value: Any) -> str:
    return ", ".join(_pairs(value)) if isinstance(value, dict) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
