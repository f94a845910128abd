"""Held against the databases before a run: each of its queries, without a row, so that all mistakes are told in one go."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_halo.exceptions import PlanError, QueryRefused, SourceError
from airflow_provider_halo.plan.model import LoadedPlan, Query
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.source.columns import check_columns
from airflow_provider_halo.source.database import Sources, engine_of, read_only
from airflow_provider_halo.source.errors import source_error
from airflow_provider_halo.source.sql import without_rows

__all__ = ["check_queries"]

Failure: TypeAlias = "PlanError | SourceError"


def check_queries(plan: LoadedPlan, selection: Selection, sources: Sources) -> None:
    """Ask the databases for the columns of all queries that a run reads.

    :raises PlanError: when columns are missing, or reserved; of all queries.
    :raises QueryRefused: when a database refuses one for its SQL; names all that are wrong, their columns included.
    :raises SourceError: when a database can't be reached, or refuses a query for now.
    """
    queries = [query for query in plan.queries if _is_read(query, selection)]
    engines = {query.source: engine_of(query, sources) for query in queries}
    failures: list[Failure] = []
    for source, engine in engines.items():
        failures += _failures([query for query in queries if query.source == source], engine)
    if failures:
        raise _together(failures)


def _is_read(query: Query, selection: Selection) -> bool:
    if query.entry is not None:
        return query in selection.context
    return selection.reads(query.scope) or (query.scope == "companies" and selection.links)


def _failures(queries: Iterable[Query], engine: sa.Engine) -> list[Failure]:
    """What is wrong with the queries of one database; of one that can't be reached only the first is told."""
    waiting = deque(queries)
    failures: list[Failure] = []
    while waiting:
        is_open = False
        try:
            with read_only(engine) as connection:
                is_open = True
                while waiting:
                    names = list(connection.execute(without_rows(waiting[0])).keys())
                    failures += _misfits(waiting.popleft(), names)
        except exc.SQLAlchemyError as error:
            failures.append(source_error(error, waiting.popleft()))
            if not is_open:
                break
        # One that failed has ended its transaction: the next begin another.
    return failures


def _misfits(query: Query, names: Sequence[str]) -> list[Failure]:
    try:
        check_columns(query, names)
    except PlanError as error:
        return [error]
    return []


def _together(failures: Sequence[Failure]) -> Failure:
    if len(failures) == 1:
        return failures[0]
    problems = [problem for failure in failures if isinstance(failure, PlanError) for problem in failure.problems]
    if all(isinstance(failure, PlanError) for failure in failures):
        return PlanError(problems)
    texts = "\n".join(map(str, failures))
    lasts = any(isinstance(failure, (PlanError, QueryRefused)) for failure in failures)
    return QueryRefused(texts) if lasts else SourceError(texts)
