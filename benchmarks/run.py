"""Benchmarks of the package, all in one run: what it costs against the least that anybody must do, and against others.

`benchmarks/README.md` says what each part measures and how to read it. Ends with 1 when a pass did wrong work, and with 0
whatever the clocks say. Run by ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import constants, machine, sizes, tables
from benchmarks.bench import Bench, WrongWork
from benchmarks.parts.backfill import backfill
from benchmarks.parts.ledger import ledger
from benchmarks.parts.memory import memory
from benchmarks.parts.peers import peers
from benchmarks.parts.quota import quota
from benchmarks.parts.tasks import tasks
from benchmarks.parts.whole import scopes, whole
from benchmarks.results import Results
from benchmarks.scale import DEFAULT, FULL, QUICK, Scale

FOLDER = Path(__file__).parent
PARTS: dict[str, Callable[[Bench], None]] = {
    "whole": whole,
    "scopes": scopes,
    "ledger": ledger,
    "tasks": tasks,
    "memory": memory,
    "peers": peers,
    "quota": quota,
    "backfill": backfill,
}


def main() -> int:
    """Measure, and print."""
    asked = _asked()
    # The machine's own proxy isn't to be measured, and no setting of the user's own Airflow is to be used.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    scale: Scale = FULL if asked.full else QUICK if asked.quick else DEFAULT
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="halo-bench-") as folder, _bench(scale, folder, asked.lose) as bench:
            for name in asked.only:
                PARTS[name](bench)
    except WrongWork as wrong:
        print(f"Wrong work: {wrong}", file=sys.stderr)
        return 1
    not_asked_for = {name: "not asked for (--only)" for name in PARTS if name not in asked.only}
    results = Results(bench.passes, {**bench.missing, **not_asked_for})
    about: dict[str, Any] = {
        "command": f"make bench{_arguments()}",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "scale": scale.name,
        "machine": machine.describe(),
        "sizes": bench.sizes,
        "quotas": bench.quotas,
        "seconds": round(time.monotonic() - began, 1),
    }
    _print(results, about)
    asked.json.write_text(json.dumps({**results.to_dict(), **about}, indent=1) + "\n", encoding="utf-8")
    if asked.write:
        (FOLDER / "RESULTS.md").write_text(tables.page(results, about), encoding="utf-8")
        constants.write(results, about)
        sizes.write()
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument("--quick", action="store_true", help="tiny sizes: only to see that the benchmarks work")
    scales.add_argument("--full", action="store_true", help="the sizes of the targets; half an hour")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PART,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md, SIZES.md and the constants behind it")
    parser.add_argument(
        "--json", type=Path, default=FOLDER / "results.json", metavar="FILE", help="all figures go there"
    )
    parser.add_argument(
        "--lose",
        type=int,
        default=0,
        metavar="N",
        help="the server forgets N users of each pass, to see that it is noticed",
    )
    asked = parser.parse_args()
    if asked.write and (asked.quick or asked.only != list(PARTS)):
        parser.error("--write is for a run of all parts, and not for a quick one")
    return asked


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"there is no part {name!r}; the parts are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def _arguments() -> str:
    return f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""


def _bench(scale: Scale, folder: str, lose: int) -> Bench:
    return Bench(scale, Path(folder), lose=lose)


def _print(results: Results, about: dict[str, Any]) -> None:
    of = about["machine"]
    print(f"{of['processor']}, {of['cores']} cores, {of['memory_gb']} GB; {of['python']}; {of['system']}")
    print(f"{about['command']}, {about['date']}, {about['seconds']:.0f} s in all")
    for name, size in about["sizes"].items():
        print(f"  {name}: {size}")
    for table in (
        tables.passes(results),
        tables.peers(results),
        tables.quotas(about["quotas"]),
        tables.numbers(results),
    ):
        if len(table) > 1:
            print(f"\n{tables.as_text(table)}")


if __name__ == "__main__":
    sys.exit(main())
