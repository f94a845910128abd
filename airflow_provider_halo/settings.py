"""How to reach Halo, read once at the edge into a frozen value, and the default of every option. Secrets don't print."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from airflow_provider_halo.contract import DEFAULT_BASE_URL
from airflow_provider_halo.exceptions import SetupError

__all__ = [
    "DEFAULTS",
    "LEAST_PER_SECOND",
    "MOST_IN_FLIGHT",
    "POOL_DESCRIPTION",
    "Defaults",
    "HaloSettings",
    "is_loopback",
]

MOST_IN_FLIGHT: Final = 1_000  # each is a coroutine, and perhaps a connection; more than a few dozen only queue up
LEAST_PER_SECOND: Final = 0.001  # one in a quarter of an hour; less is a sync that never ends
POOL_DESCRIPTION: Final = "Batches that talk to HaloAgents at once"


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The default of every option of ``[halo]`` in airflow.cfg, by the option's name, and of the `halo` command.

    :param conn_id: Airflow connection of HaloAgents.
    :param ledger_conn_id: Airflow connection of the ledger's database; empty for no ledger.
    :param ledger_keep_days: days after which the ledger's runs and rejections are deleted; 0 keeps them.
    :param max_changed: share of the known companies, or users, that may change or be gone.
    :param max_gone: count or share of the companies, or users, that may be emptied because they are gone.
    :param max_rejected: count or share of the records that may be rejected.
    :param max_left_out: count or share of the records that may be stored in part.
    :param pool: pool of the shipped DAGs.
    :param pool_slots: its slots.
    :param create_pool: whether the scheduler makes the pool when it starts.
    :param batch_size: users in one batch, about.
    :param defer_after: seconds of a pause of Halo that a task sits out; a longer one defers it. 0 never does.
    :param jobs: batches at once in `halo sync`.
    """

    conn_id: str = "halo_default"
    ledger_conn_id: str = ""
    ledger_keep_days: int = 90
    max_changed: str = "50%"
    max_gone: str = "5%"
    max_rejected: str = "1%"
    max_left_out: str = "1%"
    pool: str = "halo_api"
    pool_slots: int = 4
    create_pool: bool = True
    batch_size: int = 5_000
    defer_after: int = 60
    jobs: int = 1


DEFAULTS: Final = Defaults()


@dataclass(frozen=True, kw_only=True)
class HaloSettings:
    """One Halo connection.

    :param widget_key: the workspace's widget key (``ab_live_…``), sent as a bearer token.
    :param base_url: where the API is; plain ``http`` only for a loopback host.
    :param identity_secret: signs user tokens and bulk tokens; never sent.
    :param verify_identity: whether calls that name one user carry that user's token. None: when there is a secret.
    :param timeout: seconds for one request, connecting included.
    :param max_in_flight: requests on the way at once, at most.
    :param requests_per_second: requests started per second, at most, by all clients of the account together; None for
        no such limit.
    :param max_retry_seconds: how long a run waits for Halo to come back before it gives up.
    :raises SetupError: when a value can't be used; says which and how to mend it.
    """

    widget_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    identity_secret: str | None = field(default=None, repr=False)
    verify_identity: bool | None = None
    timeout: float = 30
    max_in_flight: int = 8
    requests_per_second: float | None = None
    max_retry_seconds: float = 300
    conn_id: str = DEFAULTS.conn_id

    def __post_init__(self) -> None:
        where = f"Halo connection {self.conn_id!r}"
        if not self.widget_key:
            raise SetupError(f"{where} has no widget key: put it (ab_live_…) into the connection's password.")
        for name, secret in (("widget key", self.widget_key), ("identity_secret", self.identity_secret or "x")):
            if not secret.isascii() or not secret.isprintable() or " " in secret:
                raise SetupError(f"{where}: its {name} holds blanks or characters that no key has: paste it again.")
        self._check_url(where)
        for name in ("timeout", "max_in_flight", "max_retry_seconds"):
            if not getattr(self, name) > 0:
                raise SetupError(f"{where}: {name} must be above 0.")
        if self.max_in_flight > MOST_IN_FLIGHT:
            raise SetupError(f"{where}: max_in_flight must be at most {MOST_IN_FLIGHT:,}.")
        if self.requests_per_second is not None and not self.requests_per_second >= LEAST_PER_SECOND:
            raise SetupError(
                f"{where}: requests_per_second must be at least {LEAST_PER_SECOND:g}, or left empty for no limit."
            )
        if self.verify_identity and not self.identity_secret:
            raise SetupError(f"{where}: verify_identity is on, so identity_secret must be set too.")

    def _check_url(self, where: str) -> None:
        try:
            url = urlsplit(self.base_url)
        except ValueError as error:  # brackets without an IPv6 address; characters that turn into / or @
            raise SetupError(f"{where}: its host is no URL: {error}.") from None
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise SetupError(f"{where}: its host must be a URL such as {DEFAULT_BASE_URL}.")
        if url.username or url.password or not {"?", "#"}.isdisjoint(self.base_url):
            raise SetupError(f"{where}: its host must be a plain URL, without user, password, ? or #.")
        if url.scheme == "http" and not is_loopback(url.hostname):
            raise SetupError(
                f"{where}: plain http to {url.hostname} would send the widget key in clear; use https "
                "(http is for a sandbox on this machine only)."
            )

    @property
    def signs_users(self) -> bool:
        """Whether calls that name one user carry that user's token."""
        return bool(self.identity_secret) if self.verify_identity is None else self.verify_identity


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
