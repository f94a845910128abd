from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from airflow_provider_halo.api.responses import SHOWN_CHARACTERS, clean, clean_local

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzY29wZSI6IngifQ.85uRswDznALnT29CTj3G"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Bad request", "Bad request"),
        ("renewal_status is none of 'renewed', 'lost'", "renewal_status is none of 'renewed', 'lost'"),
        ("Invalid email ada@example.com", "Invalid email …"),
        ('name "Ada Lovelace" is too long', 'name "…" is too long'),
        ("user 'u17' is bad", "user 'u17' is bad"),
        ("phone +44 (20) 7946-0958 is taken", "phone … is taken"),
        ("it isn't a date and doesn't parse", "it isn't a date and doesn't parse"),
        (f"token {JWT} expired", "token … expired"),
        ("key ab_live_9f8e7d6c5b is unknown", "key … is unknown"),
        ("ha_secret_9f8e7d6c5b must not be sent", "… must not be sent"),
        ("Authorization: Bearer abc.def", "Authorization: …"),
        ("line\r\nline\x00two\x1b[31m", "line line two [31m"),
        ("", ""),
    ],
)
def test_a_servers_text_is_shown_without_what_is_private(said, shown):
    assert clean(said) == shown


@given(
    st.text(max_size=300), st.sampled_from([JWT, "ab_live_9f8e7d6c5b", "ha_secret_9f8e7d6c5b"]), st.text(max_size=300)
)
def test_no_secret_comes_through_whatever_stands_around_it(before, secret, after):
    # A letter right before a key would make it another word.
    assert secret not in clean(f"{before} {secret} {after}")


@given(st.text(max_size=10_000))
def test_a_text_is_one_short_line(text):
    shown = clean(text)
    assert len(shown) <= SHOWN_CHARACTERS
    assert len(shown.splitlines()) <= 1


def test_a_very_long_text_without_an_end_is_cut():
    assert clean("x" * 10_000_000) == "x" * 199 + "…"


def test_a_text_of_this_machine_keeps_host_and_port_but_no_password():
    text = "Cannot connect to host 10.0.0.7:8443, proxy http://me:word@proxy.example:3128"
    assert clean_local(text) == snapshot("Cannot connect to host 10.0.0.7:8443, proxy …")
