"""A Halo in memory that a delivery can be run against, as strict or as odd as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings


@dataclass
class Halo:
    """The server's side: what it refuses, and what it stored how often.

    :param bad: users, companies and links (by user) that are refused.
    :param blame: how a users/update with a bad user is answered: ``nameless`` 400, ``named`` 400, ``partial`` 200 that
        names them, ``counted`` 200 that only counts them.
    :param body_limit: longer bodies get 413.
    :param takes_context: whether users/update takes context.
    :param known: users it knows, for update_only.
    :param broken: keys that are answered with 500.
    """

    bad: set[str] = field(default_factory=set)
    blame: str = "nameless"
    says: Callable[[str], str] = lambda key: "Bad request"
    reserved: frozenset[str] = frozenset()
    body_limit: int = 10**9
    takes_context: bool = True
    known: set[str] | None = None
    broken: set[str] = field(default_factory=set)
    status: int | None = None
    users: Counter[str] = field(default_factory=Counter)
    companies: Counter[str] = field(default_factory=Counter)
    links: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: list[tuple[str, int]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    contexts: set[str] = field(default_factory=set)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        try:
            path = request.url.path.removeprefix("/api/sdk/")
            body = json.loads(request.content)
            self.calls.append((path, len(body.get("users", "1"))))
            if self.status is not None:
                return httpx.Response(self.status, json={"error": "no"})
            if len(request.content) > self.body_limit:
                return httpx.Response(413, text="<title>Too large</title>")
            if path == "users/update":
                return self._update(body["users"], body.get("update_only", False))
            key = body.get("user_id") or body["company_id"]
            if key in self.broken:
                return httpx.Response(500)
            if key in self.bad:
                return httpx.Response(400, json={"error": self.says(key)})
            if path == "users/identify":
                self.users[key] += 1
            elif "user_id" in body:
                self.links[key, body["company_id"]] += 1
            else:
                self.companies[key] += 1
            return httpx.Response(200, json={"id": key})
        finally:
            self.in_flight -= 1

    def _update(self, users: list[dict], update_only: bool) -> httpx.Response:  # noqa: FBT001 (a test's helper)
        keys = [user["user_id"] for user in users]
        if self.broken.intersection(keys):
            return httpx.Response(500)
        offending = sorted({name for user in users for name in user.get("traits", {})} & self.reserved)
        if offending:
            return httpx.Response(400, json={"error": "Reserved keys", "reserved_keys": offending})
        if not self.takes_context and any("context" in user for user in users):
            return httpx.Response(400, json={"error": "Unknown field"})
        bad = [key for key in keys if key in self.bad]
        errors = [{"user_id": key, "error": self.says(key)} for key in bad]
        if bad and self.blame == "nameless":
            return httpx.Response(400, json={"error": self.says(bad[0])})
        if bad and self.blame == "named":
            return httpx.Response(400, json={"error": "Some users are bad", "errors": errors})
        good = [user for user in users if user["user_id"] not in self.bad]
        skipped = [
            user for user in good if update_only and self.known is not None and user["user_id"] not in self.known
        ]
        for user in good:
            if user not in skipped:
                self.users[user["user_id"]] += 1
                if "context" in user:
                    self.contexts.add(user["user_id"])
        counts = {"updated": len(good) - len(skipped), "skipped": len(skipped)}
        return httpx.Response(200, json={**counts, "errors": errors if self.blame == "partial" else len(errors)})


class Run:
    """One delivery from beginning to end, and what it emitted."""

    def __init__(self, halo: Halo, **settings) -> None:
        self.halo = halo
        self.outcomes: list[Outcome] = []
        self.update_only = settings.pop("update_only", False)
        self.settings = HaloSettings(
            **{
                "widget_key": "ab_live_test",
                "identity_secret": "ha_secret_0123456789abcdef0123456789",
                "base_url": "http://127.0.0.1:1/api/sdk",
                "max_in_flight": 1,
                "max_retry_seconds": 20.0,
                **settings,
            }
        )
        self.now = 1_780_000_000.0

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def __call__(self, work) -> Run:
        """Run `work(delivery)`; `client` and `outcomes` tell what became of it, also where it raises."""

        async def scenario() -> None:
            client = HaloClient(
                self.settings,
                transport=httpx.MockTransport(self.halo),
                clock=lambda: self.now,
                timer=lambda: self.now,
                sleep=self._sleep,
            )
            self.client = client
            async with client:
                await asyncio.wait_for(
                    work(Delivery(client, self.outcomes.append, update_only=self.update_only)), timeout=30
                )
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, "a lane was left running"

        asyncio.run(scenario())
        return self

    @property
    def counts(self) -> dict[str, int]:
        """How many of each, as ``{"users stored": 2}``."""
        counts: Counter[str] = Counter()
        for outcome in self.outcomes:
            counts[f"{outcome.scope} {outcome.status}"] += outcome.count
        return dict(counts)

    def keys(self, scope: str, status: str) -> list[str]:
        return sorted(
            change.payload.key
            for outcome in self.outcomes
            if (outcome.scope, outcome.status) == (scope, status)
            for change in outcome.changes
        )

    @property
    def problems(self) -> list[str]:
        return [str(outcome.problem) for outcome in self.outcomes if outcome.problem]


class Chunked:
    """Changes in chunks. No async generator: one that nobody closes lives on as a task, which looks like a lane."""

    def __init__(self, payloads: Sequence[Payload], size: int = 1_000) -> None:
        changes = list(map(Change, payloads))
        self._chunks = iter([changes[start : start + size] for start in range(0, len(changes), size)])

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        await asyncio.sleep(0)
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def make_users(count: int, *, context: bytes = b"", traits: bytes = b'{"plan":"pro"}', start: int = 0) -> list[Payload]:
    return [Payload("users", f"u{number}", traits, context, f"c{number % 7}") for number in range(start, start + count)]


def make_companies(count: int) -> list[Payload]:
    return [Payload("companies", f"c{number}", b'{"name":"C"}', b"") for number in range(count)]


@pytest.fixture(scope="session")
def halo() -> type[Halo]:
    return Halo


@pytest.fixture(scope="session")
def run() -> type[Run]:
    return Run


@pytest.fixture(scope="session")
def in_chunks():
    return Chunked


@pytest.fixture(scope="session")
def users_of():
    return make_users


@pytest.fixture(scope="session")
def companies_of():
    return make_companies


@pytest.fixture(scope="session")
def changes_of():
    return lambda count, **given: list(map(Change, make_users(count, **given)))
