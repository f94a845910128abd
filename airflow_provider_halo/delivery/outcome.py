"""What became of records: stored, stored in part, unchanged, skipped, rejected or failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope, Status

__all__ = ["Outcome", "as_change", "as_changes", "rejection_of"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one record, or of several that went the same way in one request.

    :param count: how many records.
    :param status: ``stored`` and ``unchanged`` also of records that something was left out of: the report counts those
        as ``partial``.
    :param changes: which ones, where that is known. Of an answer that only counts its skips it isn't, and then
        nothing may be remembered as acknowledged. Of unchanged users only those that something was left out of.
    :param problem: why, of a record that was rejected, failed or skipped.
    :param unsure: of an answer that only counts its skips: the records that some of them are.
    :param is_repeated: of a rejection: the record was refused before as it is, and wasn't tried again.
    :param is_curable: of a rejection: it isn't Halo's, and may end without a change of the record: the next run tries again.
    """

    scope: Scope
    status: Status
    count: int = 1
    changes: tuple[Change, ...] = ()
    problem: Problem | None = None
    unsure: tuple[Change, ...] = ()
    is_repeated: bool = False
    is_curable: bool = False


def rejection_of(problem: Problem) -> Outcome:
    """The rejection of a record that came to no payload."""
    return Outcome(scope=problem.scope, status="rejected", problem=problem)


def as_change(record: Payload | Problem) -> Change | Outcome:
    """A payload as a change, where nothing is known of what Halo has; a problem as a rejection."""
    return Change(record) if isinstance(record, Payload) else rejection_of(record)


def as_changes(blocks: Iterable[Sequence[Payload | Problem]]) -> Iterator[Change | Outcome]:
    """`as_change` for records in blocks of any size, of which most hold payloads only."""
    payloads_only = {Payload}
    for block in blocks:
        make = Change if set(map(type, block)) == payloads_only else as_change
        yield from map(make, block)  # type: ignore[arg-type]  # all of them payloads, where it is Change
