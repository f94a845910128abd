"""Company and user keys as what they are in the database: integers, texts or UUIDs."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from airflow_provider_halo.encoding import is_broken
from airflow_provider_halo.exceptions import PlanError, SetupError
from airflow_provider_halo.plan.model import Query
from airflow_provider_halo.records.values import is_countable, key_flaw
from airflow_provider_halo.source.batch import KeyType
from airflow_provider_halo.source.database import ask
from airflow_provider_halo.source.sql import unnarrowed

__all__ = ["bound_of", "coerce_key", "key_type_of", "type_of_key"]


def key_type_of(engine: sa.Engine, query: Query, column: str) -> KeyType | None:
    """The type of a key column, from its first value; None when there is no row to tell it.

    :param column: ``query.key`` or ``query.company``.
    :raises SourceError: when the database refuses the query.
    :raises PlanError: when the column is missing, or its values can't be keys.
    """
    rows = unnarrowed(query, column)
    first = ask(engine, query, sa.select(rows.c[column]).where(rows.c[column].is_not(None)).limit(1))
    return type_of_key(first[0][0], query, column) if first else None


def type_of_key(value: Any, query: Query, column: str) -> KeyType:
    """The type of one key, as the driver gave it.

    :raises PlanError: for a type that can't be a key.
    """
    if isinstance(value, UUID):
        return "uuid"
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return "integer"
    if isinstance(value, str):
        return "text"
    kind = type(value).__name__
    message = f"column {column!r} gives a {kind}, which can't be a key; cast it to text in the SQL"
    raise PlanError([query.problem(message)])


def bound_of(value: Any) -> int | str | None:
    """A key as a bound of batches: what travels through XCom.

    A bound need not be a key. Of a number with a fraction it is the whole number below, which cuts at another place
    but leaves no gap. None for what can't travel: infinity, NaN, what is beyond the range of a double, and a text that is
    no Unicode.
    """
    if not isinstance(value, (int, float, Decimal)):
        text = str(value)
        return None if is_broken(text) else text
    return math.floor(value) if is_countable(value) else None


def coerce_key(text: str | int, key_type: KeyType) -> int | str:
    """A key that somebody typed, as the database's type of key. Blanks around a text are part of it.

    :raises SetupError: when it can't be one.
    """
    key = str(text)
    if key_type == "integer":
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,29})", key.strip()):  # 007 isn't 7
            message = f"{key!r} is no key here: the database's keys are whole numbers, such as 17."
            raise SetupError(message)
        return int(key)
    if key_type == "uuid":
        try:
            return str(UUID(key.strip()))
        except ValueError:
            message = f"{key!r} is no key here: the database's keys are UUIDs, such as {UUID(int=17)}."
            raise SetupError(message) from None
    if (flaw := key_flaw(key)) is not None:  # what no record can have for a key; some drivers break on it, too
        raise SetupError(f"{key!r} is no key: it {flaw}.")
    return key
