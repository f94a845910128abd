"""Jinja, XComs, partial and expand: what an operator is given, and what of it Airflow would show and keep."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization
from inline_snapshot import snapshot

from airflow_provider_halo.operators import (
    ContextOperator,
    IdentifyOperator,
    PlanBatchesOperator,
    ReportOperator,
    SyncOperator,
)

OPERATORS = (ContextOperator, IdentifyOperator, PlanBatchesOperator, ReportOperator, SyncOperator)


class Producer(BaseOperator):
    """A task whose XCom others use."""


def render(operator, task_instance, params=None):
    """Render an operator's fields as Airflow does before it runs it; gives the operator that would run."""
    return rendered(operator, task_instance, params)["task"]


def rendered(operator, task_instance, params=None):
    """The context after an operator's fields were rendered."""
    run = SimpleNamespace(conf=params or {})
    context = {"ti": task_instance, "dag": operator.dag, "dag_run": run, "params": params or {}, "task": operator}
    context["map_index_template"] = operator.map_index_template
    operator.render_template_fields(context)
    return context


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_template_field_holds_people_s_data(operator):
    # What is in a template field is kept in Airflow's database and shown in its UI, rendered.
    assert not {"traits", "context", "records", "value", "entries", "reports"} & set(operator.template_fields)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_template_and_data_field_is_an_attribute(operator):
    arguments = {
        ContextOperator: {"user_id": "u", "entries": {}},
        IdentifyOperator: {"user_id": "u"},
        ReportOperator: {"reports": []},
    }
    made = operator(task_id="t", **arguments.get(operator, {}))
    for name in (*made.template_fields, *getattr(made, "data_fields", ())):
        assert hasattr(made, name), name


def test_jinja_is_rendered_in_keys_and_in_data(task_instance):
    with DAG("d", schedule=None):
        operator = IdentifyOperator(
            task_id="t",
            user_id="{{ params.user_id }}",
            traits={"plan": "{{ params.plan }}", "seats": 3, "tags": ["{{ params.plan }}"]},
            context={"k": {"label": "L", "value": "{{ params.plan }}"}},
        )
    rendered = render(operator, task_instance(), params={"user_id": "u1", "plan": "pro"})
    assert rendered.user_id == "u1"
    assert rendered.traits == {"plan": "pro", "seats": 3, "tags": ["pro"]}
    assert rendered.context == {"k": {"label": "L", "value": "pro"}}


def test_an_xcom_in_data_makes_the_task_wait_and_is_resolved(task_instance):
    with DAG("d", schedule=None):
        producer = Producer(task_id="signup")
        operator = IdentifyOperator(task_id="t", user_id="u1", traits={"name": producer.output})
        entry = ContextOperator(task_id="c", user_id="u1", key="k", label="L", value=producer.output)
    assert operator.upstream_task_ids == {"signup"} == entry.upstream_task_ids
    rendered = render(operator, task_instance({"signup": "Ada"}))
    assert rendered.traits == {"name": "Ada"}
    assert render(entry, task_instance({"signup": {"a": 1}})).value == {"a": 1}


def test_jinja_inside_the_data_of_an_xcom_stays_text(task_instance):
    hostile = "{{ conn.get('halo_default').password }}"
    with DAG("d", schedule=None):
        producer = Producer(task_id="signup")
        single = IdentifyOperator(task_id="single", user_id="u1", traits=producer.output)
        mapped = IdentifyOperator.partial(task_id="mapped", user_id="u1").expand(traits=producer.output)
    assert render(single, task_instance({"signup": {"name": hostile}})).traits == {"name": hostile}
    instance = task_instance({"signup": [{"name": hostile}, {"name": "Bob"}]})
    instance.map_index = 0
    assert render(mapped, instance).traits == {"name": hostile}


