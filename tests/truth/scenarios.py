"""What databases really hold, each kind as a small one, and what Halo must hold after a green run.

A scenario names what is to be stored; what can't be is named as a rejection. Nothing else may be the outcome: not with
another batch size, nor with a ledger, nor on another database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SCENARIOS", "Scenario"]

ALL = ("sqlite", "postgresql", "mariadb")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of database.

    :param tables: the SQL that makes and fills it, by database; ``all`` for every one.
    :param plan: without ``version`` and ``source``.
    :param companies: each company's traits, and the values of its entries under their keys after a dot:
        ``{"a": {"name": "A", ".usage": {"events": 2}}}``.
    :param users: likewise; ``company`` is the link.
    :param rejected: ``scope key`` of each record that must be rejected.
    :param left_out: ``scope key entry`` of each entry that must be left out, and told.
    """

    name: str
    tables: Mapping[str, Sequence[str]]
    plan: str
    companies: Mapping[str, Any] = field(default_factory=dict)
    users: Mapping[str, Any] = field(default_factory=dict)
    rejected: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()

    @property
    def databases(self) -> tuple[str, ...]:
        """Where there is such a thing."""
        return ALL if "all" in self.tables else tuple(name for name in ALL if name in self.tables)

    def sql(self, database: str) -> Sequence[str]:
        """The statements for a database."""
        return self.tables.get(database) or self.tables["all"]


