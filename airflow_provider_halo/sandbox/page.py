"""The page: users and companies as the AI reads them, what came in, and what was refused.

Texts that HaloAgents documents are given exactly, the others are marked "(format not documented)".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from airflow_provider_halo.sandbox.access import local_only
from airflow_provider_halo.sandbox.config import SandboxState
from airflow_provider_halo.sandbox.store import Scope

__all__ = ["Page", "render_company", "render_user"]

UNDOCUMENTED: Final = "(format not documented)"
PAGE_SIZE: Final = 25
SHOWN_MEMBERS: Final = 200
# Traits are whatever a caller sent. They are escaped by the templates; should that ever fail, no script runs anyway.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Page:
    """The routes of the page, on the state of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self._sandbox = state
        self._store = state.store
        self._templates = Environment(
            loader=PackageLoader("airflow_provider_halo.sandbox"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )

    def routes(self) -> list[BaseRoute]:
        """The list, and one record."""
        calls = {"/": self._list, "/record": self._record}
        open_admin = self._sandbox.config.open_admin
        return [Route(path, local_only(call, open_admin=open_admin), methods=["GET"]) for path, call in calls.items()]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        scope: Scope = "users" if query.get("scope") == "users" else "companies"
        text = query.get("q", "").strip()
        number = query.get("page", "1")
        page = int(number) if number.isdecimal() and len(number) < 7 else 1

        def search() -> tuple[int, int, list[dict[str, Any]]]:
            keys = self._store.find(scope, text)
            pages = max(1, -(-len(keys) // PAGE_SIZE))
            shown = min(max(page, 1), pages)
            rows = [self._get(scope, key) for key in keys[(shown - 1) * PAGE_SIZE : shown * PAGE_SIZE]]
            return len(keys), shown, [row for row in rows if row is not None]

        total, shown, rows = await run_in_threadpool(search)
        pages = max(1, -(-total // PAGE_SIZE))
        values = {"scope": scope, "q": text, "rows": rows, "total": total, "page": shown, "pages": pages}
        return self._show("list.html", request, values)

    async def _record(self, request: Request) -> Response:
        key = request.query_params.get("id", "")
        scope: Scope = "users" if request.query_params.get("scope") == "users" else "companies"
        record = self._get(scope, key)
        if record is None:
            return self._show("missing.html", request, {"scope": scope, "key": key}, status=404)
        members: list[str] = []
        if scope == "companies":
            text, members = render_company(record), self._store.members(key)
        else:
            company = self._store.company(record["company_id"]) if record["company_id"] is not None else None
            text = render_user(record, company)
        raw = msgspec.json.format(msgspec.json.encode(record), indent=2).decode()
        shown = {"scope": scope, "key": key, "record": record, "text": text, "raw": raw}
        return self._show("record.html", request, {**shown, "members": members[:SHOWN_MEMBERS]})

    def _get(self, scope: Scope, key: str) -> dict[str, Any] | None:
        return self._store.user(key) if scope == "users" else self._store.company(key)

    def _show(self, template: str, request: Request, values: dict[str, Any], *, status: int = 200) -> Response:
        requests = self._sandbox.requests
        shared = {
            "counts": self._store.counts(),
            "requests": requests.describe(),
            "refusals": requests.refusals(),
            "faults": self._sandbox.faults.describe(),
            "base_url": f"{request.base_url}api/sdk",
        }
        text = self._templates.get_template(template).render(**shared, **values)
        return HTMLResponse(text, status, headers=_HEADERS)


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
    title = next((name for name in ("label", "name", "title") if item.get(name) is not None), None)
    if title is None:
        return f"- {_inline(item)}"
    line = f'- "{_text(item[title])}"'
    key = _id_of(item, title)
    if key is not None:
        line += f" ({key}: {_text(item[key])})"
    if item.get("status") is not None:
        line += f" -- {_text(item['status'])}"
    return line


def _id_of(item: Mapping[str, Any], title: str) -> str | None:
    """Which field is "its id" is documented by one example, ``event_name``; so: ``id``, then ``…_id``, then ``…_name``."""
    keys = [key for key in item if key != title and isinstance(item[key], str | int)]
    for suffix in ("_id", "_name", "key", "slug"):
        if "id" in keys:
            return "id"
        id_key = next((key for key in keys if key.endswith(suffix)), None)
        if id_key is not None:
            return id_key
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
