"""`halo sync`: the whole plan, without a scheduler."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_halo.cli.ledger import run_key_of
from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, names_of, plan_of, say
from airflow_provider_halo.delivery.report import Report, failure_of
from airflow_provider_halo.exceptions import HaloError, LedgerError, SetupError
from airflow_provider_halo.ledger.ledger import Ledger, Run
from airflow_provider_halo.limit import NO_LIMIT, Limit
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.batch import SyncOptions
from airflow_provider_halo.sync.guard import GuardOptions
from airflow_provider_halo.sync.run import close_run, sync_plan
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["sync"]


@dataclass(frozen=True, kw_only=True)
class _Configured:
    """What the command line gives, or else ``[halo]``."""

    batch_size: int
    max_rejected: Limit
    max_left_out: Limit
    max_changed: Limit
    max_gone: Limit
    ledger_keep_days: int


def sync(arguments: argparse.Namespace) -> int:
    """Sync the plan, print the report, and say whether the run counts as done."""
    wrong = _argument_error(arguments)
    if wrong:
        complain(f"halo sync: {wrong}")
        return WRONG
    plan = load_plan(plan_of(arguments))
    # Airflow takes seconds to import, and a plan's mistakes are reported without it.
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.ledger import airflow_ledger  # noqa: PLC0415 (slow, see above)

    configured = _configured(arguments)
    options = SyncOptions(
        only=names_of(arguments.only),
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
                report,
                max_rejected=configured.max_rejected,
                max_left_out=configured.max_left_out,
                allow_empty=arguments.allow_empty,
            )
            if ledger_run is not None and ledger_run.id:
                close_run(ledger_run, report, reason=reason, keep_days=configured.ledger_keep_days)
            _show(report, arguments.report)
            return reason

        try:
            report = sync_plan(
                plan,
                sources=sources,
                settings=settings,
                options=options,
                batch_size=configured.batch_size,
                company_ids=arguments.company,
                jobs=arguments.jobs,
                run=ledger_run,
                guarding=GuardOptions(
                    max_changed=configured.max_changed, max_gone=configured.max_gone, force=arguments.force
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


def _configured(arguments: argparse.Namespace) -> _Configured:
    """The options that have a default in ``[halo]``.

    :raises SetupError: when a value can't be used.
    """
    from airflow_provider_halo.hooks import config  # noqa: PLC0415 (imports Airflow)

    if arguments.full or arguments.company:
        # Whoever asks for everything, or for one company, knows that much will change.
        max_changed = NO_LIMIT
    else:
        max_changed = config.max_changed() if arguments.max_changed is None else _max_changed(arguments.max_changed)
    return _Configured(
        batch_size=config.batch_size() if arguments.batch_size is None else arguments.batch_size,
        max_rejected=config.max_rejected() if arguments.max_rejected is None else _max_rejected(arguments.max_rejected),
        max_left_out=config.max_left_out() if arguments.max_left_out is None else _max_left_out(arguments.max_left_out),
        max_changed=max_changed,
        max_gone=config.max_gone() if arguments.max_gone is None else _max_gone(arguments.max_gone),
        ledger_keep_days=config.ledger_keep_days(),
    )


def _max_rejected(text: str | None) -> Limit:
    return Limit.parse(text, "--max-rejected")


def _max_left_out(text: str | None) -> Limit:
    return Limit.parse(text, "--max-left-out")


def _max_changed(text: str | None) -> Limit:
    return Limit.parse(text, "--max-changed", share_only=True)


def _max_gone(text: str | None) -> Limit:
    return Limit.parse(text, "--max-gone")


def _argument_error(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, before anything is read or imported for the run."""
    try:
        _max_rejected(arguments.max_rejected)
        _max_left_out(arguments.max_left_out)
        _max_changed(arguments.max_changed)
        _max_gone(arguments.max_gone)
    except SetupError as error:
        return str(error)
    for name, value in (("--batch-size", arguments.batch_size), ("--jobs", arguments.jobs)):
        if value is not None and value < 1:
            return f"{name} must be 1 or more"
    if arguments.report not in {None, "-"} and not Path(arguments.report).absolute().parent.is_dir():
        return f"--report: the folder {Path(arguments.report).parent} does not exist"
    return None


def _show(report: Report, file: str | None) -> None:
    if file == "-":
        say(json.dumps(report.to_dict(), indent=2))
        return
    say(report.to_text())
    if file:
        Path(file).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
