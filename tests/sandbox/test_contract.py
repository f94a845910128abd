"""The documented API, written out once more as tables, each line held against the sandbox by a real request."""

from __future__ import annotations

import json
import time

import pytest

USER_COLUMNS = [
    "name",
    "email",
    "signed_up_at",
    "renewal_date",
    "renewal_status",
    "contract_term",
    "payment_terms",
    "on_contract",
    "mrr",
    "arr",
]
COMPANY_COLUMNS = [
    "name",
    "domain",
    "industry",
    "plan",
    "employee_count",
    "signed_up_at",
    "renewal_date",
    "renewal_status",
    "contract_term",
    "payment_terms",
    "on_contract",
    "mrr",
    "arr",
]
USER_RESERVED = [
    "id",
    "external_id",
    "org_id",
    "company_id",
    "created_at",
    "updated_at",
    "first_seen",
    "last_seen",
    "last_contacted_at",
]
COMPANY_RESERVED = [
    "id",
    "external_id",
    "org_id",
    "created_at",
    "updated_at",
    "health_score",
    "team_size",
    "last_contacted_at",
]
RENEWAL = [
    "up_for_renewal",
    "in_progress",
    "likely_to_renew",
    "expansion_opportunity",
    "set_to_cancel",
    "set_to_cancel_trial",
    "at_risk",
    "renewed",
    "lost",
]
TERMS = ["monthly", "quarterly", "annual", "bi_annual"]
TYPES = ["list", "integration", "error", "status", "config", "feature", "metric", "relationship", "custom"]


def entry(**more):
    return {"label": "Label", "value": 1, **more}


def test_an_unknown_widget_key_is_refused_everywhere(halo):
    for path in ("users/identify", "users/update", "companies/identify", "events"):
        for key in (None, "x", "ab_live_other"):
            answer = halo.post(path, {}, key=key)
            assert (answer.status_code, list(answer.json())) == (401, ["error"]), (path, key)
        assert halo.client.post(f"{halo.server.url}/{path}", headers={"authorization": "Basic YTpi"}).status_code == 401


