"""Limits of records: a count, a share or none, with the same edges everywhere."""

from __future__ import annotations

import re

import pytest

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.limit import NO_LIMIT, Limit


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        ("20", Limit(count=20), "20"),
        (0, Limit(count=0), "0"),
        (5, Limit(count=5), "5"),
        ("0.5%", Limit(percent=0.5), "0.5%"),
        (" 3 % ", Limit(percent=3), "3%"),
        ("100%", Limit(percent=100), "100%"),
        (None, NO_LIMIT, "none"),
        ("none", NO_LIMIT, "none"),
        ("None", NO_LIMIT, "none"),
        ("", NO_LIMIT, "none"),
    ],
)
def test_a_limit_is_a_count_a_share_or_none(value, limit, text):
    assert Limit.parse(value) == limit
    assert str(limit) == text
    assert Limit.parse(text) == limit


@pytest.mark.parametrize("wrong", ["x", "-1", "101%", "1.5", "%", "nan", "inf", "-1%", "nan%", "inf%", True, 0.5])
def test_a_limit_that_is_neither_a_count_nor_a_share_is_refused(wrong):
    sentence = f"max_rejected must be a count such as 20, or a share such as 1%, or none, not {wrong!r}."
    with pytest.raises(SetupError, match=f"^{re.escape(sentence)}$"):
        Limit.parse(wrong, "max_rejected")


@pytest.mark.parametrize("wrong", ["20", 0.5, 1, "101%", "-1%", "x%", "nan%"])
def test_where_only_a_share_makes_sense_a_count_is_refused(wrong):
    sentence = f"max_changed must be a share such as 50%, or none, not {wrong!r}."
    with pytest.raises(SetupError, match=f"^{re.escape(sentence)}$"):
        Limit.parse(wrong, "max_changed", share_only=True)


@pytest.mark.parametrize(
    ("value", "of", "allowed"),
    [
        ("1%", 100, 1),
        ("1%", 199, 1),
        ("50%", 0, 0),
        ("50%", 7, 3),
        ("57%", 1_000, 570),  # 1 - 0.57 is no 0.43 in binary
        ("100%", 7, 7),
        (0, 7, 0),
        (3, 1_000, 3),
        (3, 2, 3),
    ],
)
def test_exactly_the_limit_is_allowed_and_one_more_is_not(value, of, allowed):
    limit = Limit.parse(value)
    assert limit.allows(allowed, of)
    assert not limit.allows(allowed + 1, of)


def test_without_a_limit_any_number_is_allowed():
    assert NO_LIMIT.allows(10**9, 0)
