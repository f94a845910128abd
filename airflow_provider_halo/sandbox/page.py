"""The page: users and companies as the AI reads them, what came in, and what was refused."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from airflow_provider_halo.sandbox.access import local_only
from airflow_provider_halo.sandbox.config import SandboxState
from airflow_provider_halo.sandbox.reading import render_company, render_user
from airflow_provider_halo.sandbox.store import Scope

__all__ = ["Page"]

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
