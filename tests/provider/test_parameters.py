"""`parameters`: values of a query by hand, bound by the database, whatever they hold."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from airflow.sdk.exceptions import AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks.records import records_of
from airflow_provider_halo.operators import IdentifyOperator

USABLE = "give a text, number, boolean, date, time or UUID, or a list of them for IN."
HOSTILE = ["O'Brien", "x' OR '1'='1", 'a"b', "50%", "%s", ":name", "a\\", "{{ params.x }}", "é\n漢", ""]


@pytest.fixture
def people(any_driver):
    """People with names that break SQL, in each database."""
    names = {"sqlite": "TEXT", "postgresql": "TEXT"}.get(
        any_driver.engine.dialect.name, "VARCHAR(40) COLLATE utf8mb4_bin"
    )
    any_driver.table(
        "people",
        f"id INTEGER, name {names}, born DATE, score NUMERIC(12, 2)",
        [(number, name, date(2000, 1, 1 + number), number + 0.5) for number, name in enumerate(HOSTILE)],
    )
    return any_driver


@pytest.fixture
def keys_of(people):
    """The keys of the users that a query gives."""

    def read(sql, **parameters):
        with records_of(
            sql, "app", people.sources, where="sql of the task t", warnings=Counter(), parameters=parameters
        ) as records:
            return sorted(int(payload.key) for payload in records.made)

    return read


@pytest.mark.parametrize("name", HOSTILE)
def test_a_value_is_a_value_whatever_it_holds(keys_of, name):
    assert keys_of("SELECT id AS user_id, name FROM people WHERE name = :name", name=name) == [HOSTILE.index(name)]


def test_a_list_is_for_in(keys_of):
    sql = "SELECT id AS user_id FROM people WHERE name IN :names"
    assert keys_of(sql, names=["O'Brien", ":name", "nobody"]) == [0, 5]
    assert keys_of("SELECT id AS user_id FROM people WHERE id IN :ids", ids=(1, 2, 99)) == [1, 2]


@pytest.mark.parametrize(
    ("condition", "value", "keys"),
    [
        ("id = :value", 3, [3]),
        ("id = :value", "3", [3]),
        ("score = :value", Decimal("4.5"), [4]),
        ("score > :value", 8, [8, 9]),
        ("born = :value", date(2000, 1, 2), [1]),
        ("born = :value", "2000-01-02", [1]),
        ("born >= :value", datetime.fromisoformat("2000-01-09T00:00:00"), [8, 9]),
        ("(name = :value OR :value IS NULL)", None, list(range(10))),
        ("id + 1 > :value AND id - 1 < :value", 5, [5]),
    ],
)
def test_values_keep_their_type(people, keys_of, condition, value, keys):
    if people.is_sqlite and isinstance(value, datetime):
        pytest.skip("SQLite compares texts, and a date's is shorter than a moment's")
    if value is None and people.engine.dialect.name == "postgresql":
        condition = "(name = :value OR CAST(:value AS TEXT) IS NULL)"
    assert keys_of(f"SELECT id AS user_id FROM people WHERE {condition}", value=value) == keys


def test_what_only_looks_like_a_name_stays_text(people, keys_of):
    cast = "id::int" if people.engine.dialect.name == "postgresql" else "id"
    sql = f"""
        SELECT {cast} AS user_id, ':name' AS a, 'x:name' AS b -- :name
        FROM people /* :name */ WHERE name = :name OR name = ':nobody'
    """
    assert keys_of(sql, name="O'Brien") == [0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"name": []},
            "sql of the task t: the parameter 'name' is an empty list, which no IN can hold: skip the task instead.",
        ),
        ({"nmae": 1}, "sql of the task t: the parameter 'nmae' stands nowhere in the SQL: write it there as :nmae."),
        (
            {"name": {"a": "secret"}},
            f"sql of the task t: the parameter 'name' is or holds a dict: {USABLE}",
        ),
        (
            {"name": [b"secret"]},
            f"sql of the task t: the parameter 'name' is or holds a bytes: {USABLE}",
        ),
    ],
)
def test_what_can_t_be_bound_is_told_without_its_value(shop, parameters, message):
    sql = "SELECT id AS user_id FROM users WHERE name = :name"
    with (
        pytest.raises(SetupError) as caught,
        records_of(sql, "shop", None, where="sql of the task t", warnings=Counter(), parameters=parameters),
    ):
        pass
    assert str(caught.value) == message


def test_a_uuid_is_bound_too(keys_of):
    assert keys_of("SELECT id AS user_id FROM people WHERE name = :id", id=UUID(int=7)) == []


def identify(**arguments):
    sql = "SELECT id AS user_id, name FROM users WHERE name = :name"
    return IdentifyOperator(task_id="t", sql=sql, source_conn_id="shop", **arguments)


@pytest.fixture
def obrien(shop):
    shop.execute("UPDATE users SET name = 'O''Brien' WHERE id = 10")
    shop.commit()


@pytest.mark.usefixtures("obrien")
def test_a_template_in_parameters_is_bound(halo, run, counts):
    report = run(identify(parameters={"name": "{{ params.name }}"}), params={"name": "O'Brien"})
    assert counts(report) == {"users": {"stored": 1}}
    assert halo.store.find("users") == ["10"]


@pytest.mark.usefixtures("obrien")
def test_a_value_that_would_break_out_finds_nobody(halo, run):
    with pytest.raises(AirflowFailException, match="the query returned no row"):
        run(identify(parameters={"name": "{{ params.name }}"}), params={"name": "x' OR '1'='1"})
    assert halo.store.find("users") == []


@pytest.mark.usefixtures("halo", "shop")
def test_parameters_that_are_no_object_are_told(run):
    with pytest.raises(AirflowFailException) as caught:
        run(identify(parameters=["O'Brien"]))
    assert str(caught.value) == snapshot(
        "sql of the task t: parameters must be an object of names and values, not a list: write :name in the SQL, and give "
        'parameters={"name": …}.'
    )


def test_values_of_parameters_are_no_template_field_that_airflow_keeps():
    assert "parameters" not in IdentifyOperator.template_fields
    assert "parameters" in IdentifyOperator.data_fields
