"""One query of a plan, ready to be run: its SQL made plain, what its rows mean, and where it stands in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from airflow_provider_halo.exceptions import PlanProblem
from airflow_provider_halo.plan.model import Entry, Nulls, Plan
from airflow_provider_halo.records.values import Json

QueryScope = Literal["companies", "users"]
Shape = Literal["object", "array", "map", "scalar"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT, without its end comment and semicolon.

    :param pieces: the SQL, cut where the plan places the narrowing itself; one piece when it doesn't. Between
        ``pieces[i]`` and ``pieces[i + 1]`` stands the narrowing of the expression ``placements[i]``.
    :param placements: the expressions of ``{{ batch("…") }}``, for example ``f.team_id``.
    :param columns: names of the result's columns as far as they can be read off the text; None in place of a name
        for a column that can't (an expression without alias, a ``*``).
    :param literals: ``(column, text)`` of the columns that are text literals, for example ``'annual' AS contract_term``.
    :param lines: of each column the line in the SQL, from 0.
    """

    pieces: tuple[str, ...]
    placements: tuple[str, ...] = ()
    columns: tuple[str | None, ...] = ()
    literals: tuple[tuple[str, str], ...] = ()
    lines: tuple[int, ...] = field(default=(), compare=False)

    @property
    def known_columns(self) -> tuple[str, ...] | None:
        """The names of all columns; None when the text leaves one open."""
        names = tuple(name for name in self.columns if name is not None)
        return names if names and len(names) == len(self.columns) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of the plan.

    :param name: its dotted path, for example ``companies.context.integrations`` or ``users.traits``.
    :param entry_key: key of the context entry; None for a traits query.
    :param source: id of the Airflow connection of its database.
    :param key: column that names the record.
    :param company: column that names the company: the batch key. For companies the same as ``key``.
    :param shape: what its rows become: ``object`` (one row), ``array`` (many rows), ``map`` (object of objects, by
        the column ``entry.name``), ``scalar`` (the column ``entry.value``). A traits query is an ``object``.
    :param empty: value of the entry for a record without rows. ``sends_empty`` is False for ``empty: omit``.
    :param nulls: ``send`` or ``omit``, with the plan's and the block's defaults worked in.
    :param timestamps: columns whose texts are moments; of traits, the documented ones included.
    :param file: file of the SQL or the plan, as the user named it; ``line``: where the SQL starts there.
    """

    name: str
    scope: QueryScope
    source: str
    statement: Statement
    key: str
    company: str
    file: str
    line: int
    entry_key: str | None = None
    entry: Entry | None = None
    shape: Shape = "object"
    empty: Json = None
    sends_empty: bool = True
    nulls: Nulls = "send"
    booleans: frozenset[str] = frozenset()
    timestamps: frozenset[str] = frozenset()

    def problem(self, message: str) -> PlanProblem:
        """A problem of this query, placed where its SQL stands."""
        return PlanProblem(self.file, self.line, f"{self.name}.sql", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlan:
    """A plan that was read from a file and found right.

    :param queries: every query in the order of the file, the traits query of a scope first.
    """

    path: str
    plan: Plan
    queries: tuple[Query, ...]

    @property
    def name(self) -> str:
        """What a ledger knows the plan by: its `name`, or else the name of its file without the ending."""
        return self.plan.name or PurePath(self.path).stem

    def traits(self, scope: QueryScope) -> Query | None:
        """The query that defines the records of a scope; None when the plan has no such scope."""
        return next((query for query in self.queries if query.scope == scope and query.entry is None), None)

    def entries(self, scope: QueryScope) -> tuple[Query, ...]:
        """The context queries of a scope."""
        return tuple(query for query in self.queries if query.scope == scope and query.entry is not None)
