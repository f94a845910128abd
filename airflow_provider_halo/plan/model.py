"""The plan: the file as it is written (`Plan`), and the checked queries that the package works with (`LoadedPlan`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_halo.exceptions import PlanProblem
from airflow_provider_halo.records.values import Json

__all__ = [
    "QUERY_SCOPES",
    "Companies",
    "Entry",
    "LoadedPlan",
    "Nulls",
    "Plan",
    "Query",
    "QueryScope",
    "Question",
    "Shape",
    "Statement",
    "Traits",
    "Users",
    "ordering",
]

QueryScope = Literal["companies", "users"]
QUERY_SCOPES: tuple[QueryScope, ...] = get_args(QueryScope)
Shape = Literal["object", "array", "map", "scalar"]
Nulls = Literal["send", "omit"]
_Strings = Annotated[tuple[str, ...], Field(strict=False)]  # YAML gives lists, which strict tuples would refuse


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Traits(_Model):
    """The query that defines the records of a scope; its columns are trait names."""

    sql: str
    source: str | None = None
    booleans: _Strings = ()
    timestamps: _Strings = ()
    nulls: Nulls | None = None


class Entry(_Model):
    """One context entry: how the AI is shown it, and the query that returns its value."""

    label: str
    sql: str
    type: str | None = None
    source: str | None = None
    rows: Literal["one", "many"] | None = None
    name: str | None = None
    value: str | None = None
    order_by: _Strings = ()
    limit: int | None = None
    empty: JsonValue = None  # read through Query.empty; whether it was given is in `model_fields_set`
    nulls: Nulls | None = None
    booleans: _Strings = ()
    timestamps: _Strings = ()


class Companies(_Model):
    """The companies of the product, as `traits` returns them."""

    key: str
    traits: Traits
    context: dict[str, Entry] = Field(default_factory=dict)


class Users(_Model):
    """The users of the product, each with the company it belongs to."""

    key: str
    company: str
    traits: Traits
    context: dict[str, Entry] = Field(default_factory=dict)
    send_context: bool = True


class Question(_Model):
    """A question that support is asked, and the keys of the plan that answer it."""

    ask: str
    answered_by: _Strings


class Plan(_Model):
    """One plan file."""

    version: Literal[1]
    name: str | None = None  # identifies the plan in a ledger; by default the file's name
    source: str | None = None
    nulls: Nulls = "send"
    companies: Companies | None = None
    users: Users | None = None
    questions: Annotated[tuple[Question, ...], Field(strict=False)] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT, without its end comment and semicolon.

    :param pieces: the SQL, cut where the plan places the batch condition itself; one piece when it doesn't. Between
        ``pieces[i]`` and ``pieces[i + 1]`` goes the condition on the expression ``placements[i]``.
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
    :param timestamps: columns whose strings are moments; for traits, the documented ones included.
    :param unsent: columns that aren't sent as traits.
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
    unsent: frozenset[str] = frozenset()

    def problem(self, message: str) -> PlanProblem:
        """A problem of this query, located where its SQL stands."""
        return PlanProblem(self.file, self.line, f"{self.name}.sql", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlan:
    """A plan that was read from a file and has no problem.

    :param queries: every query in the order of the file, the traits query of a scope first.
    """

    path: str
    plan: Plan
    queries: tuple[Query, ...]

    @property
    def name(self) -> str:
        """Identifies the plan in a ledger: its `name`, or else the name of its file without the extension."""
        return self.plan.name or PurePath(self.path).stem

    def traits(self, scope: QueryScope) -> Query | None:
        """The query that defines the records of a scope; None when the plan has no such scope."""
        return next((query for query in self.queries if query.scope == scope and query.entry is None), None)

    def entries(self, scope: QueryScope) -> tuple[Query, ...]:
        """The context queries of a scope."""
        return tuple(query for query in self.queries if query.scope == scope and query.entry is not None)


def ordering(item: str) -> tuple[str, bool]:
    """One item of ``order_by`` as ``(column, whether it sorts downwards)``: ``opened_at desc`` is ``("opened_at", True)``."""
    words = item.split()
    if len(words) > 1 and words[-1].lower() in {"asc", "desc"}:
        return item.strip()[: -len(words[-1])].strip(), words[-1].lower() == "desc"
    return item.strip(), False
