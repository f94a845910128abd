"""What the AI reads about a user or company: documented forms exactly, the others marked "(format not documented)"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

UNDOCUMENTED: Final = "(format not documented)"


def render_user(user: Mapping[str, Any], company: Mapping[str, Any] | None = None) -> str:
    """The profile of a user, their context, and those of the company they are linked to.

    :param user: with ``traits`` and ``context``.
    :param company: the linked company, likewise.
    """
    sections = ["\n".join(["[User Profile]", *_pairs(user["traits"])]), *_entries(user["context"])]
    if company is not None:
        sections.append(render_company(company).rstrip("\n"))
    return "\n\n".join(sections) + "\n"


def render_company(company: Mapping[str, Any]) -> str:
    """The profile of a company and its context.

    :param company: with ``company_id``, ``traits`` and ``context``.
    """
    name = company["traits"].get("name") or company["company_id"]
    head = f"[Company: {_text(name)}]"
    return "\n\n".join(["\n".join([head, *_pairs(company["traits"])]), *_entries(company["context"])]) + "\n"


def render_entry(entry: Mapping[str, Any]) -> str:
    """One context entry: its heading and its lines.

    :param entry: with ``label``, ``value`` and maybe ``type``.
    """
    kind, value = entry.get("type"), entry["value"]
    head = f"[{entry['label']}]" + (f" ({kind})" if kind else "")
    documented = True
    if kind == "list" and isinstance(value, list):
        lines = [_item(item) for item in value]
    elif kind == "integration" and isinstance(value, dict):
        lines = [_service(name, state) for name, state in value.items()]
    else:
        # Documented without a type: array as bullets, object as key-value pairs, scalar as itself.
        documented = kind in (None, "custom")
        lines = _by_shape(value)
    return "\n".join([head if documented else f"{head} {UNDOCUMENTED}", *lines])


def _entries(context: Mapping[str, Any]) -> list[str]:
    return [render_entry(entry) for entry in context.values()]


def _by_shape(value: Any) -> list[str]:
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, list):
        return [f"- {_inline(item)}" for item in value]
    return [_text(value)]


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {_text(value)}" for name, value in values.items()]


def _item(item: Any) -> str:
    """Documented: ``- "Purchase Event" (event_name: purchase) -- active``."""
    if not isinstance(item, dict):
        return f"- {_text(item)}"
    named = next((name for name in ("label", "name", "title") if item.get(name) is not None), None)
    if named is None:
        return f"- {_inline(item)}"
    line = f'- "{_text(item[named])}"'
    key = _id_of(item, named)
    if key is not None:
        line += f" ({key}: {_text(item[key])})"
    if item.get("status") is not None:
        line += f" -- {_text(item['status'])}"
    return line


def _id_of(item: Mapping[str, Any], named: str) -> str | None:
    """Which field is "its id" is documented by one example, ``event_name``; so: ``id``, then ``…_id``, then ``…_name``."""
    keys = [key for key in item if key != named and isinstance(item[key], str | int)]
    for suffix in ("_id", "_name", "key", "slug"):
        if "id" in keys:
            return "id"
        found = next((key for key in keys if key.endswith(suffix)), None)
        if found is not None:
            return found
    return None


def _service(name: str, state: Any) -> str:
    """Documented: ``- Google ads: connected, ERROR -- Token expired``; ``- Hubspot: not connected``."""
    shown = name.replace("_", " ")
    shown = shown[:1].upper() + shown[1:]
    if not isinstance(state, dict):
        return f"- {shown}: {_text(state)}"
    if not state.get("connected"):
        return f"- {shown}: not connected"
    status = state.get("status")
    problem = next((state[key] for key in ("error", "error_message", "message", "last_error") if state.get(key)), None)
    if status == "error" or (state.get("error") and status is None):
        return f"- {shown}: connected, ERROR" + (f" -- {_text(problem)}" if problem is not None else "")
    return f"- {shown}: connected" + (f", {_text(status)}" if status is not None else "")


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_pairs(value))
    return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
