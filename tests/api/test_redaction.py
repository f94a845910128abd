"""What is shown of a server's words: nothing of the people that were sent, and no secret."""

from __future__ import annotations

import html
import json
import time
from itertools import product
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from airflow_provider_halo.api.redaction import SHOWN_CHARACTERS, SentValues, clean, clean_local
from airflow_provider_halo.api.responses import read_response
from airflow_provider_halo.exceptions import ApiError, RequestRefused

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


USER = {
    "user_id": "u1",
    "traits": {
        "name": "Ada Lovelace",
        "email": "ada.lovelace@example.com",
        "nickname": "Al",
        "city": "Zürich",
        "site": "https://engines.example/a?b=c&d=<e>",
        "bio": "wrote the first program for a machine that nobody had built, and more than that",
        "tags": ["vip", {"partner": "Charles"}],
        "visits": 12,
    },
    "context": {
        "notes": {"label": "Notes", "type": "list", "value": [{"text": 'said "no" twice', "more": ["Menabrea"]}]},
        "team": {"label": "Team", "type": "relationship", "value": {"Mary Somerville": {"role": "tutor"}}},
    },
}


def told(said: str, *users: dict, **more) -> str:
    body = {"error": said, **more} if said else more
    sent = json.dumps({"users": users or [USER]}).encode()
    with pytest.raises(RequestRefused) as caught:
        read_response(400, {}, json.dumps(body).encode(), path="users/update", now=0.0, sent=sent)
    return caught.value.message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Ada Lovelace is taken", "… is taken"),
        ("ADA LOVELACE is taken", "… is taken"),
        ("user Ada is taken", "user … is taken"),
        ("user LOVELACE is taken, as is lovelace", "user … is taken, as is …"),
        ("Mr Lovelace: too old", "Mr …: too old"),
        ("no mailbox ada.lovelace here", "no mailbox … here"),
        ("nickname Al is short, and also bad", "nickname … is short, and also bad"),
        ("city Zürich", "city …"),
        ("city Zu\u0308rich", "city …"),
        ("city Z\\u00fcrich", "city …"),
        (f"city {quote('Zürich')}", "city …"),
        ("city Z&uuml;rich", "city …"),
        ("site https://engines.example/a?b=c&amp;d=&lt;e&gt; is none", "site … is none"),
        (f"site {quote_plus(USER['traits']['site'])} is none", "site … is none"),
        ("tag vip is unknown", "tag … is unknown"),
        ("partner Charles", "partner …"),
        ('note said \\"no\\" twice', "note …"),
        ("note of menabrea", "note of …"),
        ("who is Mary Somerville, a tutor", "who is …, a …"),
        ("bio: wrote the first program for a machine ... is too long", "bio: …... is too long"),
        ("bio: " + USER["traits"]["bio"], "bio: …"),
        ("u1 has 12 visits", "u1 has 12 visits"),
        ("Notes must be a list", "Notes must be a list"),
    ],
)
def test_the_text_values_of_the_record_are_masked_however_a_server_writes_them(said, shown):
    assert told(said) == shown


def test_each_user_that_an_answer_names_is_told_without_its_own_values():
    users = [{"user_id": f"u{number}", "traits": {"name": f"Ada{number}"}} for number in range(3)]
    errors = [{"user_id": f"u{number}", "error": f"name Ada{number} is taken"} for number in range(3)]
    answer = read_response(
        200,
        {},
        json.dumps({"errors": errors}).encode(),
        path="users/update",
        now=0.0,
        sent=json.dumps({"users": users}).encode(),
    )
    assert answer.user_errors == {f"u{number}": "name … is taken" for number in range(3)}


def test_an_answer_that_names_somebody_else_is_told_without_the_values_of_those_who_were_sent():
    sent = json.dumps({"users": [USER]}).encode()
    body = {"errors": [{"user_id": "usr_0815", "error": "Ada Lovelace is taken"}]}
    answer = read_response(200, {}, json.dumps(body).encode(), path="users/update", now=0.0, sent=sent)
    assert answer.user_errors == {"usr_0815": "… is taken"}


@given(
    st.text(min_size=3, max_size=60).filter(lambda value: any(map(str.isalnum, value))),
    st.text(max_size=100),
    st.text(max_size=2_500),
)
def test_no_value_comes_through_whatever_stands_around_it(value, before, after):
    one_line = " ".join(value.split())
    shown = clean(f"{before} {value} {after}", SentValues(json.dumps({"traits": {"x": value}}).encode()).all())
    if len(one_line) > 3 and one_line.isprintable() and one_line not in f"{before} {after}":
        assert one_line not in shown


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"users": 3}', b'{"users": [3, {"traits": 4, "context": [1]}]}'])
def test_a_body_of_another_form_has_no_values(body):
    assert SentValues(body).all() == frozenset()


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "a@",
        "@",
        "eyJ",
        "eyJ.",
        "\u201c",
        "\u2018",
        '"',
        "'",
        "'a ",
        "`",
        "1",
        "1 ",
        "ab_a",
        "<title",
        "&",
        "%41",
        "\\u0041",
        "(",
    ],
)
def test_the_time_to_clean_a_text_does_not_depend_on_what_stands_in_it(unit):
    texts = [unit * (2_000 // len(unit)) for _ in range(250)]  # half a megabyte, as one answer may bring
    began = time.process_time()
    for text in texts:
        clean(text, ("Ada Lovelace", "x" * 2_000))
    assert time.process_time() - began < 0.75  # seconds


def test_a_thousand_users_are_looked_through_in_no_time():
    users = [
        {"user_id": f"u{number}", "traits": {f"trait{field}": f"Value {number} of {field}" for field in range(20)}}
        for number in range(1_000)
    ]
    began = time.process_time()
    assert told("Value 999 of 19 is bad, Value 5 too", *users) == "… is bad, … 5 too"
    assert time.process_time() - began < 1.5  # seconds


WRITTEN = [
    lambda value: f"{value} is bad",
    lambda value: f'"{value}" is bad',
    lambda value: f"x={value};y",
    str.upper,
    html.escape,
    quote,
    json.dumps,
    lambda value: json.dumps({"name": value}),
    lambda value: f"a\n{value}\tb",
    lambda value: "a" * 1_990 + f" {value}",
]
SHAPES = [
    lambda text: {"error": text},
    lambda text: {"error": {"message": text}, "code": text},
    lambda text: {"errors": [{"user_id": "u1", "error": text}]},
    lambda text: {"errors": {"somebody": text}},
    lambda text: {"errors": [text], "detail": [{"msg": text}]},
    lambda text: [text],
    lambda text: text,
]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503])
def test_no_status_and_no_shape_of_answer_brings_a_value_back(status):
    sent = json.dumps({"users": [USER]}).encode()
    told_values = ["Ada Lovelace", "Ada", "Zürich", "Mary Somerville", 'said "no" twice', USER["traits"]["site"]]
    for value, write, shape in product(told_values, WRITTEN, SHAPES):
        body = json.dumps(shape(write(value))).encode()
        try:
            answer = read_response(status, {}, body, path="users/update", now=0.0, sent=sent)
            shown = " ".join(answer.user_errors.values())
        except ApiError as error:
            shown = f"{error} {' '.join(error.user_errors.values())}"
        leaked = [form for form in (value, value.upper(), html.escape(value), quote(value)) if form in shown]
        assert leaked == [], (body, shown)
