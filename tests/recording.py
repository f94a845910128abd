"""A sandbox that remembers what came in, for tests that kill who sends it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

KEY = "ab_live_scheduler_tests"
SECRET = "ha_secret_scheduler_tests_that_is_long_enough"


@dataclass(eq=False)
class Sent:
    """A request that came in.

    :param port: the sender's, by which its process can be found.
    :param answered: when it was answered by 200, on the monotonic clock; None while or where it wasn't.
    :param lost: whether nothing came of it, since its sender had gone.
    """

    port: int
    scope: str
    keys: list[str]
    answered: float | None = None
    lost: bool = False


class RecordingSandbox(SandboxServer):
    """A sandbox that remembers which records came in, and which of them it said yes to, both in their order.

    Of the requests whose sender dies while they wait, every other one of a scope is lost, the rest is stored all the same:
    a sender can't know which. (The sandbox's own delays store all of them, which would hide a yes that is noted too early.)
    Whoever kills a sender adds the ports of its connections to ``dead_ports``.

    :param delays: seconds that a request of each scope waits before it is stored.
    """

    def __init__(self, delays: Mapping[str, float]) -> None:
        super().__init__(SandboxConfig(widget_key=KEY, identity_secret=SECRET))
        self._delays = delays
        self._orphans: Counter[str] = Counter()
        self.dead_ports: set[int] = set()
        self.sent: list[Sent] = []
        self.answered: list[Sent] = []

    def application(self) -> ASGIApp:
        inside = super().application()

        async def record(scope: Scope, receive: Receive, send: Send) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # killed in the middle of its request: nothing has come in
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
            sent = Sent(scope["client"][1], *_named(scope["path"], json.loads(body)))
            self.sent.append(sent)
            await asyncio.sleep(self._delays[sent.scope])
            if sent.port in self.dead_ports:
                self._orphans[sent.scope] += 1
                sent.lost = self._orphans[sent.scope] % 2 == 1
            if sent.lost:
                return

            async def receive_again() -> Message:
                return {"type": "http.request", "body": body}

            async def send_on(message: Message) -> None:
                if message.get("status") == 200:
                    sent.answered = time.monotonic()
                    self.answered.append(sent)
                await send(message)

            await inside(scope, receive_again, send_on)

        return record


def _named(path: str, body: dict[str, Any]) -> tuple[str, list[str]]:
    """The records that a request brings."""
    if path.endswith("users/update"):
        return "users", [user["user_id"] for user in body["users"]]
    return ("links", [body["user_id"]]) if "user_id" in body else ("companies", [body["company_id"]])


@pytest.fixture(scope="module")
def recording_sandbox() -> Callable[..., RecordingSandbox]:
    """Makes a sandbox that remembers what came in."""
    return RecordingSandbox
