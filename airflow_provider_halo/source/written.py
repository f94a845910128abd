"""Dates, times, amounts and lists as databases write them, in the form that is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeAlias

from airflow_provider_halo.records.moments import moment_of_text
from airflow_provider_halo.records.values import OUTSIDE_CALENDAR, Changed

__all__ = [
    "BEYOND_CALENDAR",
    "NoList",
    "amount",
    "day",
    "fraction_digits",
    "list_of",
    "moment",
    "pairs_of",
    "time_of_day",
]

BEYOND_CALENDAR: Final = Changed(None, OUTSIDE_CALENDAR)

NestedList: TypeAlias = "list[Any]"
_SECONDS: Final = len("2025-03-01 10:00:00")
_TIME: Final = re.compile(r"(-?\d{2,}:\d\d:\d\d)(?:\.(\d{1,6}))?(?:([+-]\d\d)(:\d\d(?::\d\d)?)?)?", re.ASCII)
# An item in quotes with backslashes, one without, or what begins, parts and ends lists.
_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},"]+)|([{},])', re.DOTALL)
_PAIR: Final = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:"((?:[^"\\]|\\.)*)"|NULL)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class NoList(ValueError):
    """A text that isn't written as a list."""


def day(written: Any) -> Any:
    """A date: ``2025-03-01``. Infinity, years before 1 and beyond 9999, and days that don't exist are null and told."""
    if not isinstance(written, str):
        return written
    try:
        return date.fromisoformat(written).isoformat()
    except ValueError:
        return BEYOND_CALENDAR


def moment(written: Any) -> Any:
    """A moment in UTC, which one without an offset is in already; as for `day`, what isn't in the calendar is null."""
    if not isinstance(written, str):
        return written
    try:
        if len(written) == _SECONDS or (len(written) == _SECONDS + 3 and written.endswith("+00")):
            return f"{datetime.fromisoformat(written[:_SECONDS]).isoformat()}+00:00"
        return moment_of_text(written) or BEYOND_CALENDAR
    except (ValueError, OverflowError):
        return BEYOND_CALENDAR


def time_of_day(written: Any) -> Any:
    """A time of day, ``09:30:00``, or what MySQL writes like one: ``-01:30:00``, ``838:59:59``."""
    if isinstance(written, timedelta):
        written = _clock(written)
    if not isinstance(written, str) or len(written) == len("09:30:00"):
        return written
    found = _TIME.fullmatch(written)
    if found is None:
        return written
    clock, fraction, hours, minutes = found.groups()
    digits = (fraction or "").ljust(6, "0")
    zone = f"{hours}{minutes or ':00'}" if hours else ""
    return f"{clock}{'' if digits == '000000' else f'.{digits}'}{zone}"


def _clock(duration: timedelta) -> str:
    sign = "-" if duration < timedelta() else ""
    duration = abs(duration)
    minutes, seconds = divmod(duration.days * 86_400 + duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{duration.microseconds:06}" if duration.microseconds else ""
    return f"{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}"


def fraction_digits(specimen: str, whole: str) -> int:
    """How many digits of a locale's amounts are a fraction, by an amount whose whole part has these digits."""
    return len(_digits(specimen)) - len(whole)


def amount(written: Any, fraction: int) -> Any:
    """An amount of money as a number, however its locale writes it: ``$1,234.50``, ``(1.234,50 €)``, ``-¥1,234``.

    :param fraction: how many of its digits are a fraction.
    """
    if not isinstance(written, str):
        return written
    digits, unit = int(_digits(written)), 10**fraction
    # A whole amount is an integer, another the double that is next to it: as for decimals.
    number = digits / unit if digits % unit else digits // unit
    return -number if "-" in written or "(" in written else number


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isascii() and character.isdigit())


def list_of(written: str, item: Callable[[str], Any]) -> NestedList:
    """A list as PostgreSQL writes an array, ``{a,"b c",NULL,{…}}``; bounds in front of it, ``[0:1]=``, don't count.

    :param item: turns the text of an item into its value.
    :raises NoList: for another text.
    """
    text = written[written.find("=") + 1 :] if written.startswith("[") else written
    if not text.startswith("{"):
        raise NoList(written[:1])
    lists = _lists_of(text, item)
    if len(lists) != 1:
        raise NoList(text[:1])
    (items,) = lists
    return items  # type: ignore[no-any-return]  # a list, which begins with {


def _lists_of(text: str, item: Callable[[str], Any]) -> NestedList:
    """What stands in a text that begins with a list: that one alone, if the text is a list.

    :raises NoList: for a text in which a list isn't ended, or ended twice.
    """
    top: NestedList = []
    open_lists = [top]
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None or not open_lists:
            raise NoList(text[:1])
        place = token.end()
        quoted, plain, mark = token.groups()
        if mark == "{":
            inner: NestedList = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif mark == "}":
            open_lists.pop()
        elif quoted is not None:
            open_lists[-1].append(item(_ESCAPED.sub(r"\1", quoted)))
        elif plain is not None:
            open_lists[-1].append(None if plain.upper() == "NULL" else item(plain))
    if len(open_lists) != 1:
        raise NoList(text[:1])
    return top


def pairs_of(written: Any) -> Any:
    """PostgreSQL's hstore, ``"a"=>"1", "b"=>NULL``, as an object of texts."""
    if not isinstance(written, str):
        return written
    return {
        _ESCAPED.sub(r"\1", name): None if value is None else _ESCAPED.sub(r"\1", value)
        for name, value in (match.groups() for match in _PAIR.finditer(written))
    }
