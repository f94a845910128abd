"""One run: the only place that joins source, ledger and delivery."""
