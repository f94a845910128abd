"""Keys that mean harm, in every database: stored under their own name, rejected with the reason, or refused when typed."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import SetupError, SourceError
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import batch_for, plan_batches

COMPANIES = "companies:\n  key: team_id\n  traits:\n    sql: SELECT * FROM teams\n"
USERS = "users:\n  key: user_id\n  company: team_id\n  traits:\n    sql: SELECT * FROM users\n"
SQL = [
    *(
        "Robert'); DROP TABLE teams;--",
        "' OR '1'='1",
        "'; DELETE FROM users; --",
        "1; DROP TABLE teams",
        "x' UNION SELECT 1",
    ),
    *("%", "%s", "%(x)s", "%%", "_", ":x", "\\:x", "::text", "$1", "$$", "?", "??", "@x", "{}", "{0}", "{{ ds }}"),
    *("\\", "\\'", "\\\\", "''", '"', '""', "`", "--", "#", "/*", "*/", "/* x */", ";", "(", ")", '{{ batch("x") }}'),
    *(
        "NULL",
        "null",
        "None",
        "0",
        "-1",
        "1e3",
        "0x10",
        "true",
        "NaN",
        "a b",
        "a/../b",
        "../../etc/passwd",
        "a?b=c&d#e",
    ),
    *("<script>alert(1)</script>", "\U0001f600", "\u212a", "\xdf", "\uff21", "A", "a", "\xe9", "z" * 150),
]
UNSEEN = [
    *("a\tb", "a\nb", "a\r\nX: y", "a\xa0b", "a\u200db", "\u200b", "\u202e", "\x7f", "\x1b[31m", "l" * 300),
    *(" before", "a\n", "a\u2028b"),
]
KEYS = [*SQL, *UNSEEN]
BLANK = [" ", "\t\n", "\xa0"]


@pytest.fixture
def hostile(database):
    """Every key is a company with one user."""
    text = "VARCHAR(310) COLLATE utf8mb4_nopad_bin" if database.engine.dialect.name == "mysql" else "VARCHAR(310)"
    database.table("teams", f"team_id {text}, name VARCHAR(50)", [(key, "n") for key in KEYS])
    database.table("users", f"user_id {text}, team_id {text}", [(f"u{key}", key) for key in KEYS])
    return database


@pytest.mark.parametrize("batch_size", [12, 1_000])
def test_any_text_is_a_name_like_any_other_also_as_the_bound_of_a_batch(hostile, deliver, sandbox, batch_size):
    report = deliver(hostile, COMPANIES + USERS, batch_size=batch_size)
    there = Counts(stored=len(KEYS))
    assert (report.companies, report.users, report.links) == (there, there, there)
    assert set(sandbox.store.find("companies")) == set(KEYS)
    assert {key: sandbox.store.user(f"u{key}")["company_id"] for key in KEYS} == {key: key for key in KEYS}


def test_any_text_names_its_company_when_it_is_typed_blanks_included(hostile, deliver, sandbox):
    report = deliver(hostile, COMPANIES + USERS, company_ids=[*UNSEEN, "before", "a"])
    assert report.companies == Counts(stored=len(UNSEEN) + 1, rejected=1)  # "a" is one of SQL
    assert set(sandbox.store.find("companies")) == {*UNSEEN, "a"}
    assert [str(problem) for problem in report.rejects] == [
        "companies before: is not in the companies query (companies.traits)"
    ]


def test_what_cannot_be_seen_in_a_key_is_escaped_wherever_it_is_shown(hostile, deliver):
    report = deliver(hostile, COMPANIES, company_ids=["x\n\x1b[31m\u202ey", " z"])
    assert report.to_text().splitlines()[-2:] == [
        "rejected: companies x\\n\\x1b[31m\\u202ey: is not in the companies query (companies.traits)",
        "rejected: companies ' z': is not in the companies query (companies.traits)",
    ]
    assert Batch(key_type="text", companies=("x\ny", "z "), users_too=False).label == "companies x\\ny, 'z '"


def test_sql_that_is_typed_for_a_company_names_that_company_and_no_other(hostile, deliver, sandbox):
    report = deliver(hostile, COMPANIES + USERS, company_ids=[*SQL, "' OR 1=1 --", "x" * 100_000])
    assert (report.companies, report.users) == (Counts(stored=len(SQL), rejected=2), Counts(stored=len(SQL)))
    assert [(problem.key[:20], problem.reason) for problem in report.rejects] == [
        ("' OR 1=1 --", "is not in the companies query (companies.traits)"),
        ("x" * 20, "is not in the companies query (companies.traits)"),
    ]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("a\0b", "holds a NUL character"),
        ("a\ud800", "holds broken Unicode (a lone surrogate)"),
        *((blank, "is blank") for blank in BLANK),
    ],
    ids=ascii,
)
def test_a_typed_key_that_no_record_can_have_is_refused_before_a_query_sees_it(hostile, deliver, plan, typed, reason):
    message = f"^{re.escape(repr(typed))} is no key: it {re.escape(reason)}.$"
    if not typed.isspace():  # of a list of companies, blanks are gaps
        with pytest.raises(SetupError, match=message) as refused:
            deliver(hostile, COMPANIES + USERS, company_ids=[typed])
        assert str(refused.value).isprintable()
    with pytest.raises(SetupError, match=message):
        batch_for(plan(COMPANIES + USERS), hostile.sources, company_id=typed)
    with pytest.raises(SetupError, match=message):
        batch_for(plan(COMPANIES + USERS), hostile.sources, user_id=typed)


@pytest.mark.parametrize(
    "typed",
    [
        "1; DROP TABLE teams",
        "1 OR 1=1",
        "007",
        "+1",
        "1e3",
        "0x10",
        "--5",
        "+-3",
        "\u0663",
        "\uff11",
        "1" * 31,
        "\ud800",
        "1\0",
    ],
)
def test_what_is_typed_for_a_numeric_key_is_a_number_or_refused(database, deliver, typed):
    database.table("teams", "team_id INT, name VARCHAR(9)", [(1, "n")])
    with pytest.raises(SetupError, match="the database's keys are whole numbers"):
        deliver(database, company_ids=[typed])


def test_numbers_at_the_end_of_64_bits_are_keys_to_the_last_digit(database, deliver, sandbox):
    ends = [-(2**63), -(2**53) - 1, 2**53 + 1, 2**63 - 1]
    database.table("teams", "team_id BIGINT, name VARCHAR(9)", [(end, "n") for end in ends])
    assert deliver(database, batch_size=1).companies == Counts(stored=4)
    assert set(sandbox.store.find("companies")) == {str(end) for end in ends}
    assert deliver(database, company_ids=[str(end) for end in ends]).companies == Counts(stored=4)


def test_typed_numbers_beyond_64_bits_are_not_there_or_the_database_says_so(database, deliver):
    database.table("teams", "team_id BIGINT, name VARCHAR(9)", [(1, "n")])
    said = "is not in the companies query"
    try:
        said_now = deliver(database, company_ids=["9" * 30]).rejects[0].reason
    except SourceError as refused:
        said, said_now = "companies.traits", str(refused)
    assert said in said_now


INFINITE = {"sqlite": ("REAL", [float("-inf"), float("inf")]), "postgresql": ("NUMERIC", [])}
INFINITE["postgresql"][1].extend(map(Decimal, ("-Infinity", "Infinity", "NaN", "1E+5000", "-1E+5000")))


@pytest.mark.parametrize("batch_size", [1, 100])
def test_infinite_and_endless_numbers_are_no_keys_and_no_bounds(database, deliver, plan, batch_size):
    kind, endless = INFINITE.get(database.engine.dialect.name, (None, None))
    if kind is None:
        pytest.skip("MariaDB has no such number")
    database.table("teams", f"team_id {kind}, name VARCHAR(9)", [(key, "n") for key in [*endless, 1, 2, 3]])
    report = deliver(database, batch_size=batch_size)
    assert report.companies == Counts(stored=3, rejected=len(endless))
    assert all(problem.reason.startswith("column 'team_id': a ") for problem in report.rejects)
    loaded = plan(COMPANIES)
    batches = plan_batches(loaded, select(loaded), database.sources, batch_size=batch_size)
    assert sum(batch.expected_companies for batch in batches) == len(endless) + 3


def test_keys_of_every_kind_of_nothing_are_counted_or_rejected(sqlite, deliver):
    sqlite.table("teams", "team_id, name TEXT", [("", "n"), ("  ", "n"), (b"x", "n"), (1.5, "n"), ("ok", "n")])
    report = deliver(sqlite)
    assert report.companies == Counts(stored=1, rejected=4)
    assert {problem.key: problem.reason.partition(": ")[2] for problem in report.rejects} == snapshot(
        {
            "1.5": "a number with a fraction can't be a key",
            "''": "the key is empty",
            "'  '": "the key is blank",
            "b'x'": "the key is bytes; cast it to text in the SQL",
        }
    )
