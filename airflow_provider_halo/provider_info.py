"""What Airflow is told about this provider: its connection form, its configuration, its hooks, operators and commands.

Plain data, so that Airflow can show the connection form without importing a hook.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_halo import __version__
from airflow_provider_halo.contract import DEFAULT_BASE_URL
from airflow_provider_halo.settings import DEFAULTS, LEAST_PER_SECOND, HaloSettings

__all__ = ["get_provider_info"]

__all__ = ["get_provider_info"]

_INTEGRATION = "HaloAgents"

_CONNECTION: dict[str, Any] = {
    "connection-type": "halo",
    "hook-class-name": "airflow_provider_halo.hooks.halo.HaloHook",
    "hook-name": "HaloAgents",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port", "login"],
        "relabeling": {"password": "Widget key", "host": "Base URL"},
        "placeholders": {"password": "ab_live_…", "host": DEFAULT_BASE_URL},
    },
    "conn-fields": {
        "identity_secret": {
            "label": "Identity secret",
            "description": "ha_secret_…; signs the tokens of scheduled syncs and backfills, and is never sent.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "verify_identity": {
            "label": "Verify identity",
            "description": "Whether calls that name one user carry that user's token. Empty: when there is a secret.",
            # A choice of texts: a switch has no third position for "empty", and would show it as off.
            "schema": {"type": ["string", "null"], "enum": ["true", "false"]},
        },
        "timeout": {
            "label": "Timeout (seconds)",
            "description": "For one request, connecting included.",
            "schema": {"type": ["number", "null"], "default": HaloSettings.timeout, "minimum": 1},
        },
        "max_in_flight": {
            "label": "Requests in flight",
            "description": "Requests on the way at once, at most, in each task.",
            "schema": {"type": ["integer", "null"], "default": HaloSettings.max_in_flight, "minimum": 1},
        },
        "requests_per_second": {
            "label": "Requests per second",
            "description": "Requests started per second, at most, by all tasks together: counted by the ledger where there "
            "is one, else divided by the slots of the pool. Empty: no limit but Halo's own.",
            "schema": {"type": ["number", "null"], "minimum": LEAST_PER_SECOND},
        },
        "max_retry_seconds": {
            "label": "Retry for (seconds)",
            "description": "How long a task waits for Halo to come back before it fails.",
            "schema": {"type": ["number", "null"], "default": HaloSettings.max_retry_seconds, "minimum": 1},
        },
    },
}


def _option(
    description: str, default: str | int | None, *, kind: str = "string", example: str | None = None
) -> dict[str, Any]:
    """An option as Airflow describes it.

    :param default: Airflow takes it as text, in which Python's configparser reads a percent sign as a reference.
    """
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": None if default is None else str(default).replace("%", "%%"),
    }


_CONFIG: dict[str, Any] = {
    "halo": {
        "description": "What the shipped Halo DAGs use, and what Halo operators take where an argument is left out.",
        "options": {
            "plan": _option(
                "Path of the plan file, as the workers see it.", None, example="/opt/airflow/plans/halo.yaml"
            ),
            "conn_id": _option("Airflow connection of HaloAgents.", DEFAULTS.conn_id),
            "ledger_conn_id": _option(
                "Airflow connection of the database that keeps the ledger: what Halo has acknowledged, so that only what "
                "changed is sent. SQLite, PostgreSQL, MySQL or MariaDB; its tables are made on first use. Empty: no ledger, "
                "and every sync sends everything.",
                DEFAULTS.ledger_conn_id,
                example="halo_ledger",
            ),
            "ledger_keep_days": _option(
                "Days after which the ledger's runs and rejections are deleted; 0 keeps them.",
                DEFAULTS.ledger_keep_days,
                kind="integer",
            ),
            "max_changed": _option(
                "With a ledger, the weekly sync stops before it sends anything when more of the companies, or of the users, "
                "that Halo has would change, or are no longer there: a share (50%), or none. In airflow.cfg a percent sign "
                "is written twice.",
                DEFAULTS.max_changed,
            ),
            "max_gone": _option(
                "With a ledger, and `gone: empty` in the plan, a run stops before it sends anything when it would empty more "
                "of the companies, or of the users: a count (20), a share (5%), or none for no limit. In airflow.cfg a "
                "percent sign is written twice.",
                DEFAULTS.max_gone,
            ),
            "pool": _option(
                "Pool that bounds how many batches talk to Halo at once, in the shipped DAGs.", DEFAULTS.pool
            ),
            "pool_slots": _option(
                "Slots of that pool. It is made with so many; one that exists is never changed, so whoever resizes it sets "
                "this, too: without a ledger a task gets the part of its slots of the connection's requests per second.",
                DEFAULTS.pool_slots,
                kind="integer",
            ),
            "create_pool": _option(
                "Make the pool when the scheduler starts and finds none of that name. False: make it by hand with "
                "`airflow pools set`.",
                DEFAULTS.create_pool,
                kind="boolean",
            ),
            "batch_size": _option(
                "Users in one batch, about: one mapped task each.", DEFAULTS.batch_size, kind="integer"
            ),
            "defer_after": _option(
                "A pause of Halo of more seconds than that defers a deferrable SyncOperator with a ledger, so that it frees its "
                "worker and its slot of the pool. 0: never.",
                DEFAULTS.defer_after,
                kind="integer",
            ),
            "max_rejected": _option(
                "A run fails when more records are rejected: a count (20) or a share of the run (1%). In airflow.cfg a "
                "percent sign is written twice: 1%%.",
                DEFAULTS.max_rejected,
            ),
            "max_left_out": _option(
                "A run fails when more records are stored in part, because an entry of theirs can't be sent as the plan says "
                "(two rows of one name, several rows where one is due): a count (20) or a share of the run (1%). In "
                "airflow.cfg a percent sign is written twice: 1%%.",
                DEFAULTS.max_left_out,
            ),
        },
    }
}


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-halo",
        "name": _INTEGRATION,
        "description": "Bring product data from any SQL database to HaloAgents: weekly, in backfills and on events.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://haloagents.ai",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_halo.hooks.halo"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_halo.operators.context",
                    "airflow_provider_halo.operators.identify",
                    "airflow_provider_halo.operators.plan_batches",
                    "airflow_provider_halo.operators.report",
                    "airflow_provider_halo.operators.sync",
                ],
            }
        ],
        "connection-types": [_CONNECTION],
        "config": _CONFIG,
        "cli": ["airflow_provider_halo.plugin.commands.get_commands"],
    }
