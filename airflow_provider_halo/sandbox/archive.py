"""The sandbox's state in a SQLite file, so that it survives a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec


class Stored(msgspec.Struct, gc=False):
    """One user or company as it is kept. Times are ISO 8601 in UTC with microseconds.

    :param content: JSON of the merged traits and context.
    :param imported: whether ``users/update`` made this user.
    """

    content: bytes
    created_at: str
    updated_at: str
    first_seen: str | None = None
    last_seen: str | None = None
    imported: bool = False


_COLUMNS: Final = "content, created_at, updated_at, first_seen, last_seen, imported"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    scope TEXT NOT NULL, id TEXT NOT NULL, content BLOB NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    first_seen TEXT, last_seen TEXT, imported INTEGER NOT NULL, PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (user_id TEXT PRIMARY KEY, company_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS automations (name TEXT PRIMARY KEY, started INTEGER NOT NULL) WITHOUT ROWID;
"""


class Archive:
    """A SQLite file with everything a store holds. The store's lock guards it: it isn't safe to share by itself.

    :param path: the file; it is made when it isn't there.
    :raises sqlite3.Error: when the path can't be opened or is no SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # A write is lost only when the machine itself stops, which a sandbox may suffer; each call is much faster.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)

    def records(self, scope: str) -> Iterator[tuple[str, Stored]]:
        """All records of ``users`` or ``companies`` with their ids, in the order of the ids."""
        rows = self._connection.execute(f"SELECT id, {_COLUMNS} FROM records WHERE scope = ?", (scope,))  # noqa: S608 - a constant
        for key, content, created_at, updated_at, first_seen, last_seen, imported in rows:
            yield key, Stored(content, created_at, updated_at, first_seen, last_seen, bool(imported))

    def links(self) -> Iterator[tuple[str, str]]:
        """Pairs of user id and company id."""
        yield from self._connection.execute("SELECT user_id, company_id FROM links ORDER BY user_id")

    def automations(self) -> dict[str, int]:
        """How often each automation was started."""
        return dict(self._connection.execute("SELECT name, started FROM automations"))

    def save(
        self,
        scope: str,
        rows: Iterable[tuple[str, Stored]],
        *,
        links: Iterable[tuple[str, str]],
        automations: Mapping[str, int],
    ) -> None:
        """Write what one request changed, all or nothing."""
        with self._connection:
            self._connection.executemany(
                f"INSERT OR REPLACE INTO records (scope, id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                ((scope, key, *msgspec.structs.astuple(stored)) for key, stored in rows),
            )
            self._connection.executemany("INSERT OR REPLACE INTO links VALUES (?, ?)", links)
            self._connection.executemany("INSERT OR REPLACE INTO automations VALUES (?, ?)", automations.items())

    def clear(self) -> None:
        """Forget everything."""
        with self._connection:
            for table in ("records", "links", "automations"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
