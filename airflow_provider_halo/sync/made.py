"""From a record to the bytes that leave, or to the reason why there are none."""

from __future__ import annotations

from airflow_provider_halo.records.model import Company, User
from airflow_provider_halo.records.payload import Payload, payload_of
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.sync.outcome import Outcome


def made_of(record: Company | User | Problem) -> Payload | Outcome:
    """What is sent of a record; of one that can't be sent, its rejection."""
    return outcome_of(record if isinstance(record, Problem) else payload_of(record))


def outcome_of(made: Payload | Problem) -> Payload | Outcome:
    """A payload as it is; a problem as the rejection that it is."""
    if isinstance(made, Payload):
        return made
    return Outcome(scope=made.scope, status="rejected", problem=made)
