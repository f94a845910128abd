"""The commands as data: one list for the `halo` command and for `airflow halo`. Light: Airflow reads it on every start."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_halo.sample.spread import DEFAULT_SEED, MAX_COMPANIES, USERS_PER_COMPANY
from airflow_provider_halo.sandbox.command import add_arguments
from airflow_provider_halo.settings import DEFAULTS

__all__ = ["COMMANDS", "Argument", "Command", "command"]


@dataclass(frozen=True)
class Argument:
    """One argument, as `argparse` takes it."""

    flags: tuple[str, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """One command.

    :param run: ``module:function`` that takes the parsed arguments and gives the exit code; imported when it runs.
    """

    name: str
    help: str
    description: str
    run: str
    arguments: tuple[Argument, ...]


@dataclass
class _Recorder:
    """Takes arguments as a parser would, and keeps them as data."""

    arguments: list[Argument] = field(default_factory=list)

    def add_argument(self, *flags: str, **options: Any) -> None:
        """Keep one argument."""
        self.arguments.append(Argument(flags, options))


def _sandbox_arguments() -> tuple[Argument, ...]:
    # The sandbox shares nothing with the rest of the package, so it speaks to argparse's own words.
    recorder = _Recorder()
    add_arguments(recorder)
    return tuple(recorder.arguments)


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


def _configured(option: str) -> str:
    """An option of ``[halo]`` and its default, as argparse's help takes it: a percent sign twice."""
    return f"[halo] {option}, {getattr(DEFAULTS, option)}".replace("%", "%%")


_PLAN = _argument(
    "plan", metavar="PLAN", nargs="?", default=None, help="the plan file, for example halo.yaml (default: [halo] plan)"
)

_HALO_CONN = _argument(
    "--halo-conn",
    metavar="CONN_ID",
    default=None,
    help=f"Airflow connection of type halo (default: {_configured('conn_id')})",
)

_LEDGER = _argument(
    "--ledger",
    metavar="CONN_ID",
    default=None,
    help="Airflow connection of the ledger's database; none for no ledger (default: [halo] ledger_conn_id, no ledger)",
)

_EXIT = "Exit code: 0 done, 1 the run failed, 2 the plan or the arguments are wrong."

