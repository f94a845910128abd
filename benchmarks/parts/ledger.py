"""What the ledger costs and what it saves: nothing known, nothing changed, a hundredth changed."""

from __future__ import annotations

from benchmarks.bench import BATCH_SIZE, USERS_PER_UPDATE, Bench, Due, WrongWork


def ledger(bench: Bench) -> None:
    """A ledger in SQLite and one in PostgreSQL, against the reading, encoding and hashing of all records."""
    size = bench.scale.ledger
    bench.sizes["ledger"] = str(size)
    given = bench.product(size)
    bench.warm_up("hash_floor", "hash", given, None)
    bench.measure("reading", "reading", given, None)
    bench.measure("no_ledger", "sync", given, Due.of(size, batch_size=BATCH_SIZE))
    for where, rounds in bench.scale.ledger_rounds.items():
        if rounds and (where == "sqlite" or bench.has_postgresql(f"ledger_{where}")):
            _kept_in(bench, where, rounds)


def _kept_in(bench: Bench, where: str, rounds: int) -> None:
    size = bench.scale.ledger
    given = {**bench.product(size), "ledger": bench.database(where, "ledger")}
    name = "ledger" if where == "sqlite" else f"ledger_{where}"
    bench.measure(f"{name}_cold", "sync", given, Due.of(size, batch_size=BATCH_SIZE))
    for _ in range(rounds):
        bench.measure(f"{name}_floor", "hash", {**given, "ledger": ""}, None)
        found = bench.measure(f"{name}_warm", "sync", given, None)
        if found["users_unchanged"] != size.users or found["companies_unchanged"] != size.companies:
            raise WrongWork(f"{name}_warm: of {size} it found {found['users_unchanged']:,} users unchanged.")
    changes = bench.call("change", {"product": given["product"], "time": 1})
    least = changes["companies"] + -(-changes["users"] // USERS_PER_UPDATE)
    batches = (size.users + size.companies) // BATCH_SIZE + 2  # each sends its own requests
    due = Due(users=changes["users"], companies=changes["companies"], requests=(least, least + batches))
    bench.measure(f"{name}_changed", "sync", given, due)
