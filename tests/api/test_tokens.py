from __future__ import annotations

import jwt
import pytest

from airflow_provider_halo.api.tokens import IdentityTokens, bulk_token, user_token

SECRET = "ha_secret_0123456789abcdef0123456789"
NOW = 1_780_000_000.5


def claims(token: str) -> dict:
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})


def test_a_bulk_token_has_its_scope_an_end_within_the_hour_and_no_user():
    assert claims(bulk_token(SECRET, NOW)) == {"scope": "users.update", "exp": 1_780_000_000 + 3_300}


def test_a_user_token_names_its_user_and_ends_soon():
    assert claims(user_token(SECRET, "Zoë/1", NOW)) == {"user_id": "Zoë/1", "exp": 1_780_000_000 + 600}


def test_a_token_is_a_jwt_signed_with_hs256():
    assert jwt.get_unverified_header(bulk_token(SECRET, NOW)) == {"alg": "HS256", "typ": "JWT"}


@pytest.mark.filterwarnings("error")
def test_a_short_secret_signs_without_a_warning():
    assert jwt.get_unverified_header(bulk_token("short", NOW))["alg"] == "HS256"


def test_a_bulk_token_is_used_again_until_little_of_its_life_is_left():
    tokens = IdentityTokens(SECRET)
    first = tokens.bulk(NOW)
    assert tokens.bulk(NOW + 2_999) == first
    renewed = tokens.bulk(NOW + 3_000)
    assert claims(renewed)["exp"] == 1_780_000_000 + 3_000 + 3_300


def test_a_refused_token_is_replaced_by_one_that_passes_with_a_fast_clock():
    tokens = IdentityTokens(SECRET)
    refused = tokens.bulk(NOW)
    tokens.discard(refused)
    assert claims(tokens.bulk(NOW))["exp"] == 1_780_000_000 + 600


def test_a_token_that_was_renewed_meanwhile_is_not_dropped():
    tokens = IdentityTokens(SECRET)
    old = tokens.bulk(NOW)
    tokens.discard(old)
    new = tokens.bulk(NOW)
    tokens.discard(old)
    assert tokens.bulk(NOW + 1) == new
