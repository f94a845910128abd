"""The ledger: what Halo has acknowledged, written after its yes, so that only what changed is sent."""
