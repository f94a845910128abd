"""What became of records: stored, unchanged, skipped, rejected or failed."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope

Status = Literal["stored", "unchanged", "skipped", "rejected", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
SCOPES: tuple[Scope, ...] = get_args(Scope)


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
