"""Parses the arguments of `halo`, runs the command, and turns errors into one human line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from airflow_provider_halo import __version__
from airflow_provider_halo.cli.commands import COMMANDS, Command
from airflow_provider_halo.exceptions import HaloError, PlanError
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["DONE", "FAILED", "WRONG", "complain", "main", "names_of", "plan_of", "run", "say"]

DONE, FAILED, WRONG = 0, 1, 2  # exit codes


def main(words: Sequence[str] | None = None) -> int:
    """Run `halo` with these arguments; None takes those of the command line.

    :return: the exit code.
    """
    arguments = _parser().parse_args(words)
    return run(arguments.command, arguments)


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Run one command. Errors are printed on standard error.

    :return: the exit code: 0 done, 1 failed, 2 the plan or the arguments are wrong.
    """
    module, _, name = command.run.partition(":")
    function: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
    with _log_to_stderr():
        try:
            return function(arguments)
        except HaloError as error:
            return _explain(command, error)
        except KeyboardInterrupt:
            complain(f"halo {command.name}: interrupted. What Halo has stored stays; run it again to continue.")
            return FAILED


def _explain(command: Command, error: HaloError) -> int:
    """Say what ended a command; gives its exit code."""
    has_begun = isinstance(error, SyncStopped)
    cause = error.cause if isinstance(error, SyncStopped) else error
    if not isinstance(cause, PlanError):
        complain(f"halo {command.name}: {error}")
        return FAILED
    count = len(cause.problems)
    sent = "" if has_begun else "; nothing was sent"
    complain(f"{error}\n{count} problem{'s' if count > 1 else ''} in the plan{sent}.")
    return WRONG


def complain(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(text + "\n")


def say(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.write(text + "\n")


def names_of(text: str) -> tuple[str, ...]:
    """The names in a text with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def plan_of(arguments: argparse.Namespace) -> str:
    """Path of the plan that the command line names, or else the configuration.

    :raises SetupError: when neither does.
    """
    if arguments.plan is not None:
        return str(arguments.plan)
    from airflow_provider_halo.hooks import config  # noqa: PLC0415 (imports Airflow, which takes seconds)

    return config.plan_path()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="halo", description="Bring product data from your database to HaloAgents, safely."
    )
    parser.add_argument("--version", action="version", version=f"airflow-provider-halo {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.description)
        for argument in command.arguments:
            sub.add_argument(*argument.flags, **argument.options)
        sub.set_defaults(command=command)
    return parser


class _log_to_stderr:  # noqa: N801 (reads as a verb where it is used)
    """While a command runs, what the package logs goes to standard error, whatever Airflow's logging is set to."""

    def __enter__(self) -> None:
        self._logger = logging.getLogger("airflow_provider_halo")
        self._before = (self._logger.level, self._logger.propagate)
        self._handler = logging.StreamHandler()
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
