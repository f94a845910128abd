"""The `halo` command takes the defaults of ``[halo]``, and an option on the command line wins."""

from __future__ import annotations

import json
import os
import re

import pytest
from shop import shop_plan, shop_sql

from airflow_provider_halo.cli.main import main
from airflow_provider_halo.settings import DEFAULTS

PLAN = shop_plan("app", name="shop")
TEAMS = range(1, 7)
PRODUCT = shop_sql(TEAMS)
BAD_NAME = "UPDATE users SET name = x'00' WHERE id = 1"  # 1 reject of 18 records: 5.56 %


@pytest.fixture
def plan(make_plan, monkeypatch, tmp_path) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    return str(make_plan(PLAN, product=PRODUCT))


@pytest.fixture
def configure(monkeypatch):
    def set_option(option: str, value: str) -> None:
        monkeypatch.setenv(f"AIRFLOW__HALO__{option.upper()}", value)

    return set_option


def batches_of(plan, capsys, *arguments):
    assert main(["sync", plan, "--ledger", "ledger", *arguments]) == 0
    capsys.readouterr()
    assert main(["status", "--ledger", "ledger", "--json", "--runs", "1"]) == 0
    return json.loads(capsys.readouterr().out)[0]["runs"][0]["batches"]


def test_a_sync_cuts_batches_of_the_configured_size(plan, configure, capsys):
    # Six companies of one user each, and one batch of users without a company.
    assert batches_of(plan, capsys) == 2
    configure("batch_size", "2")
    assert batches_of(plan, capsys) == 7
    assert batches_of(plan, capsys, "--batch-size", "6") == 3


def test_a_sync_allows_as_many_rejects_as_configured(make_plan, configure, capsys):
    plan = str(make_plan(PLAN, product=PRODUCT + BAD_NAME))
    assert main(["sync", plan]) == 1
    assert "more than max_rejected=1%;" in capsys.readouterr().err
    configure("max_rejected", "10%")
    assert main(["sync", plan]) == 0
    assert main(["sync", plan, "--max-rejected", "0"]) == 1
    assert "more than max_rejected=0;" in capsys.readouterr().err
    configure("max_rejected", "0")
    assert main(["sync", plan]) == 1
    assert main(["sync", plan, "--max-rejected", "none"]) == 0


def test_a_sync_allows_as_many_records_in_part_as_configured(make_plan, configure, capsys):
    entry = "  context:\n    note: {label: Note, value: name, sql: 'SELECT id AS team_id, name FROM teams'}\n"
    plan = str(make_plan(PLAN.replace("users:", f"{entry}users:"), product=PRODUCT))
    assert main(["sync", plan]) == 0
    twice = entry.replace("FROM teams", "FROM teams UNION ALL SELECT 1, name FROM teams WHERE id = 1")
    plan = str(make_plan(PLAN.replace("users:", f"{twice}users:"), product=""))
    capsys.readouterr()
    assert main(["sync", plan]) == 1  # 1 of 18 records: 5.56 %
    assert capsys.readouterr().err.splitlines()[-1] == (
        "halo sync: 1 of 18 records were stored in part (5.56%), more than max_left_out=1%; the first: companies 1: "
        f"context.note: it has more than one row where one is due ({plan}, line 9); make it one in the SQL, "
        "or a list by `rows: many`"
    )
    configure("max_left_out", "10%")
    assert main(["sync", plan]) == 0
    assert main(["sync", plan, "--max-left-out", "0"]) == 1
    assert "more than max_left_out=0;" in capsys.readouterr().err
    configure("max_left_out", "0")
    assert main(["sync", plan]) == 1
    assert main(["sync", plan, "--max-left-out", "none"]) == 0


