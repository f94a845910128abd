"""The parts of one sandbox, joined: its settings, its clock, what it remembers, its faults and its counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from airflow_provider_halo.sandbox.archive import Archive
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.faults import Faults, parse_fault
from airflow_provider_halo.sandbox.store import Clock, Store, utc_now
from airflow_provider_halo.sandbox.traffic import Traffic


@dataclass(frozen=True)
class Parts:
    """What the API, the admin calls and the page work on.

    :param closing: set while the server stops, so that a delay which is being played ends.
    """

    config: SandboxConfig
    clock: Clock
    store: Store
    faults: Faults
    traffic: Traffic
    closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, config: SandboxConfig, *, clock: Clock = utc_now) -> Parts:
        """Make the parts as the settings say.

        :raises FaultError: when a fault in the settings can't be understood.
        :raises sqlite3.Error: when the file can't be opened or is no state file.
        """
        faults = Faults(parse_fault(text) for text in config.faults)
        store = Store(clock=clock, archive=Archive(config.file) if config.file else None)
        return cls(config, clock, store, faults, Traffic())
