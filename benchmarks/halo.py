"""A Halo that says yes to everything, as fast as it can: it takes bodies, counts their records and knows no rule.

The sandbox is for the rules of the API; here it would be what is measured.
"""

from __future__ import annotations

import asyncio
import re
import sys

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._received = bytearray()
        self._wanted = 0  # bytes of the request that is coming in; 0 until its head is there
        self._body_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._is_complete():
            request = bytes(self._received[: self._wanted])
            del self._received[: self._wanted]
            body = request[self._body_at :]
            self._wanted = 0
            answer = body  # of a company, which is what the API gives back
            if b"users/update" in request[: request.index(b"\r\n")]:
                answer = b'{"updated":%d,"created":0,"skipped":0}' % body.count(b'"user_id":')
            self._transport.write(_HEAD % len(answer) + answer)

    def _is_complete(self) -> bool:
        if not self._wanted:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._received, 0, end)
            self._body_at = end + 4
            self._wanted = self._body_at + (int(length[1]) if length else 0)
        return len(self._received) >= self._wanted


async def serve() -> None:
    """Serve on a free port of this machine, which is printed, until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
