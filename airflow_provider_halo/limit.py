"""How many of a run's records something may happen to: read once from text into a frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from airflow_provider_halo.exceptions import SetupError

__all__ = ["NO_LIMIT", "Limit"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """At most a count of records, or at most a share of them; with neither, any number is allowed.

    :param count: records.
    :param percent: a share of all records, from 0 to 100.
    """

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, value: str | float | None, name: str = "limit", *, share_only: bool = False) -> Limit:
        """Read a count (``20``), a share (``1%``), or no limit (``none``, an empty text or None).

        :param name: what the limit is called in the message of the error.
        :param share_only: whether a count is refused.
        :raises SetupError: for anything else; says what is accepted.
        """
        text = "" if value is None else str(value).strip()
        if text.lower() in {"", "none"}:
            return NO_LIMIT
        is_share = text.endswith("%")
        number = _number(text.removesuffix("%"))
        if is_share and 0 <= number <= 100:
            return cls(percent=number)
        if not is_share and not share_only and number >= 0 and number.is_integer():
            return cls(count=int(number))
        accepted = "a share such as 50%" if share_only else "a count such as 20, or a share such as 1%"
        raise SetupError(f"{name} must be {accepted}, or none, not {value!r}.")

    def maximum(self, of: int) -> float:
        """The largest number of records that is allowed, out of so many; infinity without a limit."""
        if self.percent is not None:
            return self.percent * of / 100
        return math.inf if self.count is None else self.count

    def allows(self, count: int, of: int) -> bool:
        """Whether this many records, out of so many, are within the limit."""
        return count <= self.maximum(of)

    def __str__(self) -> str:
        if self.percent is not None:
            return f"{self.percent:.12g}%"
        return "none" if self.count is None else str(self.count)


NO_LIMIT: Final = Limit()


def _number(text: str) -> float:
    """A finite number; NaN, which no range contains, for anything else."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
