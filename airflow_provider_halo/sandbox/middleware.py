"""Middleware before the API: reads each request once, logs it, plays the faults, and can cut the connection."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_halo.sandbox.api import API, DOCUMENTED
from airflow_provider_halo.sandbox.config import SandboxState
from airflow_provider_halo.sandbox.faults import Fault, FaultError, parse_fault
from airflow_provider_halo.sandbox.request_log import Call, find_leaks
from airflow_provider_halo.sandbox.rules import Refusal

__all__ = ["TRANSPORT", "FaultMiddleware"]

TRANSPORT: Final = "halo_transport"  # where the server's protocol leaves the connection, in the ASGI scope's state
_HTML: Final = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>nginx</body></html>"
_TICK: Final = 0.05  # seconds between looks at whether the server stops
_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER, 0 seconds: closing sends RST instead of FIN


@dataclass
class _Answer:
    """An answer as it would be sent."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    cut: str = ""  # "reset": nothing is sent; "half": the connection ends in the middle
    injected: bool = False

    @property
    def result(self) -> str:
        return {"reset": "reset", "half": "reset during answer"}.get(self.cut, str(self.status))

    @property
    def retry_after(self) -> str:
        return next((value.decode("ascii") for name, value in self.headers if name == b"retry-after"), "")

    @property
    def documented(self) -> str:
        """Whether HaloAgents documents the refusal; empty for what is none of the API's."""
        name = DOCUMENTED.encode("ascii")
        return "" if self.injected else next((value.decode("ascii") for key, value in self.headers if key == name), "")

    @property
    def reason(self) -> str:
        """Why it is not a success, for people: the answer's own ``error``, or what the fault did."""
        if self.injected:
            return "fault: " + (self.result if self.cut or self.status != 200 else "unreadable answer")
        if self.status < 400:
            return ""
        try:
            return str(msgspec.json.decode(self.body)["error"])
        except (msgspec.DecodeError, TypeError, KeyError):
            return self.body.decode("utf-8", "replace")[:200]


