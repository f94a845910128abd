"""Words of the messages about a plan, and the list that collects them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.model import Companies, Entry, Gone, NoCompany, Plan, Question, Traits, Users
from airflow_provider_halo.plan.yaml_text import Document, KeyPath
from airflow_provider_halo.records.moments import EPOCHS

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

__all__ = ["Problems", "did_you_mean", "dotted_path", "explain_validation", "format_value", "join_names"]

_MOST_NAMES = 30  # in one message

_MISSING = {
    "version": "Write `version: 1`.",
    "key": "Name the column that identifies the record, for example `key: team_id`.",
    "company": "Name the column that identifies the user's company, for example `company: team_id`.",
    "traits": "Give it a query: `traits: {sql: SELECT …}`.",
    "sql": "Write the SELECT that returns the rows.",
    "label": "Say in a few words what the AI is shown, for example `label: Connected Integrations`.",
    "id": "Write the key that this company has in Halo, for example `id: none`.",
    "name": "Write the name that the AI reads, for example `name: No company`.",
    "ask": "Write the question as customers ask it.",
    "answered_by": "List the keys that answer it, for example `[companies.context.integrations]`.",
}
_WANTED_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def dotted_path(path: KeyPath) -> str:
    """A path as people write it: ``questions[0].ask``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step.isprintable() and step.strip() else repr(step)
            text += f".{name}" if text else name
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the nearest known name, or an empty text when none is near; begins with a blank."""
    cutoff = 0.85 if "." in word else 0.6  # dotted names share most of their text: users.context.…
    near = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]}?" if near else ""


def join_names(names: Sequence[str]) -> str:
    """Names joined by commas, the first thirty of them."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def format_value(value: Any) -> str:
    """A value of a plan in a few words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def explain_validation(error: ErrorDetails) -> tuple[KeyPath, str]:
    """One error of pydantic as the path of the key and a message."""
    path = error["loc"]
    kind = error["type"]
    value = error["input"]
    if path == ("gone",) and kind in {"model_type", "model_attributes_type"}:
        return path, f"is {format_value(value)}, but must be tell, empty, or a mapping such as {{empty: true}}."
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = list(_model_at(path[:-1]).model_fields)
        return path, f"unknown key.{did_you_mean(name, known)} Known keys: {', '.join(known)}."
    if kind == "missing":
        return path, f"missing. {_MISSING.get(name, 'Add it.')}"
    wanted = _choices(path) if kind == "literal_error" else _WANTED_TYPES.get(kind)
    if wanted is None:
        return path, f"{error['msg']}."
    needs_quotes = kind == "string_type" and isinstance(value, (bool, int, float))
    return path, f"is {format_value(value)}, but must be {wanted}.{' Put quotes around it.' if needs_quotes else ''}"


def _model_at(path: KeyPath) -> type[BaseModel]:
    """The model that describes the mapping at a path."""
    match path:
        case ("companies",):
            return Companies
        case ("users",):
            return Users
        case ("users", "no_company"):
            return NoCompany
        case ("gone",):
            return Gone
        case (_, "traits"):
            return Traits
        case (_, "context", _):
            return Entry
        case ("questions", _):
            return Question
        case _:
            return Plan


def _choices(path: KeyPath) -> str:
    choices: list[str]
    if path[-2:-1] == ("epochs",):  # a column's, one level deeper than a key of the model
        choices = list(EPOCHS)
    else:
        field = _model_at(path[:-1]).model_fields[str(path[-1])]
        choices = [str(choice) for choice in _literal_values(field.annotation)]
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _literal_values(annotation: Any) -> list[Any]:
    """The values of a Literal, also inside of an optional one."""
    values: list[Any] = []
    for argument in get_args(annotation):
        if get_args(argument):
            values += _literal_values(argument)
        elif argument is not type(None):
            values.append(argument)
    return values


class Problems:
    """The problems of one plan.

    :param file: the plan's file, as the user named it.
    :param document: what was read from it; gives the lines.
    """

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self._document = document
        self._problems = [
            PlanProblem(file, problem.line, dotted_path(problem.path), problem.message) for problem in document.problems
        ]

    def at(self, path: KeyPath, message: str) -> None:
        """Add a problem at a key of the plan, unless the value there couldn't even be read, which is reported already."""
        if not any(path[:length] in self._document.unreadable for length in range(1, len(path) + 1)):
            self.add(PlanProblem(self.file, self._document.line(path), dotted_path(path), message))

    def at_misread(self, path: KeyPath) -> None:
        """Add what YAML takes for something else than it looks like, in a value that may be anything."""
        for misread, message in self._document.misread.items():
            if misread[: len(path)] == path:
                self.at(misread, message)

    def add(self, problem: PlanProblem) -> None:
        """Add a problem that knows its file and line."""
        self._problems.append(problem)

    def raise_if_any(self) -> None:
        """End the reading, if there is a problem.

        :raises PlanError: with every problem once, the plan's own in the order of the file, then those of SQL files.
        """
        if self._problems:
            raise PlanError(sorted(set(self._problems), key=lambda problem: (problem.file != self.file, problem)))
