"""A plan over any database, brought to a sandbox, and a server that answers with whatever bytes it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.run import sync_plan

COMPANIES = "companies:\n  key: team_id\n  traits:\n    sql: SELECT * FROM teams\n"
USERS = "users:\n  key: user_id\n  company: team_id\n  traits:\n    sql: SELECT * FROM users\n"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxConfig()) as server:
        yield server


@pytest.fixture
def connected(sandbox) -> Callable[..., HaloSettings]:
    def make(**given: Any) -> HaloSettings:
        words = {"widget_key": "ab_live_sandbox", "identity_secret": "ha_secret_sandbox", "base_url": sandbox.url}
        return HaloSettings(**{**words, "max_retry_seconds": 5.0, **given})

    return make


@pytest.fixture
def deliver(sandbox, plan, connected) -> Callable[..., Report]:
    """Bring a database to an empty sandbox."""

    def run(database: Any, text: str = COMPANIES, **options: Any) -> Report:
        sandbox.store.reset()
        return sync_plan(plan(text), sources=database.sources, settings=connected(), **options)

    return run


@pytest.fixture
def answering() -> Callable[[bytes], Any]:
    """A server whose every answer is these bytes; gives its URL and the list of heads that it was sent."""

    @asynccontextmanager
    async def serve(answer: bytes):
        heads: list[bytes] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                for at in range(0, len(answer), 65_536):  # in pieces, so that little of it is held here
                    writer.write(answer[at : at + 65_536])
                    await writer.drain()
            except (OSError, asyncio.CancelledError):
                pass  # the client has seen enough
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/sdk", heads
        server.close()

    return serve
