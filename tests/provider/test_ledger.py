"""The tasks with a ledger: only what changed is sent, runs are written down, and what is written by hand is set right."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.operators import (
    ContextOperator,
    IdentifyOperator,
    PlanBatchesOperator,
    ReportOperator,
    SyncOperator,
)
from airflow_provider_halo.sandbox.faults import parse_fault


class Events(dict):
    """Airflow's outlet events: one for each asset, with an extra to fill in."""

    def __missing__(self, asset):
        self[asset] = event = type("Event", (), {"extra": {}})()
        return event


@pytest.fixture
def week(run, task_instance):
    """Runs the tasks of a weekly sync; gives the run's report."""

    def run_tasks(run_id, *, sync=None, plan_batches=None, report=None, events=None):
        instance = task_instance(run_id=run_id)
        batches = run(PlanBatchesOperator(task_id="plan_batches", batch_size=2, **(plan_batches or {})), ti=instance)
        reports = [run(SyncOperator(task_id="sync", batch=batch, **(sync or {})), ti=instance) for batch in batches]
        with DAG("halo_weekly_sync", schedule=None):
            summing = ReportOperator(task_id="report", reports=reports, expected=batches, **(report or {}))
        return run(summing, ti=instance, outlet_events=Events() if events is None else events)

    return run_tasks


def runs_of(ledger):
    (plan_ledger,) = ledger.plans()
    return [(row.run_key, row.state, row.whole, row.stored, row.unchanged) for row in plan_ledger.runs.last(10)]


def test_the_second_week_sends_what_has_changed_and_both_are_on_record(halo, plan, shop, ledger, week, counts):
    assert counts(week("w1")) == {"companies": {"stored": 3}, "users": {"stored": 5}, "links": {"stored": 4}}
    with shop:
        shop.execute("UPDATE integrations SET status = 'active' WHERE service = 'hubspot'")
        shop.execute("UPDATE users SET team_id = 1 WHERE id = 90")
    before = halo.requests.describe()["total"]
    assert counts(week("w2")) == {
        "companies": {"stored": 1, "unchanged": 2},
        "users": {"unchanged": 5},
        "links": {"stored": 1, "unchanged": 4},
    }
    assert halo.requests.describe()["total"] - before == 2
    assert halo.store.company("1")["context"]["integrations"]["value"] == {
        "hubspot": {"connected": True, "status": "active"}
    }
    assert runs_of(ledger) == [
        ("halo_weekly_sync w2", "done", True, 2, 11),
        ("halo_weekly_sync w1", "done", True, 12, 0),
    ]


def test_a_run_that_is_done_tells_its_asset_the_counts_and_one_that_failed_tells_nothing(halo, plan, ledger, week):
    events = Events()
    report = week("w1", events=events)
    ((asset, event),) = events.items()
    assert asset.name == "halo://halo_weekly_sync"
    assert event.extra == {
        **{scope: report[scope] for scope in ("companies", "users", "links")},
        "requests": report["requests"],
    }
    halo.faults.set([parse_fault('400:path=users/update,contains="user_id":"10"')])
    events = Events()
    with pytest.raises(AirflowFailException, match="1 of 11 records were rejected"):
        week("w2", events=events, sync={"full": True})
    assert (events, runs_of(ledger)[0][1]) == ({}, "failed")


def test_a_task_that_is_tried_again_sends_what_was_not_acknowledged(
    halo, plan, ledger, run, task_instance, counts, set_halo
):
    set_halo(extra={"identity_secret": "ha_secret_provider_tests_that_is_long_enough", "max_retry_seconds": 0.2})
    instance = task_instance(run_id="w1")
    (batch, _) = run(PlanBatchesOperator(task_id="plan_batches"), ti=instance)
    halo.faults.set([parse_fault("503:first=5")])  # 3 companies and 4 users are stored, no link
    with pytest.raises(AirflowException):
        run(SyncOperator(task_id="sync", batch=batch), ti=instance)
    halo.faults.set([])
    assert counts(run(SyncOperator(task_id="sync", batch=batch), ti=instance)) == {
        "companies": {"unchanged": 3},
        "users": {"unchanged": 4},
        "links": {"stored": 4},
    }


