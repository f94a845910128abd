"""A Halo that says yes to everything, as fast as Python can: it takes bodies, counts their records and knows no rule.

The sandbox is for the rules of the API; here it would be what is measured. Two paths are the benchmarks' own: ``/start``
forgets what has come in and says how long an answer waits, ``/counts`` tells what has come in since.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from urllib.parse import parse_qsl

try:
    from uvloop import run
except ImportError:  # a little slower, and as right
    from asyncio import run

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_USER, _COMPANY = b'"user_id":"', b'"company_id":"'
_SPACED = b'"user_id": "'  # as Python's own encoder writes it


class Received:
    """What has come in. Keys are numbers, as the benchmarks' products have them.

    :param delay: seconds that an answer waits.
    :param lose: so many users are forgotten, to see that somebody notices.
    """

    def __init__(self, *, delay: float = 0.0, lose: int = 0) -> None:
        self.delay = delay
        self._lose = lose
        self._counts: Counter[str] = Counter()
        self._seen = {scope: bytearray() for scope in ("users", "companies", "links")}

    def take(self, line: bytes, body: bytes) -> None:
        """Count the records of a request."""
        self._counts["requests"] += 1
        if b"companies/identify" not in line:
            users = body.split(_USER)[1:]
            lost = min(self._lose, len(users))
            self._lose -= lost
            self._note("users", users[lost:])
        elif _USER in body:
            self._note("links", body.split(_USER)[1:2])
        else:
            self._note("companies", body.split(_COMPANY)[1:2])

    def counts(self) -> dict[str, int]:
        """Requests, the records of each scope that came in, and how many different ones they are."""
        different = {f"different_{scope}": sum(seen) for scope, seen in self._seen.items()}
        return {name: self._counts[name] for name in ("requests", "users", "companies", "links")} | different

    def _note(self, scope: str, found: list[bytes]) -> None:
        self._counts[scope] += len(found)
        seen = self._seen[scope]
        for text in found:
            key = int(text[: text.index(b'"')])
            if key >= len(seen):
                seen += bytes(2 * key + 1_000 - len(seen))
            seen[key] = 1


class _Halo:
    received = Received()


class _Connection(asyncio.Protocol):
    def __init__(self, halo: _Halo) -> None:
        self._halo = halo
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport
        self._coming = bytearray()
        self._wanted = 0  # bytes of the request that is coming in; 0 until its head is there
        self._body_at = 0

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._coming += data
        while self._is_complete():
            with memoryview(self._coming) as coming:
                head, body = bytes(coming[: self._body_at]), bytes(coming[self._body_at : self._wanted])
            del self._coming[: self._wanted]
            self._wanted = 0
            self._answer(head[: head.index(b"\r\n")], body)

    def _is_complete(self) -> bool:
        if not self._wanted:
            end = self._coming.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._coming, 0, end)
            self._body_at = end + 4
            self._wanted = self._body_at + (int(length[1]) if length else 0)
        return len(self._coming) >= self._wanted

    def _answer(self, line: bytes, body: bytes) -> None:
        if line.startswith(b"GET"):
            self._tell(line.split()[1].decode())
            return
        received = self._halo.received
        if _SPACED in body:
            body = body.replace(_SPACED, _USER)
        answer = body  # of a company, which is what the API gives back
        if b"users/" in line:
            answer = b'{"updated":%d,"created":0,"skipped":0}' % body.count(_USER)
        if received.delay:
            self._loop.call_later(received.delay, self._write, answer)
        else:
            self._write(answer)
        received.take(line, body)  # after the answer: what it takes isn't waited for

    def _tell(self, path: str) -> None:
        name, _, query = path.partition("?")
        if name == "/start":
            given = dict(parse_qsl(query))
            self._halo.received = Received(delay=float(given["delay"]), lose=int(given["lose"]))
        self._write(json.dumps(self._halo.received.counts()).encode())

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_HEAD % len(answer) + answer)


async def serve() -> None:
    """Serve on a free port of this machine, which is printed, until standard input ends."""
    loop, halo = asyncio.get_running_loop(), _Halo()
    server = await loop.create_server(lambda: _Connection(halo), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    run(serve())
