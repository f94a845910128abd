"""Keys are equal where the database says so: rows that spell a key otherwise, or give it another type, find their record."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.ledger.ledger import Ledger

PLAN = """
companies:
  key: team_id
  traits: {sql: "SELECT team_id, 'x' AS name FROM teams"}
  context:
    events: {label: Events, type: metric, sql: "SELECT team_id, SUM(n) AS n FROM events GROUP BY team_id", empty: {n: 0}}
    log: {label: Log, rows: many, order_by: [n], sql: "SELECT e.team_id, e.n FROM events e WHERE {{ batch('e.team_id') }}"}
users:
  key: user_id
  company: team_id
  traits: {sql: "SELECT user_id, team_id, 'u' AS name FROM users"}
  context:
    visits: {label: Visits, rows: many, order_by: [n], sql: "SELECT user_id, n FROM visits"}
    seats: {label: Seats, rows: many, order_by: [n], sql: "SELECT user_id, team_id, n FROM visits"}
"""

TEXT = "VARCHAR(40)"
CI, UNICODE, BIN = (f"{TEXT} COLLATE utf8mb4_{name}" for name in ("general_ci", "unicode_ci", "bin"))
NOCASE, RTRIM = "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"
LOOSE = f"{TEXT} COLLATE halo_loose"
SPELLED = [("acme", "ACME"), ("Zeta", "zeta"), ("it's", "IT'S")]
PADDED = [("acme", "acme  "), ("zeta ", "zeta"), ("b", "b ")]
NUMBERS = [(7, 7), (10, 10), (100, 100), (9, 9)]
DIGITS = [(7, "7"), (10, "10"), (100, "100"), (9, "9")]
UUIDS = [(f"{n}a000000-0000-4000-8000-00000000000b", f"{n}A000000-0000-4000-8000-00000000000B") for n in range(3)]
# Types of the companies' keys, of the users' companies, of the entries' keys; and each key here and there.
KINDS = {
    "sqlite": {
        "ignoring case": (NOCASE, NOCASE, NOCASE, SPELLED),
        "ignoring case in the entry": ("TEXT", "TEXT COLLATE NOCASE", NOCASE, SPELLED),
        "ignoring case in traits": (NOCASE, "TEXT", "TEXT", SPELLED),
        "blanks": (RTRIM, RTRIM, RTRIM, PADDED),
        "integer and text": ("INTEGER", "TEXT", "TEXT", DIGITS),
        "text and integer": ("TEXT", "INTEGER", "INTEGER", [(str(key), key) for key, _ in NUMBERS]),
        "integer and real": ("INTEGER", "REAL", "REAL", NUMBERS),
        "real and text": ("REAL", "TEXT", "INTEGER", NUMBERS),
    },
    "postgresql": {
        "citext": ("citext", "citext", "citext", SPELLED),
        "citext in the entry": (TEXT, "citext", "citext", SPELLED),
        "citext in traits": ("citext", "text", TEXT, SPELLED),
        "a nondeterministic collation": (LOOSE, LOOSE, LOOSE, [*SPELLED, ("élan", "ELAN")]),
        "a nondeterministic collation in traits": (LOOSE, TEXT, 'text COLLATE "C"', SPELLED),
        "char beside varchar": ("CHAR(8)", TEXT, "text", [("acme    ", "acme"), ("zeta    ", "zeta")]),
        "varchar beside char": (TEXT, "CHAR(8)", "CHAR(12)", [("acme", "acme"), ("zeta", "zeta")]),
        "integer and text": ("INT", TEXT, "text", DIGITS),
        "text and integer": (TEXT, "BIGINT", "INT", [(str(key), key) for key, _ in NUMBERS]),
        "integer and numeric": ("INT", "NUMERIC(12, 2)", "DOUBLE PRECISION", NUMBERS),
        "numeric and text": ("NUMERIC(12, 2)", TEXT, TEXT, DIGITS),
        "double and text": ("DOUBLE PRECISION", TEXT, "INT", NUMBERS),
        "uuid and text": ("UUID", TEXT, TEXT, UUIDS),
    },
    "mysql": {
        "the default": (TEXT, TEXT, CI, [*SPELLED, ("élan", "ELAN"), ("p", "p  ")]),
        "two collations": (CI, UNICODE, BIN, SPELLED),
        "by bytes in traits": (BIN, CI, CI, SPELLED),
        "char beside varchar": ("CHAR(8)", TEXT, "CHAR(20)", [("acme", "ACME "), ("zeta", "zeta")]),
        "integer and text": ("INT", TEXT, TEXT, DIGITS),
        "text and integer": (TEXT, "BIGINT", "INT", [(str(key), key) for key, _ in NUMBERS]),
        "integer and decimal": ("INT", "DECIMAL(12, 2)", "DOUBLE", NUMBERS),
        "decimal and text": ("DECIMAL(12, 2)", TEXT, TEXT, DIGITS),
        "double and text": ("DOUBLE", TEXT, "INT", NUMBERS),
        "uuid and text": ("UUID", TEXT, TEXT, UUIDS),
    },
}


def bound(key, kind):
    """A key as its column takes it."""
    return str(key) if "CHAR" in kind.upper() or "TEXT" in kind.upper() else key


@pytest.fixture
def product(database):
    """Makes the tables: of each company two events, spelled otherwise than its key, and a user with two visits."""
    if database.engine.dialect.name == "postgresql":
        database.run("CREATE EXTENSION IF NOT EXISTS citext")
        database.run(
            "CREATE COLLATION IF NOT EXISTS halo_loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
        )

    def make(kind):
        teams, users, entries, keys = KINDS[database.engine.dialect.name][kind]
        database.table("teams", f"team_id {teams}", [(bound(here, teams),) for here, _ in keys])
        database.table(
            "users",
            f"user_id {teams}, team_id {users}",
            [(bound(here, teams), bound(there, users)) for here, there in keys],
        )
        events = [(bound(key, entries), n) for n, pair in enumerate(keys, start=1) for key in (pair[1], pair[1])]
        database.table("events", f"team_id {entries}, n INT", events)
        database.table("visits", f"user_id {entries}, team_id INT, n INT", [(key, 900 + n, n) for key, n in events])
        return {text_of(here): n for n, (here, _) in enumerate(keys, start=1)}

    return make


def text_of(key):
    return str(key)


def kinds():
    for dialect, driver in (("sqlite", "sqlite"), ("postgresql", "psycopg"), ("mysql", "pymysql")):
        for kind in KINDS[dialect]:
            marks = [] if driver == "sqlite" else [pytest.mark.databases]
            yield pytest.param(driver, kind, marks=marks, id=f"{driver}-{kind}")


def held(sandbox, numbers):
    """What Halo holds, and what it should."""
    companies = {key: sandbox.store.company(key)["context"] for key in sandbox.store.find("companies")}
    users = {key: sandbox.store.user(key) for key in sandbox.store.find("users")}
    found = {
        key: (
            {name: entry["value"] for name, entry in companies[key]["context"].items()}
            if "context" in companies[key]
            else {name: entry["value"] for name, entry in companies[key].items()},
            users[key]["company_id"],
            {name: entry["value"] for name, entry in users[key]["context"].items()},
        )
        for key in companies
    }
    rows = {key: [{"n": n}, {"n": n}] for key, n in numbers.items()}
    due = {
        key: ({"events": {"n": 2 * n}, "log": rows[key]}, key, {"visits": rows[key], "seats": rows[key]})
        for key, n in numbers.items()
    }
    return found, due


@pytest.mark.parametrize(("each_database", "kind"), kinds(), indirect=["each_database"])
def test_rows_that_the_database_takes_for_a_record_s_are_its_own_at_any_batch_size(
    database, product, deliver, sandbox, kind
):
    numbers = product(kind)
    there = Counts(stored=len(numbers))
    for options in ({"batch_size": 1}, {"batch_size": 2}, {"batch_size": 300}, {"company_ids": list(numbers)}):
        report = deliver(database, PLAN, **options)
        assert (report.companies, report.users, report.links) == (there, there, there), options
        found, due = held(sandbox, numbers)
        assert found == due, options


EXACT = {"sqlite": "TEXT", "postgresql": "TEXT", "mysql": f"{TEXT} COLLATE utf8mb4_nopad_bin"}
COARSE = {"sqlite": NOCASE, "postgresql": "citext", "mysql": CI}


@pytest.mark.parametrize("batch_size", [300])
def test_of_records_that_only_the_entry_takes_for_one_the_spelling_tells_and_else_it_is_said(
    database, product, deliver, sandbox, batch_size
):
    dialect = database.engine.dialect.name
    database.table("teams", f"team_id {EXACT[dialect]}", [("ab",), ("AB",), ("cd",), ("CD",), ("e",), ("F",)])
    database.table(
        "users", f"user_id {EXACT[dialect]}, team_id {COARSE[dialect]}", [("u", "ab"), ("v", "Cd"), ("w", "E")]
    )
    database.table("events", f"team_id {COARSE[dialect]}, n INT", [("ab", 1), ("AB", 2), ("Cd", 3), ("E", 4), ("f", 5)])
    database.table("visits", "user_id INT, team_id INT, n INT")
    report = deliver(database, PLAN, batch_size=batch_size)
    # Not of the entry that groups by the key: that takes ab and AB for one itself.
    logs = {key: sandbox.store.company(key)["context"]["log"]["value"] for key in sandbox.store.find("companies")}
    assert logs == {"ab": [{"n": 1}], "AB": [{"n": 2}], "e": [{"n": 4}], "F": [{"n": 5}]}
    users = {key: sandbox.store.user(key)["company_id"] for key in sandbox.store.find("users")}
    assert users == {"u": "ab", "w": "e"}
    reason = "has rows whose key its database takes for that of several records; spell the key as one of them"
    assert sorted(map(str, report.rejects)) == [
        f"companies CD: context.events: {reason}",
        f"companies cd: context.events: {reason}",
        "users v: has more than one row in the users query (users.traits), of companies CD and cd; one is due, which users.prefer can pick",
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 300])
def test_two_spellings_of_one_key_are_two_rows_of_one_company(database, product, deliver, sandbox, batch_size):
    dialect = database.engine.dialect.name
    database.table("teams", f"team_id {COARSE[dialect]}", [("acme",), ("ACME",), ("zeta",)])
    database.table("users", f"user_id INT, team_id {COARSE[dialect]}", [(1, "Acme"), (2, "Zeta")])
    database.table("events", f"team_id {COARSE[dialect]}, n INT", [("acme", 1), ("Zeta", 2)])
    database.table("visits", "user_id INT, team_id INT, n INT")
    report = deliver(database, PLAN, batch_size=batch_size)
    assert sandbox.store.find("companies") == ["zeta"]
    assert (report.users, report.links) == (Counts(stored=2), Counts(stored=1, skipped=1))
    assert sandbox.store.user("2")["company_id"] == "zeta"
    assert sorted(map(str, report.rejects)) == [
        f"companies {key}: has more than one row in the companies query (companies.traits); one is due"
        for key in ("ACME", "acme")
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 300])
def test_the_rows_of_a_users_entry_belong_to_the_user_whatever_company_they_name(
    database, deliver, sandbox, batch_size
):
    database.table("teams", "team_id INT", [(1,), (2,), (3,)])
    database.table("users", "user_id INT, team_id INT", [(10, 1), (11, 2), (12, 3), (13, None)])
    database.table("events", "team_id INT, n INT")
    visits = [(10, 1, 1), (10, 3, 2), (11, None, 3), (12, 9, 4), (13, 2, 5), (99, 1, 6)]
    database.table("visits", "user_id INT, team_id INT, n INT", visits)
    plan = PLAN.replace(
        "seats: {",
        'placed: {label: P, rows: many, order_by: [n], sql: "SELECT v.user_id, v.n FROM visits v '
        "WHERE {{ batch('v.team_id') }}\"}\n    seats: {",
    )
    for options in ({"batch_size": batch_size}, {"company_ids": [1, 2, 3]}):
        report = deliver(database, plan, **options)
        assert not report.rejects
        due = {"10": [1, 2], "11": [3], "12": [4], "13": [5]}
        if "company_ids" in options:
            del due["13"]
        assert {
            key: {
                name: [row["n"] for row in entry["value"]] for name, entry in sandbox.store.user(key)["context"].items()
            }
            for key in sandbox.store.find("users")
        } == {key: dict.fromkeys(("visits", "placed", "seats"), rows) for key, rows in due.items()}


@pytest.mark.parametrize(("each_database", "kind"), kinds(), indirect=["each_database"])
def test_rows_of_another_database_are_asked_for_in_its_own_spelling_and_type(
    database, product, other, deliver, sandbox, kind
):
    numbers = product(kind)
    _, _, entries, keys = KINDS[database.engine.dialect.name][kind]
    if is_exact(entries) and any(str(here) != str(there) for here, there in keys):
        pytest.skip("the entry's database tells these keys apart")
    text = all(isinstance(key, str) for key, _ in keys)
    other.table("teams", "team_id TEXT" if text else "team_id INTEGER", [(key,) for key, _ in keys])
    users = [(key, None) for key, _ in keys]
    other.table("users", f"user_id {'TEXT' if text else 'INTEGER'}, team_id INTEGER", users)
    database.others["other"] = database.engine
    database.others["away"] = other.engine
    plan = PLAN.replace("traits: {", "traits: {source: away, ").replace("{label", "{source: app, label")
    for options in ({"batch_size": 2}, {"batch_size": 300}, {"company_ids": list(numbers)}):
        report = deliver(database, plan, **options)
        assert report.companies == Counts(stored=len(numbers)), options
        assert report.users.stored == (0 if "company_ids" in options else len(numbers))
        found, due = held_of_entries(sandbox, numbers)
        assert found == due, options


def is_exact(kind):
    loose = ("citext", "NOCASE", "RTRIM", "halo_loose", "_ci")
    return not kind.startswith("CHAR(") and not any(word in kind for word in loose)


def held_of_entries(sandbox, numbers):
    """What Halo holds of the entries, and what it should."""
    rows = {key: [{"n": n}, {"n": n}] for key, n in numbers.items()}
    found = {scope: {} for scope in ("companies", "users")}
    for key in sandbox.store.find("companies"):
        found["companies"][key] = {
            name: entry["value"] for name, entry in sandbox.store.company(key)["context"].items()
        }
    for key in sandbox.store.find("users"):
        found["users"][key] = {name: entry["value"] for name, entry in sandbox.store.user(key)["context"].items()}
    due = {
        "companies": {key: {"events": {"n": 2 * n}, "log": rows[key]} for key, n in numbers.items()},
        "users": {key: {"visits": rows[key], "seats": rows[key]} for key in found["users"]},
    }
    return found, due


@pytest.mark.parametrize("batch_size", [1, 2, 300])
def test_users_are_linked_to_companies_of_another_database_as_that_spells_them(
    database, product, other, deliver, sandbox, batch_size
):
    dialect = database.engine.dialect.name
    keys = ["acme", "Zeta", "it's", "b"]
    database.table("teams", f"team_id {COARSE[dialect]}", [(key,) for key in keys])
    users = [(number, key.upper()) for number, key in enumerate(keys)]
    other.table("users", "user_id INTEGER, team_id TEXT", [*users, (9, "elsewhere"), (10, None)])
    database.others["away"] = other.engine
    plan = "companies: {key: team_id, traits: {sql: SELECT team_id FROM teams}}\nusers:\n  key: user_id\n  company: team_id\n"
    plan += "  traits: {source: away, sql: 'SELECT user_id, team_id FROM users'}\n"
    report = deliver(database, plan, batch_size=batch_size)
    # Ranges of two databases that sort differently may give a company twice, which is harmless.
    assert set(sandbox.store.find("companies")) == set(keys)
    assert report.links == Counts(stored=4, skipped=1)
    linked = {key: sandbox.store.user(key)["company_id"] for key in sandbox.store.find("users")}
    assert linked == {**{str(number): key for number, key in enumerate(keys)}, "9": None, "10": None}


def test_types_that_cannot_meet_across_databases_stop_the_run_before_it_sends(database, other, deliver, sandbox):
    database.table("teams", "team_id INT", [(1,)])
    other.table("users", "user_id INTEGER, team_id TEXT", [(1, "1")])
    database.others["away"] = other.engine
    plan = "companies: {key: team_id, traits: {sql: SELECT team_id FROM teams}}\nusers:\n  key: user_id\n  company: team_id\n"
    plan += "  traits: {source: away, sql: 'SELECT user_id, team_id FROM users'}\n"
    with pytest.raises(PlanError) as stopped:
        deliver(database, plan)
    assert "users.traits.sql: column 'team_id' is text (BINARY), but column 'team_id' of companies.traits" in str(
        stopped.value
    )
    assert sandbox.store.find("companies") == []


def test_a_key_that_is_typed_in_another_spelling_names_its_company(database, product, deliver, sandbox):
    dialect = database.engine.dialect.name
    database.table("teams", f"team_id {COARSE[dialect]}", [("acme",), ("zeta",), ("b",)])
    database.table("users", f"user_id {COARSE[dialect]}, team_id {COARSE[dialect]}", [("ann", "Acme"), ("bob", "zeta")])
    database.table("events", f"team_id {COARSE[dialect]}, n INT", [("aCME", 1)])
    database.table("visits", f"user_id {COARSE[dialect]}, team_id INT, n INT", [("ANN", 1, 2)])
    report = deliver(database, PLAN, company_ids=["ACME", "nobody"])
    assert (report.companies, report.users) == (Counts(stored=1, rejected=1), Counts(stored=1))
    assert [str(problem) for problem in report.rejects] == [
        "companies nobody: is not in the companies query (companies.traits)"
    ]
    assert sandbox.store.company("acme")["context"]["events"]["value"] == {"n": 1}
    assert sandbox.store.user("ann")["company_id"] == "acme"
    assert sandbox.store.user("ann")["context"]["visits"]["value"] == [{"n": 2}]


@pytest.mark.parametrize("batch_size", [1, 300])
def test_a_second_run_with_a_ledger_finds_all_unchanged(
    database, product, plan, deliver, connected, tmp_path, batch_size
):
    dialect = database.engine.dialect.name
    text = COARSE[dialect].replace("40", "310")
    keys = ["acme", "Zeta", "l" * 300, "a\nb"]
    database.table("teams", f"team_id {text}", [(key,) for key in keys])
    database.table("users", f"user_id {text}, team_id {text}", [(key, key.upper()) for key in keys])
    database.table("events", f"team_id {text}, n INT", [(key.upper(), 1) for key in keys])
    database.table("visits", f"user_id {text}, team_id INT, n INT", [(key.upper(), 1, 2) for key in keys])
    ledger_engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger = Ledger(ledger_engine, "ledger", patience=5)
    for number, due in ((1, Counts(stored=4)), (2, Counts(unchanged=4))):
        run = ledger.open_run(plan(PLAN).name, connected(), f"run {number}", whole=True, writes=True)
        report = deliver(database, PLAN, batch_size=batch_size, run=run)
        assert (report.companies, report.users, report.links) == (due, due, due)
    ledger_engine.dispose()
