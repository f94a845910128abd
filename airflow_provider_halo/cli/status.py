"""`halo status`: what the ledger knows, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from typing import Any, Final

import msgspec

from airflow_provider_halo.cli.ledger import opened
from airflow_provider_halo.cli.main import DONE, WRONG, complain, say
from airflow_provider_halo.ledger.ledger import PlanLedger
from airflow_provider_halo.ledger.runs import RunRow
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.records.problem import Scope

_SCOPES: Final[tuple[Scope, ...]] = ("companies", "users", "links")
_STATUSES: Final = ("stored", "unchanged", "skipped", "rejected", "failed")


def run(arguments: argparse.Namespace) -> int:
    """Show what the ledger knows."""
    if arguments.runs < 1 or arguments.rejects < 0:
        complain("halo status: --runs must be 1 or more, --rejects 0 or more")
        return WRONG
    name = None if arguments.plan is None else load_plan(arguments.plan).name
    with opened(arguments.ledger) as ledger:
        found = [_status(plan_ledger, arguments.runs, arguments.rejects) for plan_ledger in ledger.plans(name=name)]
    if arguments.json:
        say(json.dumps(found, indent=2))
    elif found:
        say("\n\n".join(_text(status) for status in found))
    else:
        say(f"The ledger knows nothing of {'any plan' if name is None else f'the plan {name!r}'} yet.")
    return DONE


def _status(plan_ledger: PlanLedger, runs: int, rejects: int) -> dict[str, Any]:
    """One plan, as `--json` shows it. Moments are UTC."""
    oldest = plan_ledger.acknowledged.oldest()
    count, listed = plan_ledger.rejects.listed(rejects)
    return {
        "plan": plan_ledger.plan,
        "workspace": plan_ledger.workspace,
        "acknowledged": {scope: plan_ledger.acknowledged.counts([scope]) for scope in _SCOPES},
        "oldest_acknowledgement": None if oldest is None else _moment(oldest),
        "oldest_age_days": None if oldest is None else round(_age(oldest), 2),
        "rejected": count,
        "rejects": [
            {
                **msgspec.to_builtins(reject.problem),
                "attempts": reject.attempts,
                "first_seen": _moment(reject.first_seen),
                "last_seen": _moment(reject.last_seen),
                "size": reject.size,
            }
            for reject in listed
        ],
        "retired": [{"name": one.name, "since": _moment(one.since)} for one in plan_ledger.retired_parts.retired()],
        "runs": [_run(row) for row in plan_ledger.runs.last(runs)],
    }


def _run(row: RunRow) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    plain["started_at"] = _moment(row.started_at)
    plain["ended_at"] = None if row.ended_at is None else _moment(row.ended_at)
    return plain


def _text(status: dict[str, Any]) -> str:
    known = ", ".join(f"{count:,} {scope}" for scope, count in status["acknowledged"].items())
    lines = [f"Plan {status['plan']} (workspace {status['workspace']})", f"Halo is known to have {known}"]
    if status["oldest_acknowledgement"] is not None:
        lines[-1] += (
            f"; the oldest acknowledgement is {status['oldest_age_days']:.1f} days old "
            f"({status['oldest_acknowledgement']})"
        )
    if status["runs"]:
        lines += [
            "",
            f"{'started (UTC)':<21}{'state':<9}"
            + "".join(f"{name:>10}" for name in _STATUSES)
            + f"{'requests':>10}  run",
        ]
        for run in status["runs"]:
            counts = "".join(f"{run[name]:>10,}" for name in _STATUSES)
            batches = "" if run["state"] != "running" else f" ({run['batches_done']} of {run['batches']} batches ended)"
            lines.append(
                f"{run['started_at']:<21}{run['state']:<9}{counts}{run['requests']:>10,}  {run['run_key']}{batches}"
            )
            if run["reason"]:
                lines.append(f"{'':<21}{run['reason']}")
    if status["rejected"]:
        lines += ["", f"{status['rejected']:,} rejected"]
        for reject in status["rejects"]:
            where = f"{reject['scope']} {reject['key']}" + (f": {reject['field']}" if reject["field"] else "")
            size = "" if reject["size"] is None else f", {reject['size']:,} bytes"
            lines.append(
                f"  {where}: {reject['reason']} ({reject['attempts']} attempts since {reject['first_seen']}{size})"
            )
        if status["rejected"] > len(status["rejects"]):
            lines.append(f"  and {status['rejected'] - len(status['rejects']):,} more")
    for retired in status["retired"]:
        lines.append(
            f"retired: {retired['name']}, since {retired['since']}; it stays in Halo until `halo retire` empties it"
        )
    return "\n".join(lines)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(moment: datetime) -> float:
    """Days since."""
    return (datetime.now(timezone.utc).replace(tzinfo=None) - moment).total_seconds() / 86_400
