"""Loads a plan file: a `LoadedPlan`, or a `PlanError` with every problem at once, each with file, line and way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_halo.contract import MOMENT_TRAITS
from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan import checks
from airflow_provider_halo.plan.messages import Problems, dotted_path, explain_validation
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
from airflow_provider_halo.plan.yaml_text import Document, KeyPath, UnreadableFile, read_text, read_yaml

if TYPE_CHECKING:
    from airflow_provider_halo.records.values import Json

__all__ = ["load_plan"]

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
    except UnreadableFile as error:
        raise PlanError([PlanProblem(file, error.line, "", error.message)]) from None
    problems = Problems(file, document)
    data = document.data
    if not isinstance(data, dict):
        if not document.problems:
            problems.at((), "not a mapping. A plan begins with `version: 1`.")
        problems.raise_if_any()
        raise AssertionError("unreachable: a document without data has a problem")  # noqa: TRY004 (no one's wrong type)
    plan: Plan | None = None
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problems.at(*explain_validation(detail))
    queries = _Loader(file, document, data, problems).queries()
    problems.raise_if_any()
    if plan is None:
        raise AssertionError("unreachable: every error of pydantic is a problem")
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
        self._nulls: Nulls = "omit" if data.get("nulls") == "omit" else "send"
        source = data.get("source")
        self._source = source if isinstance(source, str) else None
        self._has_own_source = False  # whether any query names its source itself
        self._without_source: list[KeyPath] = []

    def queries(self) -> tuple[Query, ...]:
        """Every query that will run, checked; problems are collected."""
        self._check_name(self._data.get("name"))
        if self._source is not None:
            self._check_source(self._source, ("source",))
        self._check_scopes()
        queries: list[Query] = []
        for scope in self._data:
            block = self._data[scope]
            if scope in QUERY_SCOPES and isinstance(block, dict):
                queries.extend(self._scope(scope, block))
        checks.check_questions(self._data, queries, self._problems)
        self._report_missing_sources()
        return tuple(query for query in queries if not self._is_off(query))

    def _check_name(self, name: Json) -> None:
        if not isinstance(name, str):
            return
        checks.check_name(name, ("name",), self._problems, "A plan's name is a word such as forms_app.")
        if len(name) > _NAME_LENGTH:
            self._problems.at(
                ("name",), f"{len(name):,} characters long, but at most {_NAME_LENGTH} are allowed. Shorten it."
            )

    def _check_scopes(self) -> None:
        if not any(scope in self._data for scope in QUERY_SCOPES):
            self._problems.at((), "the plan has neither companies nor users. Add at least one of them.")
        for scope in QUERY_SCOPES:
            if scope in self._data and self._data[scope] is None:
                self._problems.at((scope,), f"empty. Write its key and traits, or remove `{scope}:`.")

    def _is_off(self, query: Query) -> bool:
        users = self._data.get("users")
        off = isinstance(users, dict) and users.get("send_context") is False
        return off and query.scope == "users" and query.entry is not None

    def _scope(self, scope: QueryScope, block: dict[str, Json]) -> Iterator[Query]:
        key = self._column(block, (scope, "key"))
        company = self._column(block, (scope, "company")) if scope == "users" else key
        if scope == "users" and key and key == company:
            self._problems.at((scope, "company"), "the same column as key. Select the value twice, under two names.")
        for path, part in _parts(scope, block):
            query = self._query(scope, path, part, key, company) if part is not None else None
            if query is not None:
                yield query

    def _column(self, block: dict[str, Json], path: KeyPath) -> str:
        """The column that a key of a scope names; an empty text when it names none."""
        value = block.get(str(path[-1]))
        if isinstance(value, str) and checks.check_name(value, path, self._problems, "Name a column of the query."):
            return value
        return ""

    def _query(self, scope: QueryScope, path: KeyPath, block: Entry | Traits, key: str, company: str) -> Query | None:
        entry = block if isinstance(block, Entry) else None
        if entry is not None:
            checks.check_entry(entry, path, self._problems, names={key, company})
        else:
            checks.check_marked_columns(block, path, self._problems)
        source = self._source_of(block, path)
        sql = self._sql(block.sql, (*path, "sql"))
        statement = self._statement(sql, (*path, "sql")) if sql is not None else None
        if sql is None or statement is None:
            return None
        query = Query(
            name=dotted_path(path),
            scope=scope,
            source=source,
            statement=statement,
            key=key,
            company=company,
            file=sql.file,
            line=sql.line,
            booleans=frozenset(block.booleans),
            nulls=block.nulls or self._nulls,
            timestamps=frozenset(block.timestamps),
        )
        query = _as_traits(query) if entry is None else _as_entry(query, entry, str(path[-1]))
        checks.check_columns(query, block, path, self._problems, sql.line_at)
        return query

    def _source_of(self, block: Entry | Traits, path: KeyPath) -> str:
        if block.source is not None:
            self._has_own_source = True
            self._check_source(block.source, (*path, "source"))
            return block.source
        if self._source is None:
            self._without_source.append(path)
        return self._source or ""

    def _check_source(self, source: str, path: KeyPath) -> None:
        checks.check_name(source, path, self._problems, "Name an Airflow connection.")

    def _report_missing_sources(self) -> None:
        if self._data.get("source") is not None and self._source is None:
            return  # it is there and of a wrong type, which is reported already
        if self._without_source and not self._has_own_source:
            self._problems.at(("source",), "missing. Name the Airflow connection of the product database.")
            return
        for path in self._without_source:
            message = (
                "missing. Name the Airflow connection of its database, here or for all queries at the top of the plan."
            )
            self._problems.at((*path, "source"), message)

    def _sql(self, text: str, path: KeyPath) -> _Sql | None:
        name = text.strip()
        position = self._document.positions[path]
        if "\n" in name or not name.endswith(".sql") or name.split(maxsplit=1)[0].lower() in {"select", "with"}:
            return _Sql(text, self._file, position.text_line, position.literal)
        if not name.isprintable():
            self._problems.at(path, "contains control characters. Give the path of an SQL file, relative to the plan.")
            return None
        if PurePath(name).is_absolute():
            self._problems.at(
                path, f"{name} is an absolute path. Give it relative to the plan, so that both can move together."
            )
            return None
        file = os.path.join(os.path.dirname(self._file), name)  # noqa: PTH118, PTH120 (as the user wrote it, `./` kept)
        try:
            return _Sql(read_text(file), file, 1, literal=True)
        except UnreadableFile as error:
            if error.line:
                self._problems.add(PlanProblem(file, error.line, dotted_path(path), error.message))
            else:
                self._problems.at(path, f"{name}: {error.message}")
        return None

    def _statement(self, sql: _Sql, path: KeyPath) -> Statement | None:
        statement = read_statement(sql.text)
        if isinstance(statement, Statement):
            return statement
        for problem in statement:
            self._problems.add(PlanProblem(sql.file, sql.line_at(problem.line), dotted_path(path), problem.message))
        return None


def _as_traits(query: Query) -> Query:
    return replace(query, empty={}, timestamps=query.timestamps | frozenset(MOMENT_TRAITS))


def _as_entry(query: Query, entry: Entry, key: str) -> Query:
    shape = checks.shape_of(entry)
    empty, sends_empty = checks.empty_of(entry, shape)
    return replace(
        query,
        entry_key=key,
        entry=entry,
        shape=shape,
        empty=empty,
        sends_empty=sends_empty,
        nulls="send" if shape == "scalar" else query.nulls,
    )


def _parts(scope: QueryScope, block: dict[str, Json]) -> Iterator[tuple[KeyPath, Entry | Traits | None]]:
    """The parts of a scope that have a query, with their paths; None where one is wrong."""
    yield (scope, "traits"), _valid(Traits, block.get("traits"))
    context = block.get("context")
    if isinstance(context, dict):
        for key, entry in context.items():
            yield (scope, "context", key), _valid(Entry, entry)


def _valid(model: type[_Model], data: Any) -> _Model | None:
    """A part of the plan as its model; None when it is wrong, which the validation of the whole plan has reported."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None