def test_partial_and_expand_give_each_task_its_records(task_instance, halo, counts):
    with DAG("d", schedule=None):
        producer = Producer(task_id="signups")
        mapped = IdentifyOperator.partial(
            task_id="t", context={"k": {"label": "{{ params.label }}", "value": 1}}
        ).expand(user_id=producer.output)
    assert mapped.upstream_task_ids == {"signups"}
    instance = task_instance({"signups": ["u1", "u2"]})
    instance.map_index = 1
    operator = render(mapped, instance, params={"label": "L"})
    assert counts(operator.execute({"ti": instance})) == {"users": {"stored": 1}}
    assert halo.store.user("u2")["context"] == {"k": {"label": "L", "value": 1}}


def test_an_xcom_in_partial_that_nobody_waits_for_is_refused(task_instance):
    with DAG("d", schedule=None):
        producer = Producer(task_id="signup")
        mapped = IdentifyOperator.partial(task_id="t", traits=producer.output).expand(user_id=["u1"])
    instance = task_instance({"signup": {}})
    instance.map_index = 0
    with pytest.raises(AirflowFailException) as caught:
        render(mapped, instance)
    assert str(caught.value) == snapshot(
        "traits comes from the task 'signup', but partial() doesn't make 't' wait for it: set signup >> t in the DAG, or "
        "give traits to expand()."
    )
    producer >> mapped
    assert render(mapped, instance).traits == {}


@pytest.mark.parametrize(
    ("own", "label"), [({}, "1/1: all companies"), ({"map_index_template": "my {{ task.task_id }}"}, "my t")]
)
def test_a_mapped_task_is_labelled_by_its_batch_or_as_its_dag_says(task_instance, own, label):
    with DAG("d", schedule=None):
        producer = Producer(task_id="plan")
        mapped = SyncOperator.partial(task_id="t", **own).expand(batch=producer.output)
    instance = task_instance({"plan": [{"label": "1/1: all companies", "key_type": "integer"}]})
    instance.map_index = 0
    context = rendered(mapped, instance)
    assert mapped.get_template_env().from_string(context["map_index_template"]).render(context) == label


def test_what_airflow_keeps_of_a_dag_holds_no_data_of_people():
    with DAG("d", schedule=None) as dag:
        IdentifyOperator(task_id="a", user_id="u1", traits={"email": "ada@acme.test"})
        IdentifyOperator(task_id="b", records=[{"user_id": "u1", "traits": {"email": "ada@acme.test"}}])
        ContextOperator(task_id="c", user_id="u1", key="k", label="L", value="ada@acme.test")
        ContextOperator(task_id="d", user_id="u1", entries={"k": {"label": "L", "value": "ada@acme.test"}})
    assert "ada@acme.test" not in json.dumps(DagSerialization.to_dict(dag), default=str)


def test_a_decorated_task_s_output_is_taken_like_any_xcom():
    with DAG("d", schedule=None):

        @task
        def signups():
            return [{"user_id": "u1"}]

        operator = IdentifyOperator(task_id="t", records=signups())
    assert operator.upstream_task_ids == {"signups"}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("key", ["0x1F", "007", "1e5", "1_000", "[1]", "None ", "True", " acme ", "it's"])
@pytest.mark.parametrize("operator", [ContextOperator, IdentifyOperator, SyncOperator])
def test_a_key_is_the_text_that_its_template_gives_also_under_native_rendering(task_instance, operator, key, native):
    given = {ContextOperator: {"entries": {}}, IdentifyOperator: {"traits": {"n": "{{ 3 }}"}}}.get(operator, {})
    with DAG("d", schedule=None, render_template_as_native_obj=native):
        user = operator(task_id="u", user_id="{{ params.user }}", **given)
        company = operator(task_id="c", company_id="{{ ti.xcom_pull(task_ids='signup') }}", **given)
        mapped = operator.partial(task_id="m", **given).expand(user_id=["{{ params.user }}"])
    one = render(user, task_instance(), params={"user": key})
    assert one.user_id == key
    assert render(company, task_instance({"signup": key})).company_id == key
    instance = task_instance()
    instance.map_index = 0
    assert render(mapped, instance, params={"user": key}).user_id == key
    if operator is IdentifyOperator:  # what isn't a key keeps its type
        assert one.traits == {"n": 3 if native else "3"}
