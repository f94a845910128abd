"""The settings of the Celery profile of docker-compose.yaml, for the test that runs with them and the one that reads them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

COMPOSE = Path(__file__).parents[1] / "docker-compose.yaml"
WORKERS = ("worker-1", "worker-2")


def celery_settings() -> dict[str, str]:
    """What both workers are told of Celery, by environment variable."""
    # As compose reads it when no variable is set.
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text(encoding="utf-8"))
    services = yaml.safe_load(text)["services"]
    first, second = (
        {name: value for name, value in services[worker]["environment"].items() if name.startswith("AIRFLOW__CELERY")}
        for worker in WORKERS
    )
    assert first == second
    return first
