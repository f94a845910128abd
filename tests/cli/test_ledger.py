"""`halo sync`, `status`, `retire` and `ledger` with a ledger, as a person types them."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.cli.main import main
from airflow_provider_halo.sandbox.faults import parse_fault

PLAN = """\
version: 1
name: shop
source: app
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name, size FROM teams
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name FROM users
"""


PRODUCT = """
CREATE TABLE teams (id INTEGER, name TEXT, size INTEGER);
CREATE TABLE users (id INTEGER, team_id INTEGER, name TEXT);
INSERT INTO teams VALUES (1, 'Acme', 3), (2, 'Bolt', 5);
INSERT INTO users VALUES (10, 1, 'Ada'), (11, 2, 'Bea'), (12, NULL, 'Cid');
"""


@pytest.fixture
def plan(make_plan, tmp_path, monkeypatch):
    """The plan, with a ledger."""
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": path}))
    monkeypatch.setenv("AIRFLOW__HALO__LEDGER_CONN_ID", "ledger")
    return make_plan(PLAN, product=PRODUCT)


def change(plan, statement):
    with sqlite3.connect(plan.parent / "app.db") as database:
        database.execute(statement)
    database.close()


def said(capsys):
    """The lines of standard output, with blanks run together and what differs from run to run blotted out."""
    text = capsys.readouterr().out
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(
        r"TIME [0-9a-f]{4}$", "TIME XXXX", re.sub(r"workspace [0-9a-f]{16}", "workspace W", text), flags=re.MULTILINE
    )
    return [" ".join(line.split()) for line in text.splitlines()]


def test_status_names_who_has_left_and_max_gone_bounds_who_is_emptied(plan, sandbox, capsys):
    assert main(["sync", str(plan)]) == 0
    change(plan, "DELETE FROM users WHERE id = 10")
    change(plan, "UPDATE users SET team_id = NULL WHERE id = 11")
    assert main(["sync", str(plan)]) == 0
    capsys.readouterr()
    assert main(["status", "--runs", "1"]) == 0
    assert said(capsys)[5:] == snapshot(
        [
            "",
            "users no longer in the source: 1",
            "10 (last seen TIME, missing since TIME)",
            "",
            "links that users have left: 1",
            "11 (last seen TIME, missing since TIME)",
        ]
    )
    assert main(["status", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert {scope: told["count"] for scope, told in status["gone"].items()} == {"companies": 0, "users": 1, "links": 1}
    assert [record["key"] for record in status["gone"]["users"]["records"]] == ["10"]
    plan.write_text(f"{plan.read_text()}gone: empty\n", encoding="utf-8")
    assert main(["sync", str(plan)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == snapshot(
        "halo sync: Of 3 users that Halo was sent, 1 (33%) are gone (10): the plan's gone: empty would empty more than max_gone=5%. Nothing was sent. If they really are gone, raise max_gone (--max-gone), or run it with force (--force)."
    )
    assert main(["sync", str(plan), "--max-gone", "many"]) == 2
    assert capsys.readouterr().err == snapshot(
        "halo sync: --max-gone must be a count such as 20, or a share such as 1%, or none, not 'many'.\n"
    )
    assert main(["sync", str(plan), "--max-gone", "1"]) == 0
    assert sandbox.store.user("10")["traits"] == {"name": None}


def test_status_shows_runs_rejects_and_the_age_of_what_halo_has(plan, sandbox, capsys):
    sandbox.faults.set([parse_fault('400:path=users/update,contains="user_id":"11"')])
    assert main(["sync", str(plan)]) == 1
    sandbox.faults.set([])
    change(plan, "UPDATE users SET name = 'Bea B' WHERE id = 11")
    assert main(["sync", str(plan)]) == 0
    change(plan, "UPDATE teams SET name = x'00' WHERE id = 2")
    assert main(["sync", str(plan)]) == 1
    capsys.readouterr()
    assert main(["status"]) == 0
    assert said(capsys) == snapshot(
        [
            "Plan shop (workspace W)",
            "Halo is known to have 2 companies, 3 users, 2 links; the oldest acknowledgement is 0.0 days old (TIME)",
            "",
            "started (UTC) state stored partial unchanged skipped rejected failed requests run",
            "TIME failed 0 0 6 0 1 0 0 halo sync TIME XXXX",
            (
                "1 of 7 records were rejected (14.29%), more than max_rejected=1%; the first: companies 2: traits.name: holds "
                "bytes, which have no form in JSON; cast the column to text in the SQL"
            ),
            "TIME done 2 0 5 0 0 0 2 halo sync TIME XXXX",
            "TIME failed 5 0 0 0 1 0 7 halo sync TIME XXXX",
            (
                "1 of 6 records were rejected (16.67%), more than max_rejected=1%; the first: users 11: Halo refuses it: HTTP 400, "
                "an HTML page"
            ),
            "",
            "1 rejected",
            (
                "companies 2: traits.name: holds bytes, which have no form in JSON; cast the column to text in the SQL (1 attempts "
                "since TIME)"
            ),
        ]
    )


def test_status_shows_what_was_left_out_of_records_that_are_stored_in_part(plan, capsys):
    entry = "  context:\n    note: {label: Note, value: n, sql: 'SELECT id AS team_id, 1 AS n FROM teams"
    entry += " UNION ALL SELECT 1, 2'}\n"
    plan.write_text(PLAN.replace("users:", f"{entry}users:"), encoding="utf-8")
    assert main(["sync", str(plan), "--max-left-out", "1"]) == 0
    assert main(["sync", str(plan), "--max-left-out", "1"]) == 0
    capsys.readouterr()
    assert main(["status", str(plan)]) == 0
    assert [line.replace(str(plan), "halo.yaml") for line in said(capsys)][2:] == snapshot(
        [
            "",
            "started (UTC) state stored partial unchanged skipped rejected failed requests run",
            "TIME done 0 1 6 0 0 0 0 halo sync TIME XXXX",
            "TIME done 6 1 0 0 0 0 6 halo sync TIME XXXX",
            "",
            "1 stored in part in the last run",
            "companies 1: context.note: it has more than one row where one is due (halo.yaml, line 9); make it one in the SQL, or a list by `rows: many`",
        ]
    )


def test_status_as_json_holds_all_of_it(plan, capsys):
    main(["sync", str(plan)])
    change(plan, "UPDATE users SET team_id = 2 WHERE id = 10")
    main(["sync", str(plan)])
    capsys.readouterr()
    assert main(["status", str(plan), "--json", "--runs", "1"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert status["plan"] == "shop"
    assert status["acknowledged"] == {"companies": 2, "users": 3, "links": 2}
    assert (status["rejected"], status["rejects"], status["retired"]) == (0, [], [])
    assert 0 <= status["oldest_age_days"] < 1
    (run,) = status["runs"]
    assert (run["state"], run["whole"], run["stored"], run["unchanged"], run["requests"]) == ("done", True, 1, 6, 1)
    assert run["report"]["links"] == {
        "stored": 1,
        "partial": 0,
        "unchanged": 1,
        "skipped": 0,
        "rejected": 0,
        "failed": 0,
    }


def test_without_a_ledger_the_way_to_name_one_is_told(plan, monkeypatch, capsys):
    monkeypatch.delenv("AIRFLOW__HALO__LEDGER_CONN_ID")
    assert main(["status"]) == 1
    assert capsys.readouterr().err == snapshot(
        "halo status: There is no ledger: name its connection with --ledger, or set AIRFLOW__HALO__LEDGER_CONN_ID.\n"
    )
    assert main(["sync", str(plan)]) == 0  # everything is sent
    assert main(["sync", str(plan), "--ledger", "ledger"]) == 0
    capsys.readouterr()
    assert main(["status", "--ledger", "ledger"]) == 0
    assert "Halo is known to have 2 companies, 3 users, 2 links" in capsys.readouterr().out


def test_an_empty_ledger_says_so(plan, capsys):
    assert main(["status"]) == 0
    assert main(["status", str(plan)]) == 0
    assert capsys.readouterr().out == snapshot(
        "The ledger knows nothing of any plan yet.\nThe ledger knows nothing of the plan 'shop' yet.\n"
    )


def test_forgotten_records_are_sent_again(plan, capsys):
    main(["sync", str(plan)])
    capsys.readouterr()
    assert main(["ledger", "forget", str(plan), "--company", "1", "--user", "10", "--user", "12"]) == 0
    assert capsys.readouterr().out == snapshot(
        """\
