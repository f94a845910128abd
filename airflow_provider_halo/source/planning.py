"""Cuts the companies into batches, in the database; or makes the one batch of a company or user that is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from airflow_provider_halo.exceptions import SetupError, SourceError
from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.settings import DEFAULTS
from airflow_provider_halo.source.batch import Batch, KeyType
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.errors import CollationsDiffer
from airflow_provider_halo.source.keys import bound_of, coerce_key, key_type_of, type_of_key
from airflow_provider_halo.source.matches import Matches, check_types, plain_queries
from airflow_provider_halo.source.preparing import check_queries
from airflow_provider_halo.source.repeats import has_repeated
from airflow_provider_halo.source.sql import first_rows_of, unnarrowed

__all__ = ["MAX_BATCHES", "batch_for", "bounds", "plan_batches"]

MAX_BATCHES = 1_000  # below Airflow's max_map_length of 1,024: more would fail the task that maps over them
_COMPANIES_AT_ONCE = 500


def plan_batches(
    plan: LoadedPlan,
    selection: Selection,
    sources: Sources,
    *,
    batch_size: int = DEFAULTS.batch_size,
    max_batches: int = MAX_BATCHES,
    company_ids: Sequence[str | int] | None = None,
) -> list[Batch]:
    """Cut a run into batches.

    Ranges are half open, the first and the last open to their side, so that each key is in exactly one, also a key that
    is made while the run goes on. Users without a company are a batch of their own.

    :param batch_size: users and companies in a batch, about; one company is never cut, however large it is. Batches are
        larger when there would be more than ``max_batches`` otherwise.
    :param max_batches: at most so many batches; at least 2.
    :param company_ids: only these companies and their users. Blank ones and repetitions don't count.
    :return: at least one batch.
    :raises SetupError: for a size below 1, or a company id that can't be a key of the database.
    :raises SourceError: when a database can't be reached or refuses a query; all wrong queries are told at once.
    :raises PlanError: when columns are missing, or key columns can't be keys.
    """
    if batch_size < 1 or max_batches < 2:  # one range, and the users without a company
        message = "batch_size must be at least 1 and max_batches at least 2."
        raise SetupError(message)
    check_queries(plan, selection, sources)
    # Of companies that are named, whatever it costs to find out would cost more than the reading.
    plain = plain_queries(plan, selection, sources) if company_ids is None else ()
    users, companies = _traits_queries(plan, selection, sources, plain)
    if company_ids is not None:
        batches = _named(users, companies, sources, company_ids, max_batches)
    else:
        batches = _batches_of_all(users, companies, sources, batch_size, max_batches)
    return [
        msgspec.structs.replace(batch, plain=plain, index=index, of=len(batches))
        for index, batch in enumerate(batches, start=1)
    ]


def _traits_queries(
    plan: LoadedPlan, selection: Selection, sources: Sources, plain: Sequence[str]
) -> tuple[Query | None, Query | None]:
    """The traits queries of users and of companies that a run reads.

    :param plain: names of queries that are known to be plain (`Matches`).
    :raises PlanError: when they are of two databases, and can't be joined by their types.
    """
    users = Matches(plan, sources, plain).traits("users") if selection.reads("users") else None
    companies = plan.traits("companies") if selection.reads("companies") else None
    if users is not None and companies is not None and users.source != companies.source:
        check_types(users, companies, sources)
    return users, companies


def _batches_of_all(
    users: Query | None, companies: Query | None, sources: Sources, batch_size: int, max_batches: int
) -> list[Batch]:
    """Batches that cover all companies and users, those without a company last."""
    if users is None:
        return _ranges(None, companies, sources, batch_size, max_batches)
    repeated = has_repeated(users, sources)
    without_company = _without_company(users, sources, first_rows=repeated)
    return [
        *_ranges(users, companies, sources, batch_size, max_batches - 1, first_rows=repeated),
        Batch(no_company=True, expected_companies=0, expected_users=without_company, repeated_users=repeated),
    ]


def _ranges(
    users: Query | None,
    companies: Query | None,
    sources: Sources,
    batch_size: int,
    most: int,
    *,
    first_rows: bool = False,
) -> list[Batch]:
    """The ranges that cover all companies.

    :param first_rows: of users with several rows, only the first counts.
    """
    driver = users or companies
    if driver is None:
        return [Batch(expected_companies=0, expected_users=0)]
    cuts, counted = _counted_cuts(driver, (users, companies), sources, batch_size, most, first_rows=first_rows)
    knows_companies = companies is not None and companies in counted
    key_type = type_of_key(cuts[0].k, driver, driver.company) if cuts else "integer"
    ranges = _joined_ranges(cuts)
    following = [first for first, _, _ in ranges[1:]]
    return [
        Batch(
            key_type=key_type,
            first=first,
            next=next_first,
            expected_companies=company_count if knows_companies else None,
            expected_users=None if users is None else user_count,
            repeated_users=None if users is None else first_rows,
        )
        for (first, company_count, user_count), next_first in zip(ranges, [*following, None], strict=True)
    ]


def _counted_cuts(
    driver: Query,
    queries: Sequence[Query | None],
    sources: Sources,
    batch_size: int,
    most: int,
    *,
    first_rows: bool,
) -> tuple[list[sa.Row[Any]], Sequence[Query]]:
    """The rows of `bounds`, and those of the queries that they count.

    :param driver: the query that counts in any case.
    """
    # One database orders the keys. Where the companies live in another, the users' database alone gives the bounds: they
    # cut the companies unevenly at worst. Even where the other database sorts its texts differently no key is lost: of
    # the bounds that are not above a key take the last; the key is below the next bound, so it is in that range.
    counted = [query for query in queries if query is not None and query.source == driver.source]
    engine = engine_of(driver, sources)
    try:
        return _cuts(engine, counted, batch_size, most, first_rows=first_rows), counted
    except CollationsDiffer:
        # Two tables of one database may differ in it, too. Then the users alone are counted, by the same reasoning.
        return _cuts(engine, [driver], batch_size, most, first_rows=first_rows), [driver]


def _cuts(
    engine: sa.Engine, counted: Sequence[Query], batch_size: int, most: int, *, first_rows: bool
) -> list[sa.Row[Any]]:
    """The rows of `bounds`. One statement over two queries says nothing of which one fails: then each is asked alone.

    :raises SourceError: placed at the query that fails.
    """
    try:
        return ask(engine, counted[0], bounds(counted, batch_size, most, engine.dialect, first_rows=first_rows))
    except CollationsDiffer:
        raise
    except SourceError:
        for query in counted if len(counted) > 1 else ():
            ask(engine, query, bounds([query], batch_size, most, engine.dialect, first_rows=first_rows))
        raise


def _joined_ranges(cuts: Sequence[sa.Row[Any]]) -> list[tuple[int | str | None, int, int]]:
    """The first key of each range, and its numbers of companies and users. The first range is open, also without any cut.

    Where there is no bound to cut at (infinity, NaN: the ends of an order), a range goes with the one before.
    """
    ranges: list[tuple[int | str | None, int, int]] = [(None, 0, 0)]
    for place, cut in enumerate(cuts):
        bound = bound_of(cut.k)
        if place == 0 or bound is None:
            first, companies, users = ranges.pop()
            ranges.append((first, companies + int(cut.companies), users + int(cut.users)))
        else:
            ranges.append((bound, int(cut.companies), int(cut.users)))
    return ranges


def bounds(
    queries: Sequence[Query], batch_size: int, most: int, dialect: Dialect, *, first_rows: bool = False
) -> sa.Select[Any]:
    """The one window query that cuts the keys: a row per range, with its lowest key and what it holds.

    A company weighs its users and itself. Laid end to end in key order, a company goes to the range in which its middle
    lies; so a company heavier than a range is met by few others. The width of a range grows where there would be more
    than ``most`` of them.

    :param first_rows: of users with several rows, only the first counts.
    """
    weights = sa.union_all(*(_counts(query, dialect, first_rows=first_rows) for query in queries)).subquery("counts")
    users = sa.cast(sa.func.sum(weights.c.users), sa.BigInteger)
    companies = sa.cast(sa.func.sum(weights.c.companies), sa.BigInteger)
    each = (
        sa.select(weights.c.k, users.label("users"), companies.label("companies"))
        .group_by(_sorted(weights.c.k, dialect))
        .subquery("each")
    )
    weight = each.c.users + 1
    laid = sa.select(
        each.c.k,
        each.c.users,
        each.c.companies,
        # Twice the place of the middle, to stay with whole numbers.
        (2 * sa.func.sum(weight).over(order_by=_sorted(each.c.k, dialect)) - weight).label("middle2"),
        sa.func.sum(weight).over().label("total"),
    ).subquery("laid")
    width = _greatest(sa.literal(batch_size), _floor_div(laid.c.total + most - 1, most))
    slices = sa.select(
        laid.c.k, laid.c.users, laid.c.companies, _floor_div(laid.c.middle2, 2 * width).label("slice")
    ).subquery("slices")
    # The lowest key of a slice is that of its first row, not min(k): PostgreSQL before 18 has no min of UUIDs.
    rows = sa.select(
        slices.c.k,
        sa.func.sum(slices.c.users).over(partition_by=slices.c.slice).label("users"),
        sa.func.sum(slices.c.companies).over(partition_by=slices.c.slice).label("companies"),
        sa.func.row_number().over(partition_by=slices.c.slice, order_by=_sorted(slices.c.k, dialect)).label("place"),
        slices.c.slice,
    ).subquery("placed")
    return sa.select(rows.c.k, rows.c.users, rows.c.companies).where(rows.c.place == 1).order_by(rows.c.slice)


def _counts(query: Query, dialect: Dialect, *, first_rows: bool) -> sa.Select[Any]:
    """Per company key of a query: users, companies."""
    of_users = query.scope == "users"
    rows = first_rows_of(query, dialect) if of_users and first_rows else unnarrowed(query, query.company)
    key = rows.c[query.company]
    count = sa.func.count()
    nothing: sa.ColumnElement[int] = sa.literal_column("0")
    return (
        sa.select(
            key.label("k"),
            (count if of_users else nothing).label("users"),
            (nothing if of_users else count).label("companies"),
        )
        .where(key.is_not(None))
        .group_by(_sorted(key, dialect))
    )


def _sorted(key: sa.ColumnElement[Any], dialect: Dialect) -> sa.ColumnElement[Any]:
    """A key as it is compared in ranges: by its column's collation, but in SQLite always by its bytes (`sql`)."""
    return key.collate("BINARY") if dialect.name == "sqlite" else key


