"""`halo erase`: what was sent of a company or user is emptied in Halo, and it is not sent again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_provider_halo.cli.ledger import opened_ledger, run_key_of
from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, plan_of, say
from airflow_provider_halo.delivery.report import Report, failure_of
from airflow_provider_halo.encoding import is_broken
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.ledger import Ledger, PlanLedger
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.records.problem import Scope, Status
from airflow_provider_halo.records.shown import shown_key
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.erase import Subject, allow, subjects_of
from airflow_provider_halo.sync.erase import erase as send_empty_values
from airflow_provider_halo.sync.run import close_run
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["erase"]

_RUNS_LOOKED_AT: Final = 5
_STAYS: Final[Mapping[QueryScope, str]] = {
    "users": "the user itself with its id, when it was first and last seen, its link to a company, its conversations and tickets",
    "companies": "the company itself with its id, the links of its users, and these users, who are records of their own",
}
_BY_OTHERS: Final = "what others wrote: the hook and operators by hand, the browser, Stripe, HubSpot, Intercom; their names aren't known here"
_NO_DELETION: Final = "HaloAgents documents no call that deletes a record; ask its support for that."


def erase(arguments: argparse.Namespace) -> int:
    """Erase companies and users, or let them be sent again."""
    named: dict[QueryScope, list[str]] = {"companies": arguments.company, "users": arguments.user}
    keys_by_scope = {scope: list(dict.fromkeys(keys)) for scope, keys in named.items() if keys}
    if not keys_by_scope or any(not key.strip() or is_broken(key) for keys in keys_by_scope.values() for key in keys):
        complain("halo erase: name the records with --company ID and --user ID; an id can't be blank or broken Unicode")
        return WRONG
    plan = load_plan(plan_of(arguments))
    # Airflow takes seconds to import, and a plan's mistakes are reported without it.
    from airflow_provider_halo.hooks.databases import airflow_sources  # noqa: PLC0415 (slow, see above)
    from airflow_provider_halo.hooks.halo import HaloHook  # noqa: PLC0415 (slow, see above)

    settings = HaloHook(arguments.halo_conn).settings
    with opened_ledger(arguments.ledger) as ledger, airflow_sources() as sources:
        plan_ledger = ledger.of_plan(plan.name, settings)
        of_workspace = ledger.plans(settings=settings)
        subjects = subjects_of(plan, keys_by_scope, plan_ledger=plan_ledger, of_workspace=of_workspace, sources=sources)
        command = _Command(plan, plan_ledger, of_workspace, subjects, arguments)
        if arguments.dry_run:
            return command.preview()
        return command.allow() if arguments.allow else command.erase(ledger, settings)


class _Command:
    def __init__(
        self,
        plan: LoadedPlan,
        plan_ledger: PlanLedger,
        of_workspace: Sequence[PlanLedger],
        subjects: Sequence[Subject],
        arguments: argparse.Namespace,
    ) -> None:
        self._plan = plan
        self._plan_ledger = plan_ledger
        self._of_workspace = of_workspace
        self._subjects = subjects
        self._allows: bool = arguments.allow
        self._dry_run: bool = arguments.dry_run
        self._as_json: bool = arguments.json

    def preview(self) -> int:
        """Say what would be done."""
        self._show({}, None)
        return DONE

    def allow(self) -> int:
        """Have runs send the records again."""
        allow(self._subjects, plan_ledger=self._plan_ledger, of_workspace=self._of_workspace)
        self._show({}, None)
        return DONE

    def erase(self, ledger: Ledger, settings: HaloSettings) -> int:
        """Erase the records, as one run of the ledger."""
        running = [
            run.run_key
            for plan_ledger in self._of_workspace
            for run in plan_ledger.runs.last(_RUNS_LOOKED_AT)
            if run.state == "running"
        ]
        run = ledger.open_run(self._plan.name, settings, run_key_of("halo erase"), whole=False)
        try:
            report, statuses = send_empty_values(
                self._subjects, run=run, of_workspace=self._of_workspace, settings=settings
            )
        except HaloError as error:
            report = error.report if isinstance(error, SyncStopped) else Report(stopped=str(error))
            close_run(run, report, reason=str(error))
            complain(
                "halo erase: not all of it is empty in Halo. No run sends it any more; erase it again to finish.\n"
                f"{report.to_text()}"
            )
            raise
        self._show(statuses, report, running)
        reason = failure_of(report, max_rejected=Limit(count=0), allow_empty=True)
        close_run(run, report, reason=reason)
        if reason:
            complain(f"halo erase: {reason}. No run sends it any more; erase it again to finish.")
            return FAILED
        return DONE

    def _show(
        self, statuses: Mapping[tuple[Scope, str], Status], report: Report | None, running: Sequence[str] = ()
    ) -> None:
        records = [self._record(subject, statuses.get((subject.scope, subject.key))) for subject in self._subjects]
        told: dict[str, Any] = {
            "plan": self._plan_ledger.plan,
            "workspace": self._plan_ledger.workspace,
            "dry_run": self._dry_run,
            "allow": self._allows,
            "records": records,
            "stays_in_halo": [] if self._allows else self._stays(),
            "running": list(running),
            "report": None if report is None else report.to_dict(),
        }
        if self._as_json:
            say(json.dumps(told, indent=2))
        else:
            say("\n".join(_lines(told, report)))

    def _record(self, subject: Subject, status: Status | None) -> dict[str, Any]:
        """One record, as `--json` shows it. Names, no values."""
        return {
            "scope": subject.scope,
            "key": subject.key,
            "in_source": subject.is_given,
            "was_erased": subject.is_erased,
            "was_sent": subject.is_sent,
            "state": self._state(subject, status),
            "traits": [] if self._allows else list(subject.traits),
            "entries": [] if self._allows else list(subject.context),
        }

    def _state(self, subject: Subject, status: Status | None) -> str:
        if self._allows:
            return "allowed" if subject.is_erased else "not erased"
        if not subject.is_to_be_emptied:
            return "nothing to empty"
        if self._dry_run:
            return "to be emptied"
        states: dict[Status | None, str] = {"stored": "emptied", "skipped": "unknown to Halo"}
        return states.get(status, "not emptied")

    def _stays(self) -> list[str]:
        scopes = dict.fromkeys(subject.scope for subject in self._subjects)
        return [*(_STAYS[scope] for scope in scopes), _BY_OTHERS]


def _lines(told: Mapping[str, Any], report: Report | None) -> Iterator[str]:
    if told["dry_run"]:
        yield "dry run: nothing is sent, and nothing is written down"
    for record in told["records"]:
        yield f"{record['scope']} {shown_key(record['key'])}: {_did(record, dry_run=told['dry_run'])}"
        if record["traits"]:
            yield f"  traits: {', '.join(record['traits'])}"
        if record["entries"]:
            yield f"  entries: {', '.join(record['entries'])}"
        yield f"  {_to_come(record, allows=told['allow'])}"
    if report is not None:
        yield f"{report.requests:,} requests, {report.bytes:,} bytes"
    if told["stays_in_halo"]:
        yield "Halo keeps:"
        yield from (f"  {what}" for what in told["stays_in_halo"])
        yield _NO_DELETION
    if told["running"]:
        yield (
            f"Under way: {', '.join(told['running'])}. What a run has read already may still be sent: when it has ended, "
            "erase once more."
        )


def _did(record: Mapping[str, Any], *, dry_run: bool) -> str:
    """What was done with a record."""
    forgotten = "the ledger would forget it" if dry_run else "the ledger has forgotten it"
    texts = {
        "allowed": "may be sent again",
        "not erased": "was not erased; nothing to allow",
        "nothing to empty": f"nothing of it is known to have been sent, so nothing is emptied; {forgotten}",
        "to be emptied": f"empty values would be sent, and {forgotten}",
        "emptied": f"empty values were sent, and {forgotten}",
        "unknown to Halo": f"Halo doesn't know it, so there was nothing to empty; {forgotten}",
        "not emptied": "Halo has not taken the empty values, and the ledger still knows it",
    }
    return texts[record["state"]]


def _to_come(record: Mapping[str, Any], *, allows: bool) -> str:
    """What becomes of a record in later runs."""
    has_it = {
        True: "the source has it",
        False: "the source doesn't have it",
        None: "whether the source has it can't be asked now",
    }[record["in_source"]]
    if not allows:
        return f"{has_it}; no run sends it until `halo erase … --allow`"
    sent = {True: "the next sync sends it", False: "no run sends it", None: "the next sync sends it if so"}
    return f"{has_it}; {sent[record['in_source']]}"
