"""`sql="users.sql"`: a query in a file beside the DAG, read and rendered as Airflow does it."""

from __future__ import annotations

import importlib.util

import pytest
from airflow.sdk import DAG

from airflow_provider_halo.operators import IdentifyOperator

DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_halo.operators import IdentifyOperator

with DAG("roles", schedule=None, params={"team": 1}) as dag:
    IdentifyOperator(task_id="roles", sql="sql/roles.sql", source_conn_id="shop")
    IdentifyOperator.partial(task_id="mapped", source_conn_id="shop").expand(sql=["sql/roles.sql"])
"""
SQL = "SELECT id AS user_id, name, '{{ params.team }}' AS team FROM users WHERE team_id = {{ params.team }} -- roles.sql\n"


@pytest.fixture
def dag(tmp_path):
    """The DAG of a file that has a query beside it."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "roles.sql").write_text(SQL, encoding="utf-8")
    (tmp_path / "roles.py").write_text(DAG_FILE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("roles", tmp_path / "roles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag


def test_a_query_in_a_file_beside_the_dag_is_read_and_rendered(dag, halo, shop, run, counts):
    task = dag.get_task("roles")
    report = run(task, dag=dag, params={"team": 1})
    assert task.sql == "SELECT id AS user_id, name, '1' AS team FROM users WHERE team_id = 1 -- roles.sql"
    assert counts(report) == {"users": {"stored": 2}}
    assert halo.store.user("10")["traits"] == {"name": "Ada", "team": "1"}


def test_a_file_is_read_when_airflow_resolves_the_files_of_a_dag(dag):
    task = dag.get_task("roles")
    task.resolve_template_files()
    assert task.sql == SQL


def test_a_mapped_query_may_be_a_file_too(dag, task_instance):
    from types import SimpleNamespace

    context = {"ti": task_instance(map_index=0), "dag": dag, "dag_run": SimpleNamespace(conf={}), "params": {"team": 2}}
    context |= {"task": dag.get_task("mapped"), "map_index_template": None}
    context["task"].render_template_fields(context)
    assert context["task"].sql.endswith("WHERE team_id = 1 -- roles.sql")


def test_airflow_shows_it_as_sql():
    assert (IdentifyOperator.template_ext, IdentifyOperator.template_fields_renderers) == ((".sql",), {"sql": "sql"})


def test_a_trait_that_is_named_like_a_file_is_a_text(halo, run, tmp_path):
    (tmp_path / "secret.sql").write_text("SELECT 'not for Halo'", encoding="utf-8")
    with DAG("d", schedule=None, template_searchpath=str(tmp_path)) as dag:
        task = IdentifyOperator(task_id="t", user_id="u1", traits={"opened": "secret.sql", "plan": "{{ params.plan }}"})
    run(task, dag=dag, params={"plan": "pro"})
    assert halo.store.user("u1")["traits"] == {"opened": "secret.sql", "plan": "pro"}
