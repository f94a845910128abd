from __future__ import annotations

import asyncio
import json
import logging

import httpx
import jwt
import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.api.client import Stats
from airflow_provider_halo.exceptions import (
    HaloUnavailable,
    RequestRefused,
    SecretMissing,
    TokenRefused,
    TransientError,
    UnexpectedAnswer,
    WidgetKeyRefused,
)
from airflow_provider_halo.records.payload import Payload

SECRET = "ha_secret_0123456789abcdef0123456789"
WIDGET_KEY = "ab_live_0123456789"


class Script:
    """A server that gives these answers one after another, the last one for ever, and remembers what came."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(request.content) for request in self.requests]


def run(client, call):
    async def scenario():
        async with client:
            return await call(client)

    return asyncio.run(scenario())


def claims(token: str) -> dict:
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})


OK = httpx.Response(200, json={"updated": 1})


def test_users_are_updated_with_a_bulk_token(client_of, clock, user):
    server = Script(httpx.Response(200, json={"updated": 1, "created": 0, "skipped": 0}))
    client = client_of(server)
    answer = run(client, lambda client: client.update_users([user], update_only=True))
    (request,), (body,) = server.requests, server.bodies
    assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:1/api/sdk/users/update")
    assert claims(body.pop("user_token")) == {"scope": "users.update", "exp": int(clock()) + 3_300}
    assert body == {"users": [{"user_id": "u1", "traits": {"name": "Ada Lovelace"}}], "update_only": True}
    assert (answer.updated, answer.created, answer.skipped) == (1, 0, 0)
    assert client.stats == Stats(requests=1, retries=0, bytes=len(request.content))


def test_a_user_is_identified_with_its_own_token(client_of, clock, user):
    server = Script(OK)
    run(client_of(server), lambda client: client.identify_user(user, session_id="s1"))
    (body,) = server.bodies
    assert server.requests[0].url.path == "/api/sdk/users/identify"
    assert claims(body.pop("user_token")) == {"user_id": "u1", "exp": int(clock()) + 600}
    assert body == {"user_id": "u1", "session_id": "s1", "traits": {"name": "Ada Lovelace"}}


def test_a_company_is_identified_without_a_token(client_of, company):
    server = Script(OK)
    run(client_of(server), lambda client: client.identify_company(company))
    assert server.bodies == [{"company_id": "c1", "traits": {"name": "Analytical Engines"}}]


def test_a_link_carries_the_users_token_and_no_traits(client_of):
    server = Script(OK)
    run(client_of(server), lambda client: client.link_user("u1", "c1"))
    (body,) = server.bodies
    assert claims(body.pop("user_token"))["user_id"] == "u1"
    assert body == {"company_id": "c1", "user_id": "u1"}


def test_users_are_not_signed_where_verification_is_off(client_of, user):
    server = Script(OK)
    run(client_of(server, verify_identity=False), lambda client: client.identify_user(user))
    assert server.bodies == [{"user_id": "u1", "traits": {"name": "Ada Lovelace"}}]


def test_without_a_secret_users_update_names_both_ways_out_and_sends_nothing(client_of, user):
    server = Script(OK)
    with pytest.raises(SecretMissing, match=r"set identity_secret .* activity=True"):
        run(client_of(server, identity_secret=None), lambda client: client.update_users([user]))
    assert server.requests == []


@pytest.mark.parametrize("count", [0, 1_001])
def test_users_update_takes_one_to_a_thousand(client_of, count):
    users = [Payload("users", f"u{number}", b"", b"") for number in range(count)]
    with pytest.raises(ValueError, match="1 to 1,000 users"):
        run(client_of(Script(OK)), lambda client: client.update_users(users))


def test_the_widget_key_is_in_the_header_and_the_secret_nowhere(client_of, user, company):
    server = Script(OK)

    async def everything(client):
        await client.update_users([user])
        await client.identify_user(user)
        await client.identify_company(company)
        await client.link_user("u1", "c1")

    run(client_of(server), everything)
    assert len(server.requests) == 4
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {WIDGET_KEY}"
        others = [
            str(request.url),
            request.content.decode(),
            *(v for k, v in request.headers.items() if k != "authorization"),
        ]
        assert not any(WIDGET_KEY in text or SECRET in text for text in others)
        assert not any(SECRET in text for text in request.headers.values())


def test_no_cookie_is_kept(client_of, company):
    server = Script(httpx.Response(200, json={}, headers={"Set-Cookie": "session=1"}))

    async def twice(client):
        await client.identify_company(company)
        await client.identify_company(company)

    run(client_of(server), twice)
    assert "cookie" not in server.requests[1].headers


def test_a_redirect_is_not_followed(client_of, company):
    server = Script(httpx.Response(302, headers={"Location": "http://127.0.0.1:1/elsewhere"}))
    with pytest.raises(UnexpectedAnswer, match="check the host"):
        run(client_of(server), lambda client: client.identify_company(company))
    # The second one is empty: it shows that all requests are sent elsewhere.
    assert [request.content for request in server.requests][1:] == [b"{}"]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429),
        httpx.Response(500, text="<html>"),
        httpx.Response(503),
        httpx.Response(200, text='{"upda'),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("garbage"),
        ConnectionResetError("reset"),
    ],
)
def test_a_passing_trouble_is_repeated_until_it_has_passed(client_of, clock, company, trouble):
    server = Script(trouble, trouble, OK)
    client = client_of(server)
    assert run(client, lambda client: client.identify_company(company)).status == 200
    assert (client.stats.requests, client.stats.retries) == (3, 2)
    assert len(set(map(bytes, (request.content for request in server.requests)))) == 1


@pytest.mark.parametrize(
    "header", ["7", "7.0", "Thu, 28 May 2026 20:26:47 GMT"], ids=["whole seconds", "seconds", "date"]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_never_comes_before_retry_after(client_of, clock, company, header, status):
    server = Script(httpx.Response(status, headers={"Retry-After": header}), OK)
    clock.now = 1_780_000_000.0
    run(client_of(server), lambda client: client.identify_company(company))
    assert 7 <= sum(clock.slept) < 8


@pytest.mark.parametrize("header", ["0", "-5", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_a_retry_after_of_now_is_still_a_backoff(client_of, clock, company, header):
    server = Script(*[httpx.Response(429, headers={"Retry-After": header})] * 3, OK)
    run(client_of(server), lambda client: client.identify_company(company))
    assert len(server.requests) == 4
    assert sum(clock.slept) < 4


def test_a_halo_that_stays_down_ends_after_the_budget_and_says_what_to_do(client_of, clock, company):
    server = Script(httpx.Response(503, text="<title>Sorry</title>"))
    began = clock()
    with pytest.raises(HaloUnavailable) as caught:
        run(client_of(server), lambda client: client.identify_company(company))
    waited = clock() - began
    assert 20 < waited <= 60
    assert 5 < len(server.requests) < 200
    assert str(caught.value) == (
        f"Halo (http://127.0.0.1:1/api/sdk) took no request for {waited:.0f} s; the last cause: companies/identify: 503: "
        "an HTML page. What was stored stays stored: run it again when Halo is back, or raise max_retry_seconds "
        "(now 60) in the connection 'halo_default'."
    )


def test_each_wait_is_a_random_part_of_a_doubled_one_and_the_last_ends_with_the_budget(client_of, clock, company):
    server = Script(httpx.Response(503))
    began = clock()
    client = client_of(server, max_retry_seconds=600)
    with pytest.raises(HaloUnavailable):
        run(client, lambda client: client.identify_company(company))
    longest = [min(30.0, 0.5 * 2**number) for number in range(len(clock.slept))]
    assert all(0 <= wait <= most for wait, most in zip(clock.slept, longest, strict=True))
    assert len(set(clock.slept)) == len(clock.slept)
    assert clock() == pytest.approx(began + 600)
    assert client.stats.retries == len(clock.slept) == len(server.requests) - 1


def test_a_pause_beyond_the_budget_ends_it_without_a_wait(client_of, clock, company):
    server = Script(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(HaloUnavailable):
        run(client_of(server), lambda client: client.identify_company(company))
    assert (len(server.requests), clock.slept) == (1, [])


def test_one_request_that_never_succeeds_fails_alone_while_others_do(client_of, clock, company):
    def server(request: httpx.Request) -> httpx.Response:
        clock.now += 0.5
        return httpx.Response(500 if b'"c1"' in request.content else 200, json={})

    async def scenario(client):
        doomed = asyncio.create_task(client.identify_company(company))
        while not doomed.done():
            await client.identify_company(Payload("companies", "c2", b"", b""))
            await asyncio.sleep(0)
        await doomed

    with pytest.raises(TransientError) as caught:
        run(client_of(server), scenario)
    assert (type(caught.value), caught.value.status) == (TransientError, 500)


def test_a_server_that_always_answers_with_nothing_is_believed_soon(client_of, user):
    server = Script(httpx.Response(200))
    client = client_of(server)

    async def many(client):
        return [await client.update_users([user]) for _ in range(10)]

    answers = run(client, many)
    assert {(answer.status, answer.skipped, answer.updated) for answer in answers} == {(200, 0, None)}
    assert (client.stats.requests, client.stats.retries) == (12, 2)


def test_silence_of_a_server_that_has_spoken_is_no_yes(client_of, user):
    server = Script(OK, *[httpx.Response(200)] * 5, OK)
    client = client_of(server)

    async def twice(client):
        await client.update_users([user])
        return await client.update_users([user])

    assert run(client, twice).updated == 1
    assert (client.stats.requests, client.stats.retries) == (7, 5)


@pytest.mark.parametrize(
    ("status", "kind", "looks"), [(400, RequestRefused, 0), (401, WidgetKeyRefused, 0), (404, UnexpectedAnswer, 1)]
)
def test_what_no_retry_can_cure_is_not_repeated(client_of, company, status, kind, looks):
    server = Script(httpx.Response(status, json={"error": "no"}))
    with pytest.raises(kind):
        run(client_of(server), lambda client: client.identify_company(company))
    # Where the address may be wrong an empty request shows it; the company isn't sent again.
    assert [request.content for request in server.requests][1:] == [b"{}"] * looks


def test_a_bulk_token_is_renewed_in_the_middle_of_a_run(client_of, clock, user):
    def server(request: httpx.Request) -> httpx.Response:
        end = claims(json.loads(request.content)["user_token"])["exp"]
        return httpx.Response(200 if clock() < end <= clock() + 3_600 else 403, json={})

    client = client_of(server)

    async def long_run(client):
        for _ in range(20):
            await client.update_users([user])
            clock.now += 1_000

    run(client, long_run)
    assert client.stats == Stats(requests=20, retries=0, bytes=client.stats.bytes)


def test_a_clock_that_is_fast_costs_one_403_and_no_more(client_of, clock, user):
    def server(request: httpx.Request) -> httpx.Response:
        end = claims(json.loads(request.content)["user_token"])["exp"]
        server_time = clock() - 1_800
        return httpx.Response(200 if server_time < end <= server_time + 3_600 else 403, json={})

    client = client_of(server)

    async def scenario(client):
        for _ in range(10):
            await client.update_users([user])
            clock.now += 400

    run(client, scenario)
    assert (client.stats.requests, client.stats.retries) == (11, 1)


def test_a_wrong_secret_stops_after_one_more_try(client_of, clock, user):
    server = Script(httpx.Response(403, json={"error": "bad signature"}))
    with pytest.raises(TokenRefused) as caught:
        run(client_of(server), lambda client: client.update_users([user]))
    assert str(caught.value) == snapshot("users/update: 403: check identity_secret and this machine's clock")
    # Once more with a new token, and a request without users, which shows that it is for all.
    assert (len(server.requests), clock.slept) == (3, [])


def test_a_403_without_a_token_says_that_verification_is_on(client_of, user):
    server = Script(httpx.Response(403, json={"error": "token missing"}))
    with pytest.raises(TokenRefused, match="set identity_secret"):
        run(client_of(server, identity_secret=None), lambda client: client.identify_user(user))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "passes", "said"),
    [
        (httpx.Response(400), True, "The widget key and the identity secret both pass."),
        (httpx.Response(200, json={}), True, "The widget key and the identity secret both pass."),
        (
            httpx.Response(401, json={"error": "unknown key"}),
            False,
            "Halo doesn't know the widget key: check the connection's password.",
        ),
        (
            httpx.Response(403, json={"error": "bad signature"}),
            False,
            (
                "The widget key passes, but Halo refuses the identity secret: "
                "check identity_secret and this machine's clock."
            ),
        ),
        (
            httpx.Response(404),
            False,
            "check the host of the Halo connection: it should be the API's base URL (an empty answer).",
        ),
        (
            httpx.Response(403, text="<html>"),
            False,
            (
                "Halo answers 403 to an empty request: HTTP 403 without Halo's JSON error: a firewall or proxy in front of "
                "Halo refused this request (an HTML page)."
            ),
        ),
        (httpx.Response(503), False, "Halo can't be reached at http://127.0.0.1:1/api/sdk: an empty answer."),
        (httpx.ConnectError("refused"), False, "Halo can't be reached at http://127.0.0.1:1/api/sdk: refused."),
        (httpx.Response(409, json={"error": "busy"}), False, "Halo answers 409 to an empty request: busy."),
    ],
)
def test_the_credentials_are_tried_by_one_empty_request(client_of, answer, passes, said):
    server = Script(answer)
    assert run(client_of(server), lambda client: client.test()) == (passes, said)
    (body,) = server.bodies
    assert (server.requests[0].url.path, body["users"]) == ("/api/sdk/users/update", [])


def test_without_a_secret_only_the_widget_key_is_tried(client_of):
    server = Script(httpx.Response(400))
    passes, said = run(client_of(server, identity_secret=None), lambda client: client.test())
    assert (passes, said) == snapshot(
        (
            True,
            (
                "The widget key passes. There is no identity_secret: companies can be synced, users can't "
                "(users/update always needs it)."
            ),
        )
    )
    assert [(request.url.path, request.content) for request in server.requests] == [
        ("/api/sdk/companies/identify", b"{}")
    ]


def test_logs_and_errors_hold_no_key_no_token_and_nothing_of_a_record(client_of, user, caplog):
    statuses = iter([500, 500, 429, 400])

    def server(request: httpx.Request) -> httpx.Response:
        # A server that sends everything back that it was sent.
        said = f"{request.headers['authorization']} sent {request.content.decode()}"
        return httpx.Response(next(statuses), json={"error": said})

    with caplog.at_level(logging.DEBUG), pytest.raises(RequestRefused) as caught:
        run(client_of(server), lambda client: client.update_users([user]))
    for text in (caplog.text, str(caught.value), repr(caught.value)):
        assert not any(private in text for private in (WIDGET_KEY, SECRET, "Ada", "Lovelace", "eyJ"))
