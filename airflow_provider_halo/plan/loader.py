"""A plan file → `LoadedPlan`, or `PlanError` with everything that is wrong at once, each with file, line and way out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_halo.contract import MOMENT_TRAITS
from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan import checks
from airflow_provider_halo.plan.checks import check_questions
from airflow_provider_halo.plan.messages import Problems, dotted, explain
from airflow_provider_halo.plan.model import (
    QUERY_SCOPES,
    Entry,
    LoadedPlan,
    Nulls,
    Plan,
    Query,
    QueryScope,
    Statement,
    Traits,
)
from airflow_provider_halo.plan.sql_text import read_statement
from airflow_provider_halo.plan.yaml_text import Document, KeyPath, Unreadable, read_text, read_yaml

if TYPE_CHECKING:
    from airflow_provider_halo.records.values import Json

_Model = TypeVar("_Model", bound=BaseModel)
_NAME_LENGTH = 100  # characters of a plan's name


def load_plan(path: str | os.PathLike[str]) -> LoadedPlan:
    """Read a plan and everything that it names; nothing is run and no connection is opened.

    :param path: the plan's file. Paths of SQL files in it are relative to its folder.
    :raises PlanError: with every problem that was found.
    """
    file = os.fspath(path)
    try:
        document = read_yaml(read_text(file))
    except Unreadable as error:
        raise PlanError([PlanProblem(file, error.line, "", error.message)]) from None
    problems = Problems(file, document)
    data = document.data
    if not isinstance(data, dict):
        if not document.flaws:
            problems.at((), "is no mapping: a plan begins with `version: 1`")
        problems.raise_if_any()
        raise AssertionError("unreachable: a document without data has a flaw")  # noqa: TRY004 (no one's wrong type)
    plan: Plan | None = None
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problems.at(*explain(detail))
    queries = _Loader(file, document, data, problems).queries()
    problems.raise_if_any()
    if plan is None:
        raise AssertionError("unreachable: every finding of pydantic is a problem")
    return LoadedPlan(path=file, plan=plan, queries=queries)


@dataclass(frozen=True, slots=True)
class _Sql:
    """An SQL text and where it stands. ``literal``: its lines are lines of the file."""

    text: str
    file: str
    line: int
    literal: bool

    def line_at(self, line: int) -> int:
        """Line in the file of a line of the text, which counts from 0; where they differ, the text's first."""
        return self.line + line if self.literal else self.line


