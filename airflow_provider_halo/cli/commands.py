"""The commands as data: one list for the `halo` command and for `airflow halo`. Light: Airflow reads it on every start."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any


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


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


_HALO_CONN = _argument(
    "--halo-conn",
    metavar="CONN_ID",
    default="halo_default",
    help="Airflow connection of type halo (default: %(default)s)",
)

_EXIT = "Exit code: 0 done, 1 the run failed, 2 the plan or the arguments are wrong."

COMMANDS: tuple[Command, ...] = (
    Command(
        name="check",
        help="check a plan and hold it against the guide's checklist",
        description="Check a plan: every mistake at once, with its line, and the checklist of what an AI needs to know. "
        "Needs no Airflow, no database and no account. " + _EXIT,
        run="airflow_provider_halo.cli.check:run",
        arguments=(
            _argument("plan", metavar="PLAN", help="the plan file, for example halo.yaml"),
            _argument("--strict", action="store_true", help="exit 1 when the checklist has a ✗"),
        ),
    ),
    Command(
        name="sync",
        help="bring a plan's data to Halo, without a scheduler",
        description="Read the plan's queries and send what they give to Halo: the same engine and batches as the DAGs. "
        "Connections come from Airflow (environment, secrets backend or metadata database). " + _EXIT,
        run="airflow_provider_halo.cli.sync:run",
        arguments=(
            _argument("plan", metavar="PLAN", help="the plan file, for example halo.yaml"),
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
            _argument("--full", action="store_true", help="send everything again; without a ledger every sync does"),
            _argument("--dry-run", action="store_true", help="read, check and count, but send nothing"),
            _argument(
                "--link-users",
                action=argparse.BooleanOptionalAction,
                default=None,
                help="link each user to its company, one request per user (default: yes)",
            ),
            _argument("--update-only", action="store_true", help="skip users that Halo doesn't know"),
            _argument(
                "--max-rejected",
                metavar="N|P%",
                default="1%",
                help="how many records may be rejected, or which share of them; none for no limit (default: 1 percent)",
            ),
            _argument("--allow-empty", action="store_true", help="a run that reads no record at all is fine"),
            _HALO_CONN,
            _argument(
                "--batch-size",
                metavar="N",
                type=int,
                default=5_000,
                help="users of a batch, about (default: %(default)s)",
            ),
            _argument("--jobs", metavar="N", type=int, default=1, help="batches at once (default: %(default)s)"),
            _argument(
                "--report", metavar="FILE", default=None, help="write the report there as JSON; - for standard output"
            ),
        ),
    ),
    Command(
        name="init",
        help="copy the DAGs and a first plan into a folder",
        description="Copy the three DAGs and a starter plan into a folder, for example your DAG folder. Files that are "
        "there already are left alone. " + _EXIT,
        run="airflow_provider_halo.cli.init:run",
        arguments=(_argument("folder", metavar="FOLDER", help="where to put them; made when it isn't there"),),
    ),
)


def command(name: str) -> Command:
    """The command of a name.

    :raises StopIteration: when there is none.
    """
    return next(found for found in COMMANDS if found.name == name)