def test_a_dry_run_is_not_on_record(halo, plan, ledger, week):
    week("w1", sync={"dry_run": True})
    assert runs_of(ledger) == []


def test_what_is_gone_is_told_by_the_report_and_emptied_by_a_batch_of_its_own(
    halo, plan, shop, ledger, run, week, task_instance
):
    assert week("w1")["gone"] == {"companies": 0, "users": 0, "links": 0}
    with shop:
        shop.execute("DELETE FROM users WHERE id IN (10, 30)")
    assert week("w2")["gone"] == {"companies": 0, "users": 2, "links": 0}
    plan.write_text(f"{plan.read_text()}gone: empty\n")
    with pytest.raises(AirflowFailException, match=r"2 \(40%\) are gone \(10, 30\).* more than max_gone=5%"):
        week("w3")
    assert halo.store.user("10")["traits"]["name"] == "Ada"

    instance = task_instance(run_id="w4")
    batches = run(PlanBatchesOperator(task_id="plan_batches", max_gone="50%"), ti=instance)
    assert batches[-1] == {
        "label": "3/3: records that are gone",
        "gone": True,
        "index": 3,
        "of": 3,
        "expected_companies": 0,
        "expected_users": 2,
    }
    with shop:  # somebody comes back before the batch runs
        shop.execute("INSERT INTO users VALUES (30, 3, 'Di', 'di@initech.test')")
    halo.faults.set([parse_fault("500:times=1")])  # and its first request is tried again
    report = run(SyncOperator(task_id="sync", batch=batches[-1]), ti=instance)
    assert (report["users"]["stored"], report["retries"]) == (1, 1)
    assert halo.store.user("10")["traits"] == {"name": None, "email": None}
    assert halo.store.user("30")["traits"] == {"name": "Di", "email": "di@initech.test"}
    # A batch that is tried again finds nothing to do.
    assert run(SyncOperator(task_id="sync", batch=batches[-1]), ti=instance)["requests"] == 0


def test_a_dry_run_tells_what_would_be_emptied(halo, plan, shop, ledger, week, counts):
    week("w1")
    plan.write_text(f"{plan.read_text()}gone: empty\n")
    with shop:
        shop.execute("DELETE FROM users WHERE id = 10")
    for plan_batches in ({"dry_run": True}, {"max_gone": "none"}):
        report = week("w2", plan_batches=plan_batches, sync={"dry_run": True})
        if "dry_run" not in plan_batches:
            assert counts(report)["users"] == {"skipped": 1, "unchanged": 4}
    assert halo.store.user("10")["traits"]["name"] == "Ada"
    assert [row[0] for row in runs_of(ledger)] == ["halo_weekly_sync w1"]


def test_an_event_is_a_run_of_its_own(halo, plan, ledger, run, task_instance, counts):
    instance = task_instance(dag_id="halo_event_update", run_id="e1")
    assert counts(run(SyncOperator(task_id="sync", company_id=1), ti=instance)) == {"companies": {"stored": 1}}
    instance = task_instance(dag_id="halo_event_update", run_id="e2")
    assert counts(run(SyncOperator(task_id="sync", company_id=1), ti=instance)) == {"companies": {"unchanged": 1}}
    assert runs_of(ledger) == [
        ("halo_event_update e2", "done", False, 0, 1),
        ("halo_event_update e1", "done", False, 1, 0),
    ]


def test_a_query_that_gives_nothing_any_more_stops_the_run_before_a_batch_is_planned(halo, plan, shop, ledger, week):
    week("w1")
    with shop:
        shop.execute("DELETE FROM integrations")
    before = halo.requests.describe()["total"]
    with pytest.raises(AirflowFailException) as stopped:
        week("w2")
    assert "companies.context.integrations" in str(stopped.value)
    assert "no longer returns rows; the last run (halo_weekly_sync w1) had 2 companies with it" in str(stopped.value)
    assert halo.requests.describe()["total"] == before
    assert runs_of(ledger)[0][:2] == ("halo_weekly_sync w2", "failed")
    week("w3", plan_batches={"force": "True"})
    assert halo.store.company("1")["context"]["integrations"]["value"] == {}


