"""Whole syncs without a ledger, against a raw loop that sends the same: by latency, by database, by what is sent."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import BATCH_SIZE, Bench, Due
from benchmarks.scale import Size

_SLOW = 100


def whole(bench: Bench) -> None:
    """Companies and users, from SQLite and PostgreSQL."""
    scale = bench.scale
    bench.sizes["whole"] = str(scale.whole)
    bench.sizes[f"whole, answers after {_SLOW} ms or more"] = str(scale.slow)
    databases = {"sqlite": scale.rounds}
    if bench.has_postgresql("whole_postgresql"):
        databases["postgresql"] = scale.postgresql
    for where, rounds in databases.items():
        name = "whole" if where == "sqlite" else f"whole_{where}"
        for size, some in ((scale.whole, range(_SLOW)), (scale.slow, range(_SLOW, 10 * _SLOW))):
            of_these = {ms: count for ms, count in rounds.items() if ms in some}
            if of_these:
                _pairs(bench, name, size, where, of_these)


def scopes(bench: Bench) -> None:
    """Users only, companies only, and everything with links."""
    for only in ("users", "companies"):
        _pairs(bench, only, bench.scale.whole, "sqlite", bench.scale.scopes, only=[only])
    bench.sizes["links"] = str(bench.scale.linked)
    _pairs(bench, "links", bench.scale.linked, "sqlite", bench.scale.links, links=True)


def _pairs(
    bench: Bench,
    name: str,
    size: Size,
    where: str,
    rounds: dict[int, int],
    *,
    only: list[str] | None = None,
    links: bool = False,
) -> None:
    """Floor, sync, floor, sync …, so that whatever changes on the machine meanwhile meets both."""
    given: dict[str, Any] = {**bench.product(size, where), "only": only or [], "links": links}
    least = Due.of(size, only or (), links=links)
    due = Due.of(size, only or (), links=links, batch_size=BATCH_SIZE)
    bench.warm_up(f"{name}_0ms_floor", "floor", given, least)
    bench.warm_up(f"{name}_0ms", "sync", given, due)
    for ms, count in rounds.items():
        for _ in range(count):
            bench.measure(f"{name}_{ms}ms_floor", "floor", given, least, ms=ms)
            bench.measure(f"{name}_{ms}ms", "sync", given, due, ms=ms)
