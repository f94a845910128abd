"""Calls under /_sandbox for tests and demos: read the state, its digests and the requests; set faults; forget all."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from airflow_provider_halo.sandbox.access import Endpoint, local_only
from airflow_provider_halo.sandbox.api import answer
from airflow_provider_halo.sandbox.config import SandboxState
from airflow_provider_halo.sandbox.faults import FaultError, read_fault
from airflow_provider_halo.sandbox.quota import QuotaError, read_quota
from airflow_provider_halo.sandbox.reading import render_company, render_user
from airflow_provider_halo.sandbox.rules import Refusal

__all__ = ["Admin"]


class Admin:
    """The admin calls on the state of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self._sandbox = state
        self._store = state.store

    def routes(self) -> list[BaseRoute]:
        """The routes, with their full paths."""
        reads: dict[str, Endpoint] = {
            "state": self._state,
            "digest": self._digest,
            "last_seen": self._last_seen,
            "users/{key:path}": self._user,
            "companies/{key:path}": self._company,
            "ai/users/{key:path}": self._ai_user,
            "ai/companies/{key:path}": self._ai_company,
            "requests": self._requests,
            "calls": self._calls,
            "refusals": self._refusals,
            "export": self._export,
            "faults": self._faults,
            "quota": self._quota,
        }
        writes: dict[str, Endpoint] = {"faults": self._set_faults, "quota": self._set_quota, "reset": self._reset}
        return [
            Route(f"/_sandbox/{path}", local_only(call, open_admin=self._sandbox.config.open_admin), methods=[method])
            for method, calls in (("GET", reads), ("POST", writes))
            for path, call in calls.items()
        ]

    async def _state(self, _: Request) -> Response:
        return answer(self._store.counts())

    # A digest or a search of a million records takes seconds: in a thread, so that the API goes on answering.

    async def _digest(self, _: Request) -> Response:
        return answer({"digest": await run_in_threadpool(self._store.digest)})

    async def _last_seen(self, _: Request) -> Response:
        digest = await run_in_threadpool(self._store.last_seen_digest)
        return answer({"digest": digest, "users_seen": self._store.counts()["users_seen"]})

    async def _user(self, request: Request) -> Response:
        return answer(_existing(self._store.user(request.path_params["key"])))

    async def _company(self, request: Request) -> Response:
        key = request.path_params["key"]
        return answer({**_existing(self._store.company(key)), "user_ids": self._store.members(key)})

    async def _ai_user(self, request: Request) -> Response:
        user = _existing(self._store.user(request.path_params["key"]))
        company = self._store.company(user["company_id"]) if user["company_id"] is not None else None
        return PlainTextResponse(render_user(user, company))

    async def _ai_company(self, request: Request) -> Response:
        return PlainTextResponse(render_company(_existing(self._store.company(request.path_params["key"]))))

    async def _requests(self, _: Request) -> Response:
        return answer(self._sandbox.requests.describe())

    async def _refusals(self, _: Request) -> Response:
        return answer(self._sandbox.requests.refusals())

    async def _calls(self, _: Request) -> Response:
        return answer(self._sandbox.requests.calls())

    async def _export(self, _: Request) -> Response:
        return StreamingResponse(self._store.export(), media_type="application/x-ndjson")

    async def _faults(self, _: Request) -> Response:
        return answer(self._sandbox.faults.describe())

    async def _set_faults(self, request: Request) -> Response:
        try:
            faults = msgspec.json.decode(await request.body(), type=list[Any])
            self._sandbox.faults.set([read_fault(fault) for fault in faults])
        except (msgspec.DecodeError, UnicodeDecodeError, FaultError) as error:
            raise Refusal(400, f"send a JSON array of faults: {error}") from error
        return answer(self._sandbox.faults.describe())

    async def _quota(self, _: Request) -> Response:
        return answer(self._sandbox.quota.rule)

    async def _set_quota(self, request: Request) -> Response:
        try:
            self._sandbox.quota.set(read_quota(msgspec.json.decode(await request.body())))
        except (msgspec.DecodeError, UnicodeDecodeError, QuotaError) as error:
            raise Refusal(400, f"send a quota as a JSON object: {error}") from error
        return answer(self._sandbox.quota.rule)

    async def _reset(self, _: Request) -> Response:
        """Forget records, counts and faults."""
        self._store.reset()
        self._sandbox.requests.reset()
        self._sandbox.faults.set(())
        self._sandbox.expired.clear()
        return answer(self._store.counts())


def _existing(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        raise Refusal(404, "the sandbox doesn't know this id")
    return record
