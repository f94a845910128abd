"""`python -m demo`: run the whole demo, leave it running, stop it, or change the sample's data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.sample.data import SampleError, open_database
from airflow_provider_halo.sample.spread import DEFAULT_SEED, MAX_COMPANIES, USERS_PER_COMPANY
from demo.change import change_sample
from demo.run import bring_down, bring_up, run_demo
from demo.screen import Screen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: 0 done, 1 a check failed, 2 the arguments or the database are wrong, 130 interrupted.
    """
    args = _parser().parse_args(arguments)
    screen = Screen(sys.stdout)
    try:
        return _COMMANDS[args.command](args, screen)
    except (HaloError, SampleError) as error:
        screen.trouble(str(error))
        return 2
    except KeyboardInterrupt:
        screen.trouble("Interrupted.")
        return 130


def _change(args: argparse.Namespace, screen: Screen) -> int:
    for sentence in change_sample(open_database(args.url)):
        screen.say(sentence)
    return 0


def _run(args: argparse.Namespace, screen: Screen) -> int:
    return run_demo(screen, folder=args.folder, companies=args.companies, users=args.users, seed=args.seed)


def _up(args: argparse.Namespace, screen: Screen) -> int:
    return bring_up(screen, folder=args.folder, companies=args.companies, users=args.users, seed=args.seed)


def _down(args: argparse.Namespace, screen: Screen) -> int:
    return bring_down(screen, folder=args.folder)


_COMMANDS = {"change": _change, "run": _run, "up": _up, "down": _down}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    change = commands.add_parser("change", help="change a few rows of a database that `halo sample` filled")
    change.add_argument("--url", required=True, help="SQLAlchemy URL, such as sqlite:///forms.db")
    run = commands.add_parser(
        "run", help="a real Airflow and the sandbox: backfill, weekly sync, event; then everything stops"
    )
    up = commands.add_parser("up", help="the same, as far as the backfill; then everything stays up")
    down = commands.add_parser("down", help="stop what `up` left running")
    for command in (run, up):
        command.add_argument("--companies", type=int, default=200, help=f"1 to {MAX_COMPANIES:,}")
        command.add_argument("--users", type=int, help=f"users in all (default: {USERS_PER_COMPANY} for each company)")
        command.add_argument(
            "--seed", type=int, default=DEFAULT_SEED, help="another seed gives other people (default: %(default)s)"
        )
    for command in (run, up, down):
        command.add_argument(
            "--folder", type=Path, default=Path(".demo"), help="where the demo keeps its files (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
