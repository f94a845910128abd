"""Real sockets and a server that breaks: whatever happens to a connection, a request is answered or `Unreachable`.

Each fault is tried on aiohttp's connections, which the client uses, and on httpx's own, which it was chosen over.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import time

import httpx
import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.api.transport import HaloTransport
from airflow_provider_halo.exceptions import ApiError, SetupError, UnexpectedAnswer, Unreachable

BODY = b'{"updated":1}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"


def sends(data: bytes, *, stays: bool = True):
    async def act(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return stays

    return act


def resets(data: bytes = b""):
    """Send these bytes, then reset the connection as a crashed server does."""

    async def act(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        if data:
            await asyncio.sleep(0.02)  # a reset may overtake what was sent
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return False

    return act


def stalls(data: bytes = b""):
    async def act(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await asyncio.sleep(5)
        return False

    return act


async def drips(writer: asyncio.StreamWriter) -> bool:
    """A byte every tenth of a second: no single read times out."""
    writer.write(HEAD % 1_000 + b"\r\n")
    for _ in range(50):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)
    return False


ok = sends(HEAD % len(BODY) + b"\r\n" + BODY)
ok_then_closed = sends(HEAD % len(BODY) + b"\r\n" + BODY, stays=False)

FAULTS = {
    "reset before the answer": resets(),
    "closed before the answer": sends(b"", stays=False),
    "reset within the head": resets(b"HTTP/1.1 200 OK\r\nContent-"),
    "reset within the body": resets(HEAD % 100 + b"\r\n" + b'{"upd'),
    "closed within the body": sends(HEAD % 100 + b"\r\n" + b'{"upd', stays=False),
    "closed within a chunked body": sends(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"upd', stays=False
    ),
    "no HTTP at all": sends(b"\x00\x01SSH-2.0-OpenSSH\r\n\r\n", stays=False),
    "a broken chunk": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", stays=False),
    "a broken head": sends(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}", stays=False),
    "broken gzip": sends(HEAD % 4 + b"Content-Encoding: gzip\r\n\r\nabcd"),
    "no answer": stalls(),
    "half an answer": stalls(HEAD % 100 + b"\r\n" + b'{"upd'),
    "an answer that drips": drips,
    "an answer without an end": sends(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (17 * 2**20), stays=False),
}
TRANSPORTS = {"aiohttp": lambda: None, "httpx": httpx.AsyncHTTPTransport}


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return TRANSPORTS[request.param]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_connection_is_unreachable_and_the_next_request_succeeds(raw_server, settings, transport, fault):
    async def scenario():
        async with (
            raw_server(FAULTS[fault], ok) as server,
            # As long as the bound below lets it be: a right answer must come in time also while the machine is busy.
            HaloTransport(settings(base_url=server.url, timeout=1), transport()) as halo,
        ):
            began = time.monotonic()
            with pytest.raises(Unreachable) as caught:
                await halo.post("users/update", b'{"users":"private"}')
            assert time.monotonic() - began < 2
            response = await halo.post("users/update", b"{}")
            return caught.value, response

    error, response = asyncio.run(scenario())
    assert (error.status, error.path) == (None, "users/update")
    assert error.message
    assert "private" not in str(error)
    assert (response.status, response.body) == (200, BODY)


def test_what_broke_is_said_in_words(raw_server, settings):
    async def said(act, **given) -> str:
        async with raw_server(act) as server, HaloTransport(settings(base_url=server.url, **given)) as halo:
            with pytest.raises(Unreachable) as caught:
                await halo.post("users/update", b"{}")
            return str(caught.value)

    assert asyncio.run(said(stalls(), timeout=0.3)) == snapshot("users/update: no answer: no answer within 0.3 s")
    assert asyncio.run(said(sends(b"", stays=False))) == snapshot("users/update: no answer: Server disconnected")
    assert asyncio.run(said(sends(b"SSH\r\n\r\n"))) == snapshot("users/update: no answer: the answer isn't HTTP")


def test_a_closed_port_is_unreachable_and_named(settings):
    async def scenario(port):
        async with HaloClient(settings(base_url=f"http://127.0.0.1:{port}/api/sdk")) as client:
            return await client.test()

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and doesn't listen; held, so that no test beside this one is given the port
        port = closed.getsockname()[1]
        passes, said = asyncio.run(scenario(port))
    assert not passes
    assert f"can't be reached at http://127.0.0.1:{port}/api/sdk" in said
    assert f"127.0.0.1:{port}" in said.partition(": ")[2]


def test_connections_are_kept(raw_server, settings, transport):
    async def scenario():
        async with raw_server(ok) as server, HaloTransport(settings(base_url=server.url), transport()) as halo:
            for _ in range(20):
                await halo.post("users/update", b"{}")
            return server.connections

    assert asyncio.run(scenario()) == 1


def test_an_idle_connection_that_the_server_closed_costs_nothing(raw_server, settings, transport):
    async def scenario():
        async with (
            raw_server(ok_then_closed) as server,
            HaloClient(settings(base_url=server.url), transport=transport()) as client,
        ):
            for _ in range(5):
                await client.link_user("u1", "c1")
                await asyncio.sleep(0.02)
            return client.stats

    stats = asyncio.run(scenario())
    assert (stats.requests, stats.retries) == (5, 0)


def test_a_client_survives_every_fault_in_turn(raw_server, settings):
    quick = [act for name, act in FAULTS.items() if name not in {"no answer", "half an answer", "an answer that drips"}]

    async def scenario():
        acts = [act for fault in quick for act in (fault, ok)]
        async with (
            raw_server(*acts) as server,
            HaloClient(settings(base_url=server.url), sleep=lambda _: asyncio.sleep(0)) as client,
        ):
            for _ in quick:
                await client.link_user("u1", "c1")
            return client.stats, len(server.requests)

    stats, received = asyncio.run(scenario())
    assert stats == Stats(requests=2 * len(quick), retries=len(quick), bytes=stats.bytes)
    assert received == 2 * len(quick)


def test_many_requests_at_once_use_no_more_connections_than_allowed(raw_server, settings):
    async def slow(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.01)
        return await ok(writer)

    async def scenario():
        async with (
            raw_server(slow) as server,
            HaloClient(settings(base_url=server.url, max_in_flight=4)) as client,
        ):
            await asyncio.gather(*(client.link_user("u1", "c1") for _ in range(40)))
            return server.connections

    assert asyncio.run(scenario()) == 4


def test_a_packed_answer_is_unpacked(raw_server, settings):
    packed = gzip.compress(BODY)

    async def scenario():
        act = sends(HEAD % len(packed) + b"Content-Encoding: gzip\r\n\r\n" + packed)
        async with raw_server(act) as server, HaloTransport(settings(base_url=server.url)) as halo:
            return (await halo.post("users/update", b"{}")).body

    assert asyncio.run(scenario()) == BODY


def test_neither_cookies_nor_redirects_are_followed(raw_server, settings):
    act = sends(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async def scenario():
        async with raw_server(act) as server, HaloClient(settings(base_url=server.url)) as client:
            for _ in range(2):
                with pytest.raises(UnexpectedAnswer):
                    await client.link_user("u1", "c1")
            return server.requests

    requests = asyncio.run(scenario())
    assert len(requests) == 4  # each link, and an empty request that shows whether it is for all
    assert all(request.startswith(b"POST /api/sdk/companies/identify HTTP/1.1\r\n") for request in requests)
    assert not any(b"cookie" in request.lower() for request in requests)


def test_no_password_file_and_no_proxy_meddles_with_a_server_on_this_machine(
    raw_server, settings, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def scenario():
        async with raw_server(ok) as server, HaloTransport(settings(base_url=server.url)) as halo:
            await halo.post("users/update", b"{}")
            return server.requests

    (request,) = asyncio.run(scenario())
    assert b"\r\nauthorization: bearer ab_live_0123456789\r\n" in request.lower()


@pytest.mark.parametrize("excepted", [False, True])
def test_the_environments_proxy_gets_a_tunnel_and_no_key(settings, monkeypatch, excepted):
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario():
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:word@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "halo.invalid" if excepted else "")
        async with HaloTransport(settings(base_url="https://halo.invalid/api/sdk", timeout=5)) as halo:
            with pytest.raises(Unreachable) as caught:
                await halo.post("users/update", b'{"users":"private"}')
        server.close()
        return str(caught.value)

    said = asyncio.run(scenario())
    if excepted:
        assert seen == []
    else:
        (request,) = seen
        assert request.startswith(b"CONNECT halo.invalid:443 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic " in request
        assert not any(private in request for private in (b"ab_live", b"private", b"Bearer"))
    assert not any(private in said for private in ("word", "ab_live", "private"))


@pytest.mark.parametrize("url", ["http://localhost:99999/api", "https://halo.example:port/api"])
def test_a_base_url_that_is_none_is_a_matter_of_setup(settings, url):
    with pytest.raises(SetupError, match="Halo connection 'halo_default': its host is no URL: "):
        HaloTransport(settings(base_url=url))


def test_an_unused_transport_closes_and_a_closed_one_refuses(settings):
    async def scenario():
        async with HaloTransport(settings()) as halo:
            pass
        with pytest.raises(RuntimeError, match="the transport is closed"):
            await halo.post("users/update", b"{}")

    asyncio.run(scenario())


def test_a_storm_of_faults_loses_no_request(raw_server, settings, transport):
    quick = [act for name, act in FAULTS.items() if "reset" in name or "closed" in name or "broken" in name]
    acts = [act for number in range(60) for act in (ok, ok, quick[number % len(quick)])] + [ok]

    async def scenario():
        async with (
            raw_server(*acts) as server,
            HaloClient(
                settings(base_url=server.url, max_in_flight=8), transport=transport(), sleep=lambda _: asyncio.sleep(0)
            ) as client,
        ):
            results = await asyncio.gather(
                *(client.link_user(f"u{number}", "c1") for number in range(200)), return_exceptions=True
            )
            return results, client.stats

    results, stats = asyncio.run(scenario())
    assert [result for result in results if isinstance(result, (ApiError, Exception))] == []
    assert (stats.requests, stats.retries) == (260, 60)
