"""The command `halo sandbox`: its flags, what it prints, and how it stops on Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import math
import shlex
import signal
import sqlite3
import sys
import threading
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_halo.sandbox.config import BAD_USER_ANSWERS, SandboxConfig, is_loopback
from airflow_provider_halo.sandbox.faults import HELP, FaultError, parse_fault
from airflow_provider_halo.sandbox.quota import QUOTA_HELP, RETRY_AFTER, QuotaError, QuotaRule

if TYPE_CHECKING:
    from airflow_provider_halo.sandbox.server import SandboxServer

__all__ = ["add_arguments", "host_warning", "introduction", "read_arguments", "run", "serve"]

DEFAULT_PORT: Final = 8484
_YEAR: Final = 366 * 86_400.0


class Parser(Protocol):
    """What takes arguments: an `argparse.ArgumentParser`, or whoever else wants to know them."""

    def add_argument(self, *flags: str, **options: Any) -> object:
        """Take one argument."""


def add_arguments(parser: Parser) -> None:
    """Declare the flags of ``halo sandbox``."""
    default = SandboxConfig()
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"port (default {DEFAULT_PORT}; 0: a free one)"
    )
    parser.add_argument(
        "--open-admin", action="store_true", help="let other machines use the page and /_sandbox, where --host allows"
    )
    parser.add_argument("--widget-key", default=default.widget_key, help="the key let in (default %(default)s)")
    parser.add_argument(
        "--identity-secret", default=default.identity_secret, help="what signs tokens (default %(default)s)"
    )
    parser.add_argument(
        "--no-verify-identity", action="store_true", help="ask for no user_token, but in users/update, which needs one"
    )
    parser.add_argument("--file", type=Path, help="SQLite file that keeps the state over restarts (default: memory)")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="SPEC", help=f"play a fault; may be repeated: {HELP}"
    )
    parser.add_argument("--quota", default="", metavar="RATE", help=f"answer 429 above it: {QUOTA_HELP}")
    parser.add_argument("--burst", type=int, metavar="N", help="what the bucket of --quota holds (default: a second's)")
    parser.add_argument("--at-once", type=int, metavar="N", help="answer 429 while so many requests are under way")
    parser.add_argument(
        "--retry-after", choices=RETRY_AFTER, default="none", help="how those 429 say when to come back (default none)"
    )
    parser.add_argument("--max-body-bytes", type=int, help="answer 413 to longer bodies (default: take all)")
    parser.add_argument(
        "--bad-user",
        choices=BAD_USER_ANSWERS,
        default=default.bad_user,
        help="what a bad user does to a users/update: fail it unnamed or named, or let the others pass (partial)",
    )
    parser.add_argument("--refuse-context", action="store_true", help="answer 400 to context in users/update")
    parser.add_argument(
        "--poison", default="", metavar="ID,...", help="users that are always refused, with a 400 that says nothing"
    )
    parser.add_argument(
        "--clock-ahead",
        type=_seconds,
        default=default.clock_ahead,
        metavar="SECONDS",
        help="set the server's clock ahead, or behind by -SECONDS: times and tokens are judged by it (default: right)",
    )
    parser.add_argument(
        "--keep-alive",
        type=_seconds_from_zero,
        default=default.keep_alive,
        metavar="SECONDS",
        help="close idle connections after so long, unannounced; 0: after each answer (default %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def read_arguments(args: Namespace) -> SandboxConfig:
    """The settings that parsed flags stand for.

    :raises FaultError: when a fault can't be understood; `QuotaError` for a quota.
    """
    for spec in args.fault:
        parse_fault(spec)
    return SandboxConfig(
        widget_key=args.widget_key,
        identity_secret=args.identity_secret,
        verify_identity=not args.no_verify_identity,
        file=args.file,
        faults=tuple(args.fault),
        quota=QuotaRule(quota=args.quota, burst=args.burst, at_once=args.at_once, retry_after=args.retry_after),
        max_body_bytes=args.max_body_bytes,
        bad_user=args.bad_user,
        refuse_context=args.refuse_context,
        poison=frozenset(filter(None, args.poison.split(","))),
        clock_ahead=args.clock_ahead,
        keep_alive=args.keep_alive,
        open_admin=args.open_admin,
    )


def run(args: Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; 0 when stopped so, 1 when it can't start or stops by itself, 2 for wrong flags."""
    say = _silence if args.quiet else _say
    try:
        return serve(read_arguments(args), host=args.host, port=args.port, say=say)
    except (FaultError, QuotaError) as error:
        sys.stderr.write(f"halo sandbox: {error}\n")
        return 2
    except OSError as error:
        advice = "choose another --port, or 0 for a free one"
        sys.stderr.write(f"halo sandbox: can't listen on {args.host} port {args.port}: {error}; {advice}\n")
        return 1
    except sqlite3.Error as error:
        sys.stderr.write(f"halo sandbox: {args.file} can't be used as --file: {error}; name a new file\n")
        return 1


