"""What a database value means in JSON: numbers stay numbers, moments get an offset, what has no form is refused."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from airflow_provider_halo.records.moments import Epoch, duration_text, epoch_text, moment_of_text, moment_text
from airflow_provider_halo.records.numpy_values import is_of_numpy, to_python
from airflow_provider_halo.records.problem import InvalidValue

__all__ = [
    "NUMBER_TEXT",
    "Changed",
    "Json",
    "Warnings",
    "is_countable",
    "key_flaw",
    "plain_keys",
    "to_boolean",
    "to_json_value",
    "to_key",
    "to_keys",
    "to_moment",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Warnings: TypeAlias = "Counter[str]"

NUL_REMOVED = "NUL characters removed"
NOT_FINITE = "NaN or infinity sent as null"
DIGITS_LOST = "decimal rounded to a double"
NOT_BOOLEAN = "boolean column with another number than 0 and 1"
OUTSIDE_CALENDAR = "date or time that no calendar has (infinity, BC, zero) sent as null"

_NUMBER_FOR_MOMENT = "holds a number where a date or time is due; in a plan, `epochs:` says what it counts"
_NO_MOMENT = "holds a text that is no date or time (ISO 8601)"

NUMBER_TEXT: Final = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", re.ASCII)
"""A number that is written as a text, without blanks around it."""

_LARGEST_EXPONENT = 308  # of a double
_BEYOND = 10 ** (_LARGEST_EXPONENT + 1)
_LARGEST_EXACT = 2**53  # beyond it a double may stand for several whole numbers
_NO_KEY = "a {0} can't be a key; cast it to text in the SQL"
_NESTING = 64  # deeper than any value that a support question needs; keeps a hostile JSON column from the stack's end
TOO_DEEP = f"is nested deeper than {_NESTING} levels"

_BYTES: Final = (bytes, bytearray, memoryview)
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
_INTEGERS: Final = frozenset({int})
_TEXTS: Final = frozenset({str})
_UUIDS: Final = frozenset({UUID})


class Changed(msgspec.Struct, frozen=True):
    """In place of a value that a database has and JSON hasn't: what is sent for it, and the warning that says so."""

    value: Json
    warning: str


def to_json_value(value: Any, warnings: Warnings, depth: int = 0) -> Json:
    """Turn a value from a database driver into a plain JSON value.

    :param value: what the driver gave: str, numbers, Decimal, dates and times, UUID, lists and dicts of these, or what
        `source.drivers` puts in place of it; numpy's and pandas' values as well.
    :param warnings: counts what was changed on the way, by kind.
    :return: None, bool, int, float, str, list or dict.
    :raises InvalidValue: for bytes and for types that have no form in JSON.
    """
    kind = type(value)
    if kind is str:
        return _text(value, warnings)
    if value is None or kind is int or kind is bool:
        return value  # type: ignore[no-any-return]  # narrowed by kind, which mypy doesn't follow
    if kind is float:
        return _double(value, warnings)
    convert = _CONVERSIONS.get(kind)
    if convert is not None:
        return convert(value, warnings)
    return _of_rarer_type(value, warnings, depth)


def _of_rarer_type(value: Any, warnings: Warnings, depth: int) -> Json:
    """What `to_json_value` makes of a value whose type isn't itself among the conversions."""
    kind = type(value)
    if is_of_numpy(kind):
        return to_json_value(to_python(value), warnings, depth)
    convert = _conversion_of_base(value)
    if convert is not None:
        return convert(value, warnings)
    if isinstance(value, _CONTAINERS):
        return _nested(value, warnings, depth)
    if isinstance(value, _BYTES):
        raise InvalidValue("holds bytes, which have no form in JSON; cast the column to text in the SQL")
    raise InvalidValue(f"holds a {kind.__name__}, which has no form in JSON; cast the column in the SQL")


def to_key(value: Any) -> str:
    """The text of a key, as Halo knows the record.

    A text is a key as it is, blanks around it and all: two texts that differ are two keys in Halo.

    :param value: an int, a whole Decimal or float, a UUID or a text.
    :raises InvalidValue: for a blank text, one with a NUL or broken Unicode, bytes, or a type that can't be a key.
    """
    if isinstance(value, bool):
        raise InvalidValue("a boolean can't be a key")
    if isinstance(value, (int, float, Decimal)):
        return _number_key(value)
    if isinstance(value, _BYTES):
        raise InvalidValue("the key is bytes; cast it to text in the SQL")
    if not isinstance(value, (str, UUID)):
        raise InvalidValue(_NO_KEY.format(type(value).__name__))
    key = str(value)
    if (flaw := key_flaw(key)) is not None:
        raise InvalidValue(f"the key {flaw}")
    return key


def key_flaw(key: str) -> str | None:
    """Why a text can't be a key; None when it can: any text is one that isn't blank and that every database can hold."""
    if not key:
        return "is empty"
    if key.isspace():
        return "is blank"
    if "\0" in key:
        return "holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in key):
        return "holds broken Unicode (a lone surrogate)"
    return None


def to_keys(values: Sequence[Any]) -> Sequence[str | InvalidValue]:
    """The texts of many keys; in place of one that can't be a key, the reason."""
    return plain_keys(values) or [_key_or_reason(value) for value in values]


def plain_keys(values: Sequence[Any]) -> list[str] | None:
    """The texts of many keys where their types tell that all of them are right; None where each has to be looked at."""
    types = frozenset(map(type, values))
    if types == _INTEGERS and is_countable(min(values)) and is_countable(max(values)):
        return list(map(str, values))
    if types == _UUIDS:
        return list(map(str, values))
    if types == _TEXTS and all(map(str.isprintable, values)) and all(map(str.strip, values)):
        return list(values)
    return None


