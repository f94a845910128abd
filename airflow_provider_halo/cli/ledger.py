"""What asks and changes the ledger: `halo status`, `halo retire`, `halo ledger forget` and `halo ledger prune`."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import msgspec

from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, names_of, plan_of, say
from airflow_provider_halo.delivery.report import Report, failure_of
from airflow_provider_halo.exceptions import HaloError, SetupError
from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger
from airflow_provider_halo.ledger.retired import Retired
from airflow_provider_halo.ledger.runs import RunRow
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.messages import join_names
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.records.problem import SCOPES, STATUSES, Scope
from airflow_provider_halo.records.shown import shown_key
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.erase import is_given
from airflow_provider_halo.sync.gone import KEYS_SHOWN
from airflow_provider_halo.sync.retire import retirable
from airflow_provider_halo.sync.retire import retire as send_empty_values
from airflow_provider_halo.sync.run import close_run
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["forget_or_prune", "opened_ledger", "retire", "run_key_of", "status"]


@contextmanager
def opened_ledger(conn_id: str | None) -> Iterator[Ledger]:
    """The ledger that the command line names, or else the configuration.

    :raises SetupError: when there is none.
    """
    # Airflow takes seconds to import, and wrong arguments are reported without it.
    from airflow_provider_halo.hooks.ledger import airflow_ledger  # noqa: PLC0415 (slow, see above)

    with airflow_ledger(conn_id) as ledger:
        if ledger is None:
            raise SetupError(
                "There is no ledger: name its connection with --ledger, or set AIRFLOW__HALO__LEDGER_CONN_ID."
            )
        yield ledger


def run_key_of(command: str) -> str:
    """The key of one run of a command in the ledger."""
    return f"{command} {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {secrets.token_hex(2)}"


def status(arguments: argparse.Namespace) -> int:
    """Show what the ledger knows, as a table or as JSON."""
    if arguments.runs < 1 or arguments.rejects < 0:
        complain("halo status: --runs must be 1 or more, --rejects 0 or more")
        return WRONG
    name = None if arguments.plan is None else load_plan(arguments.plan).name
    with opened_ledger(arguments.ledger) as ledger:
        statuses = [_status(plan_ledger, arguments.runs, arguments.rejects) for plan_ledger in ledger.plans(name=name)]
    if arguments.json:
        say(json.dumps(statuses, indent=2))
    elif statuses:
        say("\n\n".join(_text(plan_status) for plan_status in statuses))
    else:
        say(f"The ledger knows nothing of {'any plan' if name is None else f'the plan {name!r}'} yet.")
    return DONE


def _status(plan_ledger: PlanLedger, runs: int, rejects: int) -> dict[str, Any]:
    """One plan, as `--json` shows it. Moments are UTC."""
    oldest = plan_ledger.acknowledged.oldest()
    count, rejects_shown = plan_ledger.rejects.listed(rejects)
    return {
        "plan": plan_ledger.plan,
        "workspace": plan_ledger.workspace,
        "acknowledged": {scope: plan_ledger.acknowledged.counts([scope]) for scope in SCOPES},
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
            for reject in rejects_shown
        ],
        "gone": {scope: _gone(plan_ledger, scope) for scope in SCOPES},
        "erased": {scope: plan_ledger.erased.count(scope) for scope in QUERY_SCOPES},
        "retired": [{"name": part.name, "since": _moment(part.since)} for part in plan_ledger.retired_parts.retired()],
        "runs": [_run(row) for row in plan_ledger.runs.last(runs)],
    }


def _gone(plan_ledger: PlanLedger, scope: Scope) -> dict[str, Any]:
    count, records = plan_ledger.gone.listed(scope, KEYS_SHOWN)
    return {
        "count": count,
        "records": [
            {
                "key": record.key,
                "last_seen": None if record.last_seen is None else _moment(record.last_seen),
                "since": _moment(record.since),
            }
            for record in records
        ],
    }


def _run(row: RunRow) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    plain["started_at"] = _moment(row.started_at)
    plain["ended_at"] = None if row.ended_at is None else _moment(row.ended_at)
    return plain


def _text(status: dict[str, Any]) -> str:
    known = ", ".join(f"{count:,} {scope}" for scope, count in status["acknowledged"].items())
    age = (
        ""
        if status["oldest_acknowledgement"] is None
        else f"; the oldest acknowledgement is {status['oldest_age_days']:.1f} days old ({status['oldest_acknowledgement']})"
    )
    return "\n".join(
        [
            f"Plan {status['plan']} (workspace {status['workspace']})",
            f"Halo is known to have {known}{age}",
            *_run_lines(status["runs"]),
            *_left_out_lines(status["runs"]),
            *_reject_lines(status["rejected"], status["rejects"]),
            *_gone_lines(status["gone"]),
            *_erased_lines(status["erased"]),
            *(
                f"retired: {part['name']}, since {part['since']}; it stays in Halo until `halo retire` empties it"
                for part in status["retired"]
            ),
        ]
    )


def _run_lines(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not runs:
        return
    yield ""
    yield (
        f"{'started (UTC)':<21}{'state':<9}" + "".join(f"{name:>10}" for name in STATUSES) + f"{'requests':>10}  run"
    )
    for run in runs:
        counts = "".join(f"{run[name]:>10,}" for name in STATUSES)
        batches = "" if run["state"] != "running" else f" ({run['batches_done']} of {run['batches']} batches ended)"
        yield f"{run['started_at']:<21}{run['state']:<9}{counts}{run['requests']:>10,}  {run['run_key']}{batches}"
        if run["reason"]:
            yield f"{'':<21}{run['reason']}"


def _left_out_lines(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the last run that has ended left out of records that it stored in part."""
    report = next((run["report"] for run in runs if run["report"] is not None), None)
    if report is None or not report.get("left_out"):
        return
    yield ""
    yield f"{sum(report[scope].get('partial', 0) for scope in SCOPES):,} stored in part in the last run"
    for problem in report["left_out"]:
        yield f"  {problem['scope']} {shown_key(problem['key'])}: {problem['field']}: {problem['reason']}"


