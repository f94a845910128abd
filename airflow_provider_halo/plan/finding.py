"""One point of the checklist: met, to be looked at, or not told by the plan's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_halo.plan.query import Query

Severity = Literal["ok", "warn", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One point of the checklist.

    :param rule: id of the rule, for example ``user-basics``.
    :param severity: ``ok``; ``warn``: worth mending, the plan works without; ``unknown``: the text doesn't tell.
    :param text: what was found, and of a warning what to do.
    :param place: file and line, where there is one.
    """

    rule: str
    severity: Severity
    text: str
    place: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to mend; what can't be told is nothing to mend."""
        return self.severity != "warn"


def place_of(query: Query) -> str:
    """Where the SQL of a query stands, in words."""
    return f"{query.file}, line {query.line}"


def fields_of(query: Query) -> tuple[frozenset[str], bool]:
    """The columns that the text of a query tells, without those that name the record; and whether these are all."""
    names = frozenset(name for name in query.statement.columns if name is not None)
    return names - {query.key, query.company}, query.statement.known_columns is not None
