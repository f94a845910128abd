"""What was measured, in figures: medians of the passes, the ratios of one run, and whether they meet their targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

AIRFLOW_SECONDS = 30  # what a backfill may take beyond a quarter of the engine's time
SLOTS = 4  # of the pool that the backfill runs in


class Target(NamedTuple):
    """A number that is aimed at. Nothing fails by it: clocks differ.

    :param most: whether the number must not pass the limit; else it must reach it.
    """

    limit: float
    most: bool
    meaning: str

    def met(self, value: float) -> bool:
        """Whether a number does."""
        return value <= self.limit if self.most else value >= self.limit


TARGETS = {
    "whole_25ms_over_floor": Target(1.15, True, "whole sync / floor, answers after 25 ms"),
    "whole_0ms_over_floor": Target(2.0, True, "whole sync / floor, answers at once"),
    "warm_ledger_over_floor": Target(2.0, True, "nothing changed / reading, encoding, hashing all"),
    "peak_mb_above_imports": Target(20.0, True, "most memory of any engine pass above its imports, MB"),
    "four_tasks_speedup": Target(3.2, False, "one task / four at once, answers after 25 ms"),
    "backfill_over_engine": Target(1.25, True, "backfill by Airflow / (engine alone / 4 + 30 s)"),
}

Passes = Mapping[str, Sequence[Mapping[str, Any]]]


class Results:
    """The passes of one run.

    :param passes: what each pass measured in each of its rounds.
    :param missing: why parts were not measured, by part.
    """

    def __init__(self, passes: Passes, missing: Mapping[str, str]) -> None:
        self.passes = passes
        self.missing = missing

    def median(self, name: str, what: str = "seconds") -> float | None:
        """The median of a pass; None where it wasn't measured."""
        found = [one[what] for one in self.passes.get(name, ()) if what in one]
        return float(statistics.median(found)) if found else None

    def ratio(self, name: str, other: str, what: str = "seconds") -> float | None:
        """One median through another."""
        above, below = self.median(name, what), self.median(other, what)
        return above / below if above is not None and below else None

    def numbers(self) -> dict[str, float | None]:
        """The numbers that have a target, in its order."""
        engine = [
            one["megabytes"]
            for name, found in self.passes.items()
            if "megabytes" in found[0]
            and not name.endswith("floor")
            and not name.startswith(("peer_post", "peer_client", "peer_hook"))
            for one in found
        ]
        alone, backfill = self.median("backfill_engine"), self.median("backfill_airflow")
        return {
            "whole_25ms_over_floor": self.ratio("whole_25ms", "whole_25ms_floor"),
            "whole_0ms_over_floor": self.ratio("whole_0ms", "whole_0ms_floor"),
            "warm_ledger_over_floor": self.ratio("ledger_warm", "ledger_floor"),
            "peak_mb_above_imports": max(engine, default=None),
            "four_tasks_speedup": self.ratio("tasks_1", "tasks_4"),
            "backfill_over_engine": (
                backfill / (alone / SLOTS + AIRFLOW_SECONDS) if alone is not None and backfill is not None else None
            ),
        }

    def reason(self, number: str) -> str | None:
        """Why a number of `numbers` is None."""
        if self.numbers()[number] is not None:
            return None
        part = {"whole": "whole", "warm": "ledger", "peak": "memory", "four": "tasks", "backfill": "backfill"}
        return self.missing.get(part[number.partition("_")[0]], "its passes are not in this scale")

    def floor_of(self, name: str) -> str | None:
        """The floor that a pass is held against."""
        if name.startswith(("ledger", "reading", "no_ledger")) and not name.endswith("floor"):
            stem = "ledger_postgresql" if name.startswith("ledger_postgresql") else "ledger"
            return f"{stem}_floor"
        return f"{name}_floor" if f"{name}_floor" in self.passes else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        medians = {
            name: {
                "rounds": len(found),
                **{what: round(float(statistics.median(one[what] for one in found)), 4) for what in found[0]},
                "seconds_range": [
                    round(min(one["seconds"] for one in found), 4),
                    round(max(one["seconds"] for one in found), 4),
                ],
            }
            for name, found in self.passes.items()
        }
        for name, found in medians.items():
            found.pop("ended", None)
            floor = self.floor_of(name)
            if floor is not None:
                found["over_floor"] = self.ratio(name, floor)
                found["cpu_over_floor"] = self.ratio(name, floor, "cpu_seconds")
        numbers = self.numbers()
        reasons = {name: self.reason(name) for name, value in numbers.items() if value is None}
        return {
            **numbers,
            "reasons": reasons,
            "targets": {name: {"limit": one.limit, "met": _met(one, numbers[name])} for name, one in TARGETS.items()},
            "missing": dict(self.missing),
            "passes": medians,
        }


def _met(target: Target, value: float | None) -> bool | None:
    return None if value is None else target.met(value)
