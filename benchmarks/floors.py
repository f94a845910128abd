"""The least that anybody must do: to bring all records to Halo, and to know that none of them has changed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeAlias

import aiohttp
import msgspec

from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.model import QueryScope
from airflow_provider_halo.records.payload import Company, ContextEntry, User
from benchmarks.rows import Row, rows_of
from benchmarks.work import Work

_COMPANIES_AT_ONCE = 200  # read and encoded between two answers
_SEED = blake2b(b"seed", digest_size=16)
_ENCODER = msgspec.json.Encoder(decimal_format="number")  # no sorted keys: what is sent isn't compared with anything


class _Company(msgspec.Struct, gc=False):
    company_id: str
    traits: dict[str, Any]
    context: dict[str, ContextEntry]


class _User(msgspec.Struct, gc=False):
    user_id: str
    traits: dict[str, Any]
    context: dict[str, ContextEntry]


Bodies: TypeAlias = "list[tuple[str, bytes]]"  # path and body of each request


class Sending:
    """A raw loop from SQL rows to answers: companies first, then users, then links.

    The rows are those of the sync's own statements, bodies are encoded on the way, as many requests are on the way as the
    sync may have, over one aiohttp session. A thread reads and encodes the next part while the last one is being sent.
    Nothing is checked, joined by key, repeated or counted.

    :param bulk_token: of users/update; ``user_tokens``: of each user, for links. All are made beforehand.
    """

    def __init__(self, work: Work, *, bulk_token: str, user_tokens: dict[str, str]) -> None:
        self._work = work
        self._bulk_token = bulk_token
        self._user_tokens = user_tokens
        self._links: list[tuple[str, str]] = []
        self._records = 0

    def run(self) -> dict[str, int]:
        """Send everything; how many records that were."""
        asyncio.run(self._send())
        return {"records": self._records}

    async def _send(self) -> None:
        work = self._work
        parts = [self._companies()] if work.sends("companies") else []
        if work.sends("users"):
            parts.append(self._users())
        if work.links:
            parts.append(self._linked())
        headers = {"Authorization": f"Bearer {work.settings.widget_key}", "Content-Type": "application/json"}
        connector = aiohttp.TCPConnector(limit=work.settings.max_in_flight)
        cookies = aiohttp.DummyCookieJar()
        with ThreadPoolExecutor(max_workers=1) as reader:
            async with aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=cookies) as session:
                for part in parts:
                    await _Lanes(session, work.settings.base_url, part, reader).run(work.settings.max_in_flight)

    def _companies(self) -> Iterator[Bodies]:
        rows = self._rows("companies")
        while part := list(islice(rows, _COMPANIES_AT_ONCE)):
            self._records += len(part)
            yield [
                ("companies/identify", _ENCODER.encode(_Company(key, traits, context)))
                for key, _, traits, context in part
            ]

    def _users(self) -> Iterator[Bodies]:
        rows = self._rows("users")
        while part := list(islice(rows, USERS_PER_UPDATE)):
            self._records += len(part)
            if self._work.links:
                self._links += [(key, company) for key, company, _, _ in part]
            users = [_User(key, traits, context) for key, _, traits, context in part]
            yield [("users/update", _ENCODER.encode({"user_token": self._bulk_token, "users": users}))]

    def _linked(self) -> Iterator[Bodies]:
        for start in range(0, len(self._links), USERS_PER_UPDATE):
            yield [
                (
                    "companies/identify",
                    _ENCODER.encode({"company_id": company, "user_id": user, "user_token": self._user_tokens[user]}),
                )
                for user, company in self._links[start : start + USERS_PER_UPDATE]
            ]

    def _rows(self, scope: QueryScope) -> Iterator[Row]:
        work = self._work
        for batch in work.batches():
            yield from rows_of(work.engine, work.plan, work.selection, scope, batch)


class _Lanes:
    """Requests at once: each lane takes the next body when its last one is answered."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, parts: Iterator[Bodies], reader: ThreadPoolExecutor
    ) -> None:
        self._session = session
        self._base = base_url
        self._parts = parts
        self._reader = reader
        self._ready: deque[tuple[str, bytes]] = deque()
        self._turn = asyncio.Lock()
        self._next = self._read()

    async def run(self, lanes: int) -> None:
        await asyncio.gather(*(self._lane() for _ in range(lanes)))

    def _read(self) -> asyncio.Future[Bodies | None]:
        return asyncio.get_running_loop().run_in_executor(self._reader, next, self._parts, None)

    async def _lane(self) -> None:
        while True:
            if not self._ready:
                async with self._turn:
                    if not self._ready:
                        part = await self._next
                        if part is None:
                            return
                        self._ready.extend(part)
                        self._next = self._read()
            path, body = self._ready.popleft()
            async with self._session.post(f"{self._base}/{path}", data=body) as answer:
                await answer.read()
                assert answer.status == 200


def hash_all(work: Work) -> dict[str, int]:
    """Read all records by the sync's statements, one query after the other, make them, encode them, hash them."""
    count = 0
    scopes: tuple[QueryScope, ...] = ("companies", "users")
    for batch in work.batches():
        for scope in scopes:
            for key, company, traits, context in rows_of(work.engine, work.plan, work.selection, scope, batch):
                count += 1
                record: User | Company
                if scope == "users":
                    record = User(user_id=key, company_id=company, traits=traits, context=context)
                else:
                    record = Company(company_id=key, traits=traits, context=context)
                hasher = _SEED.copy()
                hasher.update(to_json(record.traits))
                hasher.update(to_json(record.context))
                hasher.digest()
    return {"records": count}
