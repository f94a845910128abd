"""The plan's named queries: which queries use which, and the WITH that brings them along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from airflow_provider_halo.exceptions import PlanProblem
from airflow_provider_halo.plan.messages import Problems
from airflow_provider_halo.plan.model import Definition, Query, Statement
from airflow_provider_halo.plan.sql_tokens import Token, tokens_of

__all__ = ["Definitions", "table_names"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADVICE: Final = "Give it a name that SQL takes for a table's, such as home_team."
_FROM_ENDS: Final = ("where", "group", "having", "order", "limit", "union", "intersect", "except", "window", "fetch")
_BEFORE_TABLES: Final = ("lateral", "only", "table")


@dataclass(slots=True)
class _Level:
    """What is known at one depth of parentheses: a SELECT was met; its FROM is being read; a table's name comes next."""

    selects: bool = False
    in_from: bool = False
    table_is_next: bool = False


class Definitions:
    """The named queries of one plan.

    :param definitions: in the order of the plan.
    """

    def __init__(self, definitions: Sequence[Definition], problems: Problems) -> None:
        self._problems = problems
        self._by_name: dict[str, Definition] = {}
        self._used: set[str] = set()
        for definition in definitions:
            self._add(definition)
        self._uses = {name: self._tables(definition.statement) for name, definition in self._by_name.items()}
        self._order = [name for name in self._by_name if not self._uses_itself(name)]
        for one in self._by_name.values():
            self._problems_of_names(one.statement, one.file, one.line, f"define.{one.name}")

    def all(self) -> tuple[Definition, ...]:
        """Every definition, and whether a query uses it."""
        return tuple(replace(one, is_used=name in self._used) for name, one in self._by_name.items())

    def applied_to(self, query: Query) -> Query:
        """The query with those definitions in front of it that it uses, those first that others use."""
        if self._problems_of_names(query.statement, query.file, query.line, f"{query.name}.sql"):
            return query
        names = self._with_their_own(self._tables(query.statement))
        if not names:
            return query
        self._used.update(names)
        definitions = tuple(self._by_name[name] for name in names)
        return replace(query, statement=_with(query.statement, definitions), definitions=definitions)

    def _add(self, definition: Definition) -> None:
        path = ("define", definition.name)
        if not _NAME.fullmatch(definition.name):
            self._problems.at(path, f"{definition.name!r} can't name a query. {_ADVICE}")
        elif definition.name.lower() in self._by_name:
            other = self._by_name[definition.name.lower()].name
            self._problems.at(path, f"is {other} to SQL, which doesn't mind the case of a name. Rename one of them.")
        elif definition.statement.placements:
            message = (
                "a definition has no place for a batch of its own. Put {{ batch(…) }} into the queries that use it, or "
                "leave it out."
            )
            self._problems.add(PlanProblem(definition.file, definition.line, f"define.{definition.name}", message))
        else:
            self._by_name[definition.name.lower()] = definition

    def _problems_of_names(self, statement: Statement, file: str, line: int, key: str) -> bool:
        """Whether a WITH in a text gives the name of a definition to something else, which is then a problem."""
        given = [token for token in _own_names(_code(statement)) if token.value.lower() in self._by_name]
        for token in given:
            other = self._by_name[token.value.lower()]
            message = (
                f"its own WITH names {token.value}, which is also a definition of the plan ({other.file}, line "
                f"{other.line}). Rename one of them."
            )
            self._problems.add(PlanProblem(file, line, key, message))
        return bool(given)

    def _tables(self, statement: Statement) -> list[str]:
        """The definitions that a statement reads, each once."""
        names = dict.fromkeys(token.value.lower() for token in table_names(_code(statement)))
        return [name for name in names if name in self._by_name]

    def _with_their_own(self, names: Sequence[str]) -> list[str]:
        """Definitions and all that they use, each behind those that it uses."""
        found: list[str] = []

        def visit(name: str) -> None:
            if name not in found and name in self._order:
                for used in self._uses[name]:
                    visit(used)
                found.append(name)

        for name in names:
            visit(name)
        return found

    def _uses_itself(self, name: str) -> bool:
        """Whether a definition uses itself, over others or at once, which is then a problem."""
        way = self._way_back(name, (name,))
        if not way:
            return False
        one = self._by_name[name]
        message = (
            f"reads {one.name}, its own name. Give it another name than the table has."
            if len(way) == 1
            else f"uses itself: {' → '.join(self._by_name[step].name for step in (*way, name))}. Take one of these out."
        )
        self._problems.add(PlanProblem(one.file, one.line, f"define.{one.name}", message))
        return True

    def _way_back(self, name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        for used in self._uses[way[-1]]:
            if used == name:
                return way
            if used not in way and (found := self._way_back(name, (*way, used))):
                return found
        return ()


def table_names(code: Sequence[Token]) -> Iterator[Token]:
    """The names that stand where a table is read, without those of a schema's table or of a function.

    :param code: a statement's tokens, without blanks and comments.
    """
    levels = [_Level()]
    for index, token in enumerate(code):
        level = levels[-1]
        if token.nesting > 0:
            levels.append(_Level(in_from=level.table_is_next, table_is_next=level.table_is_next))
            level.table_is_next = False
        elif token.nesting < 0:
            del levels[max(1, len(levels) - 1) :]
        elif level.table_is_next and token.is_name and not token.is_word("select", *_BEFORE_TABLES):
            level.table_is_next = False
            if index + 1 == len(code) or code[index + 1].text not in {".", "("}:
                yield token
        else:
            _step(level, token, code[index - 1] if index else None)


def _step(level: _Level, token: Token, before: Token | None) -> None:
    """What a token says of the clause that follows it."""
    if token.is_word("select"):
        level.selects, level.in_from, level.table_is_next = True, False, False
    elif token.is_word("from"):
        # Not IS DISTINCT FROM, and not the FROM of a function: extract(year FROM …), trim(both FROM …).
        if level.selects and not (before is not None and before.is_word("distinct")):
            level.in_from = level.table_is_next = True
    elif token.is_word("join", "straight_join") or (token.text == "," and level.in_from):
        level.table_is_next = level.in_from
    elif token.is_word(*_FROM_ENDS):
        level.in_from = level.table_is_next = False


def _own_names(code: Sequence[Token]) -> Iterator[Token]:
    """The names that the WITHs of a statement give: ``name AS (SELECT …)``, also with columns behind the name."""
    for index, token in enumerate(code):
        if index and token.is_word("as") and _begins_query(code[index + 1 : index + 5]):
            name = _before_columns(code, index - 1)
            if name is not None and name.is_name:
                yield name


def _begins_query(following: Sequence[Token]) -> bool:
    """Whether a query in parentheses begins: ``(SELECT``, also behind [NOT] MATERIALIZED."""
    tokens = [token for token in following if not token.is_word("not", "materialized")]
    return len(tokens) > 1 and tokens[0].text == "(" and tokens[1].is_word("select", "with", "values")


def _before_columns(code: Sequence[Token], index: int) -> Token | None:
    """The token at an index, or where that closes a parenthesis the one before it opens."""
    depth = 0
    for position in range(index, -1, -1):
        depth += code[position].nesting
        if depth == 0:
            return code[position] if position == index else (code[position - 1] if position else None)
    return None


def _code(statement: Statement) -> list[Token]:
    return [token for token in tokens_of(" x ".join(statement.pieces)) if token.is_code]


def _with(statement: Statement, definitions: Sequence[Definition]) -> Statement:
    """The statement behind a WITH of these definitions; where it begins with one of its own, in front of its names."""
    named = ", ".join(f"{one.name} AS ({_one_line(one.statement.pieces[0])})" for one in definitions)
    first = statement.pieces[0]
    code = [token for token in tokens_of(first) if token.is_code][:2]
    if code and code[0].is_word("with"):
        at = code[1].end if len(code) > 1 and code[1].is_word("recursive") else code[0].end
        first = f"{first[:at]} {named},{first[at:]}"
    else:
        first = f"WITH {named} {first}"
    return replace(statement, pieces=(first, *statement.pieces[1:]))


def _one_line(sql: str) -> str:
    """SQL in one line, so that the lines which a database counts stay those of the query behind it."""
    tokens = tokens_of(sql)
    if any(token.kind == "hash" for token in tokens):  # a comment or an operator: only the database knows
        return f"{sql}\n"
    return "".join(" " if token.kind in {"blank", "comment"} else token.text for token in tokens)
