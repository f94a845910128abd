"""Answers of a server, or of something in between, that means harm: an error soon, and no memory eaten."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_halo.api.responses import Answer, read_response
from airflow_provider_halo.api.transport import HaloTransport
from airflow_provider_halo.exceptions import ApiError, TransientError, UnexpectedAnswer, Unreachable

MB = 2**20
HEAD = b"HTTP/1.1 200 OK\r\n"


def packed(size: int, times: int = 1) -> bytes:
    body = b" " * size
    for _ in range(times):
        body = gzip.compress(body, 9)
    return body


def with_length(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


BROKEN = {
    "100 MB": (with_length(b" " * (100 * MB)), "the answer is longer than 16,777,216 bytes"),
    "a gzip bomb": (
        with_length(packed(200 * MB), b"Content-Encoding: gzip"),
        "the answer is longer than 16,777,216 bytes",
    ),
    "gzip in gzip": (
        with_length(packed(200 * MB, 2), b"Content-Encoding: gzip, gzip"),
        "the answer is packed in a way that wasn't asked for",
    ),
    "brotli": (with_length(b"x", b"Content-Encoding: br"), "the answer is packed in a way that wasn't asked for"),
    "half a gzip": (with_length(packed(MB)[:200], b"Content-Encoding: gzip"), "the answer can't be unpacked"),
    "no gzip": (with_length(b"{}", b"Content-Encoding: gzip"), "the answer can't be unpacked"),
    "100,000 headers": (with_length(b"{}", *(b"X-%d: y" % n for n in range(100_000))), "the answer isn't HTTP"),
    "a header of 10 MB": (with_length(b"{}", b"X: " + b"y" * 10 * MB), "the answer isn't HTTP"),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}   ", "the answer isn't HTTP"),
    "a length below 0": (HEAD + b"Content-Length: -2\r\n\r\n{}", "the answer isn't HTTP"),
    "length and chunks": (
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "the answer isn't HTTP",
    ),
    "a chunk of 16 exabytes": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}", ""),
    "a status of eight digits": (b"HTTP/1.1 20000000 X\r\nContent-Length: 2\r\n\r\n{}", "the answer isn't HTTP"),
    "HTTP/0.9": (b"{}", "the answer isn't HTTP"),
    "bytes that are no text in a header": (with_length(b"{}", b"X-\xff: \xff\xfe"), "the answer isn't HTTP"),
}


def posted(answering, connected, answer: bytes):
    async def scenario():
        async with answering(answer) as (url, _), HaloTransport(connected(base_url=url, timeout=20.0)) as transport:
            return await transport.post("users/update", b"{}")

    return asyncio.run(scenario())


@pytest.mark.parametrize("kind", BROKEN)
def test_an_answer_that_would_eat_the_memory_or_is_none_is_unreachable(answering, connected, kind):
    answer, said = BROKEN[kind]
    tracemalloc.start()
    try:
        with pytest.raises(Unreachable) as caught:
            posted(answering, connected, answer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said in caught.value.message
    assert len(str(caught.value)) < 300
    assert peak < 64 * MB  # 16 MB are read, and held once more as they grow and are joined


@pytest.mark.parametrize(
    "answer",
    [
        with_length(b'{"updated":1}', b"X: " + b"y" * 4_000),
        with_length(gzip.compress(b'{"updated":1}'), b"Content-Encoding: GZIP"),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000 + with_length(b'{"updated":1}'),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100_000 + b'd\r\n{"updated":1}\r\n0\r\n\r\n',
    ],
    ids=["a long header", "gzip", "20,000 times to go on", "100,000 chunks"],
)
def test_an_odd_answer_that_is_whole_is_read(answering, connected, answer):
    response = posted(answering, connected, answer)
    assert read_response(response.status, response.headers, response.body, path="users/update", now=0) == Answer(
        status=200, updated=1
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed_and_the_key_is_not_sent_there(answering, connected, status):
    async def scenario():
        async with answering(with_length(b"{}")) as (elsewhere, lured):
            location = b"Location: " + elsewhere.replace("127.0.0.1", "localhost").encode() + b"/users/update"
            answer = b"HTTP/1.1 %d X\r\n" % status + location + b"\r\nContent-Length: 0\r\n\r\n"
            async with answering(answer) as (url, _), HaloTransport(connected(base_url=url)) as transport:
                response = await transport.post("users/update", b"{}")
            return response, lured

    response, lured = asyncio.run(scenario())
    with pytest.raises(UnexpectedAnswer):
        read_response(response.status, response.headers, response.body, path="users/update", now=0)
    assert lured == []


HUGE = 10**30


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"skipped": HUGE}, Answer(status=200, skipped=HUGE)),
        ({"skipped": -HUGE, "updated": -1}, Answer(status=200)),
        ({"skipped": "5", "created": 1.5, "updated": None}, Answer(status=200)),
        ({"skipped": 1e300}, Answer(status=200)),
        ({"errors": HUGE}, Answer(status=200, unnamed_errors=HUGE)),
        ({"errors": -1}, Answer(status=200)),
        ({"errors": "many"}, Answer(status=200)),
        ({"errors": True}, Answer(status=200)),
        ({"errors": [[[[]]]]}, Answer(status=200, unnamed_errors=1)),
        ({"errors": [None, 1, "x"]}, Answer(status=200, unnamed_errors=3)),
        ({"errors": {"": {"error": {"error": {"error": {"error": "deep"}}}}}}, None),
        ({"errors": {"u" * 100_000: "x" * 100_000}}, None),
        ({"errors": [{"user_id": {"a": 1}, "error": "x"}]}, Answer(status=200, unnamed_errors=1)),
        ({"errors": [{"user_id": "u", "error": ["a", "b"]}]}, Answer(status=200, user_errors={"u": "a"})),
    ],
)
def test_counts_and_errors_in_odd_shapes_are_read_or_left_alone(body, expected):
    answer = read_response(200, {}, json.dumps(body).encode(), path="users/update", now=0)
    if expected is not None:
        assert answer == expected
    assert all(len(said) <= 200 for said in answer.user_errors.values())


@pytest.mark.parametrize(
    "body",
    [
        b'{"updated": NaN}',
        b'{"updated": Infinity}',
        b'{"updated": 01}',
        b"{'updated': 1}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"\xef\xbb\xbf{}",
        b'{"updated": 1}{"updated": 1}',
        b'{"updated": 1} trailing',
        b'"\\ud800',
        b'{"updated": 1e999999}',
    ],
)
def test_json_that_is_none_is_worth_another_try(body):
    with pytest.raises(TransientError):
        read_response(200, {}, body, path="users/update", now=0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["errors", "failed", "skipped", "updated", "error", "success"]), VALUES))
@settings(max_examples=100, deadline=None)
def test_whatever_an_answer_says_of_users_is_counted_from_0_up_or_a_refusal(body):
    try:
        answer = read_response(200, {}, json.dumps(body).encode(), path="users/update", now=0)
    except ApiError:
        return
    assert min(answer.skipped, answer.unnamed_errors, answer.created or 0, answer.updated or 0) >= 0
    assert all(isinstance(key, str) and isinstance(said, str) for key, said in answer.user_errors.items())
