"""A caller that knows the API only by its documentation, and sandboxes for it to call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import jwt
import pytest

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

KEY = "ab_live_for_tests"
SECRET = "ha_secret_for_tests_that_is_long_enough_for_hs256"


class Caller:
    """Calls one sandbox over real connections; tokens are right unless a test gives others."""

    key = KEY

    def __init__(self, server: SandboxServer, client: httpx.Client) -> None:
        self.server = server
        self.client = client

    def post(self, path: str, body: Any = None, *, key: str | None = KEY, **sent: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        if "content" not in sent:
            sent["json"] = body
        return self.client.post(f"{self.server.url}/{path}", headers=headers, **sent)

    def token(self, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
        return jwt.encode(claims, secret, algorithm=algorithm)

    def bulk_token(self, **claims: Any) -> str:
        return self.token(**{"scope": "users.update", "exp": int(time.time()) + 600, **claims})

    def update(self, *users: Any, **more: Any) -> httpx.Response:
        return self.post("users/update", {"users": list(users), "user_token": self.bulk_token(), **more})

    def user(self, user_id: str, **more: Any) -> httpx.Response:
        body = {"user_id": user_id, "user_token": self.token(user_id=user_id), **more}
        return self.post("users/identify", body)

    def company(self, company_id: str, **more: Any) -> httpx.Response:
        if "user_id" in more:
            more = {"user_token": self.token(user_id=more["user_id"]), **more}
        return self.post("companies/identify", {"company_id": company_id, **more})

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{self.server.root}{path}")

    def admin(self, path: str) -> Any:
        return self.get(f"/_sandbox/{path}").json()


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def _shared() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxConfig(widget_key=KEY, identity_secret=SECRET)) as server:
        yield server


@pytest.fixture
def halo(_shared: SandboxServer, client: httpx.Client) -> Caller:
    """The sandbox with default settings, empty."""
    caller = Caller(_shared, client)
    caller.client.post(f"{_shared.root}/_sandbox/reset").raise_for_status()
    return caller


@pytest.fixture
def halo_with(client: httpx.Client) -> Iterator[Callable[..., Caller]]:
    """Starts a sandbox with other settings."""
    with ExitStack() as stack:

        def start(clock: Any = None, **settings: Any) -> Caller:
            config = SandboxConfig(**{"widget_key": KEY, "identity_secret": SECRET, **settings})
            more = {} if clock is None else {"clock": clock}
            return Caller(stack.enter_context(SandboxServer(config, **more)), client)

        yield start
