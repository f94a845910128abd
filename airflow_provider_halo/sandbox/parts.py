"""The parts of one sandbox, joined: its settings, its clock, what it remembers, its faults and its counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_provider_halo.sandbox.archive import Archive
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import Faults, parse_fault
from airflow_provider_halo.sandbox.store import Clock, Store, utc_now
from airflow_provider_halo.sandbox.traffic import Traffic


@dataclass(frozen=True)
class Parts:
    """What the API, the admin calls and the page work on.

    :param expired: tokens that a fault has made expire before their time.
    :param closing: set while the server stops, so that a delay which is being played ends.
    """

    config: SandboxConfig
    clock: Clock
    store: Store
    faults: Faults
    traffic: Traffic
    expired: set[str] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, config: SandboxConfig, *, clock: Clock = utc_now) -> Parts:
        """Make the parts as the settings say.

        :param clock: the time as it is; what the sandbox goes by is `clock_ahead` of it.
        :raises FaultError: when a fault in the settings can't be understood.
        :raises sqlite3.Error: when the file can't be opened or is no state file.
        """
        ahead = timedelta(seconds=config.clock_ahead)

        def shown() -> datetime:
            return clock() + ahead

        faults = Faults(parse_fault(text) for text in config.faults)
        store = Store(clock=shown, archive=Archive(config.file) if config.file else None)
        return cls(config, shown, store, faults, Traffic())