@pytest.mark.parametrize("share", ["half", "120%", "-1%"])
def test_a_share_that_is_none_is_told(halo, plan, ledger, run, share):
    with pytest.raises(AirflowFailException) as told:
        run(PlanBatchesOperator(task_id="plan_batches", max_changed=share))
    assert str(told.value) == f"max_changed must be a share such as 50%, or none, not {share!r}."


def test_what_is_written_by_hand_is_set_right_by_the_next_sync(halo, plan, ledger, run, week, counts):
    week("w1")
    run(IdentifyOperator(task_id="i", user_id="10", company_id="2", traits={"name": "By hand"}))
    run(ContextOperator(task_id="c", company_id="1", key="integrations", label="X", value={}))
    assert halo.store.user("10")["company_id"] == "2"
    assert counts(week("w2")) == {
        "companies": {"stored": 1, "unchanged": 2},
        "users": {"stored": 1, "unchanged": 4},
        "links": {"stored": 1, "unchanged": 3},
    }
    assert (halo.store.user("10")["traits"]["name"], halo.store.user("10")["company_id"]) == ("Ada", "1")
    assert halo.store.company("1")["context"]["integrations"]["value"] == {
        "hubspot": {"connected": True, "status": "error"}
    }


def test_who_was_erased_is_not_sent_by_hand_either(halo, plan, ledger, run, week, counts):
    week("w1")
    (plan_ledger,) = ledger.plans()
    plan_ledger.erased.add("users", ["10"])
    plan_ledger.erased.add("companies", ["2"])
    before = halo.store.user("10"), halo.store.company("2")
    report = run(IdentifyOperator(task_id="i", user_id="10", company_id="1", traits={"name": "By hand"}))
    assert counts(report) == {"users": {"skipped": 1}}
    report = run(ContextOperator(task_id="c", company_id="2", key="integrations", label="X", value={}))
    assert counts(report) == {"companies": {"skipped": 1}}
    report = run(IdentifyOperator(task_id="j", user_id="90", company_id="2", traits={"name": "Bea"}))
    assert counts(report) == {"users": {"stored": 1}, "links": {"skipped": 1}}
    assert (halo.store.user("10"), halo.store.company("2")) == before
    assert counts(week("w2"))["users"]["skipped"] == 1


def test_many_records_by_hand_are_all_set_right(halo, plan, shop, ledger, run, week, counts):
    with shop:
        shop.executemany("INSERT INTO users VALUES (?, NULL, 'N', 'n@e')", [(key,) for key in range(1000, 3500)])
    week("w1")
    run(IdentifyOperator(task_id="i", sql="SELECT id AS user_id, 'X' AS name FROM users", source_conn_id="shop"))
    assert counts(week("w2"))["users"] == {"stored": 2505}


def test_a_task_may_do_without_the_ledger(halo, plan, ledger, run, week, counts):
    week("w1")
    assert counts(week("w2", sync={"ledger_conn_id": "none"}))["users"] == {"stored": 5}


@pytest.mark.parametrize("operator", [SyncOperator, IdentifyOperator])
def test_a_ledger_connection_that_is_not_there_is_named_with_the_mend(halo, plan, run, operator):
    arguments = {"company_id": 1} if operator is SyncOperator else {"company_id": 1, "traits": {}}
    with pytest.raises(AirflowException) as missing:
        run(operator(task_id="t", ledger_conn_id="nowhere", **arguments))
    # Airflow says the same of every connection while its API server is away: it must be tried again.
    assert not isinstance(missing.value, AirflowFailException)
    assert str(missing.value) == snapshot(
        "The ledger connection 'nowhere' is not there: create it in Airflow (Admin > Connections), or set the environment "
        "variable AIRFLOW_CONN_NOWHERE."
    )


def test_the_ledger_holds_keys_and_reasons_and_no_people(halo, plan, ledger, week, tmp_path):
    week("w1")
    content = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"halo_weekly_sync w1" in content
    for secret in (b"Ada", b"acme.test", b"hubspot", b"ab_live_", b"ha_secret_"):
        assert secret not in content
