"""Airflow's configuration section ``[halo]``: what operators take where an argument is left out."""

from __future__ import annotations

from configparser import InterpolationError

from airflow.sdk import conf

from airflow_provider_halo.exceptions import SetupError

__all__ = [
    "batch_size",
    "conn_id",
    "ledger_conn_id",
    "ledger_keep_days",
    "max_rejected",
    "plan_path",
    "pool",
    "pool_slots",
]


def plan_path() -> str:
    """Path of the plan.

    :raises SetupError: when none is configured.
    """
    path = (conf.get("halo", "plan", fallback="") or "").strip()
    if not path:
        raise SetupError(
            "No plan file is configured: set AIRFLOW__HALO__PLAN (or `plan` under [halo] in airflow.cfg) to its path as "
            "the workers see it, or give the operator plan=…"
        )
    return path


def conn_id() -> str:
    """Id of the Halo connection."""
    return _text("conn_id", "halo_default")


def ledger_conn_id() -> str:
    """Id of the connection of the ledger's database; empty for no ledger."""
    return _text("ledger_conn_id", "")


def ledger_keep_days() -> int:
    """Days after which the ledger's runs and rejections are deleted; 0 keeps them.

    :raises SetupError: when it is no whole number from 0.
    """
    days = _text("ledger_keep_days", "90")
    if not days.isdecimal():
        raise SetupError(f"[halo] ledger_keep_days must be a whole number from 0, not {days!r}.")
    return int(days)


def pool() -> str:
    """Name of the pool of the shipped DAGs."""
    return _text("pool", "halo_api")


def pool_slots() -> int:
    """How many slots that pool has, by the configuration: a task can't look.

    :raises SetupError: when it is no whole number from 1.
    """
    slots = _text("pool_slots", "4")
    if not slots.isdecimal() or not int(slots):
        raise SetupError(
            f"[halo] pool_slots must be a whole number from 1, not {slots!r}: without a ledger requests_per_second is "
            "divided by it."
        )
    return int(slots)


def batch_size() -> str:
    """Users in one batch, about; as a text, for whoever reads it to check."""
    return _text("batch_size", "5000")


def max_rejected() -> str:
    """How many rejected records a run may have: a count or a share."""
    return _text("max_rejected", "1%")


def _text(option: str, otherwise: str) -> str:
    try:
        return (conf.get("halo", option, fallback=otherwise) or otherwise).strip()
    except InterpolationError:  # a file of Python's configparser, where a percent sign begins a reference
        raise SetupError(f"[halo] {option} in airflow.cfg holds a single %: write it twice, as in 1%%.") from None
