"""Digests of what shapes a record in a plan: a fingerprint with them in it changes when the mapping changes."""

from __future__ import annotations

from hashlib import blake2b

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection

__all__ = ["mappings", "part_names", "scope_digest"]


def mappings(selection: Selection, plan: LoadedPlan, scope: QueryScope) -> dict[str, bytes]:
    """A digest of the options of each part that a run sends: of ``traits``, and of ``context.KEY`` of each entry.

    The text of the SQL isn't included: what it changes shows in the records, and a new comment shouldn't send a million
    of them again.
    """
    queries = list(selection.entries(scope))
    traits = plan.traits(scope)
    if traits is not None and selection.traits(scope):
        queries.insert(0, traits)
    return {_part(query): _digest(_options_of(query)) for query in queries}


def part_names(plan: LoadedPlan, scope: QueryScope) -> list[str]:
    """The names of all parts of a scope in the plan: ``traits``, and ``context.KEY`` of each entry."""
    return [_part(query) for query in plan.queries if query.scope == scope]


def scope_digest(plan: LoadedPlan, scope: QueryScope) -> bytes:
    """A digest of everything about a scope, SQL included: what was refused is worth another try when it changes."""
    values: list[object] = []
    for query in plan.queries:
        if query.scope == scope:
            values += (query.name, query.source, query.statement.pieces, _options_of(query))
    return _digest(*values)


def _part(query: Query) -> str:
    return "traits" if query.entry_key is None else f"context.{query.entry_key}"


def _options_of(query: Query) -> object:
    entry = query.entry
    return {
        "shape": query.shape,
        "nulls": query.nulls,
        "booleans": sorted(query.booleans),
        "timestamps": sorted(query.timestamps),
        "epochs": dict(query.epochs),
        "types": query.types,
        "empty": [query.sends_empty, query.empty],
        "entry": None
        if entry is None
        else [entry.label, entry.type, entry.name, entry.value, entry.order_by, entry.limit],
    }


def _digest(*values: object) -> bytes:
    return blake2b(to_json(values), digest_size=16).digest()
