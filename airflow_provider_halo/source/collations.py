"""Whether two queries agree on which texts lie between two others: a batch's range must name the same companies to both."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.database import ask
from airflow_provider_halo.source.sql import Range, unnarrowed

__all__ = ["same_range"]

# Types of PostgreSQL that are compared by a collation; others, such as uuid, have one order each.
_TEXTS = ("text", "character varying", "character", "citext")


def same_range(part: Range, driver: Query, entry: Query, engine: sa.Engine | None) -> bool:
    """Whether a range holds the same companies in both queries.

    Of whole numbers it always does. Texts are compared by each column's collation, and two tables, let alone two
    databases, need not have the same: a range would then leave out rows without a word.

    :param engine: of the database of both queries; None where they have one each.
    :raises SourceError: when the database refuses a query.
    """
    if all(bound is None or isinstance(bound, int) for bound in (part.first, part.next)):
        return True
    if engine is None:
        return False
    if engine.dialect.name == "sqlite":
        return True  # narrowing says itself by which collation to compare
    if engine.dialect.name == "postgresql":
        return _order_of(driver, engine) == _order_of(entry, engine)
    # MariaDB would compute the whole query to answer.
    return False


def _order_of(query: Query, engine: sa.Engine) -> str:
    """What a company key is compared by in PostgreSQL: its collation, or else its type."""
    rows = unnarrowed(query, query.company)
    key = rows.c[query.company]
    # A join that finds nothing: the key is null, but has its type, and the query isn't computed.
    one = sa.select(sa.literal(1).label("one")).subquery("one")
    kind = sa.cast(sa.func.pg_typeof(key), sa.Text)
    order = sa.case((kind.in_(_TEXTS), sa.func.pg_collation_for(key)), else_=kind)
    return str(ask(engine, query, sa.select(order).select_from(one.outerjoin(rows, sa.false())))[0][0])
