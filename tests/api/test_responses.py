from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from airflow_provider_halo.api.responses import Answer, read_response, read_retry_after
from airflow_provider_halo.exceptions import (
    ApiError,
    PayloadTooLarge,
    RequestBlocked,
    RequestRefused,
    TokenRefused,
    TransientError,
    UnexpectedAnswer,
    UnreadableAnswer,
    WidgetKeyRefused,
)

NOW = 1_780_000_000.0  # Thu, 28 May 2026 20:26:40 GMT


def read(
    status: int,
    body: object = None,
    *,
    path: str = "users/update",
    headers: dict[str, str] | None = None,
    sent: bytes = b"",
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_response(status, headers or {}, raw, path=path, now=NOW, sent=sent)


def refusal(status: int, body: object = None, **more) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(status, body, **more)
    return caught.value


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"updated": 3, "created": 2, "skipped": 1}, Answer(status=200, updated=3, created=2, skipped=1)),
        ({"skipped": ["u1", "u2"]}, Answer(status=200, skipped=2)),
        ({"updated": "3", "created": True, "skipped": -1}, Answer(status=200)),
        ({"ok": True, "errors": []}, Answer(status=200)),
        (b"", Answer(status=200, empty=True)),
        (b"  \n", Answer(status=200, empty=True)),
        (b"null", Answer(status=200, empty=True)),
        (b'["u1"]', Answer(status=200, empty=True)),
        (b'"OK"', Answer(status=200, empty=True)),
        ({"errors": [{"user_id": "u1", "error": "bad"}]}, Answer(status=200, user_errors={"u1": "bad"})),
        ({"errors": [{"id": 7, "message": "bad"}]}, Answer(status=200, user_errors={"7": "bad"})),
        (
            {"errors": {"u1": "bad", "u2": {"error": "worse"}}},
            Answer(status=200, user_errors={"u1": "bad", "u2": "worse"}),
        ),
        ({"errors": [{"user_id": "u1"}]}, Answer(status=200, user_errors={"u1": "refused without a reason"})),
        ({"errors": 3}, Answer(status=200, unnamed_errors=3)),
        ({"errors": ["bad", {"index": 4}]}, Answer(status=200, unnamed_errors=2)),
        (
            {"failed": 2, "errors": [{"user_id": "u1", "error": "bad"}]},
            Answer(status=200, user_errors={"u1": "bad"}, unnamed_errors=1),
        ),
    ],
)
def test_a_yes_is_read_in_every_assumed_shape(body, answer):
    assert read(200, body) == answer


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_a_yes(status):
    assert read(status, {}) == Answer(status=status)


def test_no_content_is_an_answer_and_an_empty_200_may_not_be_one():
    assert read(204, b"") == Answer(status=204)
    assert read(202, b"") == Answer(status=202, empty=True)


def test_a_stored_company_may_have_traits_of_any_name():
    company = {"id": "c1", "errors": 3, "failed": ["x"], "error": "disk full", "ok": False, "skipped": 4}
    assert read(200, company, path="companies/identify") == Answer(status=200)


@pytest.mark.parametrize("body", [{"error": "no such plan"}, {"success": False, "message": "no such plan"}])
def test_a_yes_that_says_no_is_a_refusal(body):
    error = refusal(200, body)
    assert (type(error), error.status, error.message) == (RequestRefused, 200, "no such plan")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<!doctype html><title>We'll be  back</title>", "the answer is an HTML page, not JSON"),
        (b"<p>", "the answer is an HTML page, not JSON"),
        (b'{"updated": 3, "crea', "the answer is broken JSON, not JSON"),
        (b"OK", "the answer is plain text, not JSON"),
        (b"\xff\xfe", "the answer is plain text, not JSON"),
        (b"[" * 100_000, "the answer is broken JSON, not JSON"),
        (b'{"error":"\xff"}', "the answer is broken JSON, not JSON"),
    ],
)
def test_a_yes_that_cannot_be_read_is_worth_another_try(body, message):
    error = refusal(200, body)
    assert (type(error), error.message) == (UnreadableAnswer, message)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (400, RequestRefused),
        (401, WidgetKeyRefused),
        (402, RequestBlocked),
        (403, RequestBlocked),
        (404, UnexpectedAnswer),
        (405, UnexpectedAnswer),
        (407, UnexpectedAnswer),
        (408, TransientError),
        (406, RequestBlocked),
        (409, RequestBlocked),
        (413, PayloadTooLarge),
        (422, RequestBlocked),
        (451, RequestBlocked),
        (425, TransientError),
        (429, TransientError),
        (500, TransientError),
        (502, TransientError),
        (503, TransientError),
        (599, TransientError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>said</html>", b"said", b"[1, 2", b"\xff", b"[]", b'""', b"null"])
def test_every_status_has_its_class_whatever_the_body(status, kind, body):
    error = refusal(status, body)
    assert (type(error), error.status, error.path) == (kind, status, "users/update")
    assert "said" not in error.message


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, RequestRefused, "too bad"),
        (401, WidgetKeyRefused, "Halo doesn't know the widget key: check the connection's password"),
        (403, TokenRefused, "a JSON error"),
        (409, RequestRefused, "too bad"),
        (422, RequestRefused, "too bad"),
        (404, UnexpectedAnswer, "check the host of the Halo connection: it should be the API's base URL"),
        (413, PayloadTooLarge, "a JSON error"),
        (429, TransientError, "a JSON error"),
        (503, TransientError, "a JSON error"),
    ],
)
def test_a_json_error_is_halos_own_and_its_words_are_told_only_of_a_record(status, kind, message):
    error = refusal(status, {"error": "too bad"})
    assert (type(error), error.message) == (kind, message)