def _reject_lines(total: int, rejects: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not total:
        return
    yield ""
    yield f"{total:,} rejected"
    for reject in rejects:
        where = f"{reject['scope']} {shown_key(reject['key'])}" + (f": {reject['field']}" if reject["field"] else "")
        size = "" if reject["size"] is None else f", {reject['size']:,} bytes"
        yield f"  {where}: {reject['reason']} ({reject['attempts']} attempts since {reject['first_seen']}{size})"
    if total > len(rejects):
        yield f"  and {total - len(rejects):,} more"


def _gone_lines(gone: dict[str, Any]) -> Iterator[str]:
    for scope, told in gone.items():
        count, records = told["count"], told["records"]
        if not count:
            continue
        yield ""
        yield f"{scope} {'that users have left' if scope == 'links' else 'no longer in the source'}: {count:,}"
        for record in records:
            seen = f"last seen {record['last_seen']}, " if record["last_seen"] else ""
            yield f"  {shown_key(record['key'])} ({seen}missing since {record['since']})"
        if count > len(records):
            yield f"  and {count - len(records):,} more"


def _erased_lines(erased: dict[str, int]) -> Iterator[str]:
    if any(erased.values()):
        counts = ", ".join(f"{count:,} {scope}" for scope, count in erased.items() if count)
        yield ""
        yield f"erased in this workspace: {counts}; no run sends them before `halo erase … --allow`"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(moment: datetime) -> float:
    """Days since."""
    return (datetime.now(timezone.utc).replace(tzinfo=None) - moment).total_seconds() / 86_400


def retire(arguments: argparse.Namespace) -> int:
    """Say what is retired, and empty it in Halo."""
    plan = load_plan(plan_of(arguments))
    # Airflow takes seconds to import, and a plan's mistakes are reported without it.
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)

    settings = HaloHook(arguments.halo_conn).settings
    with opened_ledger(arguments.ledger) as ledger:
        plan_ledger = ledger.of_plan(plan.name, settings)
        retired = _retired(plan, plan_ledger)
        chosen, unknown = _choose(retired, names_of(arguments.only))
        if unknown:
            known = join_names([part.name for part in retired]) or "none"
            complain(f"halo retire: {', '.join(unknown)} is not retired in this plan. Retired: {known}.")
            return WRONG
        if not chosen:
            say("Nothing is retired: Halo has no trait or entry of this plan that the plan doesn't have.")
            return DONE
        for part in chosen:
            count = plan_ledger.acknowledged.size(part.scope)
            say(f"{part.name}: {'would be' if arguments.dry_run else 'is being'} emptied in {count:,} {part.scope}")
        if arguments.dry_run:
            return DONE
        reason = _empty(chosen, plan, ledger, settings)
        if reason:
            complain(f"halo retire: {reason}")
            return FAILED
        plan_ledger.retired_parts.forget([part.name for part in chosen])
    return DONE


