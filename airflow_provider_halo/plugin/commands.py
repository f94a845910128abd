"""The command group ``airflow halo``, made from the same list as the `halo` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from airflow_provider_halo.cli.commands import COMMANDS, Argument, Command

__all__ = ["get_commands"]


def get_commands() -> list[GroupCommand]:
    """The group, as Airflow's ``cli`` key takes it. Called on every start of `airflow`: it imports no command."""
    return [
        GroupCommand(
            name="halo",
            help="Bring product data to HaloAgents",
            description="Check a plan, sync it without a scheduler, or try it against a local server.",
            subcommands=tuple(_subcommand(command) for command in COMMANDS),
        )
    ]


def _subcommand(command: Command) -> ActionCommand:
    return ActionCommand(
        name=command.name,
        help=command.help,
        description=command.description,
        func=_runner(command),
        args=tuple(_argument(argument) for argument in command.arguments),
    )


def _argument(argument: Argument) -> Arg:
    arg = Arg(argument.flags)  # type: ignore[no-untyped-call]  # Airflow's class has no types
    # Arg's own parameters lack some of argparse's (const, version); its kwargs go to argparse as they are.
    arg.kwargs.update(argument.options)
    return arg


def _runner(command: Command) -> Callable[[argparse.Namespace], None]:
    def run_command(arguments: argparse.Namespace) -> None:
        from airflow_provider_halo.cli.main import run  # noqa: PLC0415 (only when it runs)

        sys.exit(run(command, arguments))  # Airflow drops a function's return value

    return run_command
