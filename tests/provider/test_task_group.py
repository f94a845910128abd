"""`halo_sync`: a DAG of one's own in a line, and what of it may be set."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_halo.operators import PlanBatchesOperator, ReportOperator, SyncOperator, halo_sync


class Extract(BaseOperator):
    """What a sync waits for."""


def test_a_line_makes_the_three_tasks_of_a_sync_with_the_defaults_of_the_shipped_dags():
    with DAG("d", schedule=None) as dag:
        halo_sync(plan="/opt/airflow/halo.yaml")
    plan_batches, sync, report = (dag.get_task(task_id) for task_id in ("plan_batches", "sync", "report"))
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "plan_batches": set(),
        "sync": {"plan_batches"},
        "report": {"plan_batches", "sync"},
    }
    assert (plan_batches.plan, sync.partial_kwargs["plan"]) == ("/opt/airflow/halo.yaml",) * 2
    assert (plan_batches.max_changed, report.max_rejected) == ("50%", None)
    assert [task.pool for task in dag.tasks] == ["default_pool", "halo_api", "default_pool"]
    assert report.trigger_rule == "all_done"
    assert {(task.retries, task.retry_delay, task.max_retry_delay) for task in dag.tasks} == {
        (5, timedelta(minutes=1), timedelta(minutes=30))
    }
    restored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert set(restored.task_ids) == {"plan_batches", "sync", "report"}


def test_it_runs_and_its_report_is_that_of_the_run(halo, plan, run, task_instance, counts):
    with DAG("d", schedule=None) as dag:
        halo_sync(batch_size=2)
    batches = run(dag.get_task("plan_batches"))
    assert len(batches) > 1
    reports = []
    for number in range(len(batches)):
        instance = task_instance({"plan_batches": batches}, map_index=number)
        context = {"ti": instance, "dag": dag, "dag_run": SimpleNamespace(conf={}), "task": dag.get_task("sync")}
        context |= {"params": {}, "map_index_template": None}
        context["task"].render_template_fields(context)
        reports.append(context["task"].execute(context))
    judge = dag.get_task("report")
    judge.reports, judge.expected = reports, batches  # which only a running Airflow gathers of mapped tasks
    report = run(judge, dag=dag, outlet_events=defaultdict(SimpleNamespace))
    assert counts(report) == {"companies": {"stored": 3}, "users": {"stored": 5}, "links": {"stored": 4}}


def test_other_tasks_go_before_and_after_it():
    with DAG("d", schedule=None) as dag:
        Extract(task_id="extract") >> halo_sync() >> Extract(task_id="tell")
    assert dag.get_task("plan_batches").upstream_task_ids == {"extract"}
    assert dag.get_task("tell").upstream_task_ids == {"report"}


def test_the_dag_s_retries_win_over_the_group_s_and_the_call_s_over_both():
    with DAG("d", schedule=None, default_args={"retries": 1, "owner": "data"}) as dag:
        halo_sync()
        halo_sync("other", prefix_group_id=True, default_args={"retries": 2})
    assert {task.task_id: (task.retries, task.owner) for task in dag.tasks} == {
        "plan_batches": (1, "data"),
        "sync": (1, "data"),
        "report": (1, "data"),
        "other.plan_batches": (2, "data"),
        "other.sync": (2, "data"),
        "other.report": (2, "data"),
    }


@pytest.mark.parametrize("operator", [PlanBatchesOperator, SyncOperator, ReportOperator])
def test_every_argument_of_the_operators_can_be_set(operator):
    of_one_batch = {"batch", "company_id", "user_id", "activity", "reports", "expected"}
    arguments = set(inspect.signature(operator.__init__).parameters) - {"self", "kwargs", "trigger_rule"}
    assert arguments - of_one_batch <= set(inspect.signature(halo_sync).parameters)
