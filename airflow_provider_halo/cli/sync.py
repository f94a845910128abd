"""`halo sync`: the whole plan, without a scheduler."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from airflow_provider_halo.cli.ledger import run_key_of
from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, say
from airflow_provider_halo.delivery.report import Report, failure_of, parse_max_rejected
from airflow_provider_halo.exceptions import HaloError, LedgerError, SetupError
from airflow_provider_halo.ledger.ledger import Ledger, Run
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.batch import SyncOptions
from airflow_provider_halo.sync.guard import GuardOptions, parse_max_changed
from airflow_provider_halo.sync.run import close_run, sync_plan
from airflow_provider_halo.sync.stopped import SyncStopped


def run(arguments: argparse.Namespace) -> int:
    """Sync the plan, print the report, and say whether the run counts as done."""
    wrong = _wrong_words(arguments)
    if wrong:
        complain(f"halo sync: {wrong}")
        return WRONG
    plan = load_plan(arguments.plan)
    # Airflow takes seconds to import, and a plan's mistakes are told without it.
    from airflow_provider_halo.hooks import config  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.ledger import airflow_ledger  # noqa: PLC0415 (slow, see above)

    options = SyncOptions(
        only=tuple(name.strip() for name in arguments.only.split(",") if name.strip()),
        full=arguments.full,
        dry_run=arguments.dry_run,
        link_users=arguments.link_users,
        update_only=arguments.update_only,
        retry_rejected=arguments.retry_rejected,
    )
    settings = HaloHook(arguments.halo_conn).settings
    with airflow_sources() as sources, airflow_ledger(arguments.ledger) as ledger:
        ledger_run = None if ledger is None else _open(ledger, plan, settings, arguments)

        def end(report: Report) -> str | None:
            reason = report.stopped or failure_of(
                report, max_rejected=arguments.max_rejected, allow_empty=arguments.allow_empty
            )
            if ledger_run is not None and ledger_run.id:
                close_run(ledger_run, report, reason=reason, keep_days=config.ledger_keep_days())
            _show(report, arguments.report)
            return reason

        try:
            report = sync_plan(
                plan,
                sources=sources,
                settings=settings,
                options=options,
                batch_size=arguments.batch_size,
                company_ids=arguments.company,
                jobs=arguments.jobs,
                run=ledger_run,
                guarding=GuardOptions(
                    # Whoever asks for everything, or for one company, knows that much will change.
                    max_changed=None
                    if arguments.full or arguments.company
                    else parse_max_changed(arguments.max_changed),
                    force=arguments.force,
                ),
            )
        except SyncStopped as stopped:
            if isinstance(stopped.cause, LedgerError):
                _show(stopped.report, arguments.report)
            else:
                end(stopped.report)
            raise
        except LedgerError:
            raise
        except HaloError as error:
            end(Report(stopped=str(error)))
            raise
        reason = end(report)
    if reason:
        complain(f"halo sync: {reason}")
        return FAILED
    return DONE


def _open(ledger: Ledger, plan: LoadedPlan, settings: HaloSettings, arguments: argparse.Namespace) -> Run:
    return ledger.open_run(
        plan.name,
        settings,
        run_key_of("halo sync"),
        whole=not arguments.only and not arguments.company,
        writes=not arguments.dry_run,
    )


def _wrong_words(arguments: argparse.Namespace) -> str | None:
    try:
        parse_max_rejected(arguments.max_rejected)
        parse_max_changed(arguments.max_changed)
    except (ValueError, SetupError) as error:
        return str(error)
    for name in ("batch_size", "jobs"):
        if getattr(arguments, name) < 1:
            return f"--{name.replace('_', '-')} must be 1 or more"
    if arguments.report not in {None, "-"} and not Path(arguments.report).absolute().parent.is_dir():
        return f"--report: there is no folder {Path(arguments.report).parent}"
    return None


def _show(report: Report, file: str | None) -> None:
    if file == "-":
        say(json.dumps(report.to_dict(), indent=2))
        return
    say(report.to_text())
    if file:
        Path(file).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
