"""Records that were emptied and have returned: the traits that said they were gone are taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeGuard

import msgspec

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.ledger.acknowledged import AT_ONCE
from airflow_provider_halo.ledger.gone import GoneRecords
from airflow_provider_halo.plan.model import QueryScope
from airflow_provider_halo.records.payload import Payload

__all__ = ["without_marks"]


def without_marks(
    changes: Iterable[Change | Outcome], scope: QueryScope, gone: GoneRecords
) -> Iterator[Change | Outcome]:
    """The changes; those of returned records have null for each trait that was set when they were emptied.

    What the plan gives such a trait comes first. The fingerprint stays that of the plan's own record.
    """
    passing = iter(changes)
    while block := list(islice(passing, AT_ONCE)):
        keys = [change.payload.key for change in block if _sends_record(change)]
        marked = gone.marked(scope, keys) if keys else {}
        for change in block:
            if _sends_record(change) and (names := marked.get(change.payload.key)):
                yield msgspec.structs.replace(change, payload=_with_nulls(change.payload, names))
            else:
                yield change


def _sends_record(change: Change | Outcome) -> TypeGuard[Change]:
    return isinstance(change, Change) and change.sends_record


def _with_nulls(payload: Payload, names: Sequence[str]) -> Payload:
    traits = msgspec.json.decode(payload.traits or b"{}", type=dict[str, msgspec.Raw])
    nulls = {name: None for name in names if name not in traits}
    return msgspec.structs.replace(payload, traits=to_json({**traits, **nulls}))
