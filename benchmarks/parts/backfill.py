"""The shipped backfill on a real Airflow, links included, against the engine alone doing the same work in one process."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench, Due
from benchmarks.scale import Size


def backfill(bench: Bench) -> None:
    """The engine alone, then Airflow: from the trigger to the end of the run, Airflow running already."""
    scale = bench.scale
    size, ms = scale.backfill, scale.backfill_ms
    if size is None or not bench.has_postgresql("backfill"):
        return
    bench.sizes["backfill"] = f"{size}, answers after {ms} ms, {scale.backfill_batch:,} users a task"
    given = {**bench.product(size), "links": True, "batch_size": scale.backfill_batch}
    due = Due.of(size, links=True, batch_size=scale.backfill_batch)
    bench.measure("backfill_engine", "sync", given, due, ms=ms)
    found = airflow(bench, size, ms=ms, batch_size=scale.backfill_batch, name="backfill_airflow")
    bench.passes["backfill_airflow"].append(found["backfill"])
    del found["idle"]["received"]
    bench.passes["backfill_idle"].append(found["idle"])


def airflow(bench: Bench, size: Size, *, ms: int, batch_size: int, name: str, ledger: bool = False) -> dict[str, Any]:
    """Start an Airflow, let it run the backfill, and see that all has arrived.

    :param ledger: then a weekly run follows, in which a hundredth of the records has changed; without one a dry run of
        the companies' traits, which shows what Airflow takes by itself.
    :return: what each run took, by its name.
    """
    bench.say(f"{name}: starts an Airflow")
    bench.start(ms)
    given = bench.product(size)
    found = bench.call(
        "run",
        {
            "folder": str(bench.folder / name),
            "database": bench.database("postgresql", "airflow"),
            "plan": given["plan"],
            "product": given["product"].removeprefix("sqlite:///"),
            "ledger": str(bench.folder / f"{name}-ledger.db") if ledger else "",
            "base_url": bench.base_url,
            "batch_size": batch_size,
            "ms": ms,
        },
        module="benchmarks.scheduler",
    )
    one = found["backfill"]
    due = Due.of(size, links=True, batch_size=batch_size)
    due.check(name, one.pop("received"), one["requests"])
    bench.say(f"{name}: {one['seconds']:.1f} s for {one['batches']} batches")
    return found
