"""The shipped DAGs, and failures, on a real scheduler. The last test reads what all the others left behind."""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime

import jwt
import pytest
from inline_snapshot import snapshot
from rates import assert_held

pytestmark = pytest.mark.scheduler

# As in conftest.py, which pytest's importlib mode lets nobody import from.
KEY, WRONG_KEY = "ab_live_scheduler_tests", "ab_live_no_such_key"
SECRET = "ha_secret_scheduler_tests_that_is_long_enough"
RATE = 10
STORED = {"partial": 0, "unchanged": 0, "skipped": 0, "rejected": 0, "failed": 0}


@pytest.fixture(scope="module")
def runs(scheduler):
    """All runs, begun at once, so that the tests wait for them together: name → (DAG, run id)."""
    wanted = {
        "backfill": ("halo_backfill", {"batch_size": 40}),
        "dry": ("halo_backfill", {"dry_run": True, "only": ["companies"], "company_ids": ["3", 4]}),
        "weekly": ("halo_weekly_sync", {}),
        "company": ("halo_event_update", {"company_id": 3}),
        "user": ("halo_event_update", {"user_id": "17"}),
        "nobody": ("halo_event_update", {"user_id": 999}),
        "nothing": ("halo_event_update", {}),
        "by_hand": ("by_hand", {}),
        "wrong_key": ("wrong_key", {}),
        "halo_down": ("halo_down", {}),
    }
    # None begins before all are made: on SQLite Airflow answers a request to write with 500 after five seconds in which
    # tasks that start kept the database locked.
    made = {name: (dag_id, scheduler.queue(dag_id, **conf)) for name, (dag_id, conf) in wanted.items()}
    scheduler.unpause("%")
    return made


def test_the_pool_was_made_when_the_scheduler_started(scheduler):
    pool = scheduler.get("pools/halo_api")
    assert (pool["slots"], pool["description"]) == snapshot((4, "Batches that talk to HaloAgents at once"))


def test_an_event_updates_one_company(scheduler, runs):
    assert scheduler.outcome(*runs["company"]) == "success"
    report = scheduler.returned(*runs["company"], "sync")
    assert (report["companies"], report["users"]["stored"]) == ({"stored": 1, **STORED}, 0)
    assert scheduler.halo.store.company("3")["traits"] == {"name": "Team 3"}


def test_an_event_updates_one_user_and_links_it_and_marks_nobody_as_active(scheduler, runs):
    assert scheduler.outcome(*runs["user"]) == "success"
    report = scheduler.returned(*runs["user"], "sync")
    assert (report["users"]["stored"], report["links"]["stored"]) == (1, 1)
    user = scheduler.halo.store.user("17")
    assert (user["company_id"], user["last_seen"]) == ("2", None)


def test_a_backfill_runs_in_batches_through_the_pool_and_reports_the_whole(scheduler, runs):
    assert scheduler.outcome(*runs["backfill"]) == "success"
    batches = scheduler.tasks(*runs["backfill"], "sync")
    assert [task["rendered_map_index"] for task in batches] == [
        batch["label"] for batch in scheduler.returned(*runs["backfill"], "plan_batches")
    ]
    assert len(batches) > 3
    assert {task["pool"] for task in batches} == {"halo_api"}
    report = scheduler.returned(*runs["backfill"], "report")
    assert {scope: report[scope] for scope in ("companies", "users", "links")} == {
        "companies": {"stored": 12, **STORED},
        "users": {"stored": 120, **STORED},
        "links": {"stored": 120, **STORED},
    }


def test_a_dry_run_of_two_companies_says_what_it_would_send(scheduler, runs):
    assert scheduler.outcome(*runs["dry"]) == "success"
    report = scheduler.returned(*runs["dry"], "report")
    assert (report["dry_run"], report["companies"]["skipped"], report["users"]["skipped"]) == (True, 2, 0)


