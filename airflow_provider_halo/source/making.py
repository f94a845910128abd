"""Makes records of rows, and payloads of whole blocks of rows where nothing about them is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Final, TypeAlias

import msgspec

from airflow_provider_halo.plan.query import QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.model import Company, ContextEntry, User
from airflow_provider_halo.records.payload import Payload, payload_of, within_limits
from airflow_provider_halo.records.problem import Problem, Unsendable
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.blocks import keys_of
from airflow_provider_halo.source.cells import Row
from airflow_provider_halo.source.contexts import contexts_of
from airflow_provider_halo.source.entries import LEFT_OUT, LeftOut
from airflow_provider_halo.source.read import Rows

NO_COMPANY_KEY: Final = "{0}: users whose company's key can't be used are sent without a company"

Record: TypeAlias = "Company | User | Problem"


class Maker:
    """Makes records or payloads of the rows of one scope."""

    def __init__(self, scope: QueryScope, selection: Selection, warnings: Counter[str]) -> None:
        self._scope = scope
        self._warnings = warnings
        self._sends_traits = selection.traits(scope)

    def payloads(self, rows: Rows) -> Sequence[Payload | Problem]:
        """The payloads of a block, and the problems of the records that can't be sent."""
        whole = self._whole(rows)
        if whole is not None:
            return whole
        return [record if isinstance(record, Problem) else payload_of(record) for record in self.records(rows)]

    def _whole(self, rows: Rows) -> list[Payload] | None:
        """All payloads, made column by column; None where one of the records takes a closer look."""
        keys, flat = rows.heads.keys, rows.heads.flat
        if flat is None:
            return None
        contexts = contexts_of(keys, rows.entries)
        if contexts is None:
            return None
        counted = self._warnings.copy()
        traits = rows.traits.encoded(flat) if self._sends_traits else [b""] * len(keys)
        if traits is None or not within_limits(self._scope, traits, contexts):
            self._warnings.clear()  # the closer look counts them again
            self._warnings.update(counted)
            return None
        if b"{}" in traits:
            traits = [b"" if one == b"{}" else one for one in traits]
        if self._scope == "companies":
            return list(map(Payload, repeat(self._scope), keys, traits, contexts))
        return list(map(Payload, repeat(self._scope), keys, traits, contexts, self._companies(rows, flat)))

    def records(self, rows: Rows) -> list[Record]:
        """The records of a block, and the problems of those that can't be sent."""
        heads = rows.heads
        return [self._record(key, found, rows) for key, found in zip(heads.keys, heads.rows, strict=True)]

    def _record(self, key: str, found: list[Row], rows: Rows) -> Record:
        scope = self._scope
        if len(found) > 1:
            return Problem(scope, key, "", self._twice(rows, found))
        context = {}
        try:
            values = rows.traits(found[0]) if self._sends_traits else {}
            for query, entries in rows.entries:
                value = entries.get(key, query.empty if query.sends_empty else LEFT_OUT)
                if isinstance(value, Unsendable):
                    raise value
                if not isinstance(value, LeftOut) and query.entry is not None and query.entry_key is not None:
                    sent = msgspec.Raw(value) if isinstance(value, bytes) else value
                    context[query.entry_key] = ContextEntry(query.entry.label, sent, query.entry.type)
        except Unsendable as problem:
            return Problem(scope, key, problem.field, problem.reason)
        if scope == "companies":
            return Company(company_id=key, traits=values, context=context)
        return User(user_id=key, company_id=self._company(rows, found[0]), traits=values, context=context)

    def _companies(self, rows: Rows, flat: Sequence[Row]) -> Sequence[str | None]:
        keys = keys_of([row[rows.company_at] for row in flat])
        return keys if keys is not None else [self._company(rows, row) for row in flat]

    def _company(self, rows: Rows, row: Row) -> str | None:
        raw = row[rows.company_at]
        if raw is None:
            return None
        try:
            return to_key(raw)
        except Unsendable:
            self._warnings[NO_COMPANY_KEY.format(rows.query.name)] += 1
            return None

    def _twice(self, rows: Rows, found: Sequence[Row]) -> str:
        name = rows.query.name
        if self._scope == "companies":
            return f"has more than one row in the companies query ({name}); one is due"
        companies = sorted({self._company(rows, row) or "none" for row in found})
        of = "of company" if len(companies) == 1 else "of companies"
        return f"has more than one row in the users query ({name}), {of} {' and '.join(companies)}; one is due"
