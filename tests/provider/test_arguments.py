from __future__ import annotations

import pytest

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.operators.arguments import as_boolean, as_count, as_key, as_keys, as_names, is_empty


@pytest.mark.parametrize("value", [None, "", "  ", "None", [], (), {}])
def test_what_is_not_given(value):
    assert is_empty(value)


@pytest.mark.parametrize("value", [0, False, "0", [0], "x"])
def test_what_is_given_though_it_looks_empty(value):
    assert not is_empty(value)


@pytest.mark.parametrize(
    ("value", "key"), [(17, 17), (0, 0), ("17", "17"), (" c-1 ", " c-1 "), ("007", "007"), ("None", None), ("", None)]
)
def test_a_key_keeps_its_type(value, key):
    assert as_key(value, "company_id") == key


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (None, []),
        ([1, "2", " 3 "], [1, "2", " 3 "]),
        ("1, 2,,3", ["1", "2", "3"]),
        ("['1', 2]", ["1", 2]),
        (17, [17]),
        (("a", None), ["a"]),
    ],
)
def test_keys_come_as_a_list_or_a_text(value, keys):
    assert as_keys(value, "company_ids") == keys


@pytest.mark.parametrize(
    ("value", "names"),
    [("", ()), ("users, links", ("users", "links")), (["users", ""], ("users",)), ("['users']", ("users",))],
)
def test_names_come_as_a_list_or_a_text(value, names):
    assert as_names(value, "only") == names


@pytest.mark.parametrize(
    ("value", "meant"),
    [(True, True), ("True", True), ("on", True), (False, False), ("false", False), (None, None), ("None", None)],
)
def test_a_boolean_may_be_a_text(value, meant):
    assert as_boolean(value, "full") is meant


@pytest.mark.parametrize(("value", "count"), [(5, 5), ("5000", 5000), (" 7 ", 7)])
def test_a_count_may_be_a_text(value, count):
    assert as_count(value, "batch_size") == count


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (as_key, True, "x must be a text or a whole number, not a bool."),
        (as_key, 1.5, "x must be a text or a whole number, not a float."),
        (as_keys, [{}, {"a": 1}], "x must be a text or a whole number, not a dict."),
        (as_keys, 1.5, "x must be a list, or a text with commas between the items."),
        (as_names, "[users", "x must be a list, or a text with commas between the items."),
        (as_names, [1], "x must be a list of names."),
        (as_boolean, "perhaps", "x must be true or false."),
        (as_count, 0, "x must be a whole number from 1."),
        (as_count, "many", "x must be a whole number from 1."),
        (as_count, True, "x must be a whole number from 1."),
        (as_count, 1.5, "x must be a whole number from 1."),
    ],
)
def test_anything_else_is_told_by_name(read, value, message):
    with pytest.raises(SetupError) as caught:
        read(value, "x")
    assert str(caught.value) == message
