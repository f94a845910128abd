"""Finds users that the users query gives in several rows, such as members of several companies, over the whole query."""

from __future__ import annotations

import logging

from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.sql import repeated

__all__ = ["has_repeated"]

log = logging.getLogger(__name__)


def has_repeated(users: Query, sources: Sources) -> bool:
    """Whether any user has several rows; says in the log how many have, and what becomes of them.

    :param users: the query that gives the users.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    engine = engine_of(users, sources)
    count = int(ask(engine, users, repeated(users, engine.dialect))[0][0])
    if count and engine.dialect.name == "sqlite":
        count = int(ask(engine, users, repeated(users, engine.dialect, as_ranked=True))[0][0])
    _tell(users, count)
    return count > 0


def _tell(users: Query, count: int) -> None:
    if not count:
        return
    who = "1 user has" if count == 1 else f"{count:,} users have"
    if users.prefer:
        log.info("%s (%s): %s several rows; users.prefer picks the row of each", users.name, users.place, who)
    else:
        log.warning(
            "%s (%s): %s several rows, where one is due: rejected; users.prefer in the plan can pick the row",
            users.name,
            users.place,
            who,
        )
