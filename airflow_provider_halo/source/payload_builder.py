"""Makes payloads of the rows of a traits query, and of the values of the entries that belong to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.payload import Payload, payloads_of
from airflow_provider_halo.records.problem import InvalidRecords, InvalidValue, Problem
from airflow_provider_halo.records.values import plain_keys, to_key
from airflow_provider_halo.source.blocks import Block
from airflow_provider_halo.source.cells import ReadRows, Row, RowReader
from airflow_provider_halo.source.entries import EntryValues, contexts_of
from airflow_provider_halo.source.matches import COMPANY_AS_WRITTEN
from airflow_provider_halo.source.spellings import Spellings

__all__ = ["PayloadBuilder"]

NO_COMPANY_KEY: Final = "{0}: users whose company's key can't be used are sent without a company"


class PayloadBuilder:
    """Makes payloads of the rows of a traits query and of the entries' values. ``trait_names``: the traits it has.

    :param names: the result's columns, already held against the plan.
    :param entries: the queries of the entries, in the order of the plan.
    :param warnings: counts, by kind, what was changed or dropped on the way.
    :param repeated: keys of records that have several rows, whatever a block shows.
    :param first_rows: whether the rows are first ones, which tell how many there are alike (`sql.narrowed`).
    :param told: keys of records that were told to have several rows; none is told again.
    """

    def __init__(
        self,
        query: Query,
        names: Sequence[str],
        entries: Sequence[Query],
        warnings: Counter[str],
        repeated: frozenset[str],
        *,
        sends_traits: bool,
        first_rows: bool,
        told: set[str] | None,
    ) -> None:
        self._query = query
        self._company_at = names.index(query.company)
        self._written_at = names.index(COMPANY_AS_WRITTEN) if COMPANY_AS_WRITTEN in names else None
        self._entry_keys = [entry.entry_key or "" for entry in entries]
        self._warnings = warnings
        self._repeated_keys = repeated
        self._sends_traits = sends_traits
        self._alike_at = len(names) if first_rows else None
        self._told = told
        self._reader = RowReader(query, names, omit_nulls=query.nulls == "omit")
        self.trait_names: Final = self._reader.names
        self.company_spellings: Spellings | None = None  # where the companies are of another database

    def payloads(self, block: Block, entries: Sequence[EntryValues]) -> list[Payload | Problem]:
        """The payloads of a block, and the problems of the records that can't be sent."""
        if block.counts is None and not self._repeated_keys and not self._has_repeated(block.rows):
            return self._of_single_rows(block.keys, block.rows, entries)
        groups = self._untold_groups(block)
        made = iter(self._of_single_rows(*self._single_rows(groups), entries))
        return [self._repeated(key, rows) if self._is_repeated(key, rows) else next(made) for key, rows in groups]

    def keys(self, block: Block) -> list[str]:
        """The keys of a block's records that have one row, in which all values have a form in JSON."""
        keys, rows = self._single_rows(zip(block.keys, block.groups(), strict=True))
        read = self._reader.read(rows)
        return [key for place, key in enumerate(keys) if place not in read.invalid]

    def _untold_groups(self, block: Block) -> list[tuple[str, list[Row]]]:
        """The keys and rows of a block's records, without those that were told to have several rows."""
        told = self._told or ()
        return [(key, rows) for key, rows in zip(block.keys, block.groups(), strict=True) if key not in told]

    def _single_rows(self, groups: Iterable[tuple[str, list[Row]]]) -> tuple[list[str], list[Row]]:
        """The keys of the records that have one row, and these rows."""
        single = [(key, rows[0]) for key, rows in groups if not self._is_repeated(key, rows)]
        return [key for key, _ in single], [row for _, row in single]

    def _of_single_rows(
        self, keys: list[str], rows: Sequence[Row], entries: Sequence[EntryValues]
    ) -> list[Payload | Problem]:
        read = self._reader.read(rows) if self._sends_traits else ReadRows(len(rows))
        read.count_changes(self._warnings)
        invalid = read.invalid
        contexts, left_out = contexts_of(keys, entries)
        invalid.add_from(contexts)
        company_ids = self._company_ids(rows, invalid)
        payloads = payloads_of(
            self._query.scope,
            keys,
            self._reader.encode(read) if self._sends_traits else [b""] * len(rows),
            contexts,
            company_ids,
            invalid,
            trait_names=self.trait_names,
            entry_keys=self._entry_keys,
        )
        for place, problems in left_out.items():
            payload = payloads[place]
            if isinstance(payload, Payload):
                payloads[place] = msgspec.structs.replace(payload, left_out=problems)
        return payloads

    def _company_ids(self, rows: Sequence[Row], invalid: InvalidRecords) -> Iterable[str | None]:
        if self._query.scope == "companies":
            return repeat(None)
        raw = self._companies(rows)
        company_ids: Sequence[str | None] = plain_keys(raw) or [
            None if place in invalid else self._company_id(value) for place, value in enumerate(raw)
        ]
        return self._as_spelled(company_ids)

    def _as_spelled(self, company_ids: Sequence[str | None]) -> Sequence[str | None]:
        """The companies' keys, spelled as in the companies query where that is of another database."""
        if self.company_spellings is None:
            return company_ids
        spelled = self.company_spellings.spelled(sorted({key for key in company_ids if key is not None}))
        return [key if key is None else spelled.get(key, key) for key in company_ids] if spelled else company_ids

    def _companies(self, rows: Sequence[Row]) -> list[Any]:
        """The companies' keys: where the companies query has no such company, as the users query has them."""
        written, at = self._written_at, self._company_at
        if written is None:
            return [row[at] for row in rows]
        return [row[written] if row[at] is None else row[at] for row in rows]

    def _company_id(self, raw: Any) -> str | None:
        if raw is None:
            return None
        try:
            return to_key(raw)
        except InvalidValue:
            self._warnings[NO_COMPANY_KEY.format(self._query.name)] += 1
            return None

    def _has_repeated(self, rows: Sequence[Row]) -> bool:
        at = self._alike_at
        return at is not None and any(row[at] > 1 for row in rows)

    def _is_repeated(self, key: str, rows: Sequence[Row]) -> bool:
        return len(rows) > 1 or key in self._repeated_keys or self._has_repeated(rows)

    def _repeated(self, key: str, rows: Sequence[Row]) -> Problem:
        if self._told is not None:
            self._told.add(key)
        scope, name = self._query.scope, self._query.name
        reason, way_out = f"has more than one row in the {scope} query ({name})", ""
        if scope == "users":
            raw = self._companies(rows)
            if self._alike_at is not None:
                raw += [row[self._alike_at + 1] for row in rows]
            companies = sorted({self._company_id(company) or "none" for company in raw})
            reason += f", of {'company' if len(companies) == 1 else 'companies'} {' and '.join(companies)}"
            way_out = ", which users.prefer can pick" if len(companies) > 1 else ""
        if self._query.prefer:
            return Problem(scope, key, "", f"{reason}; users.prefer puts none of them first")
        return Problem(scope, key, "", f"{reason}; one is due{way_out}")
