"""What became of records: stored, unchanged, skipped, rejected or failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope, Status


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one record, or of several that went the same way in one request.

    :param count: how many records.
    :param payloads: which ones, where that is known. Of an answer that only counts its skips it isn't, and then
        nothing may be remembered as acknowledged.
    :param problem: why, of a record that was rejected, failed or skipped.
    :param unsure: of an answer that only counts its skips: the records that some of them are.
    """

    scope: Scope
    status: Status
    count: int = 1
    payloads: tuple[Payload, ...] = ()
    problem: Problem | None = None
    unsure: tuple[Payload, ...] = ()


def outcome_of(made: Payload | Problem) -> Payload | Outcome:
    """A payload as it is; a problem as the rejection that it is."""
    if isinstance(made, Payload):
        return made
    return Outcome(scope=made.scope, status="rejected", problem=made)


def outcomes_of(blocks: Iterable[Iterable[Payload | Problem]]) -> Iterator[Payload | Outcome]:
    """`outcome_of` each, block after block."""
    for block in blocks:
        yield from map(outcome_of, block)
