"""A clock that tests move, and servers that break in the ways a framework's server won't."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import final

import httpx
import pytest

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings

WIDGET_KEY = "ab_live_0123456789"
SECRET = "ha_secret_0123456789abcdef0123456789"


class Clock:
    """Time that passes only when somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@final
class RawServer:
    """Answers with raw bytes: each request is handled by the next of `acts`, the last one for ever.

    An act gets the writer and the request's bytes; it returns whether the connection stays open.
    """

    def __init__(self, *acts: Callable[[asyncio.StreamWriter], Awaitable[bool]]) -> None:
        self.acts = acts
        self.requests: list[bytes] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/sdk"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        stays = True
        try:
            while stays:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                body = await reader.readexactly(int(length.partition(b":")[2]))
                self.requests.append(head + body)
                act = self.acts[min(len(self.requests), len(self.acts)) - 1]
                stays = await act(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def raw_server() -> type[RawServer]:
    return RawServer


@pytest.fixture
def settings() -> Callable[..., HaloSettings]:
    def make(**given) -> HaloSettings:
        return HaloSettings(
            **{
                "widget_key": WIDGET_KEY,
                "identity_secret": SECRET,
                "base_url": "http://127.0.0.1:1/api/sdk",
                "max_retry_seconds": 60.0,
                **given,
            }
        )

    return make


@pytest.fixture
def client_of(clock, settings) -> Callable[..., HaloClient]:
    """A client on a function that plays the server, with the test's clock."""

    def make(
        server: Callable[[httpx.Request], httpx.Response], *, limiter: Limiter | None = None, **given
    ) -> HaloClient:
        return HaloClient(
            settings(**given),
            limiter=limiter,
            transport=httpx.MockTransport(server),
            clock=clock,
            timer=clock,
            sleep=clock.sleep,
        )

    return make


@pytest.fixture
def user() -> Payload:
    return Payload("users", "u1", b'{"name":"Ada Lovelace"}', b"", "c1")


@pytest.fixture
def company() -> Payload:
    return Payload("companies", "c1", b'{"name":"Analytical Engines"}', b"")