@pytest.mark.parametrize("path", ["users/identify", "users/update", "companies/identify", "events"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"text"', b"null", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_refused(halo, path, content):
    answer = halo.post(path, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("body is not valid JSON", "body must be a JSON object")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_writes_are_post_only_and_other_paths_do_not_exist(halo, method):
    assert halo.client.request(method, f"{halo.server.url}/users/update").status_code == 405
    assert halo.client.request(method, f"{halo.server.url}/users/delete").status_code == 404


@pytest.mark.parametrize("body", [{}, {"user_id": None}, {"user_id": ""}, {"user_id": 7}, {"user_id": ["u1"]}])
def test_a_user_needs_an_id_that_is_text(halo, body):
    assert halo.post("users/identify", body).status_code == 400
    assert halo.update(body).status_code == 400
    assert halo.post("companies/identify", {"company_id": "c1", **body}).status_code == (400 if body else 200)


@pytest.mark.parametrize("body", [{}, {"company_id": None}, {"company_id": ""}, {"company_id": 7}])
def test_a_company_needs_an_id_that_is_text(halo, body):
    assert halo.post("companies/identify", body).status_code == 400


@pytest.mark.parametrize("part", ["traits", "context"])
@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_traits_and_context_are_objects(halo, part, value):
    assert halo.user("u1", **{part: value}).json() == {"error": f"{part} must be an object"}
    assert halo.update({"user_id": "u1", part: value}).status_code == 400
    assert halo.company("c1", **{part: value}).status_code == 400
    assert halo.user("u1", session_id=3).status_code == 400


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (entry(), 200),
        (entry(value=None), 200),
        (entry(value={"any": ["json"]}), 200),
        *[(entry(type=name), 200) for name in TYPES],
        (entry(type="table"), 400),
        (entry(type=None), 400),
        (entry(type=["list"]), 400),
        ({"label": "Label"}, 400),
        ({"value": 1}, 400),
        (entry(label=None), 400),
        (entry(label=5), 400),
        ("text", 400),
        (None, 400),
        ([], 400),
    ],
)
def test_a_context_entry_has_a_label_a_value_and_one_of_nine_types(halo, value, status):
    assert halo.user("u1", context={"key": value}).status_code == status
    assert halo.update({"user_id": "u1", "context": {"key": value}}).status_code == status
    assert halo.company("c1", context={"key": value}).status_code == status


def test_every_reserved_trait_is_refused_and_all_are_named(halo):
    for name in USER_RESERVED:
        assert halo.user("u1", traits={name: "x"}).json()["reserved_keys"] == [name]
    for name in COMPANY_RESERVED:
        assert halo.company("c1", traits={name: "x"}).json()["reserved_keys"] == [name]
    many = {"last_seen": 1, "plan": "pro", "company_id": 1}
    for answer in (halo.user("u1", traits=many), halo.update({"user_id": "u1", "traits": many})):
        assert answer.status_code == 400
        assert sorted(answer.json()) == ["docs_url", "error", "reserved_keys"]
        assert answer.json()["reserved_keys"] == ["company_id", "last_seen"]
    # What one kind reserves the other may use.
    assert halo.user("u1", traits=dict.fromkeys(set(COMPANY_RESERVED) - set(USER_RESERVED), 1)).status_code == 200
    assert halo.company("c1", traits=dict.fromkeys(set(USER_RESERVED) - set(COMPANY_RESERVED), 1)).status_code == 200


@pytest.mark.parametrize(
    ("name", "allowed"), [("renewal_status", RENEWAL), ("contract_term", TERMS), ("payment_terms", TERMS)]
)
def test_enumerations_take_their_values_and_null_only(halo, name, allowed):
    for value in [*allowed, None]:
        assert halo.user("u1", traits={name: value}).status_code == 200, value
        assert halo.company("c1", traits={name: value}).status_code == 200, value
    for value in ["", "Monthly", "weekly", 1, True, ["monthly"], {}]:
        assert halo.user("u1", traits={name: value}).status_code == 400, value
        assert halo.update({"user_id": "u1", "traits": {name: value}}).status_code == 400, value
        assert halo.company("c1", traits={name: value}).status_code == 400, value


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("2025-03-01", "2025-03-01T00:00:00.000000+00:00"),
        ("2025-03-01T10:20", "2025-03-01T10:20:00.000000+00:00"),
        ("2025-03-01T10:20:30", "2025-03-01T10:20:30.000000+00:00"),
        ("2025-03-01T10:20:30Z", "2025-03-01T10:20:30.000000+00:00"),
        ("2025-03-01T10:20:30.5+02:00", "2025-03-01T08:20:30.500000+00:00"),
        ("2025-03-01T10:20:30.123456789-0530", "2025-03-01T15:50:30.123456+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00.000000+00:00"),
        ("2025-02-29", None),
        ("2025-13-01", None),
        ("2025-03-01T25:00:00", None),
        ("2025-03-01 10:20:30", None),
        ("2025-03-01T10:20:30+99:00", None),
        ("0001-01-01T00:00:00+12:00", None),
        ("01/03/2025", None),
        ("yesterday", None),
        ("", None),
        (1740787200, None),
        (True, None),
    ],
)
def test_dates_are_iso_8601_and_come_back_in_utc_with_microseconds(halo, value, stored):
    answer = halo.company("c1", traits={"signed_up_at": value})
    assert answer.status_code == (400 if stored is None else 200)
    assert answer.json().get("signed_up_at") == stored
    assert halo.user("u1", traits={"renewal_date": value}).status_code == answer.status_code


def sized(total, *, columns):
    """Traits and context of exactly so many bytes as compact JSON, with custom fields far below their own limit."""
    traits = {"name": "é"} if columns else {}
    context = {"k": {"label": "L", "value": ""}}
    rest = total - sum(
        len(json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()) for part in (traits, context)
    )
    context["k"]["value"] = "x" * rest
    return {"traits": traits, "context": context}


def test_the_bytes_of_traits_and_context_are_limited_per_call(halo):
    assert halo.user("u1", **sized(20_000, columns=True)).status_code == 200
    assert halo.user("u1", **sized(20_001, columns=True)).status_code == 400
    assert halo.update({"user_id": "u1", **sized(20_000, columns=True)}).status_code == 200
    assert halo.update({"user_id": "u1", **sized(20_001, columns=True)}).status_code == 400
    assert halo.company("c1", **sized(50_000, columns=True)).status_code == 200
    assert halo.company("c1", **sized(50_001, columns=True)).status_code == 400


def test_custom_fields_are_limited_in_characters_and_columns_do_not_count(halo):
    filled = {"a": "é" * (10_000 - len('{"a":""}'))}  # two bytes each, one character
    assert halo.company("c1", traits=filled).status_code == 200
    assert halo.company("c1", traits={**filled, "name": "n" * 5_000}).status_code == 200
    assert halo.company("c1", traits={"a": filled["a"] + "é"}).status_code == 400
    assert halo.company("c1", traits={"name": "n" * 20_000}).status_code == 200
    assert halo.user("u1", traits={"plan": "n" * 10_000}).status_code == 400  # a column of companies only


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (1_000, 200), (1_001, 400)])
def test_an_update_takes_1_to_1000_users(halo, count, status):
    assert halo.update(*({"user_id": f"u{number}"} for number in range(count))).status_code == status
    assert halo.server.store.counts()["users"] == (count if status == 200 else 0)


