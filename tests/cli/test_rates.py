"""`halo sync --jobs` holds the connection's requests per second for all its batches together."""

from __future__ import annotations

import json

import pytest
from rates import assert_held
from shop import shop_plan, shop_sql

from airflow_provider_halo.cli.main import main

PLAN = shop_plan("app")
TEAMS = range(1, 29)
PRODUCT = shop_sql(TEAMS)
RATE = 30


@pytest.mark.parametrize("ledger", ["none", "ledger"])
def test_four_jobs_send_no_more_than_one_would(make_plan, sandbox, tmp_path, monkeypatch, capsys, ledger):
    plan = make_plan(PLAN, product=PRODUCT)
    halo = {
        "conn_type": "halo",
        "password": "ab_live_sandbox",
        "host": sandbox.url,
        "extra": {"identity_secret": "ha_secret_sandbox", "requests_per_second": RATE},
    }
    monkeypatch.setenv("AIRFLOW_CONN_HALO_DEFAULT", json.dumps(halo))
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    words = ["sync", str(plan), "--jobs", "4", "--batch-size", "5", "--ledger", ledger, "--report", "-"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert [report[scope]["stored"] for scope in ("companies", "users", "links")] == [len(TEAMS)] * 3
    arrived = [call.began for call in sandbox.requests.calls()]
    assert len(arrived) == report["requests"] > 2 * len(TEAMS)
    assert_held(arrived, RATE)
