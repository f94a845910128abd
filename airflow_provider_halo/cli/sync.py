"""`halo sync`: the whole plan, without a scheduler."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, say
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sync.engine import SyncOptions
from airflow_provider_halo.sync.report import Report, failure_of, parse_max_rejected
from airflow_provider_halo.sync.run import sync_plan


def run(arguments: argparse.Namespace) -> int:
    """Sync the plan, print the report, and say whether the run counts as done."""
    wrong = _wrong_words(arguments)
    if wrong:
        complain(f"halo sync: {wrong}")
        return WRONG
    plan = load_plan(arguments.plan)
    # Airflow takes seconds to import, and a plan's mistakes are told without it.
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.sources import airflow_sources  # noqa: PLC0415 (slow, see above)

    options = SyncOptions(
        only=tuple(name.strip() for name in arguments.only.split(",") if name.strip()),
        full=arguments.full,
        dry_run=arguments.dry_run,
        link_users=arguments.link_users,
        update_only=arguments.update_only,
    )
    try:
        with airflow_sources() as sources:
            report = sync_plan(
                plan,
                sources=sources,
                settings=HaloHook(arguments.halo_conn).settings,
                options=options,
                batch_size=arguments.batch_size,
                company_ids=arguments.company,
                jobs=arguments.jobs,
            )
    except HaloError as error:
        if error.report is not None:
            _show(Report.from_dict(error.report), arguments.report)
        raise
    _show(report, arguments.report)
    reason = failure_of(report, max_rejected=arguments.max_rejected, allow_empty=arguments.allow_empty)
    if reason:
        complain(f"halo sync: {reason}")
        return FAILED
    return DONE


def _wrong_words(arguments: argparse.Namespace) -> str | None:
    try:
        parse_max_rejected(arguments.max_rejected)
    except ValueError as error:
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
