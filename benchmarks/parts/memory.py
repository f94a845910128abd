"""The most memory that a pass takes: by the size of the product, with a ledger and without, with a huge company."""

from __future__ import annotations

from benchmarks.bench import BATCH_SIZE, Bench, Due


def memory(bench: Bench) -> None:
    """Each kind of pass once; nothing here is about time. The large product's are those of the ledger, if it was measured."""
    scale = bench.scale
    sizes = {"small": scale.small, "large": scale.ledger, "whale": scale.whale}
    if "no_ledger" in bench.passes:
        del sizes["large"]
    for name, size in sizes.items():
        bench.sizes[f"memory_{name}"] = str(size)
        given = bench.product(size)
        due = Due.of(size, batch_size=BATCH_SIZE)
        bench.measure(f"memory_{name}", "sync", given, due)
        with_ledger = {**given, "ledger": bench.database("sqlite", "memory")}
        bench.measure(f"memory_{name}_ledger", "sync", with_ledger, due)
        bench.measure(f"memory_{name}_ledger_warm", "sync", with_ledger, None)
