"""Looks a record up by its key: whether the source has it, and how it spells the key."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.problem import InvalidValue
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.keys import coerce_key, key_type_of
from airflow_provider_halo.source.sql import unnarrowed

__all__ = ["spellings"]


def spellings(query: Query, sources: Sources, key: str) -> list[str]:
    """The keys of a traits query that its database takes for this one; none where it has no such record.

    The very same key comes alone; only without it other spellings do.

    :raises SourceError: when the database can't be reached or refuses the query.
    :raises PlanError: when the query lacks its key column, or that can't be a key.
    """
    engine = engine_of(query, sources)
    key_type = key_type_of(engine, query, query.key)
    if key_type is None:
        return []
    try:
        value: int | str | UUID = coerce_key(key, key_type)
    except SetupError:  # no key of this type, so it names nothing here
        return []
    rows = unnarrowed(query, query.key)
    column = rows.c[query.key]
    bound = UUID(str(value)) if key_type == "uuid" else value
    # No DISTINCT: it would take one spelling for the other.
    found = ask(engine, query, sa.select(column).where(column == sa.literal(bound)))
    texts = {text for row in found if (text := _key_or_none(row[0])) is not None}
    return [key] if key in texts else sorted(texts)


def _key_or_none(value: object) -> str | None:
    try:
        return to_key(value)
    except InvalidValue:
        return None
