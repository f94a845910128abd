"""The shipped DAGs: they import, survive serialisation, and have the trigger form that they promise."""

from __future__ import annotations

import ast
import importlib.util
import json
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization
from shipped_dags import with_default_args

from airflow_provider_halo.hooks import config

FOLDER = Path(__file__).parents[2] / "dags"
PAGE = " ".join((FOLDER.parent / "docs" / "dags.md").read_text(encoding="utf-8").split())
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}


def load(name, path=None):
    """The DAG of a file, read anew."""
    spec = importlib.util.spec_from_file_location(f"dags_{name}", path or FILES[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag


def test_these_are_the_dags():
    assert list(FILES) == ["halo_backfill", "halo_event_update", "halo_weekly_sync"]


@pytest.mark.parametrize("name", FILES)
def test_a_dag_is_a_page_long_and_imports_only_airflow_sdk_and_our_operators(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) < 125
    modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert modules - {"datetime"} == {"airflow.sdk", "airflow_provider_halo.operators"}


@pytest.mark.parametrize("name", FILES)
def test_a_dag_survives_serialisation_and_says_what_to_do_about_the_pool(name):
    dag = load(name)
    assert dag.dag_id == name
    restored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert set(restored.task_ids) == set(dag.task_ids)
    assert 'airflow pools set halo_api 4 "Batches that talk to HaloAgents at once"' in dag.doc_md
    assert (dag.max_active_tasks > 1, dag.catchup) == (True, False)
    for task in dag.tasks:
        assert waits(task) == (timedelta(minutes=10.5) if name == "halo_event_update" else timedelta(minutes=31))
    assert f"**{'ten' if name == 'halo_event_update' else '31'} minutes at least**" in PAGE


@pytest.mark.parametrize("name", ["halo_backfill", "halo_weekly_sync"])
def test_the_retries_of_a_copy_are_set_by_its_default_args(name, tmp_path):
    copy = tmp_path / "copy.py"
    default_args = '{"retry_delay": timedelta(seconds=3), "max_retry_delay": timedelta(seconds=90)}'
    copy.write_text(with_default_args(FILES[name].read_text(encoding="utf-8"), default_args), encoding="utf-8")
    for task in load(name, copy).tasks:
        assert (task.retries, task.retry_delay, task.max_retry_delay) == (
            5,
            timedelta(seconds=3),
            timedelta(seconds=90),
        )


def waits(task):
    """How long Airflow waits at least between a task's first try and its last: models/taskinstance.py, next_retry_datetime."""
    delays = [
        min(task.retry_delay * task.retry_exponential_backoff**number, task.max_retry_delay)
        for number in range(task.retries)
    ]
    return sum(delays, timedelta())


def test_tasks_that_talk_to_halo_run_in_the_pool_and_the_others_do_not(monkeypatch):
    monkeypatch.setenv("AIRFLOW__HALO__POOL", "my_pool")
    assert config.pool() == "my_pool"
    pools = {name: {task.task_id: task.pool for task in load(name).tasks} for name in FILES}
    assert pools == {
        "halo_backfill": {"plan_batches": "default_pool", "sync": "my_pool", "report": "default_pool"},
        "halo_event_update": {"sync": "my_pool"},
        "halo_weekly_sync": {"plan_batches": "default_pool", "sync": "my_pool", "report": "default_pool"},
    }


def test_the_report_waits_for_both_and_runs_whatever_became_of_them():
    for name in ("halo_backfill", "halo_weekly_sync"):
        task = load(name).get_task("report")
        assert (task.upstream_task_ids, task.trigger_rule) == ({"plan_batches", "sync"}, "all_done")


def test_the_schedules():
    dags = {name: load(name) for name in FILES}
    assert {name: dag.schedule for name, dag in dags.items()} == {
        "halo_backfill": None,
        "halo_event_update": None,
        "halo_weekly_sync": "@weekly",
    }
    assert (dags["halo_weekly_sync"].max_active_runs, dags["halo_backfill"].max_active_runs) == (1, 1)


def test_the_trigger_forms_have_the_promised_fields_with_titles_and_descriptions():
    params = {name: load(name).params for name in FILES}
    assert {name: set(found) for name, found in params.items()} == {
        "halo_backfill": {
            "batch_size",
            "only",
            "dry_run",
            "full",
            "company_ids",
            "max_rejected",
            "max_left_out",
            "retry_rejected",
            "force",
        },
        "halo_event_update": {"company_id", "user_id", "only", "activity"},
        "halo_weekly_sync": {"force"},
    }
    for found in params.values():
        found.validate()
        for name in found:
            schema = found.get_param(name).schema
            assert schema.get("title"), name
            assert schema.get("description") or found.get_param(name).description, name


@pytest.mark.parametrize(
    ("dag", "name", "value", "fits"),
    [
        ("halo_backfill", "batch_size", 500, True),
        ("halo_backfill", "batch_size", 0, False),
        ("halo_backfill", "batch_size", "many", False),
        ("halo_backfill", "only", ["users", "links"], True),
        ("halo_backfill", "only", None, True),
        ("halo_backfill", "only", "users", False),
        ("halo_backfill", "company_ids", [1, "2"], True),
        ("halo_backfill", "max_rejected", "1%", True),
        ("halo_backfill", "max_rejected", "20", True),
        ("halo_backfill", "max_rejected", "2.5 %", True),
        ("halo_backfill", "max_rejected", "none", True),
        ("halo_backfill", "max_rejected", "few", False),
        ("halo_backfill", "max_left_out", "1%", True),
        ("halo_backfill", "max_left_out", "few", False),
        ("halo_event_update", "company_id", 17, True),
        ("halo_event_update", "company_id", "c-17", True),
        ("halo_event_update", "company_id", [17], False),
        ("halo_event_update", "activity", "yes", False),
    ],
)
def test_the_trigger_form_takes_what_fits_and_nothing_else(dag, name, value, fits):
    param = load(dag).params.get_param(name)
    if fits:
        assert param.resolve(value) == value
    else:
        with pytest.raises((AirflowException, ValueError)):
            param.resolve(value)


def test_params_of_a_run_reach_the_operators_with_their_types(task_instance):
    from types import SimpleNamespace

    dag = load("halo_event_update")
    task = dag.get_task("sync")
    conf = {"company_id": "007", "only": ["companies.traits"], "activity": False}
    params = {name: dag.params[name] for name in dag.params} | conf
    task.render_template_fields({"ti": task_instance(), "dag_run": SimpleNamespace(conf=conf), "params": params})
    assert (task.company_id, task.user_id, task.only, task.activity) == ("007", None, ["companies.traits"], False)
