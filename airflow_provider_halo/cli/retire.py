"""`halo retire`: empty in Halo what was sent and the plan no longer has."""

from __future__ import annotations

import argparse

from airflow_provider_halo.cli.ledger import opened, run_key_of
from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, say
from airflow_provider_halo.delivery.report import Report, failure_of
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import PlanLedger
from airflow_provider_halo.ledger.retired import Retired
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.messages import join_names
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.sync.retire import retirable, retire
from airflow_provider_halo.sync.run import close_run
from airflow_provider_halo.sync.stopped import SyncStopped


def run(arguments: argparse.Namespace) -> int:
    """Say what is retired, and empty it."""
    plan = load_plan(arguments.plan)
    # Airflow takes seconds to import, and a plan's mistakes are told without it.
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)

    settings = HaloHook(arguments.halo_conn).settings
    with opened(arguments.ledger) as ledger:
        plan_ledger = ledger.of_plan(plan.name, settings)
        retired = _retired(plan, plan_ledger)
        only = [name.strip() for name in arguments.only.split(",") if name.strip()]
        unknown = [name for name in only if name not in {one.name for one in retired}]
        if unknown:
            known = join_names([one.name for one in retired]) or "none"
            complain(f"halo retire: {', '.join(unknown)} is not retired in this plan. Retired: {known}.")
            return WRONG
        chosen = [one for one in retired if not only or one.name in only]
        if not chosen:
            say("Nothing is retired: Halo has no trait or entry of this plan that the plan doesn't have.")
            return DONE
        for one in chosen:
            count = plan_ledger.acknowledged.size(one.scope)
            say(f"{one.name}: {'would be' if arguments.dry_run else 'is being'} emptied in {count:,} {one.scope}")
        if arguments.dry_run:
            return DONE
        ledger_run = ledger.open_run(plan.name, settings, run_key_of("halo retire"), whole=False)
        try:
            report = retire(ledger_run, chosen, settings)
        except HaloError as error:
            report = error.report if isinstance(error, SyncStopped) else Report(stopped=str(error))
            say(report.to_text())
            close_run(ledger_run, report, reason=str(error))
            raise
        say(report.to_text())
        reason = failure_of(report, max_rejected=0, allow_empty=True)
        close_run(ledger_run, report, reason=reason)
        if reason:
            complain(f"halo retire: {reason}")
            return FAILED
        plan_ledger.retired_parts.forget([one.name for one in chosen])
    return DONE


def _retired(plan: LoadedPlan, plan_ledger: PlanLedger) -> list[Retired]:
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (imports Airflow)

    with airflow_sources() as sources:
        return retirable(plan, plan_ledger.retired_parts.retired(), sources)
