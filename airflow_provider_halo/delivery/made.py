"""From what reading makes of records to what is sent of them, or the outcome of those that can't be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


def outcome_of(made: Payload | Problem) -> Payload | Outcome:
    """A payload as it is; a problem as the rejection that it is."""
    if isinstance(made, Payload):
        return made
    return Outcome(scope=made.scope, status="rejected", problem=made)


def outcomes_of(blocks: Iterable[Iterable[Payload | Problem]]) -> Iterator[Payload | Outcome]:
    """`outcome_of` each, block after block."""
    for block in blocks:
        yield from map(outcome_of, block)
