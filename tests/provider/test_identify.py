from __future__ import annotations

import re

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.operators import ContextOperator, IdentifyOperator
from airflow_provider_halo.sandbox.faults import parse_fault


def identify(**arguments):
    return IdentifyOperator(task_id="identify", **arguments)


def context(**arguments):
    return ContextOperator(task_id="context", **arguments)


def test_a_user_is_stored_and_linked_and_not_marked_as_active(halo, run, counts):
    report = run(identify(user_id="u1", company_id="c1", traits={"name": "Ada"}))
    assert report.pop("delivered") is True
    assert counts(report) == {"users": {"stored": 1}, "links": {"stored": 1}}
    user = halo.store.user("u1")
    assert (user["traits"], user["company_id"], user["last_seen"]) == ({"name": "Ada"}, "c1", None)


def test_a_company_is_stored(halo, run, counts):
    assert counts(run(identify(company_id=17, traits={"name": "Acme"}))) == {"companies": {"stored": 1}}
    assert halo.store.company("17")["traits"] == {"name": "Acme"}


def test_a_person_who_is_present_is_marked_as_active_and_the_log_says_so(halo, run, capsys):
    run(identify(user_id="u1", traits={"name": "Ada"}, activity=True))
    assert halo.store.user("u1")["last_seen"] is not None
    said = capsys.readouterr().out
    assert "users/identify marks 1 person as active now" in said
    assert "Ada" not in said


def test_records_of_both_kinds_go_in_one_task(halo, run, counts):
    records = [
        {"user_id": "u1", "company_id": "c1", "traits": {"name": "Ada"}},
        {"company_id": "c1", "traits": {"name": "Acme"}},
        {"user_id": "u2", "context": {"k": {"label": "L", "value": 1}}},
    ]
    report = run(identify(records=records))
    assert counts(report) == {"companies": {"stored": 1}, "users": {"stored": 2}, "links": {"stored": 1}}
    assert halo.store.company("c1")["traits"] == {"name": "Acme"}
    assert halo.store.user("u2")["context"] == {"k": {"label": "L", "value": 1}}


def test_activity_counts_the_people_among_the_records(halo, run, capsys):
    run(identify(records=[{"user_id": "u1"}, {"user_id": "u2"}, {"company_id": "c1"}], activity=True))
    said = capsys.readouterr().out
    assert "marks 2 people as active now" in said
    assert halo.requests.describe()["by_path"] == {"companies/identify": {"200": 1}, "users/identify": {"200": 2}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"records": []}, "records is empty, so nothing was sent; allow_empty=True makes that fine"),
        (
            {"sql": "SELECT id AS user_id FROM users WHERE id < 0", "source_conn_id": "shop"},
            "the query returned no row, so nothing was sent; allow_empty=True makes that fine",
        ),
    ],
)
@pytest.mark.usefixtures("halo", "shop")
def test_no_records_fail_the_task_for_good_unless_they_are_allowed(run, counts, arguments, message):
    for fail_open in (False, True):
        with pytest.raises(AirflowFailException) as caught:
            run(identify(fail_open=fail_open, **arguments))
        assert str(caught.value) == message
    assert run(identify(fail_open="always", **arguments))["delivered"] is False
    assert counts(run(identify(allow_empty=True, **arguments))) == {}


def test_users_come_straight_from_sql_and_are_linked(halo, run, shop, counts):
    sql = "SELECT id AS user_id, team_id AS company_id, name, 1 AS has_form FROM users;  -- all of them"
    report = run(identify(sql=sql, source_conn_id="shop"))
    assert counts(report) == {"users": {"stored": 5}, "links": {"stored": 4}}
    assert halo.store.user("10")["traits"] == {"name": "Ada", "has_form": True}
    assert halo.store.members("1") == ["10", "11"]
    assert halo.requests.describe()["by_path"]["users/update"] == {"200": 1}


