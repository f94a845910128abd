"""Arguments as templates and trigger forms give them, read into what they mean.

Values keep their type where they come from ``dag.param(…)``, an XCom or a native template. A plain template makes texts
of them: ``"True"``, ``"5000"``, ``"None"``, ``"['companies']"``. Both are taken; anything else is a `SetupError`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar

import jinja2
from airflow.sdk import XComArg
from airflow.sdk.definitions.param import DagParam

from airflow_provider_halo.exceptions import SetupError

__all__ = [
    "NOT_GIVEN",
    "NotGiven",
    "Resolvable",
    "as_boolean",
    "as_count",
    "as_key",
    "as_keys",
    "as_names",
    "is_empty",
]


class _Sentinel(Enum):
    NOT_GIVEN = "not given"


# In place of an argument that was left out, where None is something that it may come out as.
NOT_GIVEN: Final = _Sentinel.NOT_GIVEN
NotGiven: TypeAlias = Literal[_Sentinel.NOT_GIVEN]

T = TypeVar("T")
# A value, or what gives it when the task runs: another task's output (`task.output`), or `dag.param(…)`.
Resolvable: TypeAlias = T | XComArg | DagParam

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def is_empty(value: Any) -> bool:
    """Whether an argument counts as empty: None, an empty text or list, or what a template makes of a name that isn't there.

    That is the text ``None`` of a plain template, and jinja2's ``Undefined`` of a native one.
    """
    if isinstance(value, jinja2.Undefined):
        return True
    if isinstance(value, str):
        return value.strip() in {"", "None"}
    return value is None or (isinstance(value, (list, tuple, set, dict)) and not value)


def as_key(value: Any, name: str) -> str | int | None:
    """A key of a user or company, with the blanks that are part of it; None when it isn't given."""
    if is_empty(value):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise SetupError(f"{name} must be a text or a whole number, not a {type(value).__name__}.")
    return value


def as_keys(value: Any, name: str) -> list[str | int]:
    """Keys: a list of them, or a text with commas between them."""
    keys = (as_key(item, name) for item in _items(value, name))
    return [key for key in keys if key is not None]


def as_names(value: Any, name: str) -> tuple[str, ...]:
    """Names: a list of them, or a text with commas between them."""
    items = _items(value, name)
    if not all(isinstance(item, str) for item in items):
        raise SetupError(f"{name} must be a list of names.")
    return tuple(item.strip() for item in items if item.strip())


def as_boolean(value: Any, name: str) -> bool | None:
    """True or false; None when it isn't given."""
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SetupError(f"{name} must be true or false.")


def as_count(value: Any, name: str, *, minimum: int = 1) -> int:
    """A whole number from 1, or another minimum."""
    try:
        number = -1 if isinstance(value, (bool, float)) else int(value)
    except (TypeError, ValueError):
        number = -1
    if number < minimum:
        raise SetupError(f"{name} must be a whole number from {minimum}.")
    return number


def _items(value: Any, name: str) -> Sequence[Any]:
    if is_empty(value):
        return ()
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        raise SetupError(f"{name} must be a list, or a text with commas between the items.")
    if value.strip().startswith("["):  # a list that went through a plain template
        try:
            items = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            items = None
        if not isinstance(items, list):
            raise SetupError(f"{name} must be a list, or a text with commas between the items.")
        return items
    return [item.strip() for item in value.split(",")]