def _choose(retired: Sequence[Retired], only: Sequence[str]) -> tuple[list[Retired], list[str]]:
    """The parts of these names, all without names; and the names that none of the parts has."""
    known = {part.name for part in retired}
    return [part for part in retired if not only or part.name in only], [name for name in only if name not in known]


def _empty(parts: Sequence[Retired], plan: LoadedPlan, ledger: Ledger, settings: HaloSettings) -> str | None:
    """Send the empty values as one run of the ledger; why it failed."""
    ledger_run = ledger.open_run(plan.name, settings, run_key_of("halo retire"), whole=False)
    try:
        report = send_empty_values(ledger_run, parts, settings)
    except HaloError as error:
        report = error.report if isinstance(error, SyncStopped) else Report(stopped=str(error))
        say(report.to_text())
        close_run(ledger_run, report, reason=str(error))
        raise
    say(report.to_text())
    reason = failure_of(report, max_rejected=Limit(count=0), allow_empty=True)
    close_run(ledger_run, report, reason=reason)
    return reason


def _retired(plan: LoadedPlan, plan_ledger: PlanLedger) -> list[Retired]:
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (imports Airflow)

    with airflow_sources() as sources:
        return retirable(plan, plan_ledger.retired_parts.retired(), sources)


def forget_or_prune(arguments: argparse.Namespace) -> int:
    """Forget records or delete old runs, in every workspace that the plan was brought to."""
    named = bool(arguments.company or arguments.user)
    if arguments.action == "forget" and named == arguments.all:
        complain("halo ledger forget: name the records with --company and --user, or give --all")
        return WRONG
    if arguments.action == "prune" and (named or arguments.all):
        complain("halo ledger prune: takes only --days; to forget records, use halo ledger forget")
        return WRONG
    plan = load_plan(plan_of(arguments))
    with opened_ledger(arguments.ledger) as ledger:
        plan_ledgers = ledger.plans(name=plan.name)
        if not plan_ledgers:
            say(f"The ledger knows nothing of the plan {plan.name!r}.")
        for plan_ledger in plan_ledgers:
            if arguments.action == "forget":
                _forget(plan, plan_ledger, arguments)
            else:
                _prune(plan_ledger, arguments)
    return DONE


def _forget(plan: LoadedPlan, plan_ledger: PlanLedger, arguments: argparse.Namespace) -> None:
    if arguments.all:
        count = plan_ledger.acknowledged.forget_all()
        say(
            f"{plan_ledger.plan}: forgot all {count:,} records; the next sync sends those again that the source still has."
        )
        return
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (imports Airflow)

    with airflow_sources() as sources:
        for scope, keys in _named(arguments).items():
            erased = plan_ledger.erased.among(scope, keys)
            for forgotten in _with_links(scope):
                # Not of an erased record: of that not even the key is kept.
                plan_ledger.acknowledged.forget(forgotten, [key for key in keys if key not in erased])
            for key in keys:
                given, _ = is_given(plan, sources, scope, key)
                say(
                    f"{plan_ledger.plan}: forgot {scope} {shown_key(key)}; {_what_follows(given=given, erased=key in erased)}"
                )


def _with_links(scope: QueryScope) -> tuple[Scope, ...]:
    return ("users", "links") if scope == "users" else (scope,)


def _named(arguments: argparse.Namespace) -> dict[QueryScope, list[str]]:
    """The keys that the command line names, by scope."""
    named: dict[QueryScope, list[str]] = {"companies": arguments.company, "users": arguments.user}
    return {scope: list(dict.fromkeys(keys)) for scope, keys in named.items() if keys}


def _what_follows(*, given: bool | None, erased: bool) -> str:
    """What becomes of a forgotten record."""
    if erased:
        return "it was erased, so no run sends it before `halo erase … --allow`"
    if given is None:
        return "the next sync sends it again if the source still has it, which can't be asked now"
    if given:
        return "the next sync sends it again"
    return "the source no longer has it, so no run sends it again, and Halo keeps it (`halo erase` empties it)"


def _prune(plan_ledger: PlanLedger, arguments: argparse.Namespace) -> None:
    from airflow_provider_halo.hooks import config  # noqa: PLC0415 (imports Airflow)

    days = config.ledger_keep_days() if arguments.days is None else arguments.days
    if not days:
        say(f"{plan_ledger.plan}: nothing to delete, [halo] ledger_keep_days is 0.")
        return
    say(f"{plan_ledger.plan}: deleted {plan_ledger.runs.prune(days):,} runs that are older than {days} days.")
