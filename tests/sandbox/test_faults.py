"""Faults as a caller sees them: whole answers, and connections that end, read from raw sockets."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx
import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.sandbox.faults import Fault, FaultError, parse_fault, read_fault


def raw_company(halo, company_id="c1"):
    """What comes back on a bare socket until it ends, and how it ends."""
    body = b'{"company_id":"%s"}' % company_id.encode()
    head = (
        b"POST /api/sdk/companies/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
    ) % (halo.key.encode(), len(body))
    received = b""
    with socket.create_connection(("127.0.0.1", halo.server.port), timeout=5) as connection:
        connection.sendall(head + body)
        try:
            while part := connection.recv(65_536):
                received += part
        except ConnectionResetError:
            return received, "reset"
    return received, "end"


def stored(halo):
    return halo.server.store.counts()["companies"]


def set_faults(halo, *faults):
    answer = halo.client.post(f"{halo.server.root}/_sandbox/faults", json=list(faults))
    assert answer.status_code == 200, answer.text
    return answer.json()


def statuses(halo, count):
    return [halo.company(f"c{number}").status_code for number in range(count)]


@pytest.mark.parametrize(("fault", "kept"), [("reset", 0), ("reset_before", 0), ("reset_after", 1)])
def test_a_reset_ends_the_connection_without_an_answer(halo, fault, kept):
    set_faults(halo, fault)
    assert raw_company(halo) == (b"", "reset")
    assert stored(halo) == kept


def test_a_reset_during_the_answer_ends_it_in_its_middle(halo):
    set_faults(halo, "reset_during")
    received, end = raw_company(halo)
    head, _, body = received.partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200")
    assert (len(body), end, stored(halo)) == (announced // 2, "end", 1)


def test_a_client_library_sees_resets_as_broken_connections(halo):
    for fault in ("reset_before", "reset_after", "reset_during"):
        set_faults(halo, {"kind": "reset", "when": fault.removeprefix("reset_"), "times": 1})
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            halo.company("c1")
        assert halo.company("c1").status_code == 200


def test_a_truncated_answer_is_a_whole_response_with_half_the_json(halo):
    whole = halo.company("c1").content
    set_faults(halo, "truncate")
    answer = halo.company("c1")
    assert (answer.status_code, len(answer.content)) == (200, len(whole) // 2)
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_successes_can_be_empty_or_html(halo):
    set_faults(halo, "empty")
    assert (halo.company("c1").status_code, halo.company("c1").content) == (200, b"")
    set_faults(halo, "html")
    answer = halo.company("c1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert answer.text.startswith("<html>")
    assert stored(halo) == 0


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 502, 503, 504])
def test_a_status_comes_with_html_and_nothing_is_stored(halo, status):
    set_faults(halo, str(status))
    answer = halo.company("c1")
    assert (answer.status_code, answer.text[:6], "retry-after" in answer.headers) == (status, "<html>", False)
    assert stored(halo) == 0


def test_a_status_can_come_after_storing_and_with_a_body_of_its_own(halo):
    set_faults(halo, {"kind": "status", "status": 500, "when": "after", "body": '{"error":"late"}'})
    assert (halo.company("c1").json(), stored(halo)) == ({"error": "late"}, 1)


def test_retry_after_is_seconds_or_a_date(halo):
    set_faults(halo, "429:retry_after=2")
    assert halo.company("c1").headers["retry-after"] == "2"
    set_faults(halo, "503:retry_after=date+5")
    ahead = parsedate_to_datetime(halo.company("c1").headers["retry-after"]) - datetime.now(timezone.utc)
    assert 3 <= ahead.total_seconds() <= 5


def test_a_delay_comes_before_the_answer_and_goes_with_another_fault(halo):
    set_faults(halo, "delay:seconds=0.1", "delay:seconds=0.1", "429")
    start = time.monotonic()
    assert halo.company("c1").status_code == 429
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("500:nth=2", [200, 500, 200, 200, 200, 200]),
        ("500:every=3", [200, 200, 500, 200, 200, 500]),
        ("500:times=2", [500, 500, 200, 200, 200, 200]),
        ("500:first=5", [200, 200, 200, 200, 500, 500]),
        ("500:first=2,every=2,times=2", [200, 500, 200, 500, 200, 200]),
        ("500:probability=0", [200] * 6),
        ("500:probability=1", [500] * 6),
        ("500:contains=c4", [200, 200, 200, 200, 500, 200]),
        ("500:path=users", [200] * 6),
        ("500:path=companies/identify", [500] * 6),
    ],
)
def test_a_fault_hits_the_requests_it_names(halo, fault, expected):
    set_faults(halo, fault)
    assert statuses(halo, 6) == expected


def test_probability_is_seeded(halo):
    drawn = []
    for seed in (1, 1, 2):
        set_faults(halo, f"500:probability=0.5,seed={seed}")
        drawn.append(statuses(halo, 20))
    assert drawn[0] == drawn[1] != drawn[2]
    assert {200, 500} == set(drawn[0])


def test_a_token_can_expire_before_its_time_and_a_new_one_passes(halo):
    first, second = halo.bulk_token(), halo.bulk_token(exp=int(time.time()) + 900)
    set_faults(halo, "expire:path=users/update,nth=2")

    def update(token):
        answer = halo.post("users/update", {"users": [{"user_id": "u1"}], "user_token": token})
        return answer.status_code, answer.json().get("error")

    refused = (403, "user_token has expired")
    assert [update(token) for token in (first, first, first, second, second)] == [
        (200, None),
        refused,
        refused,
        (200, None),
        (200, None),
    ]
    halo.client.post(f"{halo.server.root}/_sandbox/reset")
    assert update(first) == (200, None)


def test_a_users_token_can_expire_and_a_call_without_one_goes_on(halo):
    set_faults(halo, "expire")
    assert (halo.user("u1").status_code, halo.company("c1").status_code) == (403, 200)


def test_the_first_of_several_faults_wins_and_all_are_counted(halo):
    set_faults(halo, "500:every=2", "429")
    assert statuses(halo, 4) == [429, 500, 429, 500]
    described = halo.admin("faults")
    assert [(rule["kind"], rule["status"], rule["matched"], rule["hits"]) for rule in described] == [
        ("status", 500, 4, 2),
        ("status", 429, 4, 4),
    ]


def test_a_fault_can_be_asked_for_by_one_request(halo):
    assert halo.post("companies/identify?fault=503", {"company_id": "c1"}).status_code == 503
    assert halo.post("companies/identify?fault=nonsense", {"company_id": "c1"}).status_code == 400
    assert halo.post("companies/identify", {"company_id": "c1"}).status_code == 200


def test_faults_can_be_set_at_the_start_and_lifted(halo_with):
    halo = halo_with(faults=("503:path=companies", "delay:seconds=0"))
    assert halo.company("c1").status_code == 503
    set_faults(halo)
    assert halo.company("c1").status_code == 200


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("429:every=10,retry_after=2", Fault(kind="status", status=429, every=10, retry_after="2")),
        ("reset_after:nth=3", Fault(kind="reset", when="after", nth=3)),
        ("reset:when=during", Fault(kind="reset", when="during")),
        (" delay:seconds=0.25,probability=0.5,seed=7 ", Fault(kind="delay", seconds=0.25, probability=0.5, seed=7)),
        ("html:body=<p>x,times=1", Fault(kind="html", body="<p>x", times=1)),
    ],
)
def test_a_fault_is_read_from_its_text(text, fault):
    assert parse_fault(text) == read_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid enum value ''"),
        ("explode", "Invalid enum value 'explode'"),
        ("999", "between 200 and 599"),
        ("429:every", "'every' is not KEY=VALUE"),
        ("429:every=0", "every=0 must be 1 or more"),
        ("429:every=often", "Expected `int | null`"),
        ("429:wrong=1", "unknown field `wrong`"),
        ("429:times=1,times=2", "times is given twice"),
        ("429:probability=1.5", "between 0 and 1"),
        ("429:when=during", "when=during is for reset"),
        ("429:retry_after=date+soon", "date+SECONDS"),
        ("reset_later", "Invalid enum value 'later'"),
        ("delay:seconds=-1", "between 0 and 3600"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_its_reason(halo, text, reason):
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert reason in str(caught.value)
    answer = halo.client.post(f"{halo.server.root}/_sandbox/faults", json=["429", text])
    assert answer.status_code == 400
    assert reason in answer.json()["error"]
    assert halo.admin("faults") == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[5]", b'[{"kind":"reset","unknown":1}]', b'[{"status":500}]'])
def test_faults_in_json_that_make_no_sense_are_refused(halo, body):
    assert halo.client.post(f"{halo.server.root}/_sandbox/faults", content=body).status_code == 400


def test_traffic_is_counted_by_path_and_result(halo):
    set_faults(halo, "delay:seconds=0.2,times=4")
    with ThreadPoolExecutor(4) as pool:
        sizes = [len(answer.request.content) for answer in pool.map(halo.company, ("c1", "c2", "c3", "c4"))]
    set_faults(halo, "reset:nth=1", "empty:nth=2")
    raw_company(halo)
    sizes += [len(b'{"company_id":"c1"}'), len(halo.company("c1").request.content)]
    sizes += [len(answer.request.content) for answer in (halo.user("u1"), halo.user("u1", traits={"id": 1}))]
    halo.post("nowhere", content=b"")
    assert halo.admin("requests") == {
        "total": 9,
        "by_path": {
            "(unknown)": {"404": 1},
            "companies/identify": {"200": 5, "reset": 1},
            "users/identify": {"200": 1, "400": 1},
        },
        "bytes": sum(sizes),
        "in_flight": 0,
        "max_in_flight": 4,
        "faults_injected": 2,  # what a delay leaves whole is not one
    }
    reasons = [(refusal["path"], refusal["result"], refusal["reason"]) for refusal in halo.admin("refusals")]
    assert reasons[:4] == snapshot(
        [
            ("(unknown)", "404", "there is nothing at /api/sdk/nowhere"),
            ("users/identify", "400", "traits use reserved keys: id"),
            ("companies/identify", "200", "fault: unreadable answer"),
            ("companies/identify", "reset", "fault: reset"),
        ]
    )


def test_the_last_calls_are_on_record_with_their_times_and_waits(halo):
    set_faults(halo, "429:nth=2,retry_after=2", "reset:nth=3")
    assert statuses(halo, 2) == [200, 429]
    raw_company(halo)
    calls = halo.admin("calls")
    assert [(call["path"], call["result"], call["retry_after"], call["leaks"]) for call in calls] == [
        ("companies/identify", "200", "", []),
        ("companies/identify", "429", "2", []),
        ("companies/identify", "reset", "", []),
    ]
    times = [moment for call in calls for moment in (call["began"], call["ended"])]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("sent", "leaks"),
    [
        ({}, []),
        ({"path": "companies/identify?token={secret}"}, ["identity secret in the URL"]),
        ({"path": "companies/identify?key={key}"}, ["widget key in the URL"]),
        ({"body": {"note": "{secret}"}}, ["identity secret in the body"]),
        ({"body": {"traits": {"deep": ["{key}"]}}}, ["widget key in the body"]),
        ({"key": "{secret}"}, ["identity secret in the header authorization"]),
        ({"headers": {"Cookie": "a={key}"}}, ["widget key in the header cookie"]),
    ],
)
def test_a_secret_in_a_wrong_place_is_on_record(halo, sent, leaks):
    def filled(text):
        return text.replace("{key}", halo.key).replace("{secret}", halo.server.config.identity_secret)

    halo.client.post(
        f"{halo.server.url}/{filled(sent.get('path', 'companies/identify'))}",
        content=filled(json.dumps({"company_id": "c1", **sent.get("body", {})})),
        headers={
            "Authorization": f"Bearer {filled(sent.get('key', '{key}'))}",
            **{name: filled(value) for name, value in sent.get("headers", {}).items()},
        },
    )
    assert [call["leaks"] for call in halo.admin("calls")] == [leaks]


def test_an_idle_connection_is_closed_when_its_time_is_up(halo_with):
    halo = halo_with(keep_alive=0.2)
    request = b"GET /api/sdk/config?org_id=o HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", halo.server.port), timeout=5) as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" not in answer.lower()
        assert connection.recv(65_536) == b""


@pytest.mark.parametrize("ahead", [-5, 0, 5])
def test_times_dates_and_tokens_go_by_the_sandboxs_clock(halo_with, ahead):
    halo = halo_with(clock_ahead=ahead, faults=("429:nth=1,retry_after=date+9",))
    answer = halo.company("c1")
    named, sent = (parsedate_to_datetime(answer.headers[name]) for name in ("retry-after", "date"))
    assert 8 <= (named - sent).total_seconds() <= 9
    now = int(time.time())
    halo.company("c1")
    created = datetime.fromisoformat(halo.server.store.company("c1")["created_at"])
    assert 0 <= created.timestamp() - (now + ahead) < 4
    # A token is judged by that clock, a few seconds from its edges.
    edges = (
        {"exp": now + ahead + 4},
        {"exp": now + ahead - 1},
        {"exp": now + ahead + 3590},
        {"exp": now + ahead + 3605},
    )
    edges += ({"iat": now + ahead}, {"iat": now + ahead + 4}, {"nbf": now + ahead}, {"nbf": now + ahead + 4})
    assert [halo.update({"user_id": "u"}, user_token=halo.bulk_token(**claims)).status_code for claims in edges] == [
        *(200, 403, 200, 403),
        *(200, 403, 200, 403),
    ]


def test_no_key_token_or_trait_gets_into_the_refusals(halo):
    halo.post("users/identify", {"user_id": "u1"}, key="ab_live_guessed")
    halo.user("u1", traits={"renewal_status": "a private word", "email": "ada@private.example"})
    halo.update({"user_id": "u1", "traits": {"signed_up_at": "a private word"}})
    halo.post("users/identify", {"user_id": "u1", "user_token": "a.private.token"})
    text = halo.get("/_sandbox/refusals").text + halo.get("/").text
    assert "private" not in text
    assert "guessed" not in text


def test_a_stop_does_not_wait_for_a_long_delay(halo_with):
    halo = halo_with(faults=("delay:seconds=60",))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(halo.company, "c1")
        while halo.server.requests.describe()["in_flight"] == 0:
            time.sleep(0.01)
        start = time.monotonic()
        halo.server.stop()
        assert time.monotonic() - start < 2
        with pytest.raises(httpx.TransportError):
            waiting.result()
