"""What the sandbox remembers: users, companies and links, merged as the API merges; in a SQLite file where one is named."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

__all__ = ["Clock", "Scope", "StateFile", "Store", "utc_now"]

Scope = Literal["users", "companies"]
Clock = Callable[[], datetime]


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


class Content(msgspec.Struct):
    """What callers have sent about one user or company, merged."""

    traits: dict[str, Any]
    context: dict[str, Any]


class Name(msgspec.Struct):
    """A record's name alone, read without building the rest."""

    name: Any = ""


class Named(msgspec.Struct):
    """The part of ``Content`` that a search looks at."""

    traits: Name


_COLUMNS: Final = "content, created_at, updated_at, first_seen, last_seen, imported"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    scope TEXT NOT NULL, id TEXT NOT NULL, content BLOB NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    first_seen TEXT, last_seen TEXT, imported INTEGER NOT NULL, PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (user_id TEXT PRIMARY KEY, company_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS automations (name TEXT PRIMARY KEY, started INTEGER NOT NULL) WITHOUT ROWID;
"""

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Content)
_names = msgspec.json.Decoder(Named)


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(timezone.utc)


class Store:
    """Users, companies and links. Records are kept as JSON bytes, so a million users fit in memory.

    :param clock: gives the time that is written down as ``last_seen`` and the like.
    :param file: where each change is also written; what it holds is read at once.
    """

    def __init__(self, *, clock: Clock = utc_now, file: StateFile | None = None) -> None:
        self._clock = clock
        self._file = file
        self._lock = threading.RLock()
        self._records: dict[Scope, dict[str, Stored]] = {"users": {}, "companies": {}}
        self._company_of: dict[str, str] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._automations: Counter[str] = Counter()
        self._users_seen = 0
        if file is not None:
            self._records["users"].update(file.records("users"))
            self._records["companies"].update(file.records("companies"))
            self._automations.update(file.automations())
            self._users_seen = sum(stored.last_seen is not None for stored in self._records["users"].values())
            for user_id, company_id in file.links():
                self._link(user_id, company_id)

    def identify_user(self, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Merge one user who is present now: ``last_seen`` moves, a new user enters automations (documented)."""
        with self._lock:
            now = self._now()
            new = user_id not in self._records["users"]
            stored = self._merge("users", user_id, body, now)
            self._see(stored, now)
            if new:
                self._automations["user_created"] += 1
            self._save("users", [user_id])
            return self._view("users", user_id)

    def update_users(self, users: Iterable[tuple[str, dict[str, Any]]], *, update_only: bool) -> dict[str, int]:
        """Merge users without a sign of activity; nobody's ``first_seen`` or ``last_seen`` moves (documented).

        A new user has neither (assumed: nobody has seen them yet). Gives the counts of the answer.
        """
        counts = {"created": 0, "updated": 0, "skipped": 0}
        with self._lock:
            now = self._now()
            known = self._records["users"]
            touched: dict[str, None] = {}
            for user_id, entry in users:
                if user_id in known:
                    counts["updated"] += 1
                    self._merge("users", user_id, entry, now)
                elif update_only:
                    counts["skipped"] += 1
                    continue
                else:
                    counts["created"] += 1
                    self._merge("users", user_id, entry, now).imported = True
                touched[user_id] = None
            self._save("users", touched)
        return counts

    def identify_company(self, company_id: str, body: dict[str, Any], user_id: str | None) -> dict[str, Any]:
        """Merge one company and link a user to it.

        Assumed: a user has one company, so a later link moves the user; linking makes no user and is no activity.
        """
        with self._lock:
            self._merge("companies", company_id, body, self._now())
            if user_id is not None:
                self._link(user_id, company_id)
            self._save("companies", [company_id], link=user_id)
            return self._view("companies", company_id)

    def see(self, user_id: str) -> None:
        """Make a user who isn't there, and move ``last_seen``: an event of theirs came in (documented)."""
        with self._lock:
            now = self._now()
            self._see(self._merge("users", user_id, {}, now), now)
            self._save("users", [user_id])

    def user(self, user_id: str) -> dict[str, Any] | None:
        """One user with traits, context, times and the linked company's id; None when unknown."""
        with self._lock:
            return self._view("users", user_id) if user_id in self._records["users"] else None

    def company(self, company_id: str) -> dict[str, Any] | None:
        """One company with traits, context, times and how many users are linked to it; None when unknown."""
        with self._lock:
            return self._view("companies", company_id) if company_id in self._records["companies"] else None

    def members(self, company_id: str) -> list[str]:
        """Ids of the users linked to a company, in the order in which they were linked."""
        with self._lock:
            return list(self._members.get(company_id, ()))

    def find(self, scope: Scope, text: str = "") -> list[str]:
        """Ids of the records whose id or name has this text in it, whatever its case; sorted."""
        with self._lock:
            contents = [(key, stored.content) for key, stored in self._records[scope].items()]
        wanted = text.casefold()
        return sorted(key for key, content in contents if not wanted or wanted in _searched(key, content))

    def counts(self) -> dict[str, Any]:
        """How many users, companies and links there are, how many users were ever seen, and started automations."""
        with self._lock:
            return {
                "users": len(self._records["users"]),
                "companies": len(self._records["companies"]),
                "links": len(self._company_of),
                "users_seen": self._users_seen,
                "automations": dict(self._automations),
            }

    def digest(self) -> str:
        """SHA-256 of all that callers sent, times made here left out: equal states give equal digests anywhere."""
        with self._lock:
            contents = {scope: {key: row.content for key, row in rows.items()} for scope, rows in self._records.items()}
            links = sorted(self._company_of.items())
        total = hashlib.sha256()
        for scope in ("companies", "users"):
            for key, content in sorted(contents[scope].items()):
                total.update(_canonical.encode([scope, key, msgspec.json.decode(content)]) + b"\n")
        for link in links:
            total.update(_canonical.encode(["links", *link]) + b"\n")
        return total.hexdigest()

    def last_seen_digest(self) -> str:
        """SHA-256 of every user's ``first_seen`` and ``last_seen``: it moves when, and only when, somebody is seen."""
        with self._lock:
            seen = sorted(
                (key, row.first_seen, row.last_seen)
                for key, row in self._records["users"].items()
                if row.last_seen is not None
            )
        return hashlib.sha256(_canonical.encode(seen)).hexdigest()

    def export(self) -> Iterator[bytes]:
        """Everything as NDJSON: companies, then users, in the order of their ids."""
        for scope in ("companies", "users"):
            for key in self.find(scope):
                record = self.company(key) if scope == "companies" else self.user(key)
                if record is not None:
                    yield _encoder.encode(record) + b"\n"

    def reset(self) -> None:
        """Forget everything, in the file too."""
        with self._lock:
            for records in self._records.values():
                records.clear()
            self._company_of.clear()
            self._members.clear()
            self._automations.clear()
            self._users_seen = 0
            if self._file is not None:
                self._file.clear()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _now(self) -> str:
        return self._clock().astimezone(timezone.utc).isoformat(timespec="microseconds")

    def _merge(self, scope: Scope, key: str, sent: dict[str, Any], now: str) -> Stored:
        """Traits merge, new values win; a context entry that is sent again replaces the old one whole (documented)."""
        stored = self._records[scope].get(key)
        traits, context = sent.get("traits") or {}, sent.get("context") or {}
        if stored is None:
            stored = Stored(content=_encoder.encode(Content(traits, context)), created_at=now, updated_at=now)
            self._records[scope][key] = stored
            return stored
        stored.updated_at = now
        if not traits and not context:
            return stored  # a call that only links
        content = _decoder.decode(stored.content)
        content.traits.update(traits)
        content.context.update(context)
        stored.content = _encoder.encode(content)
        return stored

    def _see(self, stored: Stored, now: str) -> None:
        if stored.last_seen is None:
            stored.first_seen = now
            self._users_seen += 1
        stored.last_seen = now

    def _link(self, user_id: str, company_id: str) -> None:
        before = self._company_of.get(user_id)
        if before is not None:
            self._members[before].pop(user_id, None)
        self._company_of[user_id] = company_id
        self._members.setdefault(company_id, {})[user_id] = None

    def _view(self, scope: Scope, key: str) -> dict[str, Any]:
        stored = self._records[scope][key]
        content = _decoder.decode(stored.content)
        view: dict[str, Any] = {"traits": content.traits, "context": content.context}
        view |= {"created_at": stored.created_at, "updated_at": stored.updated_at}
        if scope == "companies":
            return {"company_id": key, **view, "team_size": len(self._members.get(key, ()))}
        # Documented: a new user without signed_up_at gets the import time; it is shown, but isn't what a caller sent.
        if stored.imported and "signed_up_at" not in content.traits:
            view["signed_up_at"] = stored.created_at
        seen = {"first_seen": stored.first_seen, "last_seen": stored.last_seen}
        return {"user_id": key, **view, **seen, "company_id": self._company_of.get(key)}

    def _save(self, scope: Scope, keys: Iterable[str], *, link: str | None = None) -> None:
        if self._file is not None:
            rows = [(key, self._records[scope][key]) for key in keys]
            links = [] if link is None else [(link, self._company_of[link])]
            self._file.save(scope, rows, links=links, automations=self._automations)


def _searched(key: str, content: bytes) -> str:
    return f"{key}\n{_names.decode(content).traits.name or ''}".casefold()


class StateFile:
    """A SQLite file with everything a store holds. The store's lock guards it: it isn't safe to share by itself.

    :param path: the file; it is made when it isn't there.
    :raises sqlite3.Error: when the path can't be opened or is not a SQLite file.
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
