"""Carries one POST to Halo and its answer back, over kept connections; every failure comes out as `Unreachable`.

httpx's request and answer, on aiohttp's connections (`httpx-aiohttp`). The transport is called without an
`httpx.AsyncClient` around it: a client keeps cookies, logs each request at INFO and can follow redirects, and none of
that is wanted here.

Measured against a server in another process, 2 cores, one shared client, calls per second with 8 and with 32 requests
in flight: httpx 1,450 and 430 (its pool slows down with each connection), an httpx client on httpx-aiohttp 3,000 and
2,600, this transport 3,600 and 3,500, aiohttp alone 9,800 and 8,700. Under faults (refused, reset before, during and
after the answer, cut and broken bodies, idle connections that the server has closed) neither httpx nor httpx-aiohttp
loses a request, but two things of the latter are mended here: an answer that isn't HTTP escapes it as aiohttp's own
error, and whatever breaks a connection is called a timeout.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
import sys
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, final
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from airflow_provider_halo import __version__
from airflow_provider_halo.api.redaction import clean_local
from airflow_provider_halo.exceptions import SetupError, Unreachable
from airflow_provider_halo.settings import HaloSettings, is_loopback

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["HaloTransport", "HttpResponse"]

_KEEP_ALIVE_SECONDS: Final = 4.0  # idle; below the 5 s after which common servers hang up, so few die on the way out
_LAST_PORT: Final = 65_535
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's way to say so
_ANSWER_BYTES: Final = 16 * 2**20  # an answer about 1,000 users is far smaller; more is no answer of an API


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back: status, headers (case of their names doesn't matter) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@final
class HaloTransport:
    """Posts JSON to one base URL. An asynchronous context manager; of one event loop.

    :param settings: where Halo is, the widget key, the timeout of a request and how many connections there may be.
    :param transport: another httpx transport, for tests; None opens aiohttp's connections.
    :raises SetupError: when the base URL can't be used.
    """

    def __init__(self, settings: HaloSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._timeout = settings.timeout
        self._connections = settings.max_in_flight
        self._given_transport = transport
        self._open: httpx.AsyncBaseTransport | None = None
        self._base = _base_url(settings)
        headers = {
            "Authorization": f"Bearer {settings.widget_key}",  # documented, and the only place that the key is sent in
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"airflow-provider-halo/{__version__}",
        }
        self._headers = httpx.Headers({**headers, "Host": self._base.netloc.decode("ascii")})
        self._urls: dict[str, httpx.URL] = {}  # a few paths, each joined once: that takes a tenth of a call
        self._extensions = {"timeout": httpx.Timeout(settings.timeout).as_dict()}

    async def __aenter__(self) -> HaloTransport:
        self._open = self._given_transport or self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    async def post(self, path: str, body: bytes) -> HttpResponse:
        """Send one request and read its whole answer, connecting included, within the timeout.

        :raises Unreachable: refused, reset, timed out, or an answer that isn't HTTP. Whether Halo acted isn't known.
        """
        if self._open is None:
            raise RuntimeError("the transport is closed: use it in `async with`")
        if path not in self._urls:
            self._urls[path] = self._base.join(path)
        # As a stream that is read at once: for a body, httpx would put headers together anew, a quarter of a call's cost.
        request = httpx.Request(
            "POST",
            self._urls[path],
            headers=self._headers,
            stream=httpx.ByteStream(body),
            extensions=dict(self._extensions),
        )
        request.headers["Content-Length"] = str(len(body))
        request.read()
        try:
            async with timeout(self._timeout):
                response = await self._open.handle_async_request(request)
                try:
                    return HttpResponse(response.status_code, response.headers, await _read(response))
                finally:
                    await response.aclose()
        # httpx-aiohttp maps most of aiohttp's errors to httpx's, but not that of an answer that isn't HTTP.
        except (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise Unreachable(_cause(error, self._timeout), path=path) from None

    def _connect(self) -> httpx.AsyncBaseTransport:
        ssl_context = _trusted_certificates() if self._base.scheme == "https" else _NO_CERTIFICATES
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ssl=ssl_context,
        )
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        # `verify` only because the transport would otherwise read the certificates once more.
        return AiohttpTransport(client=session, verify=ssl_context, proxy=_proxy(self._base))


# For plain HTTP: a process that never speaks TLS is spared the certificates (2 MB, 70 ms).
_NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@functools.cache
def _trusted_certificates() -> ssl.SSLContext:
    """The certificates that TLS trusts. Read once for all clients: that takes 40 ms, longer than a batch without changes."""
    return httpx.create_ssl_context()


def _base_url(settings: HaloSettings) -> httpx.URL:
    """The base URL, ending in a slash, so that paths are joined below it and not in place of its last part."""
    where = f"Halo connection {settings.conn_id!r}: its host is no URL"
    try:
        url = httpx.URL(settings.base_url.rstrip("/") + "/")
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: of names that no IDNA reads, and of IPv6 addresses
        raise SetupError(f"{where}: {error}.") from None
    if url.port is not None and not 1 <= url.port <= _LAST_PORT:
        raise SetupError(f"{where}: there is no port {url.port}.")
    if not _is_host(url.raw_host.decode("ascii")):
        raise SetupError(f"{where}: {host} is no host name.")
    return url


def _is_host(host: str) -> bool:
    """Whether a host can be looked up at all: an IPv6 address, or labels of letters, digits, - and _ (in DNS's lengths)."""
    if ":" in host:
        return re.fullmatch(r"[0-9a-fA-F:.]+", host) is not None
    return len(host) <= 253 and re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", host) is not None


def _proxy(base: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for Halo's host (HTTPS_PROXY, NO_PROXY); never one for this machine.

    Read here and not by aiohttp, which with `trust_env` would also take a password from ~/.netrc.
    """
    if is_loopback(base.host) or urllib.request.proxy_bypass(base.host):
        return None
    url = urllib.request.getproxies().get(base.scheme) or urllib.request.getproxies().get("all")
    return httpx.Proxy(url if urlsplit(url).scheme else f"http://{url}") if url else None


async def _read(response: httpx.Response) -> bytes:
    """The body, unpacked piece by piece, so that no small answer can become a large one before it is noticed."""
    if response.is_closed:
        return response.content  # a transport that gives answers whole
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:  # a list of them would be unpacked again and again
        raise httpx.StreamError("the answer is packed in a way that wasn't asked for")
    unpacker = None if encoding == "identity" else zlib.decompressobj(_GZIP)
    body = bytearray()
    async for part in response.aiter_raw():
        try:
            # One byte more than is taken: enough to see that there is too much.
            body += part if unpacker is None else unpacker.decompress(part, _ANSWER_BYTES + 1 - len(body))
        except zlib.error:
            raise httpx.StreamError("the answer can't be unpacked") from None
        if len(body) > _ANSWER_BYTES:
            raise httpx.StreamError(f"the answer is longer than {_ANSWER_BYTES:,} bytes")
    if unpacker is not None and not unpacker.eof:
        raise httpx.StreamError("the answer can't be unpacked")
    return bytes(body)


def _cause(error: Exception, timeout: float) -> str:
    """What went wrong with the connection, in a few words that hold nothing of the request or the answer."""
    # httpx-aiohttp calls every broken connection a ConnectTimeout; aiohttp's own error below it is right.
    error = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException)):
        return f"no answer within {timeout:g} s"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer isn't HTTP"
    return clean_local(str(error)) or type(error).__name__
