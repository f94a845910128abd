"""A sandbox in a thread of this process, on a loopback port: for tests, the demo and the command line."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

import uvicorn

from airflow_provider_halo.sandbox.app import API, create_app
from airflow_provider_halo.sandbox.archive import Archive
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.store import Clock, Store, utc_now


class SandboxServer:
    """A running sandbox, as a context manager.

    :param config: how it behaves.
    :param port: the port on 127.0.0.1; 0 takes a free one.
    :param clock: gives the time that the store writes down.
    """

    def __init__(self, config: SandboxConfig | None = None, *, port: int = 0, clock: Clock = utc_now) -> None:
        self.config = config or SandboxConfig()
        self.store = Store(clock=clock, archive=Archive(self.config.file) if self.config.file else None)
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        app = create_app(self.config, store=self.store)
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="halo-sandbox", daemon=True)

    @property
    def root(self) -> str:
        """URL of the page; the admin calls are under ``/_sandbox``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base URL of the API, as a connection's host."""
        return self.root + API

    def __enter__(self) -> SandboxServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.store.close()
