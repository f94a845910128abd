"""The sandbox as an ASGI application: the API under /api/sdk, joined with the admin calls and the page."""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_halo.sandbox import rules, tokens
from airflow_provider_halo.sandbox.archive import Archive
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.refusal import Refusal
from airflow_provider_halo.sandbox.store import Store

API: Final = "/api/sdk"  # documented: the path of the base URL


def create_app(config: SandboxConfig, *, store: Store | None = None) -> FastAPI:
    """Build the application.

    :param store: where records are kept; None makes one from ``config``.
    """
    store = store or Store(archive=Archive(config.file) if config.file else None)
    app = FastAPI(title="HaloAgents sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.store = store

    async def state(_: Request) -> Response:
        return answer(store.counts())

    async def digest(_: Request) -> Response:
        return answer({"digest": store.digest()})

    app.add_route("/_sandbox/state", state)
    app.add_route("/_sandbox/digest", digest)
    Api(config, store).add_to(app)
    return app


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class Api:
    def __init__(self, config: SandboxConfig, store: Store) -> None:
        self._config = config
        self._store = store

    def add_to(self, app: FastAPI) -> None:
        for path, handler in (
            ("users/identify", self._users_identify),
            ("users/update", self._users_update),
            ("companies/identify", self._companies_identify),
        ):
            app.add_route(f"{API}/{path}", self._guarded(handler), methods=["POST"])

    def _guarded(self, handler: Any) -> Any:
        async def call(request: Request) -> Response:
            try:
                tokens.check_widget_key(request.headers.get("authorization"), self._config.widget_key)
                return answer(handler(rules.read_object(await request.body())))
            except Refusal as refusal:
                return answer(refusal.body, refusal.status)

        return call

    def _now(self) -> float:
        import time
        return time.time()

    def _check_user(self, body: dict[str, Any], user_id: str) -> None:
        if self._config.verify_identity:
            tokens.check_user_token(body.get("user_token"), user_id, secret=self._config.identity_secret, now=self._now())

    def _users_identify(self, body: dict[str, Any]) -> dict[str, Any]:
        user_id = rules.read_id(body, "user_id")
        self._check_user(body, user_id)
        rules.check_record(body, rules.USER)
        if user_id in self._config.poison:
            raise Refusal(400, "Bad request")
        return self._store.identify_user(user_id, body)

    def _users_update(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens.check_bulk_token(body.get("user_token"), secret=self._config.identity_secret, now=self._now())
        users = rules.read_users(body)
        if self._config.poison and any(user_id in self._config.poison for user_id, _ in users):
            raise Refusal(400, "Bad request")
        if self._config.refuse_context and any("context" in entry for _, entry in users):
            raise Refusal(400, "context is not allowed in users/update")
        good, errors = [], []
        for user_id, entry in users:
            try:
                rules.check_record(entry, rules.USER)
                good.append((user_id, entry))
            except Refusal as refusal:
                if self._config.bad_user == "nameless":
                    raise
                errors.append({"user_id": user_id, **refusal.body})
        if errors and self._config.bad_user == "named":
            raise Refusal(400, "some users are invalid; none was stored", errors=errors)
        counts = self._store.update_users(good, update_only=body.get("update_only", False))
        return {**counts, "errors": errors} if self._config.bad_user == "partial" else {**counts}

    def _companies_identify(self, body: dict[str, Any]) -> dict[str, Any]:
        company_id = rules.read_id(body, "company_id")
        user_id = rules.read_id(body, "user_id") if "user_id" in body else None
        if user_id is not None:
            self._check_user(body, user_id)
        rules.check_record(body, rules.COMPANY)
        return self._store.identify_company(company_id, body, user_id)
