"""The table of `test_truth`: each kind of database, and what Halo held after a run, by batch size and ledger.

    python tests/truth/table.py

Of another version of the package: with that version first in PYTHONPATH.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from databases import own_url
from truth.lab import DRIVERS, Laboratory, expected_of, is_green
from truth.scenarios import SCENARIOS

SIZES = (1, 2, 300, 5_000)


def verdict(laboratory: Laboratory, *, batch_size: int, ledger: bool) -> str:
    """What came of one run: ``true``, ``FALSE`` where it was green and Halo holds something else, ``red`` otherwise."""
    trial = laboratory.run(batch_size=batch_size, ledger=ledger)
    if trial.stopped:
        return "stopped"
    told = trial.rejected() == laboratory.scenario.rejected
    if trial.held == expected_of(laboratory.scenario, laboratory.name) and told:
        return "true"
    return "FALSE, green" if is_green(trial.reports[0]) else "false, red"


def main() -> None:
    for scenario in SCENARIOS:
        for name in scenario.databases:
            with tempfile.TemporaryDirectory() as folder:
                for url in own_url(DRIVERS[name], Path(folder), "truth_table", " CHARACTER SET utf8mb4"):
                    laboratory = Laboratory(scenario, name, url, Path(folder))
                    found: dict[str, list[str]] = defaultdict(list)
                    for ledger in (False, True):
                        for size in SIZES:
                            which = f"{size:,}{' with a ledger' if ledger else ''}"
                            found[verdict(laboratory, batch_size=size, ledger=ledger)].append(which)
                    laboratory.engine.dispose()
            every = "; ".join(
                outcome if len(found) == 1 else f"{outcome} at {', '.join(sizes)}" for outcome, sizes in found.items()
            )
            print(f"| {scenario.name} | {name} | {every} |", flush=True)


if __name__ == "__main__":
    main()