class FaultMiddleware:
    """ASGI middleware on the API's path; everything else passes untouched."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app = app
        self._sandbox = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or one of the server's other messages."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        self._sandbox.requests.begin()
        began = ended = self._sandbox.clock()
        body: bytes | None = None
        answer: _Answer | None = None
        wait = self._sandbox.quota.enter()
        try:
            body = await _read(receive)
            if body is not None:
                answer = await self._answer(scope, body) if wait is None else self._over_quota(wait)
                ended = self._sandbox.clock()
                answer.headers.append((b"date", format_datetime(ended, usegmt=True).encode("ascii")))
                await _send(answer, scope, receive, send)
        finally:
            self._sandbox.quota.leave()
            # Also when the caller has gone away in the middle of the body.
            self._log(scope, body or b"", answer, began=began, ended=ended)

    def _log(self, scope: Scope, body: bytes, answer: _Answer | None, *, began: datetime, ended: datetime) -> None:
        """Write a request down with what became of it; without an answer its caller has gone away."""
        self._sandbox.requests.end(
            Call(
                began.timestamp(),
                ended.timestamp(),
                _known_path(scope, answer),
                answer.result if answer else "gone",
                answer.retry_after if answer else "",
                self._leaks(scope, body),
            ),
            size=len(body),
            at=ended,
            reason=answer.reason if answer else "",
            documented=answer.documented if answer else "",
            injected=answer.injected if answer else False,
        )

    def _over_quota(self, wait: float) -> _Answer:
        answer = _refused(Refusal(429, "too many requests"))
        header = self._sandbox.quota.header(wait, self._sandbox.clock())
        if header is not None:
            answer.headers.append((b"retry-after", header.encode("ascii")))
        return answer

    def _leaks(self, scope: Scope, body: bytes) -> tuple[str, ...]:
        config = self._sandbox.config
        url = bytes(scope["raw_path"]) + b"?" + bytes(scope["query_string"])
        secrets = {"widget_key": config.widget_key, "identity_secret": config.identity_secret}
        return find_leaks(url, scope["headers"], body, **secrets)

    async def _answer(self, scope: Scope, body: bytes) -> _Answer:
        limit = self._sandbox.config.max_body_bytes
        if limit is not None and len(body) > limit:
            return _refused(Refusal(413, f"body has {len(body)} bytes; {limit} are allowed"))
        try:
            faults = [*_requested_faults(scope), *self._sandbox.faults.decide(_path(scope), body)]
        except FaultError as error:
            return _refused(Refusal(400, str(error)))
        await self._wait(sum(fault.seconds for fault in faults if fault.kind == "delay"))
        if self._sandbox.closing.is_set():
            return _Answer(0, b"", cut="reset")  # as if the process had been killed
        for fault in faults:
            if fault.kind != "delay":
                return await self._play(fault, scope, body)
        return await self._real(scope, body)

    async def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        # Looked at now and then, since the thread that sets it has no hold on this loop's own kind of event.
        while (remaining := end - time.monotonic()) > 0 and not self._sandbox.closing.is_set():  # noqa: ASYNC110 - see above
            await asyncio.sleep(min(remaining, _TICK))

    async def _play(self, fault: Fault, scope: Scope, body: bytes) -> _Answer:
        if fault.kind == "status":
            if fault.when == "after":
                await self._real(scope, body)
            return self._error(fault)
        if fault.kind == "reset":
            answer = _Answer(0, b"") if fault.when == "before" else await self._real(scope, body)
            answer.cut = "half" if fault.when == "during" else "reset"
        elif fault.kind == "expire":
            self._expire(body)
            return await self._real(scope, body)
        elif fault.kind == "truncate":
            answer = await self._real(scope, body)
            answer.body = answer.body[: len(answer.body) // 2]
        elif fault.kind == "empty":
            answer = _Answer(200, b"")
        else:
            answer = _Answer(200, (fault.body or _HTML.format("Welcome")).encode(), "text/html")
        answer.injected = True
        return answer

    def _expire(self, body: bytes) -> None:
        """From now on the token that a request carries has expired."""
        try:
            self._sandbox.expired.add(msgspec.json.decode(body)["user_token"])
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError):
            return  # a request without a token has none that could expire

    def _error(self, fault: Fault) -> _Answer:
        text = _HTML.format(f"{fault.status} injected by the sandbox") if fault.body is None else fault.body
        kind = "text/html" if text.startswith("<") else "application/json"
        headers = []
        if fault.retry_after is not None:
            after = fault.retry_after
            if after.startswith("date+"):
                moment = self._sandbox.clock() + timedelta(seconds=float(after.removeprefix("date+")))
                after = format_datetime(moment, usegmt=True)
            headers.append((b"retry-after", after.encode("ascii")))
        return _Answer(fault.status, text.encode(), kind, headers, injected=True)

    async def _real(self, scope: Scope, body: bytes) -> _Answer:
        """Let the API answer, and hold the answer back."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, keep)
        headers = dict(sent[0]["headers"])
        kind = headers.get(b"content-type", b"application/json").decode("latin-1")
        rest = [(name, value) for name, value in headers.items() if name not in (b"content-type", b"content-length")]
        return _Answer(sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]), kind, rest)


def _refused(refusal: Refusal) -> _Answer:
    headers = [(DOCUMENTED.encode("ascii"), refusal.documented.encode("ascii"))]
    return _Answer(refusal.status, msgspec.json.encode(refusal.body), headers=headers)


def _requested_faults(scope: Scope) -> list[Fault]:
    """The faults that a request asks for in its own URL, as ``?fault=429``.

    :raises FaultError: when one can't be understood.
    """
    return [parse_fault(text) for text in parse_qs(scope["query_string"].decode("latin-1")).get("fault", ())]


def _path(scope: Scope) -> str:
    """The path under the base URL."""
    return str(scope["path"]).removeprefix(f"{API}/")


def _known_path(scope: Scope, answer: _Answer | None) -> str:
    """The path under the base URL; whatever doesn't exist is one path, so that a scan can't fill the memory."""
    if answer is not None and answer.status in (404, 405) and not answer.injected:
        return "(unknown)"
    return _path(scope)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when the caller went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(answer: _Answer, scope: Scope, receive: Receive, send: Send) -> None:
    if answer.cut == "reset":
        await _cut(scope, receive, abruptly=True)
        return
    headers = [
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.cut == "half":
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
        await _cut(scope, receive, abruptly=False)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _cut(scope: Scope, receive: Receive, *, abruptly: bool) -> None:
    """End the connection under the request, then wait until the server has noticed.

    :param abruptly: whether the caller gets a reset, and loses what was on its way, or a plain end.
    :raises RuntimeError: when the server doesn't hand out its connections, as ``SandboxServer`` does.
    """
    transport: Any = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        raise RuntimeError("A reset needs the connection: run the sandbox by SandboxServer or `halo sandbox`.")
    if abruptly:
        # By way of a copy, since uvloop's stand-in for a socket has no setsockopt.
        with socket.fromfd(transport.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM) as copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        transport.abort()
    else:
        transport.close()  # what was written before is still sent
    while (await receive())["type"] != "http.disconnect":
        pass
