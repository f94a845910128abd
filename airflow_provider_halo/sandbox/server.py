"""A sandbox in a thread of this process: for tests, the demo and the command line."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_provider_halo.sandbox.api import API
from airflow_provider_halo.sandbox.app import create_app
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import Faults
from airflow_provider_halo.sandbox.gate import TRANSPORT
from airflow_provider_halo.sandbox.parts import Parts
from airflow_provider_halo.sandbox.store import Clock, Store, utc_now
from airflow_provider_halo.sandbox.traffic import Traffic

_Protocol: Any = AutoHTTPProtocol  # httptools' or h11's, whichever uvicorn finds; mypy can't know which


class _OpenHandedProtocol(_Protocol):  # type: ignore[misc]  # the base is only known at run time, see above
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
    :raises sqlite3.Error: when the file can't be opened or is no state file.
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
        self._parts = Parts.of(self.config, clock=clock)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> Store:
        """What it remembers."""
        return self._parts.store

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._parts.faults

    @property
    def traffic(self) -> Traffic:
        """What has come in."""
        return self._parts.traffic

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
        return create_app(parts=self._parts)

    def start(self) -> None:
        """Listen and answer, in a thread.

        :raises OSError: when the port is taken or the host is none of this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, self.port), family=family, backlog=1024)
        self.port = self._socket.getsockname()[1]
        self._parts.closing.clear()
        config = uvicorn.Config(
            self.application(),
            http=_OpenHandedProtocol,
            lifespan="off",
            log_config=None,  # logging belongs to the process around it, which may be Airflow
            log_level="error",
            access_log=False,
            date_header=False,  # the gate's own, by the sandbox's clock
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
        self._parts.closing.set()
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