def _key_or_reason(value: Any) -> str | InvalidValue:
    try:
        return to_key(value)
    except InvalidValue as problem:
        return InvalidValue(problem.reason)  # made anew: the one that was raised holds on to whatever was at hand there


def _number_key(value: float | Decimal) -> str:
    if not is_countable(value):
        raise InvalidValue("a number beyond the range of a double can't be a key")
    if value != int(value):
        raise InvalidValue("a number with a fraction can't be a key")
    if isinstance(value, float) and abs(value) > _LARGEST_EXACT:
        raise InvalidValue("a double that may have lost digits can't be a key; cast it in the SQL")
    return str(int(value))


def is_countable(value: float | Decimal) -> bool:
    """Whether a number is within the range of a double. Far beyond it Python refuses to write an integer as a text."""
    if isinstance(value, Decimal):
        return value.is_finite() and value.adjusted() <= _LARGEST_EXPONENT
    return bool(-_BEYOND < value < _BEYOND)  # false for NaN, too


def to_boolean(value: Any, warnings: Warnings) -> Json:
    """0 and 1 become false and true; any other number stays, with a warning."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, Decimal)):
        if value in (0, 1):
            return bool(value)
        warnings[NOT_BOOLEAN] += 1
    return to_json_value(value, warnings)


def to_moment(value: Any, warnings: Warnings, epoch: Epoch | None = None) -> Json:
    """A text that holds a moment becomes ISO 8601 in UTC; a text that holds a date stays a date, and a blank one is null.

    :param epoch: what numbers count, from 1970 on.
    :raises InvalidValue: for a text that holds neither, and for what is no date or time at all.
    """
    if not isinstance(value, str):
        return _moment_of_other(value, warnings, epoch)
    text = value.strip()
    if not text:
        return None
    if epoch is not None and NUMBER_TEXT.fullmatch(text):
        return _moment_of_other(Decimal(text), warnings, epoch)
    try:
        moment = moment_of_text(text)
    except OverflowError:
        return _outside_calendar(warnings)
    if moment is None:
        raise InvalidValue(_NO_MOMENT)
    return moment


def _moment_of_other(value: Any, warnings: Warnings, epoch: Epoch | None) -> Json:
    if isinstance(value, (datetime, date)) and not is_of_numpy(type(value)):
        return to_json_value(value, warnings)
    plain = to_json_value(value, warnings)
    if plain is None:
        return None
    if isinstance(plain, str):  # a date of numpy or pandas; a time of day is none
        return to_moment(plain, warnings)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise InvalidValue("holds no date or time")
    if epoch is None:
        raise InvalidValue(_NUMBER_FOR_MOMENT)
    try:
        return epoch_text(plain, epoch)
    except OverflowError:
        return _outside_calendar(warnings)


def _outside_calendar(warnings: Warnings) -> Json:
    return _changed(Changed(None, OUTSIDE_CALENDAR), warnings)


def _conversion_of_base(value: Any) -> Callable[[Any, Warnings], Json] | None:
    """How a subclass is converted: as the first of these types that it is based on."""
    return next((convert for base, convert in _CONVERSIONS.items() if isinstance(value, base)), None)


def _text(value: str, warnings: Warnings) -> str:
    if "\0" in value:
        warnings[NUL_REMOVED] += 1
        return value.replace("\0", "")
    return value


def _double(value: float, warnings: Warnings) -> float | None:
    if math.isfinite(value):
        return value
    warnings[NOT_FINITE] += 1
    return None


def _decimal(value: Decimal, warnings: Warnings) -> int | float | None:
    if not value.is_finite():
        warnings[NOT_FINITE] += 1
        return None
    if not is_countable(value):  # as an int it would be a text of any length
        raise InvalidValue("holds a number beyond the range of a double")
    if value == value.to_integral_value():
        return int(value)
    double = float(value)
    if Decimal(repr(double)) != value:
        warnings[DIGITS_LOST] += 1
    return double


def _datetime(value: datetime, warnings: Warnings) -> Json:
    try:
        return moment_text(value)
    except OverflowError:
        return _outside_calendar(warnings)


def _changed(value: Changed, warnings: Warnings) -> Json:
    warnings[value.warning] += 1
    return value.value


def _invalid(value: InvalidValue, _: Warnings) -> Json:
    raise InvalidValue(value.reason)


def _nested(value: Any, warnings: Warnings, depth: int) -> Json:
    if depth >= _NESTING:
        raise InvalidValue(TOO_DEEP)
    if isinstance(value, dict):
        return {_text(str(key), warnings): to_json_value(item, warnings, depth + 1) for key, item in value.items()}
    items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value  # a set has no order of its own
    return [to_json_value(item, warnings, depth + 1) for item in items]


def _as_text(value: object, _: Warnings) -> str:
    return str(value)


def _day(value: date | time, _: Warnings) -> str:
    return value.isoformat()


def _duration(value: timedelta, _: Warnings) -> str:
    return duration_text(value)


# datetime before date, bool and int subclasses before float: the first base that fits wins.
_CONVERSIONS: dict[type, Callable[[Any, Warnings], Json]] = {
    Decimal: _decimal,
    datetime: _datetime,
    date: _day,
    UUID: _as_text,
    time: _day,
    timedelta: _duration,
    bool: lambda value, _: bool(value),
    int: lambda value, _: int(value),
    float: lambda value, warnings: _double(float(value), warnings),
    str: lambda value, warnings: _text(str(value), warnings),
    IPv4Address: _as_text,  # IPv4Interface too, which is an address
    IPv6Address: _as_text,
    IPv4Network: _as_text,
    IPv6Network: _as_text,
    Changed: _changed,
    InvalidValue: _invalid,
}