class _Loader:
    """Builds the queries from the parts of a plan that are right, so that one wrong part doesn't hide the others."""

    def __init__(self, file: str, document: Document, data: dict[str, Json], problems: Problems) -> None:
        self._file = file
        self._document = document
        self._data = data
        self._problems = problems
        nulls = data.get("nulls")
        self._nulls: Nulls = "omit" if nulls == "omit" else "send"
        source = data.get("source")
        self._source = source if isinstance(source, str) else None
        self._lacking: list[KeyPath] = []
        self._sourced = False

    def queries(self) -> tuple[Query, ...]:
        """Every query that will run, checked; problems are collected."""
        name = self._data.get("name")
        if isinstance(name, str):
            checks.check_text(name, ("name",), self._problems, "a plan's name is a word such as forms_app")
            if len(name) > _NAME_LENGTH:
                self._problems.at(("name",), f"has {len(name):,} characters, but may have {_NAME_LENGTH}")
        if self._source is not None:
            self._check_source(self._source, ("source",))
        if not any(scope in self._data for scope in QUERY_SCOPES):
            self._problems.at((), "has neither companies nor users: add at least one of them")
        for name in QUERY_SCOPES:
            if name in self._data and self._data[name] is None:
                self._problems.at((name,), f"is empty: write its key and traits, or take `{name}:` out")
        queries: list[Query] = []
        for scope in self._data:
            raw = self._data[scope]
            if scope in QUERY_SCOPES and isinstance(raw, dict):
                queries.extend(self._scope(scope, raw))
        check_questions(self._data, queries, self._problems)
        self._tell_sources()
        return tuple(query for query in queries if not self._is_off(query))

    def _is_off(self, query: Query) -> bool:
        users = self._data.get("users")
        off = isinstance(users, dict) and users.get("send_context") is False
        return off and query.scope == "users" and query.entry is not None

    def _scope(self, scope: QueryScope, raw: dict[str, Json]) -> list[Query]:
        key = self._column(raw, (scope, "key"))
        company = self._column(raw, (scope, "company")) if scope == "users" else key
        if scope == "users" and key is not None and key == company:
            self._problems.at((scope, "company"), "is the key column too: select the value twice, under two names")
        blocks: list[tuple[KeyPath, Entry | Traits | None]] = [((scope, "traits"), _valid(Traits, raw.get("traits")))]
        context = raw.get("context")
        for name, entry in context.items() if isinstance(context, dict) else ():
            blocks.append(((scope, "context", name), _valid(Entry, entry)))
        found: list[Query] = []
        for path, block in blocks:
            if block is None:
                continue
            query = self._query(scope, path, block, key or "", company or "")
            if query is not None:
                found.append(query)
        return found

    def _column(self, raw: dict[str, Json], path: KeyPath) -> str | None:
        value = raw.get(str(path[-1]))
        if isinstance(value, str) and checks.check_text(value, path, self._problems, "name a column of the SQL"):
            return value
        return None

    def _query(self, scope: QueryScope, path: KeyPath, block: Entry | Traits, key: str, company: str) -> Query | None:
        entry = block if isinstance(block, Entry) else None
        if entry is not None:
            checks.check_entry(entry, path, self._problems, names={key, company})
        else:
            checks.check_listed(block, path, self._problems)
        source = self._source_of(block, path)
        sql = self._sql(block.sql, (*path, "sql"))
        statement = self._statement(sql, (*path, "sql")) if sql is not None else None
        if sql is None or statement is None:
            return None
        shape = checks.shape_of(entry) if entry is not None else "object"
        empty, sends_empty = checks.empty_of(entry, shape) if entry is not None else ({}, True)
        query = Query(
            name=dotted(path),
            scope=scope,
            source=source,
            statement=statement,
            key=key,
            company=company,
            file=sql.file,
            line=sql.line,
            entry_key=str(path[-1]) if entry is not None else None,
            entry=entry,
            shape=shape,
            empty=empty,
            sends_empty=sends_empty,
            nulls="send" if shape == "scalar" else block.nulls or self._nulls,
            booleans=frozenset(block.booleans),
            timestamps=frozenset(block.timestamps) | (frozenset() if entry is not None else frozenset(MOMENT_TRAITS)),
        )
        if key and company:  # else it is told already that they are missing
            checks.check_columns(query, path, self._problems, sql.line_at)
        checks.check_marked(query, block, path, self._problems)
        return query

    def _source_of(self, block: Entry | Traits, path: KeyPath) -> str:
        if block.source is not None:
            self._sourced = True
            self._check_source(block.source, (*path, "source"))
            return block.source
        if self._source is None:
            self._lacking.append(path)
        return self._source or ""

    def _check_source(self, source: str, path: KeyPath) -> None:
        checks.check_text(source, path, self._problems, "name an Airflow connection")

    def _tell_sources(self) -> None:
        if self._data.get("source") is not None and self._source is None:
            return  # it is there and of a wrong type, which is told already
        if self._lacking and not self._sourced:
            self._problems.at(("source",), "is missing: name the Airflow connection of the product database")
            return
        for path in self._lacking:
            message = "is missing: name the Airflow connection of its database, here or for all at the top of the plan"
            self._problems.at((*path, "source"), message)

    def _sql(self, text: str, path: KeyPath) -> _Sql | None:
        name = text.strip()
        place = self._document.places[path]
        if "\n" in name or not name.endswith(".sql") or name.split(maxsplit=1)[0].lower() in {"select", "with"}:
            return _Sql(text, self._file, place.text_line, place.literal)
        if not name.isprintable():
            self._problems.at(path, "holds control characters: give the path of an SQL file, relative to the plan")
            return None
        if PurePath(name).is_absolute():
            self._problems.at(
                path, f"{name} is an absolute path: give it relative to the plan, so that both move together"
            )
            return None
        file = os.path.join(os.path.dirname(self._file), name)  # noqa: PTH118, PTH120 (as the user wrote it, `./` kept)
        try:
            return _Sql(read_text(file), file, 1, literal=True)
        except Unreadable as error:
            if error.line:
                self._problems.add(PlanProblem(file, error.line, dotted(path), error.message))
            else:
                self._problems.at(path, f"{name}: {error.message}")
        return None

    def _statement(self, sql: _Sql, path: KeyPath) -> Statement | None:
        statement = read_statement(sql.text)
        if isinstance(statement, Statement):
            return statement
        for flaw in statement:
            self._problems.add(PlanProblem(sql.file, sql.line_at(flaw.line), dotted(path), flaw.message))
        return None


def _valid(model: type[_Model], data: Any) -> _Model | None:
    """A part of the plan as its model; None when it is wrong, which the validation of the whole plan has told."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None
