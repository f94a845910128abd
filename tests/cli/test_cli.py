"""The `halo` command as a person types it: what it says, and its exit code."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.cli.main import main

PLAN = """\
version: 1
source: app
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name, 'pro' AS plan FROM teams
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, bio FROM users
"""


PRODUCT = """
CREATE TABLE teams (id INTEGER, name TEXT);
CREATE TABLE users (id INTEGER, team_id INTEGER, name TEXT, bio TEXT);
INSERT INTO teams VALUES (1, 'Acme'), (2, 'Bolt');
INSERT INTO users VALUES (10, 1, 'Ada', 'b'), (11, 2, 'Bea', 'b'), (12, NULL, 'Cid', 'b');
"""


@pytest.fixture
def plan(make_plan) -> str:
    return str(make_plan(PLAN, product=PRODUCT))


def test_a_sync_prints_its_report_and_writes_it_as_json(plan, sandbox, tmp_path, capsys):
    assert main(["sync", plan, "--report", str(tmp_path / "report.json")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == snapshot(
        [
            "               stored    partial  unchanged    skipped   rejected     failed",
            "companies           2          0          0          0          0          0",
            "users               3          0          0          0          0          0",
            "links               2          0          0          0          0          0",
        ]
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["companies"]["stored"], report["users"]["stored"], report["requests"]) == (2, 3, 6)
    assert sandbox.store.user("10")["traits"] == {"name": "Ada", "bio": "b"}


def test_a_report_may_go_to_standard_output_alone(plan, capsys):
    assert main(["sync", plan, "--report", "-", "--only", "companies"]) == 0
    assert json.loads(capsys.readouterr().out)["companies"]["stored"] == 2


def test_one_company_may_be_synced_with_its_users(plan, sandbox):
    assert main(["sync", plan, "--company", "2", "--no-link-users"]) == 0
    assert sandbox.store.find("companies") == ["2"]
    assert sandbox.store.find("users") == ["11"]
    assert sandbox.store.user("11")["company_id"] is None


def test_rejects_above_the_limit_fail_the_run_and_the_rest_is_stored(plan, sandbox, tmp_path, capsys):
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute("UPDATE users SET bio = ? WHERE id = 10", ("x" * 30_000,))
    database.close()
    assert main(["sync", plan]) == 1
    said = capsys.readouterr()
    problem = "users 10: traits.bio: 30,023 bytes of traits and context; Halo takes 20,000"
    assert f"rejected: {problem}" in said.out.splitlines()
    assert said.err.splitlines()[-1] == (
        f"halo sync: 1 of 6 records were rejected (16.67%), more than max_rejected=1%; the first: {problem}"
    )
    assert sandbox.store.find("users") == ["11", "12"]
    assert main(["sync", plan, "--max-rejected", "1"]) == 0


def test_a_wrong_plan_is_told_whole_and_ends_with_2(tmp_path, capsys):
    path = tmp_path / "halo.yaml"
    path.write_text(PLAN.replace("key: team_id", "kee: team_id").replace("version: 1", "version: 7"), encoding="utf-8")
    for command in (["check", str(path)], ["sync", str(path)]):
        assert main(command) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.startswith(f"{path}, line ") for line in lines[:-1]] == [True] * (len(lines) - 1)
        assert lines[-1] == f"{len(lines) - 1} problems in the plan; nothing was sent."
        assert len(lines) == 4


def test_a_right_plan_is_held_against_the_checklist(plan, capsys):
    assert main(["check", plan]) == 0
    out = capsys.readouterr().out
    assert "✓" in out
    assert "✗" in out
    assert main(["check", plan, "--strict"]) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"AIRFLOW_CONN_APP": None}, "AIRFLOW_CONN_APP"),
        ({"AIRFLOW_CONN_HALO_DEFAULT": None}, "AIRFLOW_CONN_HALO_DEFAULT"),
        (
            {"AIRFLOW_CONN_APP": '{"conn_type": "snowflake", "host": "x"}'},
            "pip install apache-airflow-providers-snowflake",
        ),
        ({"AIRFLOW_CONN_APP": '{"conn_type": "http", "host": "x"}'}, "http"),
    ],
)
def test_what_is_missing_is_named_in_one_sentence_with_the_mend(plan, monkeypatch, capsys, change, sentence):
    for name, value in change.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    assert main(["sync", plan]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("halo sync: ")
    assert sentence in last


def test_a_missing_table_is_named_with_the_query_and_its_line(plan, tmp_path, capsys):
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute("DROP TABLE users")
    database.close()
    assert main(["sync", plan]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{plan}, line 11" in last
    assert "no such table: users" in last


def test_all_wrong_queries_are_told_at_once_and_nothing_is_sent(make_plan, sandbox, capsys):
    plan = str(make_plan(PLAN.replace("name, 'pro'", "nome, 'pro'").replace("name, bio", "nome, bio"), product=PRODUCT))
    for words in (["sync", plan], ["sync", plan, "--company", "1"], ["sync", plan, "--dry-run"]):
        assert main(words) == 1
        told = capsys.readouterr().err.splitlines()[-2:]
        assert told[0].startswith(f"halo sync: companies.traits ({plan}, line 6) failed on connection 'app': ")
        assert told[1].startswith(f"users.traits ({plan}, line 11) failed on connection 'app': ")
    assert sandbox.requests.describe()["total"] == 0


def test_a_wrong_key_is_told_and_is_not_shown(plan, monkeypatch, sandbox, capsys):
    connection = {
        "conn_type": "halo",
        "password": "ab_live_secretive",
        "host": sandbox.url,
        "extra": {"identity_secret": "x"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_HALO_DEFAULT", json.dumps(connection))
    assert main(["sync", plan]) == 1
    said = capsys.readouterr()
    assert "401" in said.err
    assert "secretive" not in said.err + said.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--max-rejected", "lots"],
            "halo sync: --max-rejected must be a count such as 20, or a share such as 1%, or none, not 'lots'.",
        ),
        (
            ["--max-left-out", "-1"],
            "halo sync: --max-left-out must be a count such as 20, or a share such as 1%, or none, not '-1'.",
        ),
        (["--batch-size", "0"], "halo sync: --batch-size must be 1 or more"),
        (["--jobs", "0"], "halo sync: --jobs must be 1 or more"),
        (["--report", "nowhere/report.json"], "halo sync: --report: the folder nowhere does not exist"),
    ],
)
def test_wrong_arguments_end_with_2_before_anything_is_read(plan, sandbox, capsys, arguments, sentence):
    assert main(["sync", plan, *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [sentence]
    assert sandbox.requests.describe()["total"] == 0


def test_an_empty_database_is_no_green_nothing(plan, tmp_path, capsys):
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.executescript("DELETE FROM users; DELETE FROM teams")
    database.close()
    assert main(["sync", plan]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == snapshot(
        "halo sync: the plan's queries gave no record at all, so nothing was sent; check the source database and the SQL"
    )
    assert main(["sync", plan, "--allow-empty"]) == 0


def test_init_copies_the_dags_and_a_plan_that_passes_and_never_overwrites(tmp_path, capsys):
    folder = tmp_path / "dags"
    assert main(["init", str(folder)]) == 0
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"halo.yaml", "halo_backfill.py", "halo_event_update.py", "halo_weekly_sync.py"} <= names
    assert main(["check", str(folder / "halo.yaml"), "--strict"]) == 0
    Path(folder / "halo.yaml").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert main(["init", str(folder)]) == 0
    assert f"left alone: {folder / 'halo.yaml'} (it already exists)" in capsys.readouterr().out
    assert (folder / "halo.yaml").read_text() == "mine"