def serve(
    config: SandboxConfig,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    say: Callable[[str], None],
    stop: threading.Event | None = None,
) -> int:
    """Serve until ``stop`` is set, or by default until Ctrl-C or SIGTERM, which needs the main thread.

    :param say: takes the lines to print.
    :returns: 0, or 1 when the server ended by itself.
    :raises OSError: when the port is taken or the host is none of this machine's.
    """
    # The other commands of `halo` read the flags above, too, and must not wait for a web server to be imported.
    from airflow_provider_halo.sandbox.server import SandboxServer  # noqa: PLC0415 - see above

    stopped = stop or threading.Event()
    handlers = {} if stop else _stop_by_signal(stopped)
    try:
        with SandboxServer(config, host=host, port=port) as server:
            say(introduction(server))
            while server.running and not stopped.wait(0.5):
                pass
            ended_by_itself = not stopped.is_set()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    say("Stopped.")
    return int(ended_by_itself)


def introduction(server: SandboxServer) -> str:
    """What is printed at the start: where the page is, the connection to paste, and a warning where one is due."""
    config = server.config
    connection: dict[str, Any] = {"conn_type": "halo", "password": config.widget_key, "host": server.url}
    connection["extra"] = {"identity_secret": config.identity_secret}
    if not config.verify_identity:
        connection["extra"]["verify_identity"] = False
    lines = [
        f"HaloAgents sandbox: {server.root}/",
        "State: " + (f"kept in {config.file}" if config.file else "in memory, gone when it stops"),
        *(f"Fault: {fault}" for fault in config.faults),
        "Connection for Airflow and halo:",
        f"  export AIRFLOW_CONN_HALO_DEFAULT={shlex.quote(json.dumps(connection, separators=(',', ':')))}",
    ]
    warning = host_warning(server.host, open_admin=config.open_admin)
    return "\n".join([*lines, *([warning] if warning else []), "Stop with Ctrl-C."])


def host_warning(host: str, *, open_admin: bool) -> str:
    """What to know before listening on an address; empty for loopback."""
    if is_loopback(host):
        return ""
    seen = "read and change everything in it" if open_admin else "write to it with the widget key"
    return f"WARNING: on {host} other machines can reach this sandbox and {seen}. Do not put real data in it."


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not abs(seconds) <= _YEAR:  # false for no number, too
        raise ArgumentTypeError(f"{text!r} is not a number of seconds within a year")
    return seconds


def _seconds_from_zero(text: str) -> float:
    seconds = _seconds(text)
    if seconds < 0:
        raise ArgumentTypeError(f"{text!r} is less than 0")
    return seconds


def _stop_by_signal(stopped: threading.Event) -> dict[signal.Signals, Any]:
    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    return {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _silence(_: str) -> None:
    """Print nothing."""