def test_companies_come_straight_from_sql(halo, run, shop, counts):
    sql = "SELECT id AS company_id, name, '{{ params.plan }}' AS plan FROM teams"
    report = run(identify(sql=sql, source_conn_id="shop"), params={"plan": "pro"})
    assert counts(report) == {"companies": {"stored": 3}}
    assert halo.store.company("2")["traits"] == {"name": "Globex", "plan": "pro"}


def test_values_of_sql_have_the_types_that_halo_documents(halo, run, shop, counts):
    sql = "SELECT id AS company_id, 1 AS on_contract, '12.50' AS mrr, 7 AS name FROM teams"
    assert counts(run(identify(sql=sql, source_conn_id="shop"))) == {"companies": {"stored": 3}}
    assert halo.store.company("2")["traits"] == {"on_contract": True, "mrr": 12.5, "name": "7"}


def test_users_of_sql_need_no_company(halo, run, shop, counts):
    report = run(identify(sql="SELECT id AS user_id, name FROM users", source_conn_id="shop"))
    assert counts(report) == {"users": {"stored": 5}}


def test_link_users_may_be_left_off(halo, run, shop, counts):
    sql = "SELECT id AS user_id, team_id AS company_id FROM users"
    report = run(identify(sql=sql, source_conn_id="shop", link_users=False))
    assert counts(report) == {"users": {"stored": 5}}


def test_update_only_skips_whom_halo_does_not_know(halo, run, counts):
    run(identify(user_id="u1"))
    report = run(identify(records=[{"user_id": "u1"}, {"user_id": "u2"}], update_only=True))
    assert counts(report) == {"users": {"stored": 1, "skipped": 1}}


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        (
            "DELETE FROM users",
            AirflowFailException,
            "sql of the task identify, line 1: sql: ",
        ),
        (
            "SELECT id FROM users",
            AirflowFailException,
            "sql of the task identify: the SQL must give a column user_id or company_id, which names the record.",
        ),
        (
            "SELECT id AS user_id, 1 AS created_at FROM users",
            AirflowFailException,
            (
                "sql of the task identify: users.sql: column 'created_at' would be a trait that Halo reserves; rename it "
                "by AS signed_up_at"
            ),
        ),
        (
            "SELECT id AS user_id FROM nobody",
            AirflowException,
            "users (sql of the task identify) failed on connection 'shop': no such table: nobody",
        ),
    ],
)
@pytest.mark.usefixtures("halo", "shop")
def test_sql_that_can_t_be_used_is_told(run, sql, error, message):
    with pytest.raises(AirflowException) as caught:
        run(identify(sql=sql, source_conn_id="shop"))
    assert isinstance(caught.value, AirflowFailException) is (error is AirflowFailException)
    assert str(caught.value).startswith(message)
    assert caught.value.__cause__ is None


def test_a_rejected_record_fails_the_task_for_good_and_the_others_are_stored(halo, run):
    records = [
        {"user_id": "u1", "traits": {"id": 1, "name": "Ada"}},
        {"user_id": "u2", "traits": {"name": "Bob"}},
        {"user_id": "u3", "traits": "Cy"},
    ]
    with pytest.raises(AirflowFailException) as caught:
        run(identify(records=records))
    assert str(caught.value) == snapshot(
        "2 of 3 records were rejected, more than max_rejected=0; the first: users u1: traits.id: is a name that Halo "
        "reserves; give it another name; users u3: traits: must be an object of names and values"
    )
    assert halo.store.find("users") == ["u2"]


def test_a_limit_lets_a_few_be_rejected(halo, run, counts):
    records = [{"user_id": "u1", "traits": {"id": 1}}, {"user_id": "u2"}]
    assert counts(run(identify(records=records, max_rejected="50%"))) == {"users": {"stored": 1, "rejected": 1}}


def test_a_halo_that_is_down_is_worth_a_retry(halo, run, set_halo):
    halo.faults.set([parse_fault("503")])
    set_halo(extra={"identity_secret": "s" * 40, "max_retry_seconds": 0.2})
    with pytest.raises(AirflowException, match="took no request") as caught:
        run(identify(user_id="u1"))
    assert not isinstance(caught.value, AirflowFailException)


