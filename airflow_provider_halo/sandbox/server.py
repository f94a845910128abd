"""The sandbox as an ASGI application, and a server that runs it in a thread: for tests, the demo, the command line."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_provider_halo.sandbox.admin import Admin
from airflow_provider_halo.sandbox.api import API, Api, refused
from airflow_provider_halo.sandbox.config import SandboxConfig, SandboxState
from airflow_provider_halo.sandbox.faults import Faults
from airflow_provider_halo.sandbox.middleware import TRANSPORT, FaultMiddleware
from airflow_provider_halo.sandbox.page import Page
from airflow_provider_halo.sandbox.request_log import RequestLog
from airflow_provider_halo.sandbox.rules import Refusal
from airflow_provider_halo.sandbox.store import Clock, Store, utc_now

__all__ = ["SandboxServer", "create_app"]

_Protocol: Any = AutoHTTPProtocol  # httptools' or h11's, whichever uvicorn finds; mypy can't know which


class _TransportInStateProtocol(_Protocol):  # type: ignore[misc]  # the base is only known at run time, see above
    """uvicorn's protocol, which also leaves its connection in the scope's state, for faults that cut it."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class SandboxServer:
    """A sandbox that runs, as a context manager, or between ``start`` and ``close``.

    :param config: how it behaves; None takes the defaults.
    :param host: the address to listen on; another one than loopback shows the sandbox to the network.
    :param port: 0 takes a free one, which ``stop`` and a later ``start`` keep.
    :param clock: gives the time that is written down, and by which tokens expire.
    :raises FaultError: when a fault in the settings can't be understood.
    :raises sqlite3.Error: when the file can't be opened or is not a state file.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock = utc_now,
    ) -> None:
        self.config = config or SandboxConfig()
        self.host = host
        self.port = port
        self._state = SandboxState.of(self.config, clock=clock)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> Store:
        """What it remembers."""
        return self._state.store

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._state.faults

    @property
    def requests(self) -> RequestLog:
        """The requests that have come in."""
        return self._state.requests

    @property
    def root(self) -> str:
        """URL of the page, without a slash at its end; the admin calls are under ``/_sandbox``."""
        # A server that listens on every address is reached by the loopback one.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """Base URL of the API: the host of a connection."""
        return self.root + API

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread is not None and self._thread.is_alive()

    def application(self) -> ASGIApp:
        """What it serves, made anew by each ``start``; whoever wants to see the requests puts something around it."""
        return create_app(state=self._state)

    def start(self) -> None:
        """Listen and answer, in a thread.

        :raises OSError: when the port is taken or the host is none of this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, self.port), family=family, backlog=1024)
        self.port = self._socket.getsockname()[1]
        self._state.closing.clear()
        config = uvicorn.Config(
            self.application(),
            http=_TransportInStateProtocol,
            lifespan="off",
            log_config=None,  # logging belongs to the process around it, which may be Airflow
            log_level="error",
            access_log=False,
            date_header=False,  # the middleware's own, by the sandbox's clock
            timeout_keep_alive=self.config.keep_alive,  # type: ignore[arg-type]  # a float does as well
            timeout_graceful_shutdown=1,  # seconds
        )
        self._server = uvicorn.Server(config)
        # In a thread that isn't the main one uvicorn leaves signals alone.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="halo-sandbox", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering; what is stored stays, and ``start`` goes on at the same port."""
        self._state.closing.set()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        self._server = self._thread = self._socket = None

    def close(self) -> None:
        """Stop for good, and close the file."""
        self.stop()
        self.store.close()

    def __enter__(self) -> SandboxServer:  # noqa: PYI034 - typing.Self came with Python 3.11
        try:
            self.start()
        except OSError:
            self.store.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_app(config: SandboxConfig | None = None, *, state: SandboxState | None = None) -> Starlette:
    """Build the application: the API behind its faults, the admin calls and the page.

    :param config: how it behaves; None takes the defaults.
    :param state: what it works on, where the caller keeps hold of it; None makes it from ``config``.
    """
    state = state or SandboxState.of(config or SandboxConfig())
    return Starlette(
        routes=[*Api(state).routes(), *Admin(state).routes(), *Page(state).routes()],
        middleware=[Middleware(FaultMiddleware, state=state)],
        exception_handlers={Refusal: _refused, 404: _not_found, 405: _wrong_method},
    )


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):  # Starlette types every handler for any exception
        raise error
    return refused(error)


async def _not_found(request: Request, _: Exception) -> Response:
    return refused(Refusal(404, f"there is nothing at {request.url.path}"))


async def _wrong_method(request: Request, _: Exception) -> Response:
    return refused(Refusal(405, f"{request.url.path} doesn't take {request.method}"))
