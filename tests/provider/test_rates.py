"""How many requests a second a task sends: its part of the pool without a ledger, its turns of all tasks' with one."""

from __future__ import annotations

import logging
import sqlite3
import time

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import HaloHook
from airflow_provider_halo.hooks.ledger import share_of
from airflow_provider_halo.operators import ContextOperator, IdentifyOperator, SyncOperator
from airflow_provider_halo.settings import HaloSettings

SECRET = "ha_secret_provider_tests_that_is_long_enough"


@pytest.fixture
def limit(set_halo):
    """Sets the connection's requests per second."""

    def set_limit(rate):
        set_halo(extra={"identity_secret": SECRET, "requests_per_second": rate})

    return set_limit


@pytest.fixture
def seconds():
    """How long a call takes, at the very least: what a limit promises."""

    def measure(call):
        began = time.monotonic()
        call()
        return time.monotonic() - began

    return measure


def companies(count, **arguments):
    return IdentifyOperator(
        task_id="identify", records=[{"company_id": f"c{number}"} for number in range(count)], **arguments
    )


@pytest.mark.parametrize(
    ("pool", "share"),
    [
        ({"pool": "halo_api"}, 1 / 4),
        ({"pool": "halo_api", "pool_slots": 3}, 3 / 4),
        ({"pool": "halo_api", "pool_slots": 8}, 1),  # the pool has been made larger, and the option not
        ({}, 1 / 4),  # default_pool, beside those of the pool
        ({"pool": "reports", "pool_slots": 8}, 1 / 4),  # slots of that pool say nothing of this one
    ],
)
def test_without_a_ledger_a_task_has_the_part_of_its_slots(pool, share):
    limited = HaloSettings(widget_key="k", requests_per_second=10)
    assert share_of(limited, companies(1, **pool)) == share
    assert share_of(HaloSettings(widget_key="k"), companies(1, **pool)) == 1
    assert share_of(limited, None) == 1  # a script, or a command


def test_another_pool_of_other_slots_is_configured(monkeypatch):
    monkeypatch.setenv("AIRFLOW__HALO__POOL", "ours")
    monkeypatch.setenv("AIRFLOW__HALO__POOL_SLOTS", "10")
    limited = HaloSettings(widget_key="k", requests_per_second=0.5)
    assert [share_of(limited, companies(1, pool=pool, pool_slots=5)) for pool in ("ours", "halo_api")] == [0.5, 0.1]


@pytest.mark.parametrize("slots", ["-1", "0", "four"])
def test_slots_that_nothing_can_be_divided_by_are_told_when_there_is_something_to_divide(
    halo, run, limit, monkeypatch, slots
):
    monkeypatch.setenv("AIRFLOW__HALO__POOL_SLOTS", slots)
    assert run(companies(1))["companies"]["stored"] == 1
    limit(50)
    with pytest.raises(AirflowFailException) as refused:
        run(companies(1))
    assert str(refused.value) == (
        f"[halo] pool_slots must be a whole number from 1, not '{slots}': without a ledger requests_per_second is divided "
        "by it."
    )


def test_a_task_outside_of_the_pool_is_told_once_that_its_requests_come_on_top(halo, run, limit, caplog):
    limit(1_000)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            run(companies(1, pool="another"))
            run(companies(1, pool="halo_api"))
    assert [record.getMessage() for record in caplog.records] == snapshot(
        [
            (
                "This task runs in the pool 'another', so it sends 250 requests per second at most, on top of those of the pool "
                "'halo_api'. For all tasks together to hold requests_per_second of the connection 'halo_default', give it "
                "pool='halo_api', or set [halo] ledger_conn_id."
            )
        ]
    )


def test_each_operator_holds_its_part(halo, run, limit, seconds, plan):
    limit(80)
    assert seconds(lambda: run(companies(9, pool="halo_api"))) >= 8 / 20
    tasks = [
        ContextOperator(task_id=f"context{number}", company_id="c1", key="k", label="L", value=1, pool="halo_api")
        for number in range(6)
    ]
    assert (
        seconds(lambda: [run(task) for task in tasks]) >= 5 / 20
    )  # one process, which sends no faster by several tasks
    # Companies 1 and 2 with 3 users and 3 links: 2 + 1 + 3 requests.
    batch = {"index": 0, "of": 1, "label": "all"}
    assert seconds(lambda: run(SyncOperator(task_id="sync", batch=batch, pool="halo_api"))) >= 5 / 20


def test_a_hook_that_is_called_for_each_record_holds_the_limit_too(halo, limit, seconds):
    limit(20)
    hook = HaloHook()
    assert seconds(lambda: [hook.identify_company(f"c{number}") for number in range(7)]) >= 6 / 20
    assert seconds(lambda: [HaloHook().link_user("u1", "c1") for _ in range(7)]) >= 6 / 20
    users = [{"user_id": number} for number in range(4_001)]
    assert seconds(lambda: hook.update_users(users)) >= 4 / 20


def test_a_hook_in_a_task_has_the_part_of_that_task(halo, limit, seconds):
    limit(80)
    with set_current_context({"task": companies(1, pool="halo_api")}):
        hook = HaloHook()
        assert seconds(lambda: [hook.identify_company(f"c{number}") for number in range(7)]) >= 6 / 20


def test_with_a_ledger_all_who_share_it_hold_the_limit_in_whatever_pool(halo, run, limit, seconds, ledger, plan):
    limit(20)

    def everybody():
        run(companies(3))
        run(SyncOperator(task_id="sync", company_id=1))
        hook = HaloHook()
        for number in range(3):
            hook.identify_company(f"c{number}")

    assert seconds(everybody) >= 6 / 20
    assert halo.requests.describe()["total"] == 7


def test_a_hook_asks_no_ledger_where_there_is_no_limit_or_it_is_told_to(halo, limit, monkeypatch):
    monkeypatch.setenv("AIRFLOW__HALO__LEDGER_CONN_ID", "nowhere")
    assert HaloHook().identify_company("c1")["companies"]["stored"] == 1
    limit(50)
    assert HaloHook(ledger_conn_id="none").identify_company("c1")["companies"]["stored"] == 1
    assert HaloHook().test_connection() == snapshot((True, "The widget key and the identity secret both pass."))
    with pytest.raises(SetupError, match="The ledger connection 'nowhere' is not there"):
        HaloHook().identify_company("c1")


def test_a_ledger_that_is_lost_while_a_task_waits_for_its_turn_ends_it_as_any_other_fault_of_the_ledger(
    halo, run, limit, ledger, plan, tmp_path
):
    limit(50)
    run(SyncOperator(task_id="sync", company_id=1))
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("DROP TABLE halo_ledger_rates")
    database.close()
    with pytest.raises(
        AirflowException, match=r"^The ledger database \(connection 'halo_ledger'\) can't be used: "
    ) as lost:
        run(SyncOperator(task_id="sync", company_id=2))
    assert not isinstance(lost.value, AirflowFailException)  # it may come back
