"""Words of the messages about a plan, and the list that collects them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.model import Companies, Entry, Plan, Question, Traits, Users
from airflow_provider_halo.plan.yaml_text import Document, KeyPath

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails


_SHOWN = 30  # known names in one message, at most

_MISSING = {
    "version": "write `version: 1`",
    "key": "name the column that holds the record's key, for example `key: team_id`",
    "company": "name the column that holds the user's company, for example `company: team_id`",
    "traits": "give it a query: `traits: {sql: SELECT …}`",
    "sql": "write the SELECT that gives the rows",
    "label": "say in a few words what the AI is shown, for example `label: Connected Integrations`",
    "ask": "write the question, as customers ask it",
    "answered_by": "list the keys that answer it, for example `[companies.context.integrations]`",
}


def dotted(path: KeyPath) -> str:
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
    alike = 0.85 if "." in word else 0.6  # dotted names share most of their text: users.context.…
    near = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=alike)
    return f" Did you mean {near[0]}?" if near else ""


def listed(names: Sequence[str]) -> str:
    """Names joined by commas, the first thirty of them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def explain(error: ErrorDetails) -> tuple[KeyPath, str]:
    """One finding of pydantic as the path of the key and a sentence."""
    path = error["loc"]
    kind = error["type"]
    given = error["input"]
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = list(model_at(path[:-1]).model_fields)
        return path, f"isn't known here.{did_you_mean(name, known)} Known: {', '.join(known)}."
    if kind == "missing":
        return path, f"is missing: {_MISSING.get(name, 'add it')}"
    if kind == "literal_error":
        return path, f"is {shown(given)}, but must be {_choices(path)}"
    wanted = _WANTED.get(kind)
    if wanted is not None:
        quotes = ": put quotes around it" if kind == "string_type" and isinstance(given, (bool, int, float)) else ""
        return path, f"is {shown(given)}, but must be {wanted}{quotes}"
    return path, error["msg"]


def model_at(path: KeyPath) -> type[BaseModel]:
    """The model that describes the mapping at a path."""
    match path:
        case ("companies",):
            return Companies
        case ("users",):
            return Users
        case (_, "traits"):
            return Traits
        case (_, "context", _):
            return Entry
        case ("questions", _):
            return Question
        case _:
            return Plan


def shown(value: Any) -> str:
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


_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _choices(path: KeyPath) -> str:
    field = model_at(path[:-1]).model_fields[str(path[-1])]
    choices = [str(choice) for choice in _literals(field.annotation)]
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _literals(annotation: Any) -> list[Any]:
    """The values of a Literal, also inside of an optional one."""
    found: list[Any] = []
    for argument in get_args(annotation):
        found.extend(_literals(argument) if get_args(argument) else [argument] if argument is not type(None) else [])
    return found


class Problems:
    """The problems of one plan.

    :param file: the plan's file, as the user named it.
    :param document: what was read from it; gives the lines.
    """

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self._document = document
        self._found: list[PlanProblem] = []
        for flaw in document.flaws:
            self._found.append(PlanProblem(file, flaw.line, dotted(flaw.path), flaw.message))

    def at(self, path: KeyPath, message: str) -> None:
        """Add a problem at a key of the plan; what is wrong as YAML already isn't told again as a value."""
        if not any(path[:length] in self._document.lost for length in range(1, len(path) + 1)):
            self._found.append(PlanProblem(self.file, self._document.line(path), dotted(path), message))

    def add(self, problem: PlanProblem) -> None:
        """Add a problem that has its place already."""
        self._found.append(problem)

    def raise_if_any(self) -> None:
        """End the reading, if there is a problem.

        :raises PlanError: with every problem once, the plan's own in the order of the file, then those of SQL files.
        """
        if self._found:
            found = sorted(set(self._found), key=lambda problem: (problem.file != self.file, problem))
            raise PlanError(found)