shop: forgot companies 1; the next sync sends it again
shop: forgot users 10; the next sync sends it again
shop: forgot users 12; the next sync sends it again
"""
    )
    assert main(["sync", str(plan), "--report", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [report[scope]["stored"] for scope in ("companies", "users", "links")] == [1, 2, 1]
    assert main(["ledger", "forget", str(plan), "--all"]) == 0
    assert capsys.readouterr().out == snapshot(
        "shop: forgot all 7 records; the next sync sends those again that the source still has.\n"
    )
    assert main(["sync", str(plan), "--report", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["users"]["stored"] == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["forget"], "halo ledger forget: name the records with --company and --user, or give --all"),
        (
            ["forget", "--all", "--user", "1"],
            "halo ledger forget: name the records with --company and --user, or give --all",
        ),
        (["prune", "--all"], "halo ledger prune: takes only --days; to forget records, use halo ledger forget"),
    ],
)
def test_wrong_words_end_with_2(plan, capsys, words, sentence):
    action, *more = words
    assert main(["ledger", action, str(plan), *more]) == 2
    assert capsys.readouterr().err.splitlines() == [sentence]


def test_old_runs_are_swept_out_but_for_the_last_whole_one(plan, capsys):
    for _ in range(3):
        main(["sync", str(plan)])
    with sqlite3.connect(plan.parent / "ledger.db") as database:
        database.execute("UPDATE halo_ledger_runs SET ended_at = '2020-01-01 00:00:00.000000'")
    database.close()
    capsys.readouterr()
    assert main(["ledger", "prune", str(plan), "--days", "30"]) == 0
    assert capsys.readouterr().out == snapshot("shop: deleted 2 runs that are older than 30 days.\n")
    assert main(["ledger", "prune", str(plan)]) == 0
    assert capsys.readouterr().out == snapshot("shop: deleted 0 runs that are older than 90 days.\n")


def test_what_left_the_plan_is_emptied_on_demand(plan, sandbox, capsys):
    main(["sync", str(plan)])
    assert main(["retire", str(plan)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == snapshot(
        "Nothing is retired: Halo has no trait or entry of this plan that the plan doesn't have."
    )
    plan.write_text(PLAN.replace("name, size", "name"), encoding="utf-8")
    main(["sync", str(plan)])
    assert (
        "warning: companies.traits.size is no longer in the plan, and stays in Halo (halo retire empties it): 2"
        in capsys.readouterr().out.splitlines()
    )
    assert main(["retire", str(plan), "--only", "companies.traits.name"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == snapshot(
        "halo retire: companies.traits.name is not retired in this plan. Retired: companies.traits.size."
    )
    assert main(["retire", str(plan), "--dry-run"]) == 0
    assert capsys.readouterr().out == snapshot("companies.traits.size: would be emptied in 2 companies\n")
    assert sandbox.store.company("1")["traits"]["size"] == 3
    assert main(["retire", str(plan)]) == 0
    assert sandbox.store.company("1")["traits"] == {"name": "Acme", "size": None}
    capsys.readouterr()
    assert main(["retire", str(plan)]) == 0
    assert capsys.readouterr().out.startswith("Nothing is retired")
    assert main(["sync", str(plan), "--report", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 0


def test_a_run_that_would_send_nothing_of_a_query_is_stopped_and_force_lets_it(plan, capsys):
    main(["sync", str(plan)])
    change(plan, "DELETE FROM users")
    assert main(["sync", str(plan)]) == 1
    assert "users.traits" in capsys.readouterr().err
    assert main(["sync", str(plan), "--force"]) == 0
    assert main(["sync", str(plan), "--max-changed", "lots"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == snapshot(
        "halo sync: --max-changed must be a share such as 50%, or none, not 'lots'."
    )