def test_a_wrong_key_is_not(halo, run, set_halo):
    set_halo(password="ab_live_wrong")
    with pytest.raises(AirflowFailException, match="401"):
        run(identify(user_id="u1"))


def test_a_user_without_a_secret_names_both_ways_out(halo, run, set_halo):
    set_halo(extra={})
    with pytest.raises(AirflowFailException, match=r"set identity_secret .* use activity=True on IdentifyOperator"):
        run(identify(user_id="u1"))


def test_an_entry_is_stored_for_a_company(halo, run, counts):
    value = {"hubspot": {"connected": True, "status": "error"}}
    report = run(context(company_id="c1", key="integrations", label="Integrations", type="integration", value=value))
    assert counts(report) == {"companies": {"stored": 1}}
    assert halo.store.company("c1")["context"] == {
        "integrations": {"label": "Integrations", "type": "integration", "value": value}
    }


def test_several_entries_are_stored_for_a_user_who_is_not_marked_as_active(halo, run):
    entries = {"a": {"label": "A", "value": None}, "b": {"label": "B", "type": "list", "value": [1, 2]}}
    run(context(user_id="u1", entries=entries))
    user = halo.store.user("u1")
    assert (user["context"], user["last_seen"]) == (entries, None)


def test_an_entry_that_can_t_be_stored_fails_the_task(halo, run):
    with pytest.raises(AirflowFailException, match=r"context\.k: has a type that is none of list,"):
        run(context(company_id="c1", key="k", label="L", type="stats", value=1))
    with pytest.raises(AirflowFailException, match="at least one entry"):
        run(context(company_id="c1", entries={}))


@pytest.mark.parametrize("name", ["key", "label"])
def test_an_entry_that_a_template_leaves_without_a_name_is_none(halo, run, name):
    arguments = {"key": "k", "label": "L", name: "{{ none }}"}
    with pytest.raises(AirflowFailException, match=f"^{name} is empty: it was given, but its template"):
        run(context(company_id="c1", value=1, **arguments))
    assert halo.requests.describe()["total"] == 0


def test_a_type_that_a_template_leaves_empty_is_left_to_halo(halo, run):
    run(context(company_id="c1", key="k", label="L", type="{{ none }}", value=1))
    assert halo.store.company("c1")["context"] == {"k": {"label": "L", "value": 1}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (identify, "Give one of: user_id or company_id with traits; records; sql with source_conn_id."),
        (
            lambda: identify(user_id="u", records=[]),
            "Give one of: user_id or company_id with traits; records; sql with source_conn_id.",
        ),
        (
            lambda: identify(records=[], traits={}),
            "traits and context belong to user_id or company_id; of many, give them inside records.",
        ),
        (lambda: identify(sql="SELECT 1"), "sql and source_conn_id go together."),
        (
            lambda: identify(user_id="u", parameters={"a": 1}),
            "parameters belong to sql, in which they stand as :name.",
        ),
        (lambda: identify(user_id="u", source_conn_id="x"), "sql and source_conn_id go together."),
        (
            lambda: identify(sql="SELECT 1", source_conn_id="x", activity=True),
            (
                "activity=True marks every user as active now, so it is for people who are present, not for a query: leave "
                "it off, or give the users by user_id or records."
            ),
        ),
        (lambda: context(key="k", label="L"), "Give either user_id or company_id."),
        (lambda: context(user_id="u", key="k"), "Give either key, label and value of one entry, or entries."),
        (lambda: context(user_id="u"), "Give either key, label and value of one entry, or entries."),
        (
            lambda: context(company_id="c", key="k", label="L", activity=True),
            "activity=True is for a user who is present: give user_id, or leave it off.",
        ),
    ],
)
def test_arguments_that_do_not_fit_together_are_told_when_the_dag_is_read(make, message):
    with DAG("d", schedule=None), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