@pytest.mark.parametrize("users", [None, {}, "u1", ["u1"], [None], [{"user_id": "u1"}, []]])
def test_an_update_takes_an_array_of_objects(halo, users):
    assert halo.post("users/update", {"users": users, "user_token": halo.bulk_token()}).status_code == 400
    assert halo.update({"user_id": "u1"}, update_only="yes").status_code == 400
    assert halo.server.store.counts()["users"] == 0


def test_an_update_always_needs_its_own_kind_of_token(halo, halo_with):
    now = int(time.time())
    open_halo = halo_with(verify_identity=False)
    wrong = {
        "missing": None,
        "no string": 5,
        "no JWT": "abc",
        "no JSON": "e30.x.y",
        "not ASCII": "é.é.é",
        "another secret": halo.token(
            "another secret that is long enough for hs256", scope="users.update", exp=now + 60
        ),
        "another algorithm": halo.token("x" * 64, "HS512", scope="users.update", exp=now + 60),
        "unsigned": halo.token("", "none", scope="users.update", exp=now + 60),
        "no scope": halo.token(exp=now + 60),
        "another scope": halo.bulk_token(scope="users.read"),
        "no exp": halo.token(scope="users.update"),
        "exp is text": halo.bulk_token(exp="soon"),
        "exp is true": halo.bulk_token(exp=True),
        "too far ahead": halo.bulk_token(exp=now + 3_700),
        "expired": halo.bulk_token(exp=now - 1),
        "a day ahead": halo.bulk_token(exp=now + 86_400),
        "a user's": halo.token(user_id="u1", exp=now + 60),
        "of both kinds": halo.bulk_token(user_id="u1"),
    }
    for caller in (halo, open_halo):
        for reason, token in wrong.items():
            body = {"users": [{"user_id": "u1"}], **({} if token is None else {"user_token": token})}
            assert caller.post("users/update", body).status_code == 403, reason
        assert caller.server.store.counts()["users"] == 0
        assert caller.update({"user_id": "u1"}).status_code == 200
        assert (
            caller.update({"user_id": "u1"}, user_token=halo.bulk_token(exp=int(time.time()) + 3_600)).status_code
            == 200
        )


def test_an_empty_update_tells_a_wrong_key_from_a_wrong_secret(halo):
    right = {"users": [], "user_token": halo.bulk_token()}
    wrong = {
        "users": [],
        "user_token": halo.token("another secret that is long enough for hs256", scope="users.update"),
    }
    assert [halo.post("users/update", right, key=key).status_code for key in ("ab_live_for_tests", "ab_live_x")] == [
        400,
        401,
    ]
    assert halo.post("users/update", wrong).status_code == 403


def test_who_is_named_must_be_proven_where_identity_verification_is_on(halo, halo_with):
    now = int(time.time())
    right = [halo.token(user_id="u1"), halo.token(sub="u1"), halo.token(user_id="u1", sub="x", exp=now + 9e6)]
    wrong = [
        None,
        halo.token(user_id="u2"),
        halo.token(sub="u2"),
        halo.token(user_id="u2", sub="u1"),
        halo.token(),
        halo.token(user_id="u1", exp=now - 1),
        halo.token("another secret that is long enough for hs256", user_id="u1"),
        halo.bulk_token(),
    ]
    open_halo = halo_with(verify_identity=False)
    for token in [*right, *wrong]:
        body = {"user_id": "u1", **({} if token is None else {"user_token": token})}
        status = 200 if token in right else 403
        assert halo.post("users/identify", body).status_code == status
        assert halo.post("companies/identify", {"company_id": "c1", **body}).status_code == status
        assert halo.post("events", {"events": [{"event_type": "x"}], **body}).status_code == 200  # shows no such field
        assert open_halo.post("users/identify", body).status_code == 200
        assert open_halo.post("companies/identify", {"company_id": "c1", **body}).status_code == 200
    assert halo.post("companies/identify", {"company_id": "c1"}).status_code == 200  # names nobody


EVENT = {"event_type": "form_created", "page_url": "https://a.example/", "element_selector": "#x", "metadata": {"a": 1}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"events": [EVENT] * 100}, 200),
        ({"events": [EVENT] * 101}, 400),
        ({"events": []}, 400),
        ({"events": ["x"]}, 400),
        ({}, 400),
        ({"events": [{"event_type": "é" * 100}]}, 200),
        ({"events": [{"event_type": "x" * 101}]}, 400),
        ({"events": [{"event_type": ""}]}, 400),
        ({"events": [{"name": "x"}]}, 400),
        ({"events": [{**EVENT, "page_url": 5}]}, 400),
        ({"events": [{"event_type": "x", "metadata": "x" * 9_998}]}, 200),
        ({"events": [{"event_type": "x", "metadata": "x" * 9_999}]}, 400),
        ({"events": [EVENT], "user_id": "u1", "session_id": "s1"}, 200),
        ({"events": [EVENT], "user_id": ""}, 400),
    ],
)
def test_events_are_taken_in_their_documented_form(halo, body, status):
    answer = halo.post("events", body)
    assert answer.status_code == status
    assert status == 400 or answer.json() == {"success": True}


