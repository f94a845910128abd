"""Holds entries against the values that Halo documents for their types: what else the AI is shown of them, nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_provider_halo.contract import ENTRY_FORMS
from airflow_provider_halo.plan.findings import (
    UNKNOWN,
    Finding,
    Severity,
    entries_of,
    fields_of,
    first_four,
    location_of,
)
from airflow_provider_halo.plan.model import LoadedPlan, Query

__all__ = ["check_forms"]

_SHAPES = {
    "array": "a list of objects: `rows: many` makes one of the rows",
    "map": "an object of objects by name, {hubspot: {connected: true, …}}: `name:` makes one of the rows",
    "object": "an object, of one row: remove `rows`, `name` or `value`",
}


def check_forms(plan: LoadedPlan) -> Iterator[Finding]:
    """What is wrong with entries whose types have a documented value."""
    for query, entry in entries_of(plan):
        if entry.type in ENTRY_FORMS:
            yield from _flaws(query, entry.type)


def _flaws(query: Query, entry_type: str) -> Iterator[Finding]:
    form = ENTRY_FORMS[entry_type]
    if query.shape != form.shape:
        text = f"{query.name}: the value of type {entry_type} is documented as {_SHAPES[form.shape]}"
        yield _finding(query, "warn", text)
    if query.shape == "scalar":
        return
    yield from _lacking(query, entry_type, form.needed)
    if form.optional is not None and query.shape == form.shape:
        columns, _ = fields_of(query)
        yield from _beyond(query, columns - {*form.needed, query.entry.name if query.entry else None}, form.optional)


def _lacking(query: Query, entry_type: str, needed: Sequence[str]) -> Iterator[Finding]:
    """What the documented value needs and the columns lack, or may lack."""
    columns, complete = fields_of(query)
    missing = [name for name in needed if name not in columns]
    if missing and not complete:
        yield _finding(query, "unknown", f"{query.name}: {' and '.join(missing)} of its {entry_type}: {UNKNOWN}")
    elif missing:
        yield _missing(query, missing)


def _beyond(query: Query, columns: frozenset[str], shown: tuple[str, ...]) -> Iterator[Finding]:
    """What of the columns the documented text has no place for, by itself or without another one."""
    if query.statement.known_columns is not None and "error" in columns and "status" not in columns:
        text = f"{query.name}: Halo documents an error only beside a status that is 'error': select status, too"
        yield _finding(query, "warn", text)
    others = sorted(columns.difference(shown))
    if others:
        text = (
            f"{query.name}: {first_four(others)}: Halo documents no place where the AI is shown it: say it in "
            f"{' or '.join(shown)}, or in an entry of another type"
        )
        yield _finding(query, "warn", text)


def _missing(query: Query, missing: list[str]) -> Finding:
    if missing == ["connected"]:
        text = (
            f"{query.name}: the query returns no column connected, without which the AI may read 'not connected' for "
            "everything: select what is connected AS connected (a boolean, or 1 and 0)"
        )
        return _finding(query, "error", text)
    text = f"{query.name}: its items lack {' and '.join(missing)}, which Halo documents: name the columns so"
    return _finding(query, "warn", text)


def _finding(query: Query, severity: Severity, text: str) -> Finding:
    return Finding(rule="forms", severity=severity, text=text, location=location_of(query))
