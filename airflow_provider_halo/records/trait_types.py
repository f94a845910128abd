"""The types of the traits that Halo documents: what fits is converted, what doesn't is refused or told."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Final, TypeAlias

from airflow_provider_halo.contract import ENUMERATIONS, TRAIT_TYPES
from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.records.problem import InvalidValue, not_among
from airflow_provider_halo.records.values import NUMBER_TEXT, Json, Warnings, to_json_value, to_moment

__all__ = ["OTHER_TYPE", "Convert", "conversion", "to_flag", "to_number", "to_text", "told"]

Convert: TypeAlias = "Callable[[object, Warnings], Json]"

OTHER_TYPE: Final = "{0} of another type than Halo documents sent as it is"

# The words that PostgreSQL reads as booleans.
_WORDS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_NAMES: Final = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}


def conversion(scope: str, name: str) -> Convert | None:
    """How a trait of a scope becomes what Halo documents for it; None for a trait that may have any type."""
    kind = TRAIT_TYPES[scope].get(name)
    if kind is None:
        return None
    return _IN_ENUMERATIONS[name] if kind == "enumeration" else _CONVERSIONS[kind]


def told(convert: Convert, name: str) -> Convert:
    """The conversion that sends a value of another type as it is, and counts it as a warning."""

    def converted(value: object, warnings: Warnings) -> Json:
        try:
            return convert(value, warnings)
        except InvalidValue:
            warnings[OTHER_TYPE.format(name)] += 1
            return to_json_value(value, warnings)

    return converted


def to_text(value: object, warnings: Warnings) -> Json:
    """A text, or a number as one.

    :raises InvalidValue: for booleans, lists and objects, and for what has no form in JSON.
    """
    plain = to_json_value(value, warnings)
    if plain is None or isinstance(plain, str):
        return plain
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise _misfit(plain, "a text")
    return to_json(plain).decode()


def to_number(value: object, warnings: Warnings) -> Json:
    """A number, also one that is written as a text (``1234.50``); a blank text is null.

    :raises InvalidValue: for anything else.
    """
    plain = to_json_value(value, warnings)
    if isinstance(plain, str):
        text = plain.strip()
        if not text:
            return None
        if NUMBER_TEXT.fullmatch(text) is None:
            raise InvalidValue("holds a text that is no number, where Halo takes one")
        return to_json_value(Decimal(text), warnings)
    if isinstance(plain, (bool, list, dict)):
        raise _misfit(plain, "a number")
    return plain


def to_flag(value: object, warnings: Warnings) -> Json:
    """True or false, also as 1 and 0, and as the words that PostgreSQL reads (``t``, ``yes``, ``off``); blank is null.

    :raises InvalidValue: for anything else.
    """
    plain = to_json_value(value, warnings)
    if plain is None or isinstance(plain, bool):
        return plain
    if isinstance(plain, str):
        word = plain.strip().lower()
        if not word:
            return None
        if word in _WORDS:
            return _WORDS[word]
    elif isinstance(plain, (int, float)) and plain in {0, 1}:
        return bool(plain)
    raise _misfit(plain, "true or false")


def _in_enumeration(allowed: Collection[str]) -> Convert:
    def to_one(value: object, warnings: Warnings) -> Json:
        plain = to_json_value(value, warnings)
        if plain is not None and plain not in allowed:
            raise InvalidValue(not_among(allowed))
        return plain

    return to_one


def _misfit(plain: Json, due: str) -> InvalidValue:
    return InvalidValue(f"holds {_NAMES.get(type(plain), 'an object')} where Halo takes {due}")


_CONVERSIONS: Final[dict[str, Convert]] = {
    "string": to_text,
    "number": to_number,
    "boolean": to_flag,
    "moment": to_moment,
}
_IN_ENUMERATIONS: Final = {name: _in_enumeration(allowed) for name, allowed in ENUMERATIONS.items()}
