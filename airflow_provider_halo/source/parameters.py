"""Values for the ``:name`` of a query written by hand: bound by the database, never pasted into the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_tokens import tokens_of

__all__ = ["parameters_of", "with_names", "with_values"]

_TYPES = (str, bool, int, float, Decimal, date, datetime, time, UUID)
_BIGINT = 1 << 63


def parameters_of(statement: Statement, values: Any, where: str) -> tuple[tuple[str, Any], ...]:
    """Check the values that are given for a query's ``:name``.

    :param values: by name; a list or tuple is for ``IN :name``.
    :param where: names the query in errors.
    :raises SetupError: for what can't be bound, and for a name that the query doesn't have. The text holds no value.
    """
    if not isinstance(values, Mapping):
        raise SetupError(
            f"{where}: parameters must be an object of names and values, not a {type(values).__name__}: write :name in the "
            'SQL, and give parameters={"name": …}.'
        )
    known = {name for piece in statement.pieces for name, _ in _names(piece)}
    for name, value in values.items():
        if name not in known:
            raise SetupError(f"{where}: the parameter {name!r} stands nowhere in the SQL: write it there as :{name}.")
        _check_value(name, value, where)
    return tuple(
        (name, [_native(item) for item in value] if _is_list(value) else _native(value))
        for name, value in values.items()
    )


def _check_value(name: str, value: Any, where: str) -> None:
    items = value if _is_list(value) else [value]
    if not items:  # what `IN ()` or `NOT IN ()` means, databases don't agree on
        raise SetupError(
            f"{where}: the parameter {name!r} is an empty list, which no IN can hold: skip the task instead."
        )
    unusable = next((item for item in items if item is not None and not isinstance(item, _TYPES)), None)
    if unusable is not None:
        raise SetupError(
            f"{where}: the parameter {name!r} is or holds a {type(unusable).__name__}: give a text, number, boolean, date, "
            "time or UUID, or a list of them for IN."
        )


def with_names(sql: str, parameters: Sequence[tuple[str, Any]]) -> str:
    """SQL that `sqlalchemy.text` gives to the database byte for byte, but for these parameters: no other colon starts one."""
    names = {name for name, _ in parameters}
    starts = {start for name, start in _names(sql) if name in names} if names else frozenset()
    if not starts:
        return sql.replace(":", "\\:")
    return "".join(
        "\\:" if character == ":" and place not in starts else character for place, character in enumerate(sql)
    )


def with_values(sql: str, parameters: Sequence[tuple[str, Any]]) -> sa.TextClause:
    """A statement with the values of its parameters, each with the type of a literal of the same text."""
    binds = [
        sa.bindparam(name, value, _type_of(value), expanding=isinstance(value, list)) for name, value in parameters
    ]
    return sa.text(sql).bindparams(*binds)


def _names(sql: str) -> list[tuple[str, int]]:
    """Each ``:name`` outside of literals and comments, and where it stands. A cast, ``::text``, is none."""
    tokens = tokens_of(sql)
    return [
        (name.text, colon.start)
        for before, colon, name in zip([None, *tokens], tokens, tokens[1:], strict=False)
        if colon.text == ":" and colon.kind == "sign" and name.kind == "word" and (before is None or before.text != ":")
    ]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _native(value: Any) -> Any:
    """A UUID as the text that every driver takes."""
    return str(value) if isinstance(value, UUID) else value


def _type_of(value: Any) -> TypeEngine[Any] | None:
    """None where SQLAlchemy knows the type by the value."""
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, (str, type(None))) for item in items):
        # Without a type PostgreSQL reads a text as what it is compared with: a number, a date, a uuid.
        return sa.types.NullType()
    if all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        return sa.BigInteger() if all(-_BIGINT <= item < _BIGINT for item in items) else sa.Numeric()
    return None