def test_a_sync_stops_at_the_configured_share_of_changes(make_plan, configure, monkeypatch, tmp_path, capsys):
    many = "".join(f"INSERT INTO teams VALUES ({team}, 'Team');" for team in range(7, 1_101))
    plan = str(make_plan(PLAN, product=PRODUCT + many))
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    configure("ledger_conn_id", "ledger")
    configure("max_rejected", "none")
    assert main(["sync", plan]) == 0
    make_plan(PLAN, product="UPDATE teams SET name = 'New' WHERE id <= 300")
    configure("max_changed", "10%")
    capsys.readouterr()
    assert main(["sync", plan]) == 1
    assert "more than max_changed=10%. " in capsys.readouterr().err
    assert main(["sync", plan, "--max-changed", "20%"]) == 1
    assert "more than max_changed=20%. " in capsys.readouterr().err
    assert main(["sync", plan, "--max-changed", "40%"]) == 0
    make_plan(PLAN, product="UPDATE teams SET name = 'Newer'")
    assert main(["sync", plan]) == 1
    configure("max_changed", "none")
    assert main(["sync", plan]) == 0


def test_every_command_uses_the_configured_connections_and_plan(plan, configure, monkeypatch, sandbox, capsys):
    monkeypatch.setenv("AIRFLOW_CONN_OURS", os.environ["AIRFLOW_CONN_HALO_DEFAULT"])
    monkeypatch.delenv("AIRFLOW_CONN_HALO_DEFAULT")
    for option, value in {"conn_id": "ours", "ledger_conn_id": "ledger", "plan": plan}.items():
        configure(option, value)
    assert main(["sync"]) == 0
    assert sandbox.store.find("companies") == [str(team) for team in TEAMS]
    assert main(["retire"]) == 0
    capsys.readouterr()
    assert main(["ledger", "forget", "--user", "1"]) == 0
    assert main(["ledger", "prune"]) == 0
    assert main(["status", "--json"]) == 0
    *lines, _ = capsys.readouterr().out.partition("[")
    assert lines[0].splitlines() == [
        "shop: forgot users 1; the next sync sends it again",
        "shop: deleted 0 runs that are older than 90 days.",
    ]
    for command in ("sync", "retire"):
        assert main([command, "--halo-conn", "halo_default"]) == 1
        assert "AIRFLOW_CONN_HALO_DEFAULT" in capsys.readouterr().err
    assert main(["status", "--ledger", "none"]) == 1


def test_without_a_plan_the_ways_to_name_one_are_told(plan, capsys):
    assert main(["sync"]) == 1
    assert capsys.readouterr().err == (
        "halo sync: No plan file is configured: set AIRFLOW__HALO__PLAN (or `plan` under [halo] in airflow.cfg) to its path "
        "as the workers see it, or name the plan (plan=… of an operator, PLAN of the halo command).\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("batch_size", "0", "[halo] batch_size must be a whole number from 1, not '0'."),
        ("batch_size", "many", "[halo] batch_size must be a whole number from 1, not 'many'."),
        (
            "max_rejected",
            "lots",
            "[halo] max_rejected must be a count such as 20, or a share such as 1%, or none, not 'lots'.",
        ),
        ("max_changed", "20", "[halo] max_changed must be a share such as 50%, or none, not '20'."),
        ("ledger_keep_days", "-1", "[halo] ledger_keep_days must be a whole number from 0, not '-1'."),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_sent(plan, configure, sandbox, capsys, option, value, sentence):
    configure(option, value)
    assert main(["sync", plan]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"halo sync: {sentence}"
    assert sandbox.requests.describe()["total"] == 0


def test_the_help_names_each_default_and_where_it_is_set(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["sync", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert re.findall(r"\(default: (\[halo\][^)]*)\)", text) == [
        "[halo] plan",
        "[halo] ledger_conn_id, no ledger",
        f"[halo] max_changed, {DEFAULTS.max_changed}",
        f"[halo] max_gone, {DEFAULTS.max_gone}",
        f"[halo] max_rejected, {DEFAULTS.max_rejected}",
        f"[halo] max_left_out, {DEFAULTS.max_left_out}",
        f"[halo] conn_id, {DEFAULTS.conn_id}",
        f"[halo] batch_size, {DEFAULTS.batch_size}",
    ]
