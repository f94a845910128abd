"""Held against the plan, once a query: the columns that a result really has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from airflow_provider_halo.contract import COMPANY_RESERVED, MOMENT_TRAITS, USER_RESERVED
from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.model import Entry, Query, ordering

__all__ = ["check_columns", "wanted_columns"]


def check_columns(query: Query, names: Sequence[str]) -> None:
    """Hold the columns of a result against what the plan says of them.

    :param names: the result's columns, in order, as the database named them.
    :raises PlanError: with every problem at once, placed at the query's SQL.
    """
    messages = [*_missing(query, names), *_twice(names), *_reserved(query, names)]
    if messages:
        raise PlanError([query.problem(message) for message in messages])


def wanted_columns(query: Query) -> dict[str, str]:
    """Columns that must be in the result, each with what it is for."""
    wanted = {query.key: "names the record"}
    if query.scope == "companies" or query.entry is None:  # the rows of a user's entry belong to the user
        wanted.setdefault(query.company, "names the company")
    # The documented moments are read as such wherever they are; nobody said that they are there.
    timestamps = query.timestamps.difference(MOMENT_TRAITS if query.entry is None else ())
    purposes = {
        "is listed under booleans": sorted(query.booleans),
        "is listed under epochs": sorted(query.epochs),
        "is listed under timestamps": sorted(timestamps),
        "is listed under prefer": _ordered_by(query.prefer),
        **(_purposes_of_entry(query.entry) if query.entry is not None else {}),
    }
    for purpose, names in purposes.items():
        for name in names:
            wanted.setdefault(name, purpose)
    return wanted


def _purposes_of_entry(entry: Entry) -> dict[str, list[str]]:
    return {
        "is the entry's name": [] if entry.name is None else [entry.name],
        "is the entry's value": [] if entry.value is None else [entry.value],
        "is listed under order_by": _ordered_by(entry.order_by),
    }


def _ordered_by(items: Sequence[str]) -> list[str]:
    return [ordering(item)[0] for item in items]


def _missing(query: Query, names: Sequence[str]) -> list[str]:
    messages = []
    for column, purpose in wanted_columns(query).items():
        if column in names:
            continue
        alike = next((name for name in names if name.casefold() == column.casefold()), None)
        mend = (
            f"the database calls it {alike!r}, so write that in the plan, or quote it in the SQL"
            if alike is not None
            else f"give a column that name by AS, or correct the plan; the query's columns are {', '.join(names)}"
        )
        messages.append(f"gives no column {column!r}, which {purpose}; {mend}")
    return messages


def _twice(names: Sequence[str]) -> list[str]:
    # SQLite tells two columns of one name in a subquery apart as `name` and `name:1`; to it `Name` is the same name.
    plain = [_unnumbered(name, names) for name in names]
    return [
        f"gives {count} columns named {name!r}; give each a name of its own by AS"
        for name, count in Counter(plain).items()
        if count > 1
    ]


def _unnumbered(name: str, names: Sequence[str]) -> str:
    numbered = re.fullmatch(r"(.+):\d+", name, re.DOTALL)
    if numbered is None:
        return name
    return next((first for first in names if first.casefold() == numbered[1].casefold()), name)


def _reserved(query: Query, names: Sequence[str]) -> list[str]:
    if query.entry is not None:
        return []
    reserved = USER_RESERVED if query.scope == "users" else COMPANY_RESERVED
    return [
        f"column {name!r} would be a trait that Halo reserves; {_other_name(name)}"
        for name in dict.fromkeys(names)
        if name in reserved and name not in {query.key, query.company}
    ]


def _other_name(name: str) -> str:
    if name == "created_at":
        return "rename it by AS signed_up_at"
    return "leave it out of the SELECT, or rename it by AS"