@pytest.mark.parametrize("body", [{"error": "token_expired"}, {"error": "no", "code": "token_expired"}])
@pytest.mark.parametrize(("status", "kind"), [(401, WidgetKeyRefused), (403, TokenRefused), (503, TransientError)])
def test_a_code_is_told_of_every_refusal(status, kind, body):
    error = refusal(status, body)
    assert type(error) is kind
    assert "token_expired" in error.message


def test_a_code_that_was_sent_as_a_value_is_not_told():
    sent = json.dumps({"users": [{"user_id": "u1", "traits": {"login": "ada_lovelace"}}]}).encode()
    assert refusal(503, {"error": "ada_lovelace"}, sent=sent).message == "a JSON error"


@pytest.mark.parametrize(
    ("server", "who"),
    [("cloudflare", " from Cloudflare"), ("awselb/2.0", " from AWS"), ("AkamaiGHost", " from Akamai"), ("nginx", "")],
)
def test_a_firewall_that_is_known_is_named(server, who):
    error = refusal(403, b"<html>", headers={"Server": server})
    assert error.message == (
        "HTTP 403 without Halo's JSON error: a firewall or proxy in front of Halo refused this request "
        f"(an HTML page{who})"
    )


def test_a_reserved_trait_is_named():
    body = {"error": "Reserved keys", "reserved_keys": ["id", "created_at", 7], "docs_url": "https://example.com"}
    error = refusal(400, body)
    assert (error.message, error.reserved_keys, error.user_errors) == ("Reserved keys", ("id", "created_at"), {})


def test_a_refusal_may_blame_users_by_name():
    body = {"error": "2 are bad", "errors": [{"user_id": "u1", "error": "bad"}, {"user_id": "u2", "error": "worse"}]}
    assert refusal(400, body).user_errors == {"u1": "bad", "u2": "worse"}


def test_validation_errors_in_the_shape_of_a_framework_are_shown():
    error = refusal(422, {"detail": [{"loc": ["body", "users"], "msg": "field required"}]})
    assert error.message == "field required"


def test_of_the_page_of_a_proxy_nothing_is_shown():
    error = refusal(502, b"<html><head><title>502 Bad Gateway</title></head><body>nginx 1.2.3.4</body></html>")
    assert str(error) == snapshot("users/update: 502: an HTML page")


def test_a_wrong_address_says_what_to_check():
    assert refusal(404, b"<title>Not found</title>").message == snapshot(
        "check the host of the Halo connection: it should be the API's base URL (an HTML page)"
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("1e9", 86_400.0),
        ("inf", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 28 May 2026 20:26:52 GMT", 12.0),
        ("Thu, 28 May 2026 20:26:40 GMT", 0.0),
        ("Thursday, 28-May-26 20:26:52 GMT", 12.0),
        ("Thu, 28 May 2026 20:26:52 -0000", 12.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Thu, 99 Foo 2026 20:26:52 GMT", None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(value, seconds):
    assert read_retry_after({"retry-after": value}, now=NOW) == seconds


def test_retry_after_may_be_absent():
    assert read_retry_after({"Content-Type": "text/html"}, now=NOW) is None


def test_a_date_is_held_against_the_servers_own_clock():
    headers = {"Retry-After": "Thu, 28 May 2026 21:00:30 GMT", "Date": "Thu, 28 May 2026 21:00:00 GMT"}
    assert read_retry_after(headers, now=NOW) == 30.0


def test_a_wait_is_read_from_any_refusal():
    assert refusal(503, b"", headers={"Retry-After": "9"}).retry_after == 9.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "user_errors", "failed", "reserved_keys", "skipped", "user_id", "detail"]
            )
            | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    st.integers(200, 599),
    st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["users/update", "companies/identify"]),
    st.text(max_size=30),
)
def test_no_answer_whatsoever_crashes_the_reader(status, body, path, retry_after):
    result = attempted(read_response, status, {"Retry-After": retry_after}, body, path=path, now=NOW)
    if isinstance(result, ApiError):
        assert len(str(result)) < 500
        assert result.retry_after is None or 0 <= result.retry_after <= 86_400
    else:
        assert 200 <= status < 300
        assert result.skipped >= 0
        assert result.unnamed_errors >= 0


def attempted(call, *args, **named):
    try:
        return call(*args, **named)
    except ApiError as error:
        return error