def _floor_div(dividend: sa.ColumnElement[Any], divisor: Any) -> sa.ColumnElement[Any]:
    # PostgreSQL's and MySQL's sums are decimals, of which a division would keep the fraction.
    quotient: sa.ColumnElement[Any] = sa.cast(dividend, sa.BigInteger) // divisor
    return quotient


def _greatest(first: sa.ColumnElement[Any], second: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((first >= second, first), else_=second)


def _without_company(users: Query, sources: Sources, *, first_rows: bool) -> int:
    engine = engine_of(users, sources)
    rows = first_rows_of(users, engine.dialect) if first_rows else unnarrowed(users, users.company)
    statement = sa.select(sa.func.count()).select_from(rows).where(rows.c[users.company].is_(None))
    return int(ask(engine, users, statement)[0][0])


def _named(
    users: Query | None, companies: Query | None, sources: Sources, company_ids: Sequence[str | int], max_batches: int
) -> list[Batch]:
    """Batches that name their companies, alike in size."""
    keys, key_type = _named_keys(users or companies, sources, company_ids)
    count = min(max_batches, max(1, -(-len(keys) // _COMPANIES_AT_ONCE)))
    repeated: bool | None = None
    if count > 1 and users is not None:
        repeated = has_repeated(users, sources)
        if repeated and not users.prefer:
            # A user is told to be in several companies when the run names any of them, and once in a run: of batches that
            # share such a user none could know that another has told it.
            count = 1
    cuts = [len(keys) * number // count for number in range(count + 1)]
    return [
        Batch(
            key_type=key_type,
            companies=tuple(keys[start:end]),
            users_too=users is not None,
            expected_companies=end - start,
            repeated_users=repeated,
        )
        for start, end in pairwise(cuts)
    ]


def _named_keys(
    driver: Query | None, sources: Sources, company_ids: Sequence[str | int]
) -> tuple[list[str | int], KeyType]:
    """The keys that are named, each once and none blank, and their type."""
    texts = [key for key in dict.fromkeys(map(str, company_ids)) if key and not key.isspace()]
    key_type = _type_of_named(driver, sources, texts)
    return list(dict.fromkeys(coerce_key(key, key_type) for key in texts)), key_type


def _type_of_named(driver: Query | None, sources: Sources, texts: Sequence[str]) -> KeyType:
    """The database's type of key; for an empty one what the keys look like."""
    if driver is not None and texts:
        key_type = key_type_of(engine_of(driver, sources), driver, driver.company)
        if key_type is not None:
            return key_type
    # Whatever is asked for isn't there, unless it comes in the meantime.
    return "integer" if all(re.fullmatch(r" *-?[0-9]+ *", key, re.ASCII) for key in texts) else "text"


def batch_for(
    plan: LoadedPlan,
    sources: Sources,
    *,
    selection: Selection | None = None,
    company_id: str | int | None = None,
    user_id: str | int | None = None,
) -> Batch:
    """Make the batch of a company's own record (its users stay out), of a user and its link, or of both.

    :param selection: what will be read of it; all its queries are held against the databases.
    :param company_id: key of the company; a text is read as the database's type of key.
    :param user_id: key of the user; likewise.
    :raises SetupError: when neither is given, when the plan has no such records, or when a key can't be one.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    if company_id is None and user_id is None:
        raise SetupError("Give company_id, user_id, or both.")
    if selection is not None:
        check_queries(plan, selection, sources)
    company, company_type = _key(plan, sources, "companies", company_id)
    user, user_type = _key(plan, sources, "users", user_id)
    return Batch(
        key_type=company_type,
        companies=None if company is None else (company,),
        users_too=user is not None,
        user=user,
        user_key_type=user_type,
    )


def _key(
    plan: LoadedPlan, sources: Sources, scope: QueryScope, key: str | int | None
) -> tuple[str | int | None, KeyType]:
    if key is None:
        return None, "text"
    query: Query | None = plan.traits(scope)
    if query is None:
        word = "company_id" if scope == "companies" else "user_id"
        raise SetupError(f"The plan has no {scope}, so {word} names nothing in it.")
    # Without a single row there is no type to tell, and no record to find either.
    key_type = key_type_of(engine_of(query, sources), query, query.key) or "text"
    return coerce_key(key, key_type), key_type
