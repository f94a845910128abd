"""Rows of the customer's database become payloads. Knows nothing of Halo's API, the ledger or delivery."""
