"""One sandbox: its settings, read once at the edge, and the state that its parts share."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from airflow_provider_halo.sandbox.faults import Faults, parse_fault
from airflow_provider_halo.sandbox.quota import Quota, QuotaRule
from airflow_provider_halo.sandbox.request_log import RequestLog
from airflow_provider_halo.sandbox.store import Clock, StateFile, Store, utc_now

__all__ = ["BAD_USER_ANSWERS", "BadUser", "SandboxConfig", "SandboxState", "is_loopback"]

BadUser = Literal["nameless", "named", "partial"]
BAD_USER_ANSWERS: Final[tuple[BadUser, ...]] = ("nameless", "named", "partial")


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """The settings of one sandbox.

    :param widget_key: the only key that is let in (documented form: ``ab_live_…``).
    :param identity_secret: what tokens must be signed with (documented form: ``ha_secret_…``).
    :param verify_identity: whether calls that name a user need that user's token; ``users/update`` always needs one.
    :param org_id: the workspace the widget key stands for (documented form: a UUID).
    :param file: a SQLite file that keeps the state over restarts; None keeps it in memory only.
    :param faults: fault rules at start, each as ``parse_fault`` reads it.
    :param quota: which requests are refused with 429 for their number.
    :param max_body_bytes: longer bodies get 413; None has no such cap. Whether Halo has one is unknown.
    :param bad_user: what one invalid user does to its ``users/update``, which is unknown: ``nameless`` fails the
        batch without saying who it was, ``named`` fails it and names the user, ``partial`` stores the others.
    :param refuse_context: answer 400 to a ``users/update`` whose entries carry ``context``, which is unknown too.
    :param poison: ids of users that are always refused with a 400 that says nothing.
    :param clock_ahead: seconds by which the server's clock is ahead of this machine's; below 0 it is behind.
    :param keep_alive: seconds after which an idle connection is closed, unannounced, as servers and proxies do.
    :param open_admin: let clients that aren't on this machine use the page and ``/_sandbox``.
    """

    widget_key: str = field(default="ab_live_sandbox", repr=False)
    identity_secret: str = field(default="ha_secret_sandbox", repr=False)
    verify_identity: bool = True
    org_id: str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    file: Path | None = None
    faults: tuple[str, ...] = ()
    quota: QuotaRule = QuotaRule()  # noqa: RUF009 (frozen)
    max_body_bytes: int | None = None
    bad_user: BadUser = "nameless"
    refuse_context: bool = False
    poison: frozenset[str] = frozenset()
    clock_ahead: float = 0.0
    keep_alive: float = 5.0
    open_admin: bool = False


@dataclass(frozen=True)
class SandboxState:
    """What the API, the admin calls and the page work on.

    :param expired: tokens that a fault has made expire before their time.
    :param closing: set while the server stops, so that a delay which is being played ends.
    """

    config: SandboxConfig
    clock: Clock
    store: Store
    faults: Faults
    requests: RequestLog
    quota: Quota = field(default_factory=Quota)
    expired: set[str] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, config: SandboxConfig, *, clock: Clock = utc_now) -> SandboxState:
        """The state at the start, as the settings say.

        :param clock: the time as it is; what the sandbox goes by is `clock_ahead` of it.
        :raises FaultError: when a fault in the settings can't be understood.
        :raises sqlite3.Error: when the file can't be opened or is not a state file.
        """
        ahead = timedelta(seconds=config.clock_ahead)

        def sandbox_clock() -> datetime:
            return clock() + ahead

        faults = Faults(parse_fault(text) for text in config.faults)
        store = Store(clock=sandbox_clock, file=StateFile(config.file) if config.file else None)
        return cls(config, sandbox_clock, store, faults, RequestLog(), Quota(config.quota))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address always means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
