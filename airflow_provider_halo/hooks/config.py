"""Airflow's configuration section ``[halo]``: what operators and the `halo` command take where an argument is left out."""

from __future__ import annotations

from configparser import InterpolationError

from airflow.sdk import conf

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.settings import DEFAULTS

__all__ = [
    "batch_size",
    "conn_id",
    "defer_after",
    "ledger_conn_id",
    "ledger_keep_days",
    "max_changed",
    "max_gone",
    "max_left_out",
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
            "the workers see it, or name the plan (plan=… of an operator, PLAN of the halo command)."
        )
    return path


def conn_id() -> str:
    """Id of the Halo connection."""
    return _text("conn_id")


def ledger_conn_id() -> str:
    """Id of the connection of the ledger's database; empty for no ledger."""
    return _text("ledger_conn_id")


def ledger_keep_days() -> int:
    """Days after which the ledger's runs and rejections are deleted; 0 keeps them.

    :raises SetupError: when it is no whole number from 0.
    """
    return _whole_number("ledger_keep_days", minimum=0)


def pool() -> str:
    """Name of the pool of the shipped DAGs."""
    return _text("pool")


def pool_slots() -> int:
    """How many slots that pool has, by the configuration: a task can't look.

    :raises SetupError: when it is no whole number from 1.
    """
    return _whole_number("pool_slots", minimum=1, because=": without a ledger requests_per_second is divided by it")


def batch_size() -> int:
    """Users in one batch, about.

    :raises SetupError: when it is no whole number from 1.
    """
    return _whole_number("batch_size", minimum=1)


def defer_after() -> int:
    """Seconds of a pause of Halo that a task sits out, where it can be deferred; 0 for any.

    :raises SetupError: when it is no whole number from 0.
    """
    return _whole_number("defer_after", minimum=0)


def max_rejected() -> Limit:
    """How many records of a run may be rejected: a count or a share.

    :raises SetupError: when it is neither.
    """
    return Limit.parse(_text("max_rejected"), "[halo] max_rejected")


def max_left_out() -> Limit:
    """How many records of a run may be stored in part, since an entry was left out: a count or a share.

    :raises SetupError: when it is neither.
    """
    return Limit.parse(_text("max_left_out"), "[halo] max_left_out")


def max_changed() -> Limit:
    """Which share of the companies, or of the users, that Halo is known to have may change or be gone.

    :raises SetupError: when it is no share.
    """
    return Limit.parse(_text("max_changed"), "[halo] max_changed", share_only=True)


def max_gone() -> Limit:
    """How many companies, or users, may be emptied because they are gone: a count or a share.

    :raises SetupError: when it is neither.
    """
    return Limit.parse(_text("max_gone"), "[halo] max_gone")


def _whole_number(option: str, *, minimum: int, because: str = "") -> int:
    text = _text(option)
    if not text.isdecimal() or int(text) < minimum:
        raise SetupError(f"[halo] {option} must be a whole number from {minimum}, not {text!r}{because}.")
    return int(text)


def _text(option: str) -> str:
    default = str(getattr(DEFAULTS, option))
    try:
        return (conf.get("halo", option, fallback=default) or default).strip()
    except InterpolationError:  # a file of Python's configparser, where a percent sign begins a reference
        raise SetupError(f"[halo] {option} in airflow.cfg holds a single %: write it twice, as in 1%%.") from None
