"""An Airflow of the demo's own: its folder, its ports, its settings as environment variables, its commands."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airflow_provider_halo.sample import PLAN

__all__ = ["USER", "AirflowHome", "airflow", "free_ports", "sandbox"]

CHECKOUT: Final = Path(__file__).resolve().parent.parent
USER: Final = "admin"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(listening.getsockname()[1]) for listening in sockets]
    finally:
        for listening in sockets:
            listening.close()


def three_ports() -> tuple[int, int, int]:
    """Ports for the API server and the two log servers."""
    first, second, third = free_ports(3)
    return first, second, third


@dataclass(frozen=True, kw_only=True)
class AirflowHome:
    """One Airflow in one folder.

    :param folder: AIRFLOW_HOME.
    :param database: path of the product's SQLite database, which the connection ``forms_app`` names.
    :param sandbox_url: base URL of the sandbox's API.
    :param widget_key: what the sandbox lets in; ``identity_secret``: what it takes signatures of.
    :param batch_size: users in one batch: small enough to see several of them.
    :param ledger: path of the ledger's SQLite database, which the connection ``halo_ledger`` names; None for no ledger.
    """

    folder: Path
    database: Path
    sandbox_url: str
    widget_key: str = field(repr=False)
    identity_secret: str = field(repr=False)
    batch_size: int
    ledger: Path | None = None
    password: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(12))
    ports: tuple[int, int, int] = field(default_factory=three_ports)

    @property
    def url(self) -> str:
        """Address of Airflow's UI and REST API."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def create(self) -> None:
        """Make the folder, with the password of the one user in it."""
        self.folder.mkdir(parents=True)
        self._passwords.touch(mode=0o600)
        self._passwords.write_text(json.dumps({USER: self.password}), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """The environment of every Airflow process. Settings of the user's own Airflow are left behind."""
        api, worker_logs, trigger_logs = self.ports
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        token_secret = secrets.token_hex(32)
        return (
            inherited
            | self._ledger()
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "NO_PROXY": "127.0.0.1,localhost",
                "PYTHONUNBUFFERED": "1",
                "AIRFLOW_HOME": str(self.folder),
                "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._passwords),
                "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(api),
                "AIRFLOW__API__BASE_URL": self.url,
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API__SECRET_KEY": token_secret,
                "AIRFLOW__API_AUTH__JWT_SECRET": token_secret,
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
                "AIRFLOW__HALO__PLAN": str(PLAN),
                "AIRFLOW__HALO__BATCH_SIZE": str(self.batch_size),
                "AIRFLOW_CONN_FORMS_APP": json.dumps({"conn_type": "sqlite", "host": str(self.database)}),
                "AIRFLOW_CONN_HALO_DEFAULT": json.dumps(
                    {
                        "conn_type": "halo",
                        "host": self.sandbox_url,
                        "password": self.widget_key,
                        "extra": {"identity_secret": self.identity_secret},
                    }
                ),
            }
        )

    def _ledger(self) -> dict[str, str]:
        if self.ledger is None:
            return {}
        return {
            "AIRFLOW__HALO__LEDGER_CONN_ID": "halo_ledger",
            "AIRFLOW_CONN_HALO_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(self.ledger)}),
        }

    @property
    def _passwords(self) -> Path:
        return self.folder / "passwords.json"


def airflow(*words: str) -> list[str]:
    """The command ``airflow …`` of this environment."""
    return [sys.executable, "-m", "airflow", *words]


def sandbox(port: int, *, widget_key: str, identity_secret: str) -> list[str]:
    """The command ``halo sandbox …`` of this environment."""
    return [
        *(sys.executable, "-m", "airflow_provider_halo", "sandbox", "--port", str(port)),
        *("--widget-key", widget_key, "--identity-secret", identity_secret),
    ]
