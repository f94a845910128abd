"""A delivery against the sandbox, over real sockets: the second reading of the contract judges the first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.exceptions import ContextRefused, HaloUnavailable
from airflow_provider_halo.records.payload import Company, ContextEntry, User, payload_of
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings

ONBOARDING = {"onboarding": ContextEntry(label="Onboarding", type="status", value={"step": 3})}
COMPANIES = [payload_of(Company(company_id=f"c{number}", traits={"name": f"Company {number}"})) for number in range(40)]
USERS = [
    payload_of(
        User(user_id=f"u{number}", company_id=f"c{number % 40}", traits={"name": f"User {number}"}, context=ONBOARDING)
    )
    for number in range(1_500)
]


def deliver(in_chunks, config: SandboxConfig, *, users=USERS, **settings):
    """Send companies and users, link them, and give the counts, the store and the client's stats."""
    counts: Counter[str] = Counter()

    def emit(outcome) -> None:
        counts[f"{outcome.scope} {outcome.status}"] += outcome.count

    async def scenario(url: str):
        given = {
            "widget_key": config.widget_key,
            "identity_secret": config.identity_secret,
            "base_url": url,
            "timeout": 2.0,
            "max_retry_seconds": 20.0,
            **settings,
        }
        async with HaloClient(HaloSettings(**given), sleep=hurry) as client:
            delivery = Delivery(client, emit)
            await delivery.companies(in_chunks(COMPANIES))
            await delivery.users(in_chunks(users), decide_link=lambda user: int(user.key[1:]) % 10 == 0)
            return client.stats

    with SandboxServer(config) as server:
        stats = asyncio.run(scenario(server.url))
        store = server.store
        found = {
            "companies": sorted(store.find("companies")),
            "users": set(store.find("users")),
            "digest": store.digest(),
        }
        return dict(counts), found, stats


async def hurry(seconds: float) -> None:
    """Backoff, at a twentieth of its length."""
    await asyncio.sleep(seconds / 20)


@pytest.fixture(scope="module")
def undisturbed(in_chunks):
    return deliver(in_chunks, SandboxConfig())


def test_all_is_stored_in_as_few_requests_as_can_be(undisturbed):
    counts, found, stats = undisturbed
    assert counts == {"companies stored": 40, "users stored": 1_500, "links stored": 150}
    assert found["users"] == {f"u{number}" for number in range(1_500)}
    assert (stats.requests, stats.retries) == (40 + 2 + 150, 0)


@pytest.mark.parametrize(
    "faults",
    [
        ("429:every=9,retry_after=0",),
        ("500:every=7", "truncate:every=11"),
        ("reset_before:every=8", "reset_during:every=13", "reset_after:every=17"),
        ("html:every=9",),
        ("empty:every=5",),
    ],
    ids=["429", "500 and cut answers", "resets", "a proxy's page", "empty answers"],
)
def test_faults_change_nothing_in_what_is_stored(in_chunks, undisturbed, faults):
    counts, found, stats = deliver(in_chunks, SandboxConfig(faults=faults))
    assert (counts, found) == undisturbed[:2]
    assert stats.retries > 0


@pytest.mark.parametrize("bad_user", ["nameless", "named", "partial"])
def test_one_bad_user_is_rejected_whatever_the_server_says_of_it(in_chunks, bad_user):
    bad = payload_of(User(user_id="u1500", company_id="c0", traits={"signed_up_at": "yesterday"}))
    counts, found, stats = deliver(in_chunks, SandboxConfig(bad_user=bad_user), users=[*USERS, bad])
    assert counts == {"companies stored": 40, "users stored": 1_500, "users rejected": 1, "links stored": 150}
    assert found["users"] == {f"u{number}" for number in range(1_500)}
    assert stats.requests <= 40 + 150 + 2 + 2 * 10


def test_a_cap_on_the_body_is_learned(in_chunks, undisturbed):
    counts, found, _ = deliver(in_chunks, SandboxConfig(max_body_bytes=30_000))
    assert (counts, found) == undisturbed[:2]


def test_a_server_that_refuses_context_is_named(in_chunks):
    with pytest.raises(ContextRefused, match="send_context: false"):
        deliver(in_chunks, SandboxConfig(refuse_context=True))


def test_a_server_that_stays_down_ends_it_in_time(in_chunks):
    began = time.monotonic()
    with pytest.raises(HaloUnavailable):
        deliver(in_chunks, SandboxConfig(faults=("503",)), max_retry_seconds=2.0)
    assert time.monotonic() - began < 6