def test_config_is_the_only_call_without_a_key_and_answers_in_its_documented_form(halo):
    answer = halo.client.get(f"{halo.server.url}/config?org_id=o1").json()
    assert (sorted(answer), sorted(answer["agent"]), sorted(answer["organization"])) == (
        ["agent", "organization"],
        ["id", "name"],
        ["name", "settings"],
    )
    assert halo.client.get(f"{halo.server.url}/config").json() == {"error": "org_id is required"}


def test_each_refusal_says_whether_it_is_documented(halo, halo_with):
    right = halo.bulk_token()
    told = {
        # With its status: reserved traits (of both identify calls), and what is wrong with a token.
        "yes": [
            halo.user("u1", traits={"created_at": 1}),
            halo.company("c1", traits={"health_score": 1}),
            halo.user("u1", user_token=None),
            halo.user("u1", user_token=halo.token(user_id="u2")),
            halo.update({"user_id": "u1"}, user_token=halo.token(scope="users.read")),
            halo.update({"user_id": "u1"}, user_token=halo.bulk_token(exp=int(time.time()) + 9_999)),
        ],
        # The rule is documented, and what breaking it is answered isn't.
        "rule": [
            halo.user("u1", **sized(20_001, columns=True)),
            halo.company("c1", **sized(50_001, columns=True)),
            halo.company("c1", traits={"a": "x" * 10_000}),
            halo.update(*({"user_id": f"u{number}"} for number in range(1_001))),
            halo.user("u1", traits={"renewal_status": "dead"}),
            halo.user("u1", traits={"renewal_date": "soon"}),
            halo.user("u1", context={"k": entry(type="table")}),
            halo.update({"user_id": "u1"}, user_token=halo.bulk_token(user_id="u1")),
            halo.post("users/identify", {}),
            halo.post("events", {"events": [{"event_type": "x" * 101}]}),
            halo.client.get(f"{halo.server.url}/config"),
        ],
        "no": [
            halo.update({"user_id": "u1", "traits": {"created_at": 1}}),  # of users/update it isn't documented
            halo.post("users/identify", {}, key="ab_live_other"),
            halo.post("users/identify", content=b"{"),
            halo.post("users/delete", {}),
            halo.update({"user_id": "u1"}, user_token=halo.bulk_token(nbf=int(time.time()) + 60)),
            halo_with(max_body_bytes=10).company("c1"),
            halo_with(refuse_context=True).update({"user_id": "u1", "context": {}}, user_token=right),
            halo_with(poison=frozenset({"u1"})).update({"user_id": "u1"}),
        ],
    }
    for documented, answers in told.items():
        for number, answer in enumerate(answers):
            assert answer.headers["x-sandbox-documented"] == documented, (documented, number, answer.text)
    assert "x-sandbox-documented" not in halo.company("c1").headers


def test_a_company_comes_back_in_columns_and_custom_fields(halo):
    columns = dict.fromkeys(COMPANY_COLUMNS)
    columns |= {"name": "Acme", "mrr": 99.5, "renewal_status": "at_risk", "signed_up_at": "2025-03-01T00:00:00Z"}
    context = {"notes": entry(value=[1])}
    answer = halo.company("c1", traits={**columns, "seats": 3, "tags": ["a"]}, context=context).json()
    times = {name: answer.pop(name) for name in ("created_at", "updated_at")}
    assert isinstance(answer.pop("id"), str)
    assert answer == {
        **columns,
        "signed_up_at": "2025-03-01T00:00:00.000000+00:00",
        "custom_fields": {"seats": 3, "tags": ["a"]},
        "context": context,
        "external_id": "c1",
        "org_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "team_size": 0,
    }
    for moment in times.values():
        assert len(moment) == len("2025-03-01T00:00:00.000000+00:00")
        assert moment.endswith("+00:00")


def test_a_user_comes_back_in_columns_and_custom_fields(halo):
    answer = halo.user("u1", traits={"role": "admin", "plan": "pro", "email": "a@b.example"}).json()
    assert answer["custom_fields"] == {"role": "admin", "plan": "pro"}
    assert {name for name in USER_COLUMNS if answer[name] is not None} == {"email"}
    assert set(USER_COLUMNS) < set(answer)


def test_a_cap_on_the_body_is_kept_where_one_is_set(halo_with):
    halo = halo_with(max_body_bytes=300)
    assert halo.company("c1", traits={"name": "n" * 300}).status_code == 413
    assert halo.company("c1", traits={"name": "n" * 100}).status_code == 200
