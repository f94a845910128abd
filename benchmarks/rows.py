"""The records of a plan as the floors read them: the sync's own statements, taken as they come, nothing checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_halo.plan.query import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.sync.batch import Batch
from airflow_provider_halo.sync.narrowing import narrowed, range_of
from airflow_provider_halo.sync.rows import CHUNK_ROWS


class Row(NamedTuple):
    """A record: its key, its company's key, its traits, and the value of each entry in the plan's order."""

    key: Any
    company: Any
    traits: dict[str, Any]
    values: tuple[dict[str, Any], ...]


def rows_of(
    engine: sa.Engine, plan: LoadedPlan, selection: Selection, scope: QueryScope, batch: Batch
) -> Iterator[Row]:
    """Read one scope of a batch. The rows of an entry are taken to be those of the records: one each, in the same order."""
    driver = plan.traits(scope)
    assert driver is not None
    if batch.no_company and scope == "companies":
        return
    names, rows = _read(engine, driver, batch)
    key, company = itemgetter(names.index(driver.key)), itemgetter(names.index(driver.company))
    traits, take_traits = _rest(driver, names)
    entries = []
    for query in selection.entries(scope):
        of, found = _read(engine, query, batch)
        entries.append((*_rest(query, of), found))
    for row in rows:
        values = tuple([dict(zip(of, take(next(found)), strict=True)) for of, take, found in entries])
        yield Row(key(row), company(row), dict(zip(traits, take_traits(row), strict=True)), values)


def _rest(query: Query, names: tuple[str, ...]) -> tuple[tuple[str, ...], itemgetter[Any]]:
    """The columns that are sent, two at least, and what takes them out of a row."""
    places = [at for at, name in enumerate(names) if name not in {query.key, query.company}]
    return tuple(names[at] for at in places), itemgetter(*places)


def _read(engine: sa.Engine, query: Query, batch: Batch) -> tuple[tuple[str, ...], Iterator[sa.Row[Any]]]:
    connection = engine.connect().execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
    result = connection.execute(narrowed(query, range_of(batch), engine.dialect))

    def rows() -> Iterator[sa.Row[Any]]:
        with closing(connection), closing(result):
            yield from chain.from_iterable(result.partitions(CHUNK_ROWS))

    return tuple(result.keys()), rows()
