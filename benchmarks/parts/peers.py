"""What teams do without this package: a request per user, by `httpx.post` or a kept client, and Airflow's HttpHook."""

from __future__ import annotations

from benchmarks.bench import BATCH_SIZE, Bench, Due
from benchmarks.scale import Size

_MS = 25
_USERS_OF_A_COMPANY = 20


def peers(bench: Bench) -> None:
    """Each peer sends a sample of the users, one request after the other; the sync sends all of its product."""
    scale = bench.scale
    bench.sizes["peers"] = f"{scale.posts:,} users by a request each, {scale.hooked:,} by 1,000"
    whole = bench.product(scale.whole)
    for _ in range(scale.peer_rounds):
        for name, users, at_once in (
            ("post", scale.posts, 1),
            ("client", scale.posts, 1),
            ("hook", scale.hooked, 1_000),
        ):
            size = Size(users, -(-users // _USERS_OF_A_COMPANY))
            given = {**bench.product(size), "users": users, "sender": name}
            requests = -(-users // at_once)
            bench.say(f"peer_{name}")
            bench.start(_MS)
            found = bench.call(name, bench.given(given), module="benchmarks.others")
            bench.check(f"peer_{name}", Due(users=users, requests=(requests, requests)), None)
            bench.passes[f"peer_{name}"].append(found)
        for name, only in (("peer_sync_users", ["users"]), ("peer_sync_whole", [])):
            if name == "peer_sync_whole" and "whole_25ms" in bench.passes:
                bench.passes[name] = list(bench.passes["whole_25ms"])
                continue
            due = Due.of(scale.whole, only, batch_size=BATCH_SIZE)
            bench.measure(name, "sync", {**whole, "only": only}, due, ms=_MS)
