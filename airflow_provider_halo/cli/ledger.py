"""`halo ledger`: forget records, so that they are sent again; sweep out old runs."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from airflow_provider_halo.cli.main import DONE, WRONG, complain, say
from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger
from airflow_provider_halo.plan.loader import load_plan


@contextmanager
def opened(conn_id: str | None) -> Iterator[Ledger]:
    """The ledger that was named or is configured.

    :raises SetupError: when there is none.
    """
    # Airflow takes seconds to import, and wrong words are told without it.
    from airflow_provider_halo.hooks.ledger import airflow_ledger  # noqa: PLC0415 (slow, see above)

    with airflow_ledger(conn_id) as ledger:
        if ledger is None:
            raise SetupError(
                "There is no ledger: name its connection by --ledger, or set AIRFLOW__HALO__LEDGER_CONN_ID."
            )
        yield ledger


def run_key_of(command: str) -> str:
    """What the ledger knows a run of a command by."""
    return f"{command} {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {secrets.token_hex(2)}"


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for, in every workspace that the plan was brought to."""
    named = bool(arguments.company or arguments.user)
    if arguments.action == "forget" and named == arguments.all:
        complain("halo ledger forget: give --company and --user of what is to be forgotten, or --all")
        return WRONG
    if arguments.action == "prune" and (named or arguments.all):
        complain("halo ledger prune: takes --days only; records are forgotten by halo ledger forget")
        return WRONG
    plan = load_plan(arguments.plan)
    with opened(arguments.ledger) as ledger:
        plan_ledgers = ledger.plans(name=plan.name)
        if not plan_ledgers:
            say(f"The ledger knows nothing of the plan {plan.name!r}.")
        for plan_ledger in plan_ledgers:
            (_forget if arguments.action == "forget" else _prune)(plan_ledger, arguments)
    return DONE


def _forget(plan_ledger: PlanLedger, arguments: argparse.Namespace) -> None:
    if arguments.all:
        count = plan_ledger.acknowledged.forget_all()
        say(f"{plan_ledger.plan}: forgot all {count:,} records; the next sync sends them again.")
        return
    plan_ledger.acknowledged.forget("companies", arguments.company)
    plan_ledger.acknowledged.forget("users", arguments.user)
    plan_ledger.acknowledged.forget("links", arguments.user)
    what = [
        f"{len(keys):,} {noun}" for keys, noun in ((arguments.company, "companies"), (arguments.user, "users")) if keys
    ]
    say(f"{plan_ledger.plan}: forgot {' and '.join(what)}; the next sync sends them again.")


def _prune(plan_ledger: PlanLedger, arguments: argparse.Namespace) -> None:
    from airflow_provider_halo.hooks import config  # noqa: PLC0415 (imports Airflow, see above)

    days = config.ledger_keep_days() if arguments.days is None else arguments.days
    if not days:
        say(f"{plan_ledger.plan}: nothing to delete, [halo] ledger_keep_days is 0.")
        return
    say(f"{plan_ledger.plan}: deleted {plan_ledger.runs.prune(days):,} runs of more than {days} days ago.")
