"""A user was named, so it is a user: an id that is given and comes out empty never turns a person into a company."""

from __future__ import annotations

from types import SimpleNamespace

import jinja2
import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import RecordsNotStored
from airflow_provider_halo.operators import ContextOperator, IdentifyOperator

EMPTY = [None, "", "  ", "None", "\n"]
PERSON = {"email": "ada@acme.test"}


class Producer(BaseOperator):
    """A task whose XCom others use."""


def identify(**arguments):
    return IdentifyOperator(**({"task_id": "t", "company_id": "acme", "traits": PERSON} | arguments))


@pytest.fixture
def refused(halo, run):
    """Runs an operator that must not send anything; gives its rejects."""

    def run_refused(operator, **context):
        with pytest.raises(RecordsNotStored) as caught:
            run(operator, **context)
        assert isinstance(caught.value, AirflowFailException)
        assert (halo.requests.describe()["total"], halo.store.find("companies")) == (0, [])
        return [(reject["scope"], reject["key"], reject["field"]) for reject in caught.value.report["rejects"]]

    return run_refused


@pytest.mark.parametrize("value", EMPTY)
def test_a_user_id_that_is_empty_is_a_reject(refused, value):
    assert refused(identify(user_id=value)) == [("users", "", "user_id")]


@pytest.mark.parametrize(
    "template", ["{{ params.get('nobody') }}", "{{ params.user_id }}", "{{ none }}", "", " {{ '' }} "]
)
@pytest.mark.parametrize("native", [False, True])
def test_a_template_that_gives_nothing_is_a_reject(refused, template, native):
    with DAG("d", schedule=None, render_template_as_native_obj=native) as dag:
        operator = identify(user_id=template)
    assert refused(operator, dag=dag, params={"user_id": None}) == [("users", "", "user_id")]


def test_a_name_that_a_lenient_dag_does_not_know_is_a_reject(refused):
    with DAG("d", schedule=None, template_undefined=jinja2.Undefined, render_template_as_native_obj=True) as dag:
        operator = identify(user_id="{{ params.nobody }}")
    assert refused(operator, dag=dag) == [("users", "", "user_id")]


def test_the_message_names_the_argument(halo, run):
    with pytest.raises(RecordsNotStored) as caught:
        run(identify(user_id="{{ none }}"))
    assert str(caught.value) == snapshot(
        "1 of 1 records were rejected, more than max_rejected=0; the first: users : user_id: is empty: the argument "
        "user_id was given, but its template or XCom gave nothing"
    )


@pytest.mark.parametrize("value", EMPTY)
def test_an_xcom_that_gives_nothing_is_a_reject(refused, task_instance, value):
    with DAG("d", schedule=None) as dag:
        operator = identify(user_id=Producer(task_id="signup").output)
    assert refused(operator, dag=dag, ti=task_instance({"signup": value})) == [("users", "", "user_id")]


@pytest.mark.parametrize("value", EMPTY)
def test_an_id_of_expand_that_is_empty_is_a_reject(refused, task_instance, value):
    with DAG("d", schedule=None) as dag:
        producer = Producer(task_id="signups")
        mapped = IdentifyOperator.partial(task_id="t", company_id="acme", traits=PERSON).expand(user_id=producer.output)
    context = {"ti": task_instance({"signups": [value]}, map_index=0), "dag": dag, "task": mapped}
    context |= {"map_index_template": None, "dag_run": SimpleNamespace(conf={})}
    assert refused(mapped, **context) == [("users", "", "user_id")]


@pytest.mark.parametrize("value", EMPTY)
def test_an_id_in_records_that_is_empty_is_a_reject(refused, value):
    record = {"user_id": value, "company_id": "acme", "traits": PERSON}
    assert refused(IdentifyOperator(task_id="t", records=[record])) == [("users", "", "user_id")]


def test_an_id_that_a_template_in_records_makes_empty_is_a_reject(refused):
    record = {"user_id": "{{ none }}", "company_id": "acme", "traits": PERSON}
    assert refused(IdentifyOperator(task_id="t", records=[record])) == [("users", "", "user_id")]


@pytest.mark.parametrize("value", EMPTY)
def test_a_company_that_is_named_and_empty_is_a_reject_too(refused, value):
    assert refused(identify(user_id="u1", company_id=value)) == [("users", "u1", "company_id")]
    only_company = IdentifyOperator(task_id="t", company_id=value, traits={"plan": "pro"})
    assert refused(only_company) == [("companies", "", "company_id")]


@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("name", ["user_id", "company_id"])
def test_context_of_an_id_that_is_empty_is_a_reject(refused, name, value):
    operator = ContextOperator(task_id="t", key="k", label="L", value=1, **{name: value})
    assert refused(operator) == [("users" if name == "user_id" else "companies", "", name)]


def test_a_user_of_no_company_may_say_so_in_records_and_a_user_of_an_empty_one_may_not(halo, run):
    run(IdentifyOperator(task_id="t", records=[{"user_id": "u1", "company_id": None, "traits": PERSON}]))
    assert halo.store.user("u1")["company_id"] is None
    with pytest.raises(RecordsNotStored, match="users u2: company_id: the key is empty"):
        run(IdentifyOperator(task_id="t", records=[{"user_id": "u2", "company_id": "None"}]))


def test_fail_open_lets_it_pass_and_stores_nothing(halo, run):
    report = run(identify(user_id="{{ none }}", fail_open=True))
    assert (report["delivered"], report["users"]["rejected"]) == (False, 1)
    assert halo.requests.describe()["total"] == 0


@pytest.mark.parametrize("name", ["records", "sql"])
def test_many_that_come_out_as_nothing_are_told_by_name(halo, run, task_instance, shop, name):
    with DAG("d", schedule=None) as dag:
        more = {"source_conn_id": "shop"} if name == "sql" else {}
        operator = IdentifyOperator(task_id="t", **{name: Producer(task_id="p").output}, **more)
    with pytest.raises(AirflowFailException, match=name):
        run(operator, dag=dag, ti=task_instance({"p": None}))
