"""Dates, moments and durations: read from texts and epochs, written as ISO 8601, in UTC where they have a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "EPOCHS",
    "Epoch",
    "are_moments",
    "day_of_text",
    "duration_text",
    "epoch_text",
    "moment_of_text",
    "moment_text",
]

Epoch = Literal["seconds", "milliseconds", "microseconds"]
EPOCHS: Final[tuple[Epoch, ...]] = get_args(Epoch)
Number: TypeAlias = "int | float"

_ZONE = r"(?P<zone>Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?"
_FRACTION = r"(?:[.,](?P<fraction>\d+))?"
# A whole day first: `2024-W05`, `2024-060` and `2024-01` are ISO 8601 too, but no day that anybody would write so.
_EXTENDED = (
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)"
    rf"(?:[T ](?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d){_FRACTION})?)? ?{_ZONE})?"
)
_BASIC = (
    rf"(?P<year>\d{{4}})(?P<month>\d\d)(?P<day>\d\d)"
    rf"(?:[T ](?P<hour>\d\d)(?:(?P<minute>\d\d)(?:(?P<second>\d\d){_FRACTION})?)?{_ZONE})?"
)
_FORMS: Final = tuple(re.compile(form, re.ASCII | re.IGNORECASE) for form in (_EXTENDED, _BASIC))
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")

_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND: Final[dict[Epoch, int]] = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}


def moment_of_text(text: str) -> str | None:
    """A date, or a moment in UTC, as a text of ISO 8601 says it: ``2025-03-01``, ``2025-03-01T10:00:00+00:00``.

    :param text: without blanks around it.
    :return: None for a text that is neither.
    :raises OverflowError: for a moment that lies outside the years 1 to 9999 in UTC.
    """
    return _usual_moment(text) or _any_moment(text)


def day_of_text(text: str) -> str | None:
    """The date that a text says; None for another text."""
    return text if len(text) == len("2025-03-01") and _usual_moment(text) else None


def moment_text(moment: datetime) -> str:
    """A moment in UTC; one without an offset is in UTC already.

    :raises OverflowError: for a moment that lies outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc).isoformat()
    return moment.astimezone(timezone.utc).isoformat()


def epoch_text(number: Number, unit: Epoch) -> str:
    """The moment that lies so long after 1970 began in UTC.

    :raises OverflowError: for a moment outside the years 1 to 9999.
    """
    per_second = _SECOND[unit]
    whole, rest = divmod(number, per_second)
    return (_EPOCH_START + timedelta(seconds=whole, microseconds=rest * (1_000_000 // per_second))).isoformat()


def duration_text(duration: timedelta) -> str:
    """A duration as ISO 8601, the way PostgreSQL writes it: ``P1DT2H3M4.5S``, each part of a negative one negative."""
    sign = "-" if duration < timedelta() else ""
    duration = abs(duration)
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{sign}{duration.days}D" if duration.days else ""
    clock = ((hours, "H"), (minutes, "M"), (_seconds_text(seconds, duration.microseconds), "S"))
    parts = [f"{sign}{number}{unit}" for number, unit in clock if number]
    if not (parts or days):
        parts = ["0S"]
    return f"P{days}{'T' if parts else ''}{''.join(parts)}"


def _seconds_text(seconds: int, microseconds: int) -> str:
    """Seconds with as much of their fraction as there is; an empty text where both are 0."""
    fraction = f".{microseconds:06}".rstrip("0") if microseconds else ""
    return f"{seconds}{fraction}" if seconds or fraction else ""


def are_moments(texts: Sequence[str]) -> bool:
    """Whether `moment_of_text` leaves all of these as they are: dates, or moments in UTC, in the form that is sent."""
    for kind in (date, datetime):
        try:
            if list(map(kind.isoformat, map(kind.fromisoformat, texts))) == list(texts):
                return kind is date or all(text.endswith("+00:00") for text in texts)
        except ValueError:
            continue
    return False


def _usual_moment(text: str) -> str | None:
    """What `moment_of_text` makes of the forms that databases write; None for others, which take longer."""
    try:
        if len(text) == len("2025-03-01"):
            return text if date.fromisoformat(text).isoformat() == text else None
        plain = text.removesuffix("Z")
        moment = datetime.fromisoformat(plain)
        if text[10] not in "T " or moment.isoformat(text[10]) != plain or (plain != text and moment.tzinfo is not None):
            return None
        return moment_text(moment)
    except (ValueError, IndexError):
        return None


def _any_moment(text: str) -> str | None:
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    year, month, day, *time = (int(found[part] or 0) for part in _PARTS)
    fraction = int((found["fraction"] or "")[:6].ljust(6, "0"))
    try:
        if found["hour"] is None:
            return date(year, month, day).isoformat()
        hour, minute, second = time
        return moment_text(datetime(year, month, day, hour, minute, second, fraction, _zone(found["zone"])))
    except ValueError:
        return None


def _zone(text: str | None) -> timezone:
    """An offset as it is written: ``Z``, ``+02``, ``-0330``, ``+05:53:28``.

    :raises ValueError: for an offset of a day or more.
    """
    digits = (text or "").strip("Zz+-").replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[at : at + 2]) for at in (0, 2, 4))
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-offset if text is not None and text.startswith("-") else offset)
