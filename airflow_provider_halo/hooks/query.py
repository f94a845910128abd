"""One SQL query by hand, without a plan: its rows as records, streamed, read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_halo.contract import MOMENT_TRAITS
from airflow_provider_halo.exceptions import PlanError, PlanProblem, SetupError
from airflow_provider_halo.plan.query import Query, QueryScope, Statement
from airflow_provider_halo.plan.statements import read_statement
from airflow_provider_halo.records.model import Company, User
from airflow_provider_halo.records.payload import Payload, payload_of
from airflow_provider_halo.records.problem import Problem, Unsendable
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.cells import RowReader
from airflow_provider_halo.source.database import Sources, engine_of, read_only
from airflow_provider_halo.source.errors import source_error
from airflow_provider_halo.source.sql import unnarrowed, without_rows
from airflow_provider_halo.source.streams import Stream, Streams


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a query gives.

    :param scope: users, when it has a column ``user_id``; else companies, by ``company_id``.
    :param made: payloads and problems, as the rows come.
    """

    scope: QueryScope
    made: Generator[Payload | Problem, None, None]


@contextmanager
def records_of(
    sql: str, source: str, sources: Sources, *, where: str, warnings: Counter[str]
) -> Generator[Records, None, None]:
    """Run a query whose columns are ``user_id`` (and perhaps ``company_id``), or ``company_id``, and traits.

    Columns are read as a plan's traits are: ``has_*`` and ``is_*`` become booleans, ``signed_up_at`` a moment.

    :param source: connection id of the database.
    :param where: names the query in errors.
    :param warnings: counts what was mended in values, by kind.
    :raises PlanError: for SQL that is no single SELECT, and for columns that can't be sent.
    :raises SetupError: when the database can't be reached or refuses the query.
    """
    statement = read_statement(sql)
    if not isinstance(statement, Statement):
        raise PlanError([PlanProblem(where, flaw.line + 1, "sql", flaw.message) for flaw in statement])
    if statement.placements:
        raise PlanError([PlanProblem(where, 0, "sql", "batch() is for plans; this query is read as a whole")])
    query = _query("users", statement, source, where)
    names = _names(query, sources)
    query = _fitting(query, names)
    with Streams(sources) as streams:
        stream = streams.open(query, sa.select(unnarrowed(query, *names)))
        made = _records(query, stream, warnings)
        try:
            yield Records(scope=query.scope, made=made)
        finally:
            made.close()


def _query(scope: QueryScope, statement: Statement, source: str, where: str) -> Query:
    key = "user_id" if scope == "users" else "company_id"
    return Query(
        name=scope,
        scope=scope,
        source=source,
        statement=statement,
        key=key,
        company="company_id",
        file=where,
        line=0,
        timestamps=frozenset(MOMENT_TRAITS),
    )


def _names(query: Query, sources: Sources) -> list[str]:
    engine = engine_of(query, sources)
    try:
        with read_only(engine) as connection:
            return list(connection.execute(without_rows(query)).keys())
    except SQLAlchemyError as error:
        # From None: the text of SQLAlchemy's error, which a traceback prints, holds the SQL.
        raise source_error(error, query) from None


def _fitting(query: Query, names: list[str]) -> Query:
    """The query as one of users or of companies, by the columns that it has."""
    if "user_id" in names:
        # Users that name no company: the column that would is the key itself, which every row has.
        return query if "company_id" in names else replace(query, company="user_id")
    if "company_id" in names:
        return _query("companies", query.statement, query.source, query.file)
    raise SetupError(f"{query.file}: the SQL must give a column user_id or company_id, which names the record.")


def _records(query: Query, stream: Stream, warnings: Counter[str]) -> Generator[Payload | Problem, None, None]:
    names = stream.names
    read = RowReader(query, names, warnings, omit_nulls=False)
    key_at, company_at = names.index(query.key), names.index(query.company)
    linked = query.scope == "users" and query.company != query.key
    for chunk in stream:
        for row in chunk:
            key = ""
            try:
                key = to_key(row[key_at])
                traits = read(row)
                if query.scope == "companies":
                    yield payload_of(Company(company_id=key, traits=traits))
                    continue
                company = to_key(row[company_at]) if linked and row[company_at] is not None else None
                yield payload_of(User(user_id=key, company_id=company, traits=traits))
            except Unsendable as problem:
                yield Problem(query.scope, key, problem.field, problem.reason)