def values(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as SQL."""

    def literal(value: Any) -> str:
        return "NULL" if value is None else repr(value) if isinstance(value, int) else f"'{value}'"

    return ", ".join(f"({', '.join(map(literal, row))})" for row in rows)


def table(name: str, columns: str, rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table with its rows."""
    return [f"CREATE TABLE {name} ({columns})", f"INSERT INTO {name} VALUES {values(rows)}"]


COMPANIES = """
companies:
  key: company
  traits:
    sql: SELECT id AS company, name FROM orgs
"""
USAGE = """
  context:
    usage:
      label: Usage
      type: metric
      sql: SELECT org AS company, SUM(amount) AS events FROM events GROUP BY org
      empty: {events: 0}
"""
MEMBERS = [
    *table("orgs", "id INT PRIMARY KEY, name VARCHAR(40)", [(number, f"Org {number}") for number in range(1, 8)]),
    *table(
        "people",
        "id INT PRIMARY KEY, name VARCHAR(40)",
        [(number, f"Person {number}") for number in range(1, 12)],
    ),
    *table(
        "memberships",
        "person INT, org INT, home INT, since INT",
        # 1 to 7 are in one organisation, 8 in two that are neighbours, 9 in the first and last, 10 in all, 11 in none.
        [
            *((number, number, 1, number) for number in range(1, 8)),
            (8, 3, 0, 1),
            (8, 4, 1, 2),
            (9, 1, 0, 5),
            (9, 7, 0, 4),
            *((10, org, 0, 20 - org if org != 5 else 1) for org in range(1, 8)),
        ],
    ),
]
JOINED = """
users:
  key: person
  company: org
  traits:
    sql: |
      SELECT p.id AS person, m.org, p.name, m.home, m.since
      FROM people p LEFT JOIN memberships m ON m.person = p.id
"""
ORGS = {str(number): {"name": f"Org {number}"} for number in range(1, 8)}
OWN = {str(number): {"name": f"Person {number}", "company": str(number)} for number in range(1, 8)}
NOBODYS = {"11": {"name": "Person 11", "company": None}}


def _with_order(users: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the columns that only an order uses, where no order is given."""
    home = {str(number): {"home": 1, "since": number} for number in range(1, 8)} | {"11": {"home": None, "since": None}}
    return {key: {**user, **home[key]} for key, user in users.items()}


ORDER = "  prefer: [home desc, since]\n"
CHOSEN = {
    "8": {"name": "Person 8", "company": "4"},
    "9": {"name": "Person 9", "company": "7"},
    "10": {"name": "Person 10", "company": "5"},
}
MANY = """
  context:
    orgs:
      label: Organisations
      type: list
      order_by: [name]
      sql: |
        SELECT m.person, {company}o.name FROM memberships m JOIN orgs o ON o.id = m.org
"""


def _lists(users: Mapping[str, Any]) -> dict[str, Any]:
    """The same with each person's organisations."""
    orgs = {str(number): [number] for number in range(1, 8)} | {
        "8": [3, 4],
        "9": [1, 7],
        "10": [*range(1, 8)],
        "11": [],
    }
    return {key: {**user, ".orgs": [{"name": f"Org {org}"} for org in orgs[key]]} for key, user in users.items()}


def _events(key_type: str, event_type: str, keys: Sequence[Any], spelt: Sequence[Any], suffix: str = "") -> list[str]:
    """Organisations, and two events of each under another spelling of its key."""
    return [
        *table(
            "orgs", f"id {key_type} PRIMARY KEY, name VARCHAR(40)", [(key, f"Org {at}") for at, key in enumerate(keys)]
        ),
        *table("events", f"org {event_type}, amount INT", [(key, 1) for key in spelt for _ in range(2)]),
        *([suffix] if suffix else []),
    ]


SPELT = {"Acme": "ACME", "Bécot": "Bécot", "cole": "Cole ", "Dörte": "dörte"}


def _used(keys: Sequence[str], events: int = 2) -> dict[str, Any]:
    return {key: {"name": f"Org {at}", ".usage": {"events": events}} for at, key in enumerate(keys)}


ENTRY = "SELECT org AS company, name AS service, state AS connected FROM services"
SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="people in several companies, the join that everybody writes first",
        tables={"all": MEMBERS},
        plan=COMPANIES + JOINED,
        companies=ORGS,
        users=_with_order({**OWN, **NOBODYS}),
        rejected=frozenset({"users 8", "users 9", "users 10"}),
    ),
    Scenario(
        name="people in several companies, with prefer",
        tables={"all": MEMBERS},
        plan=COMPANIES + JOINED.replace("  traits:", ORDER + "  traits:"),
        companies=ORGS,
        users={**OWN, **CHOSEN, **NOBODYS},
    ),
    Scenario(
        name="an entry of users without the company's column",
        tables={"all": MEMBERS},
        plan=COMPANIES + JOINED.replace("  traits:", ORDER + "  traits:") + MANY.format(company=""),
        companies=ORGS,
        users=_lists({**OWN, **CHOSEN, **NOBODYS}),
    ),
    Scenario(
        name="an entry of users that names other companies",
        tables={"all": MEMBERS},
        plan=COMPANIES + JOINED.replace("  traits:", ORDER + "  traits:") + MANY.format(company="m.org, "),
        companies=ORGS,
        users=_lists({**OWN, **CHOSEN, **NOBODYS}),
    ),
    Scenario(
        name="a definition that two queries use",
        tables={"all": MEMBERS},
        plan="""
define:
  home: |
    SELECT person, org FROM memberships WHERE home = 1
companies:
  key: org
  traits:
    sql: SELECT o.id AS org, o.name, (SELECT COUNT(*) FROM home h WHERE h.org = o.id) AS people FROM orgs o
users:
  key: person
  company: org
  traits:
    sql: SELECT p.id AS person, h.org, p.name FROM people p LEFT JOIN home h ON h.person = p.id
""",
        companies={key: {**org, "people": 2 if key == "4" else 1} for key, org in ORGS.items()},
        users={
            **OWN,
            "8": {"name": "Person 8", "company": "4"},
            **{key: {"name": f"Person {key}", "company": None} for key in ("9", "10", "11")},
        },
    ),
    Scenario(
        name="keys that the database takes for equal: case, accents, trailing blanks",
        tables={
            "mariadb": _events(
                "VARCHAR(40) COLLATE utf8mb4_general_ci",
                "VARCHAR(40) COLLATE utf8mb4_general_ci",
                [*SPELT],
                [*SPELT.values()],
            ),
            "sqlite": _events(
                "VARCHAR(40) COLLATE NOCASE", "VARCHAR(40) COLLATE NOCASE", ["Acme", "cole"], ["ACME", "Cole"]
            ),
            "postgresql": [
                "CREATE COLLATION halo_any (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                *_events(
                    "VARCHAR(40) COLLATE halo_any", "VARCHAR(40) COLLATE halo_any", ["Acme", "cole"], ["ACME", "Cole"]
                ),
            ],
        },
        plan=COMPANIES + USAGE,
        companies={"mariadb": _used([*SPELT]), "*": _used(["Acme", "cole"])},
    ),
    Scenario(
        name="people's company spelt in another way",
        tables={
            "mariadb": [
                *table("orgs", "id VARCHAR(20) PRIMARY KEY, name VARCHAR(40)", [("Acme", "A"), ("Bill", "B")]),
                *table("people", "id INT PRIMARY KEY, org VARCHAR(20)", [(1, "ACME"), (2, "bill "), (3, "Acme")]),
            ],
            "sqlite": [
                *table(
                    "orgs",
                    "id VARCHAR(20) COLLATE NOCASE PRIMARY KEY, name VARCHAR(40)",
                    [("Acme", "A"), ("Bill", "B")],
                ),
                *table(
                    "people",
                    "id INT PRIMARY KEY, org VARCHAR(20) COLLATE NOCASE",
                    [(1, "ACME"), (2, "bill"), (3, "Acme")],
                ),
            ],
        },
        plan=COMPANIES
        + """
users:
  key: person
  company: org
  traits:
    sql: SELECT id AS person, org, 'x' AS name FROM people
""",
        companies={"Acme": {"name": "A"}, "Bill": {"name": "B"}},
        users={
            "1": {"name": "x", "company": "Acme"},
            "2": {"name": "x", "company": "Bill"},
            "3": {"name": "x", "company": "Acme"},
        },
    ),
    Scenario(
        name="CHAR beside VARCHAR",
        tables={
            name: _events("CHAR(8)", "VARCHAR(8)", ["a", "bc", "def"], ["a", "bc", "def"])
            for name in ("postgresql", "mariadb")
        },
        plan=COMPANIES + USAGE,
        companies={
            "postgresql": {key.ljust(8): value for key, value in _used(["a", "bc", "def"]).items()},
            "mariadb": _used(["a", "bc", "def"]),
        },
    ),
    *(
        Scenario(
            name=f"keys of other types: {one} here, {other} there",
            tables={name: _events(one, other, [1, 2, 10, 20, 300], [1, 2, 10, 20, 300]) for name in databases},
            plan=COMPANIES + USAGE,
            companies=_used(["1", "2", "10", "20", "300"]),
        )
        for one, other, databases in (
            ("INT", "VARCHAR(20)", ALL),
            ("VARCHAR(20)", "INT", ALL),
            ("INT", "DECIMAL(12,2)", ("postgresql", "mariadb")),
            ("BIGINT", "DOUBLE PRECISION", ("postgresql", "mariadb")),
        )
    ),
    Scenario(
        name="any text is a key",
        tables={
            "all": _events(
                "VARCHAR(300)",
                "VARCHAR(300)",
                KEYS := [" a", "b\u00a0b", "x\u200dy", "line\nbreak", "k" * 250, "Zoë"],
                KEYS,
            )
        },
        plan=COMPANIES + USAGE,
        companies=_used(KEYS),
    ),
    Scenario(
        name="two rows of one name in an integration",
        tables={
            "all": [
                *table("orgs", "id INT PRIMARY KEY, name VARCHAR(40)", [(1, "A"), (2, "B")]),
                *table("services", "org INT, name VARCHAR(20), state INT", [(1, "S3", 1), (1, "S3", 0), (2, "S3", 1)]),
            ]
        },
        plan=COMPANIES
        + f"""
  context:
    services: {{label: Services, type: integration, name: service, sql: "{ENTRY}"}}
""",
        companies={"1": {"name": "A"}, "2": {"name": "B", ".services": {"S3": {"connected": True}}}},
        left_out=frozenset({"companies 1 services"}),
    ),
    Scenario(
        name="two rows of one name, numbered",
        tables={
            "all": [
                *table("orgs", "id INT PRIMARY KEY, name VARCHAR(40)", [(1, "A"), (2, "B")]),
                *table("services", "org INT, name VARCHAR(20), state INT", [(1, "S3", 1), (1, "S3", 0), (2, "S3", 1)]),
            ]
        },
        plan=COMPANIES
        + f"""
  context:
    services: {{label: Services, type: integration, name: service, duplicates: number, order_by: [connected], sql: "{ENTRY}"}}
""",
        companies={
            "1": {"name": "A", ".services": {"S3": {"connected": False}, "S3 (2)": {"connected": True}}},
            "2": {"name": "B", ".services": {"S3": {"connected": True}}},
        },
    ),
    Scenario(
        name="moments of the autumn night, in a session with another time zone",
        tables={
            "mariadb": [
                "CREATE TABLE orgs (id INT PRIMARY KEY, signed_up_at TIMESTAMP NULL)",
                "SET time_zone = '+00:00'",
                "INSERT INTO orgs VALUES (1, '2025-10-26 00:30:00'), (2, '2025-10-26 01:30:00'), (3, '2025-06-01 12:00:00')",
            ],
            "postgresql": [
                "CREATE TABLE orgs (id INT PRIMARY KEY, signed_up_at TIMESTAMPTZ)",
                "INSERT INTO orgs VALUES (1, '2025-10-26 00:30:00Z'), (2, '2025-10-26 01:30:00Z'), (3, '2025-06-01 12:00:00Z')",
            ],
        },
        plan="""
companies:
  key: company
  traits:
    sql: SELECT id AS company, signed_up_at FROM orgs
""",
        companies={
            "1": {"signed_up_at": "2025-10-26T00:30:00+00:00"},
            "2": {"signed_up_at": "2025-10-26T01:30:00+00:00"},
            "3": {"signed_up_at": "2025-06-01T12:00:00+00:00"},
        },
    ),
    Scenario(
        name="MariaDB's own types",
        tables={
            "mariadb": [
                "CREATE TABLE orgs (id INT PRIMARY KEY, is_paid BIT(1), opens_at TIME, last_seen_on DATE, score DECIMAL(8,2))",
                "SET sql_mode = ''",
                "INSERT INTO orgs VALUES (1, b'1', '09:30:00', '0000-00-00', 12.50), (2, b'0', '23:05:07', '2025-03-01', 3)",
            ],
        },
        plan="""
companies:
  key: company
  traits:
    sql: SELECT id AS company, is_paid, opens_at, last_seen_on, score FROM orgs
""",
        companies={
            "1": {"is_paid": True, "opens_at": "09:30:00", "last_seen_on": None, "score": 12.5},
            "2": {"is_paid": False, "opens_at": "23:05:07", "last_seen_on": "2025-03-01", "score": 3},
        },
    ),
    Scenario(
        name="PostgreSQL's own types",
        tables={
            "postgresql": [
                "CREATE TYPE mood AS ENUM ('good', 'bad')",
                "CREATE TABLE orgs (id INT PRIMARY KEY, moods mood[], address INET, trial INTERVAL, paid MONEY, seen_at TIMESTAMPTZ)",
                (
                    "INSERT INTO orgs VALUES (1, '{good,bad}', '10.0.0.1', '1 day 2 hours', '1234.50', 'infinity'), "
                    "(2, '{}', NULL, NULL, NULL, '2025-03-01 12:00:00Z'), (3, NULL, '::1', '00:00:05', '3', '0044-03-15 12:00:00Z BC')"
                ),
            ],
        },
        plan="""
companies:
  key: company
  traits:
    sql: SELECT id AS company, moods, address, trial, paid, seen_at FROM orgs
""",
        companies={
            "1": {"moods": ["good", "bad"], "address": "10.0.0.1", "trial": "P1DT2H", "paid": 1234.5, "seen_at": None},
            "2": {"moods": [], "address": None, "trial": None, "paid": None, "seen_at": "2025-03-01T12:00:00+00:00"},
            "3": {"moods": None, "address": "::1", "trial": "PT5S", "paid": 3, "seen_at": None},
        },
    ),
    Scenario(
        name="documented columns have types",
        tables={
            "all": [
                *table(
                    "orgs",
                    "id INT PRIMARY KEY, on_contract INT, arr VARCHAR(20), employee_count VARCHAR(20)",
                    [(1, 1, "1234.50", "12"), (2, 0, "99", None)],
                ),
            ]
        },
        plan="""
companies:
  key: company
  traits:
    sql: SELECT id AS company, on_contract, arr, employee_count FROM orgs
""",
        companies={
            "1": {"on_contract": True, "arr": 1234.5, "employee_count": 12},
            "2": {"on_contract": False, "arr": 99, "employee_count": None},
        },
    ),
)
