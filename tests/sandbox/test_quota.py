"""The sandbox's quotas, as a client meets them."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx
import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.quota import QuotaError, QuotaRule
from airflow_provider_halo.sandbox.server import SandboxServer


def answers(server, count, pause=0.0):
    found = []
    with httpx.Client(base_url=server.url, headers={"Authorization": "Bearer ab_live_sandbox"}) as client:
        for _ in range(count):
            found.append(client.post("/companies/identify", json={"company_id": "c1"}))
            time.sleep(pause)
    return found


def statuses(server, count):
    return Counter(answer.status_code for answer in answers(server, count))


def test_a_bucket_gives_its_burst_and_then_what_comes_in():
    with SandboxServer(SandboxConfig(quota=QuotaRule(quota="1/s", burst=5))) as server:
        assert statuses(server, 10) == {200: 5, 429: 5}
        time.sleep(1.1)
        assert statuses(server, 3) == {200: 1, 429: 2}


def test_a_window_gives_all_at_its_start():
    with SandboxServer(SandboxConfig(quota=QuotaRule(quota="4/1s"))) as server:
        assert statuses(server, 6) == {200: 4, 429: 2}
        time.sleep(1.05)
        assert statuses(server, 6) == {200: 4, 429: 2}


def test_what_is_refused_is_not_stored_and_says_when_to_come_back():
    with SandboxServer(SandboxConfig(quota=QuotaRule(quota="1/s", burst=1, retry_after="seconds"))) as server:
        stored, refused = answers(server, 2)
        assert (stored.status_code, refused.status_code) == (200, 429)
        assert refused.headers["retry-after"] == "1"
        httpx.post(f"{server.root}/_sandbox/quota", json={"quota": "1/s", "burst": 1, "retry_after": "date"})
        refused = answers(server, 2)[1]
        ahead = parsedate_to_datetime(refused.headers["retry-after"]) - datetime.now(timezone.utc)
        assert 0 <= ahead.total_seconds() <= 2.1


def test_it_changes_while_the_server_runs():
    with SandboxServer(SandboxConfig()) as server:
        assert statuses(server, 5) == {200: 5}
        rule = {"quota": "1/s", "burst": 2, "at_once": None, "retry_after": "none"}
        assert httpx.post(f"{server.root}/_sandbox/quota", json=rule).json() == rule
        assert statuses(server, 5) == {200: 2, 429: 3}
        assert httpx.get(f"{server.root}/_sandbox/quota").json() == rule
        httpx.post(f"{server.root}/_sandbox/quota", json={})
        assert statuses(server, 5) == {200: 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"quota": "fast"},
            snapshot(
                "'fast' is no quota; give 200/s (a bucket that fills up evenly) or 600/10s (so many in each 10 seconds)"
            ),
        ),
        (
            {"quota": "0/s"},
            snapshot(
                "'0/s' is no quota; give 200/s (a bucket that fills up evenly) or 600/10s (so many in each 10 seconds)"
            ),
        ),
        ({"quota": "600/10s", "burst": 3}, snapshot("burst is at least 1, and only a bucket such as 200/s has one")),
        ({"at_once": 0}, snapshot("at_once is at least 1")),
    ],
)
def test_what_is_no_quota_is_refused_in_a_sentence(words, message):
    with pytest.raises(QuotaError) as caught:
        QuotaRule(**words)
    assert str(caught.value) == message
