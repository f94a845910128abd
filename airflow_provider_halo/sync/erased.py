"""Passes over the records that were erased: no run sends them, nor a link to an erased company, until somebody allows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.erased import ErasedRecords
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope

__all__ = ["ErasedSkipper"]

_ERASED: Final = "erased by halo erase, whose --allow takes it back"
_COMPANY_ERASED: Final = "the company was erased by halo erase, whose --allow takes it back"
# Seconds. Almost every workspace has no erased record, and must not be asked for one with each thousand records.
_LOOK_AGAIN: Final = 1.0


class ErasedSkipper:
    """Sorts erased records out, while the records of a scope pass.

    :param records: whether the records themselves are sent; else only users' links are.
    :param links: whether users are linked.
    """

    def __init__(self, erased: ErasedRecords, scope: Scope, *, records: bool = True, links: bool = True) -> None:
        self._erased = erased
        self._scope = scope
        self._counted_as: Scope = scope if records else "links"
        self._links = links and scope == "users"
        self._are_any = False
        self._looked_at = float("-inf")

    def sort_out(self, block: Sequence[Payload | Problem]) -> tuple[Sequence[Payload | Problem], list[Outcome]]:
        """The records that may be sent, without links that may not, and the outcomes of what is skipped.

        :raises LedgerError: when the ledger's database can't be used.
        """
        if not self._is_needed():
            return block, []
        erased = self._erased.among(self._scope, [record.key for record in block])
        companies = self._erased_companies(block)
        kept: list[Payload | Problem] = []
        skipped: list[Outcome] = []
        for record in block:
            if record.key in erased:
                skipped.append(_skipped(self._counted_as, record.key, _ERASED))
            elif isinstance(record, Payload) and record.company_id in companies:
                skipped.append(_skipped("links", record.key, _COMPANY_ERASED))
                kept.append(msgspec.structs.replace(record, company_id=None))
            else:
                kept.append(record)
        return kept, skipped

    def _is_needed(self) -> bool:
        now = time.monotonic()
        if not self._are_any and now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at = now
            self._are_any = self._erased.any()
        return self._are_any

    def _erased_companies(self, block: Sequence[Payload | Problem]) -> set[str]:
        if not self._links:
            return set()
        companies = {record.company_id for record in block if isinstance(record, Payload)}
        return self._erased.among("companies", [company for company in companies if company is not None])


def _skipped(scope: Scope, key: str, reason: str) -> Outcome:
    # Without the change: what is known of a company by its change counts as there, and users are linked to it.
    return Outcome(scope=scope, status="skipped", problem=Problem(scope, key, "", reason))
