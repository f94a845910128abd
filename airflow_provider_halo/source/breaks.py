"""Reading goes on after a break: how long to wait for a database to come back, and which of its rows were given already."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, final

import sqlalchemy as sa

from airflow_provider_halo.records.values import to_keys
from airflow_provider_halo.source.errors import is_break

__all__ = ["AGAIN", "PATIENCE", "Breaks", "Given", "Rows"]

Rows: TypeAlias = "Sequence[Sequence[Any]]"

AGAIN: Final[Rows] = ()
"""In place of a chunk, after a break: the rows of the last record so far come again, all of them."""

PATIENCE: Final = 60.0  # seconds that a database may be away; a ledger's database is given as long
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0


@final
class Breaks:
    """The breaks of one reading. A database that never answered isn't waited for: its connection is wrong, most likely.

    :param patience: seconds from the first break on, without progress, after which the reading fails.
    """

    def __init__(self, engine: sa.Engine, patience: float = PATIENCE) -> None:
        self._engine = engine
        self._patience = patience
        self._since: float | None = None
        self._pause = _FIRST_PAUSE

    def pause(self, error: Exception) -> float | None:
        """Seconds to wait before the next try; None when the error is no break, or there were too many."""
        # The dialect asks for it with the first connection that comes about.
        if self._engine.dialect.server_version_info is None or not is_break(error):
            return None
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > self._patience:
            return None
        pause, self._pause = self._pause, min(_LONGEST_PAUSE, 2 * self._pause)
        return random.uniform(0.5, 1) * pause  # noqa: S311 (spreads the tries: many readings break at once)

    def progress(self) -> None:
        """Start anew: rows came that hadn't come before."""
        self._since, self._pause = None, _FIRST_PAUSE


@final
class Given:
    """How far the rows of a statement were given, which come in the order of their keys' texts.

    :param key_at: the key's place in a row.
    """

    def __init__(self, key_at: int) -> None:
        self._key_at = key_at
        self._last: Sequence[Any] | None = None

    @property
    def last_key(self) -> str | None:
        """The last row's key; None where that can't be a key, or there was none."""
        return None if self._last is None else self._key_of(self._last)

    @property
    def is_begun(self) -> bool:
        """Whether any row was given."""
        return self._last is not None

    def new(self, chunks: Iterator[Rows]) -> Iterator[Rows]:
        """The chunks, of which those before the last row's record are left out when they come again."""
        last = self.last_key
        if last is not None:
            yield AGAIN
            chunks = self._from(last, chunks)
        for chunk in chunks:
            self._last = chunk[-1]
            yield chunk

    def _from(self, last: str, chunks: Iterator[Rows]) -> Iterator[Rows]:
        for chunk in chunks:
            for place, row in enumerate(chunk):
                key = self._key_of(row)
                if key is not None and key >= last:
                    yield chunk[place:]
                    yield from chunks
                    return

    def _key_of(self, row: Sequence[Any]) -> str | None:
        (key,) = to_keys([row[self._key_at]])
        return key if isinstance(key, str) else None
