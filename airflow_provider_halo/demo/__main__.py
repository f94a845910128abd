"""`python -m airflow_provider_halo.demo`: make the demo's data, change it, run the whole demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_halo.demo.change import change_demo_data
from airflow_provider_halo.demo.data import MOST_COMPANIES, open_database, write_demo_data
from airflow_provider_halo.demo.generate import DEFAULT_SEED
from airflow_provider_halo.demo.screen import Screen
from airflow_provider_halo.demo.spread import USERS_PER_COMPANY
from airflow_provider_halo.exceptions import HaloError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: 0 done, 1 something is off, 2 the words or the database are wrong, 130 interrupted.
    """
    args = _parser().parse_args(arguments)
    screen = Screen(sys.stdout)
    try:
        return _COMMANDS[args.command](args, screen)
    except HaloError as error:
        screen.trouble(str(error))
        return 2
    except KeyboardInterrupt:
        screen.trouble("Interrupted.")
        return 130


def _data(args: argparse.Namespace, screen: Screen) -> int:
    engine = open_database(args.url)
    screen.say(str(write_demo_data(engine, args.companies, args.users, seed=args.seed, progress=screen.say)))
    return 0


def _change(args: argparse.Namespace, screen: Screen) -> int:
    for sentence in change_demo_data(open_database(args.url)):
        screen.say(sentence)
    return 0


def _run(args: argparse.Namespace, screen: Screen) -> int:
    from airflow_provider_halo.demo.run import run_demo  # noqa: PLC0415 (only this command needs it)

    return run_demo(screen, folder=args.folder, companies=args.companies, users=args.users, seed=args.seed)


def _up(args: argparse.Namespace, screen: Screen) -> int:
    from airflow_provider_halo.demo.run import bring_up  # noqa: PLC0415 (only this command needs it)

    return bring_up(screen, folder=args.folder, companies=args.companies, users=args.users, seed=args.seed)


def _down(args: argparse.Namespace, screen: Screen) -> int:
    from airflow_provider_halo.demo.run import bring_down  # noqa: PLC0415 (only this command needs it)

    return bring_down(screen, folder=args.folder)


_COMMANDS = {"data": _data, "change": _change, "run": _run, "up": _up, "down": _down}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_halo.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="make the demo's tables in a database and fill them")
    change = commands.add_parser("change", help="change a few rows of them, and say which")
    for command in (data, change):
        command.add_argument("--url", required=True, help="SQLAlchemy URL, such as sqlite:///demo.db")
    run = commands.add_parser(
        "run", help="a real Airflow and the sandbox: backfill, weekly sync, event; then all stops"
    )
    up = commands.add_parser("up", help="the same, as far as the backfill; then everything stays up")
    down = commands.add_parser("down", help="stop what `up` left running")
    for command in (data, run, up):
        command.add_argument(
            "--companies", type=int, required=command is data, default=200, help=f"1 to {MOST_COMPANIES:,}"
        )
        command.add_argument("--users", type=int, help=f"users in all (default: {USERS_PER_COMPANY} a company)")
        command.add_argument(
            "--seed", type=int, default=DEFAULT_SEED, help="another seed, other people (default: %(default)s)"
        )
    for command in (run, up, down):
        command.add_argument(
            "--folder", type=Path, default=Path(".demo"), help="where the demo keeps its files (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
