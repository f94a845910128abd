"""Finds users that the users query gives in several rows, such as members of several companies, over the whole query."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.sql import record_key, unnarrowed

__all__ = ["count_repeated", "log_repeated"]

log = logging.getLogger(__name__)


def count_repeated(users: Query, sources: Sources) -> int:
    """How many users have several rows, as the database compares their keys.

    :param users: the query that gives the users.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    engine = engine_of(users, sources)
    rows = unnarrowed(users, users.key)
    key = rows.c[users.key]
    several = sa.select(sa.literal(1).label("one")).where(key.is_not(None)).group_by(record_key(key, engine.dialect))
    repeated = several.having(sa.func.count() > 1).subquery("repeated")
    return int(ask(engine, users, sa.select(sa.func.count()).select_from(repeated))[0][0])


def log_repeated(users: Query, count: int) -> None:
    """Say what becomes of the users that have several rows."""
    if not count:
        return
    place = f"{users.name} ({users.file}, line {users.line})"
    if users.prefer:
        log.info("%s: %s users have several rows; users.prefer picks the row of each", place, f"{count:,}")
    else:
        log.warning(
            "%s: %s users have several rows, where one is due, and are rejected; users.prefer in the plan can pick the row",
            place,
            f"{count:,}",
        )
