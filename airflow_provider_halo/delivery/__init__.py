"""Payloads become outcomes, and outcomes a report. Knows nothing of databases."""