COMMANDS: tuple[Command, ...] = (
    Command(
        name="check",
        help="check a plan and hold it against the guide's checklist",
        description="Check a plan: every mistake at once, with its line, and the checklist of what an AI needs to know. "
        "Needs no Airflow, no database and no account. An error is what the AI would be told wrong. Exit code: 0 done, 1 the "
        "checklist has an error, 2 the plan or the arguments are wrong.",
        run="airflow_provider_halo.cli.starter:check",
        arguments=(
            _argument("plan", metavar="PLAN", help="the plan file, for example halo.yaml"),
            _argument("--strict", action="store_true", help="exit 1 when the checklist has any ✗, not only an error"),
        ),
    ),
    Command(
        name="sync",
        help="bring a plan's data to Halo, without a scheduler",
        description="Read the plan's queries and send their rows to Halo: the same engine and batches as the DAGs. "
        "Connections come from Airflow (environment, secrets backend or metadata database). " + _EXIT,
        run="airflow_provider_halo.cli.sync:sync",
        arguments=(
            _PLAN,
            _argument(
                "--only",
                metavar="KEY,…",
                default="",
                help="only these parts: companies, users, links, companies.traits, users.context.KEY …",
            ),
            _argument(
                "--company",
                metavar="ID",
                action="append",
                default=None,
                help="only this company and its users; may be given more than once",
            ),
            _LEDGER,
            _argument("--full", action="store_true", help="send everything again; without a ledger every sync does"),
            _argument(
                "--retry-rejected",
                action="store_true",
                help="with a ledger: try records again that Halo has refused and that haven't changed since",
            ),
            _argument(
                "--max-changed",
                metavar="P%",
                default=None,
                help="with a ledger: stop before anything is sent when more of the companies, or of the users, that Halo has "
                f"would change or are gone; none for no limit (default: {_configured('max_changed')})",
            ),
            _argument(
                "--max-gone",
                metavar="N|P%",
                default=None,
                help="with gone: empty in the plan: stop before anything is sent when more companies, or users, would be "
                f"emptied, or a larger share of them; none for no limit (default: {_configured('max_gone')})",
            ),
            _argument(
                "--force",
                action="store_true",
                help="send even when a query no longer returns rows, or when more would change than --max-changed or be "
                "emptied than --max-gone",
            ),
            _argument("--dry-run", action="store_true", help="read, check and count, but send nothing"),
            _argument(
                "--link-users",
                action=argparse.BooleanOptionalAction,
                default=None,
                help="link each user to its company, one request per user; with a ledger only links that are new or have "
                "moved (default: yes). Halo doesn't document whether a link counts as the user's activity",
            ),
            _argument("--update-only", action="store_true", help="skip users that Halo doesn't know"),
            _argument(
                "--max-rejected",
                metavar="N|P%",
                default=None,
                help="how many records may be rejected, or which share of them; none for no limit (default: "
                f"{_configured('max_rejected')})",
            ),
            _argument(
                "--max-left-out",
                metavar="N|P%",
                default=None,
                help="how many records may be stored in part, because an entry of theirs is left out, or which share of "
                f"them; none for no limit (default: {_configured('max_left_out')})",
            ),
            _argument("--allow-empty", action="store_true", help="a run that reads no record at all is fine"),
            _HALO_CONN,
            _argument(
                "--batch-size",
                metavar="N",
                type=int,
                default=None,
                help=f"users of a batch, about (default: {_configured('batch_size')})",
            ),
            _argument(
                "--jobs", metavar="N", type=int, default=DEFAULTS.jobs, help="batches at once (default: %(default)s)"
            ),
            _argument(
                "--report", metavar="FILE", default=None, help="write the report there as JSON; - for standard output"
            ),
        ),
    ),
    Command(
        name="status",
        help="show what the ledger knows: runs, counts, rejected records, age",
        description="Show the last runs of each plan in the ledger, what became of its records, which were rejected and why, "
        "which the source no longer gives, and how old the oldest acknowledgement is. Needs no Halo connection. "
        + _EXIT,
        run="airflow_provider_halo.cli.ledger:status",
        arguments=(
            _argument(
                "plan", metavar="PLAN", nargs="?", default=None, help="only this plan (default: all in the ledger)"
            ),
            _LEDGER,
            _argument("--runs", metavar="N", type=int, default=5, help="runs to show (default: %(default)s)"),
            _argument("--rejects", metavar="N", type=int, default=20, help="rejects to show (default: %(default)s)"),
            _argument("--json", action="store_true", help="as JSON, on standard output"),
        ),
    ),
    Command(
        name="retire",
        help="empty in Halo what was sent and the plan no longer has",
        description="A trait or entry that leaves the plan stays in Halo, where the AI goes on reading it. This sends its empty "
        "value (null for a trait) to every record that the ledger knows. It takes only what a run of the whole plan has "
        "reported as retired. " + _EXIT,
        run="airflow_provider_halo.cli.ledger:retire",
        arguments=(
            _PLAN,
            _argument(
                "--only",
                metavar="NAME,…",
                default="",
                help="only these, for example companies.traits.mrr (default: all)",
            ),
            _argument("--dry-run", action="store_true", help="say what would be emptied, but send nothing"),
            _LEDGER,
            _HALO_CONN,
        ),
    ),
    Command(
        name="erase",
        help="empty a company or user in Halo, and never send it again",
        description="Send empty values for all that any plan of the workspace is known to have sent of a record, forget it in the "
        "ledger, and keep later runs from sending it again: they skip it, and say so. --allow takes that back. Says what "
        "Halo can't be told to delete. A company's users are records of their own. " + _EXIT,
        run="airflow_provider_halo.cli.erase:erase",
        arguments=(
            _PLAN,
            _argument("--company", metavar="ID", action="append", default=[], help="erase this company"),
            _argument("--user", metavar="ID", action="append", default=[], help="erase this user"),
            _argument("--allow", action="store_true", help="let runs send it again, and send nothing now"),
            _argument("--dry-run", action="store_true", help="say what would be done, but do nothing"),
            _argument("--json", action="store_true", help="as JSON, on standard output"),
            _LEDGER,
            _HALO_CONN,
        ),
    ),
    Command(
        name="ledger",
        help="forget records, or delete old runs",
        description="forget: the next sync sends these records again, whatever Halo has, if the source still has them. prune: delete runs and rejections "
        "that are older than so many days. " + _EXIT,
        run="airflow_provider_halo.cli.ledger:forget_or_prune",
        arguments=(
            _argument("action", metavar="ACTION", choices=("forget", "prune"), help="forget or prune"),
            _PLAN,
            _argument("--company", metavar="ID", action="append", default=[], help="forget this company"),
            _argument("--user", metavar="ID", action="append", default=[], help="forget this user and its link"),
            _argument("--all", action="store_true", help="forget all records"),
            _argument(
                "--days",
                metavar="N",
                type=int,
                default=None,
                help="prune: older than (default: " + _configured("ledger_keep_days") + ")",
            ),
            _LEDGER,
        ),
    ),
    Command(
        name="init",
        help="copy the DAGs and a first plan into a folder",
        description="Copy the three DAGs and a starter plan into a folder, for example your DAG folder. Files that "
        "already exist are left alone. " + _EXIT,
        run="airflow_provider_halo.cli.starter:init",
        arguments=(_argument("folder", metavar="FOLDER", help="where to put them; created when it does not exist"),),
    ),
    Command(
        name="sample",
        help="fill a database with a sample product to try a plan on",
        description="Create the tables of a forms-and-scheduling product in a database and fill them; the plan that "
        "`halo init` writes reads them. A second run replaces them; tables of anybody else are left alone. " + _EXIT,
        run="airflow_provider_halo.cli.sample:run",
        arguments=(
            _argument(
                "--url", metavar="URL", required=True, help="SQLAlchemy URL of the database, such as sqlite:///forms.db"
            ),
            _argument(
                "--companies",
                metavar="N",
                type=int,
                default=20,
                help=f"1 to {MAX_COMPANIES:,} (default: %(default)s)",
            ),
            _argument(
                "--users",
                metavar="N",
                type=int,
                default=None,
                help=f"users in all (default: {USERS_PER_COMPANY} for each company)",
            ),
            _argument(
                "--seed",
                metavar="N",
                type=int,
                default=DEFAULT_SEED,
                help="another seed gives other people (default: %(default)s)",
            ),
        ),
    ),
    Command(
        name="sandbox",
        help="run the Halo API on this machine",
        description="Serve the HaloAgents API as its documentation states it, with a page that shows each company and user "
        "as the AI would read it, and with faults on demand. What HaloAgents doesn't document is marked there; of each refusal "
        "the page and the header X-Sandbox-Documented say whether it is documented (yes, the rule only, no). Needs no "
        "Airflow and no account.",
        run="airflow_provider_halo.sandbox.command:run",
        arguments=_sandbox_arguments(),
    ),
)


def command(name: str) -> Command:
    """The command of a name.

    :raises StopIteration: when there is none.
    """
    return next(entry for entry in COMMANDS if entry.name == name)
