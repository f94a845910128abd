"""The records of a plan as the floors read them: the sync's own statements, taken as they come, nothing checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import Any, TypeAlias

import sqlalchemy as sa

from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.sql import narrowed, range_of

# Key, company's key, traits, context: a plain tuple, since a floor must be low.
Row: TypeAlias = "tuple[str, str, dict[str, Any], dict[str, ContextEntry]]"
_CHUNK_ROWS = 1_000


def rows_of(
    engine: sa.Engine, plan: LoadedPlan, selection: Selection, scope: QueryScope, batch: Batch
) -> Iterator[Row]:
    """Read one scope of a batch. The rows of an entry are taken to be those of the records: one each, in the same order."""
    driver = plan.traits(scope)
    assert driver is not None
    if batch.no_company and scope == "companies":
        return
    names, rows = _read(engine, driver, batch)
    key, company, traits = names.index(driver.key), names.index(driver.company), _rest(driver, names)
    entries = []
    for query in selection.entries(scope):
        of, found = _read(engine, query, batch)
        assert query.entry is not None
        entries.append((query.entry_key or "", query.entry.label, query.entry.type, _rest(query, of), found))
    for row in rows:
        context = {}
        for name, label, kind, columns, found in entries:
            other = next(found)
            context[name] = ContextEntry(label, {column: other[at] for at, column in columns}, kind)
        yield str(row[key]), str(row[company]), {column: row[at] for at, column in traits}, context


def _rest(query: Query, names: tuple[str, ...]) -> list[tuple[int, str]]:
    """The columns that are sent, and where they are."""
    return [(at, name) for at, name in enumerate(names) if name not in {query.key, query.company}]


def _read(engine: sa.Engine, query: Query, batch: Batch) -> tuple[tuple[str, ...], Iterator[sa.Row[Any]]]:
    connection = engine.connect().execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
    result = connection.execute(narrowed(query, range_of(batch), engine.dialect))

    def rows() -> Iterator[sa.Row[Any]]:
        with closing(connection), closing(result):
            yield from chain.from_iterable(result.partitions(_CHUNK_ROWS))

    return tuple(result.keys()), rows()