def test_the_weekly_sync_sends_everything(scheduler, runs):
    assert scheduler.outcome(*runs["weekly"]) == "success"
    report = scheduler.returned(*runs["weekly"], "report")
    assert [report[scope]["stored"] for scope in ("companies", "users", "links")] == [12, 120, 120]
    assert {scheduler.halo.store.user(str(key))["last_seen"] for key in range(1, 121)} == {None}


def test_operators_by_hand_are_mapped_and_templates_in_data_stay_text(scheduler, runs):
    assert scheduler.outcome(*runs["by_hand"]) == "success"
    assert scheduler.halo.store.user("s1")["traits"] == {"name": "{{ conn.halo_default.password }}"}
    assert scheduler.halo.store.user("s2") is not None
    assert scheduler.halo.store.user("s9")["context"]["note"]["value"] == {"text": "private once rendered"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong_key", "401"),
        ("nobody", "users 999: is not in the users query (users.traits)"),
        ("nothing", "Nothing to sync: give company_id, user_id or both"),
    ],
)
def test_what_a_retry_can_t_cure_fails_within_seconds_and_is_not_retried(scheduler, runs, name, message):
    assert scheduler.outcome(*runs[name]) == "failed"
    (task,) = scheduler.tasks(*runs[name], "sync")
    assert (task["state"], task["try_number"], task["duration"] < 20) == ("failed", 1, True)
    assert message in scheduler.log(*runs[name], "sync")


def test_a_wrong_key_costs_halo_one_request(scheduler, runs):
    scheduler.outcome(*runs["wrong_key"])
    assert scheduler.halo.requests.describe()["by_path"]["users/update"]["401"] == 1


def test_a_halo_that_is_down_is_retried_and_the_report_still_tells_what_was_delivered(scheduler, runs):
    assert scheduler.outcome(*runs["halo_down"]) == "failed"
    (task,) = scheduler.tasks(*runs["halo_down"], "sync")
    assert (task["state"], task["try_number"]) == ("failed", 2)
    for task_id in ("sync", "report"):
        report = scheduler.returned(*runs["halo_down"], task_id)
        assert (report["users"]["failed"], "took no request" in report["stopped"]) == (1, True)


@pytest.mark.parametrize("name", ["limited", "limited_by_ledger"])
def test_batches_that_run_at_once_hold_the_limit_of_their_connection_together(scheduler, runs, name):
    for other in runs.values():  # the pool is theirs before
        scheduler.outcome(*other)
    run = name, scheduler.queue(name)
    assert scheduler.outcome(*run) == "success"
    calls = scheduler.limited[name].requests.calls()
    assert len(calls) > 12 + 120  # companies and links; users by the batch
    assert_held([call.began for call in calls], RATE)
    batches = scheduler.tasks(*run, "sync")
    times = [(datetime.fromisoformat(task["start_date"]), datetime.fromisoformat(task["end_date"])) for task in batches]
    assert any(one is not other and one[0] < other[0] < one[1] for one in times for other in times)  # at once, indeed
    assert "This task runs in the pool" not in scheduler.log(*run, "sync")


def test_no_secret_and_nobody_s_data_is_in_any_log_xcom_or_rendered_field(scheduler, runs):
    for run in runs.values():
        scheduler.outcome(*run)
    logs = {path: path.read_text(encoding="utf-8", errors="replace") for path in scheduler.home.parent.rglob("*.log")}
    assert sum("task_id=sync" in str(path) for path in logs) > 10
    database = sqlite3.connect(f"file:{scheduler.home / 'airflow.db'}?mode=ro", uri=True)
    texts = {**logs, "metadata database": "\n".join(database.iterdump())}
    database.close()
    for table in ("rendered_task_instance_fields", "xcom", "serialized_dag", "log"):
        assert f'INSERT INTO "{table}"' in texts["metadata database"]
    for place, text in texts.items():
        for forbidden in (KEY, SECRET, WRONG_KEY, "@private.test", "private once rendered"):
            assert forbidden not in text, place
        assert not [token for token in re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", text) if _is_ours(token)], place


def _is_ours(token: str) -> bool:
    try:
        jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    except jwt.PyJWTError:
        return False
    return True
