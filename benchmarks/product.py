"""The product whose data is brought: companies and their users, the same ones each time. `halo.yaml` is their plan."""

from __future__ import annotations

import sqlalchemy as sa

# SQLite has no types for days, moments and yes or no: there they are texts and numbers, as in most products.
_TYPES = {
    "sqlite": {"day": "TEXT", "moment": "TEXT", "yes": "INTEGER", "money": "REAL"},
    "postgresql": {"day": "DATE", "moment": "TIMESTAMPTZ", "yes": "BOOLEAN", "money": "NUMERIC(12, 2)"},
}

_TABLES = """\
CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT, domain TEXT, industry TEXT, plan TEXT,
  employee_count INTEGER, mrr {money}, signed_up_at {day});
CREATE TABLE seats (company_id INTEGER PRIMARY KEY, bought INTEGER, used INTEGER, renews_on {day});
CREATE TABLE users (id INTEGER PRIMARY KEY, company_id INTEGER, name TEXT, email TEXT, role TEXT, locale TEXT,
  is_admin {yes}, logins INTEGER, score REAL, signed_up_at {moment});
CREATE TABLE activity (user_id INTEGER PRIMARY KEY, company_id INTEGER, last_page TEXT, visits INTEGER, minutes INTEGER);
CREATE TABLE onboarding (user_id INTEGER PRIMARY KEY, company_id INTEGER, step TEXT, has_invited {yes}, finished_at {day})
"""

_ROWS = """\
INSERT INTO companies
SELECT i, 'Company ' || i, 'company' || i || '.example',
  CASE i % 3 WHEN 0 THEN 'Retail' WHEN 1 THEN 'Logistics' ELSE 'Public services' END,
  CASE i % 2 WHEN 0 THEN 'business' ELSE 'starter' END, i % 900, (i * 37 % 9000) / 4.0, {signed_up_day}
FROM ({companies}) AS n;
INSERT INTO seats SELECT id, 10 + id % 50, id % 10, {renews_on} FROM companies;
INSERT INTO users
SELECT i, {company}, 'Given' || (i % 997) || ' Family' || (i % 1009), 'user' || i || '@company.example',
  CASE i % 4 WHEN 0 THEN 'Owner' ELSE 'Member' END, CASE i % 3 WHEN 0 THEN 'de-AT' ELSE 'en-GB' END,
  i % 4 = 0, i * 31 % 500, (i * 17 % 1000) / 8.0, {signed_up_at}
FROM ({users}) AS n;
INSERT INTO activity SELECT id, company_id, '/reports/' || (id % 40), id * 7 % 300, id * 13 % 2000 FROM users;
INSERT INTO onboarding
SELECT id, company_id, CASE id % 5 WHEN 0 THEN 'invited colleagues' ELSE 'done' END, id % 2 = 1, {finished_at}
FROM users;
CREATE INDEX users_company ON users (company_id);
CREATE INDEX activity_company ON activity (company_id);
CREATE INDEX onboarding_company ON onboarding (company_id);
ANALYZE
"""


def make(url: str, *, users: int, companies: int, whale: int = 0) -> None:
    """Make the tables and rows in an empty database.

    :param url: of SQLite or PostgreSQL.
    :param users: with the keys 1, 2 …, as many in each company.
    :param whale: so many of them in the first company, the others spread over the rest.
    """
    engine = sa.create_engine(url)
    kind = engine.dialect.name
    each = -(-(users - whale) // (companies - (whale > 0)))
    company = (
        f"CASE WHEN i <= {whale} THEN 1 ELSE 2 + (i - 1 - {whale}) / {each} END" if whale else f"1 + (i - 1) / {each}"
    )
    signed_up_at = _day(kind, "2021-01-01", "i % 1500")
    rows = _ROWS.format(
        companies=_numbers(companies),
        users=_numbers(users),
        company=company,
        signed_up_day=_day(kind, "2020-01-01", "i % 2000"),
        renews_on=_day(kind, "2027-01-01", "id % 365"),
        signed_up_at=(
            f"{signed_up_at} || 'T08:30:00+00:00'"
            if kind == "sqlite"
            else f"({signed_up_at} + time '08:30') AT TIME ZONE 'UTC'"
        ),
        finished_at=_day(kind, "2022-01-01", "id % 900"),
    )
    with engine.begin() as connection:
        for statement in f"{_TABLES.format(**_TYPES[kind])};\n{rows}".split(";\n"):
            # No parameters: with any, psycopg2 would take each % for a place to put one.
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    engine.dispose()


def change(url: str, time: int) -> dict[str, int]:
    """Change a hundredth of the companies and of the users, evenly spread: others each time.

    :return: how many of each.
    """
    statements = {
        "companies": f"UPDATE companies SET mrr = mrr + 1 WHERE id % 100 = {time % 100}",
        "users": f"UPDATE activity SET visits = visits + 1 WHERE user_id % 100 = {time % 100}",
    }
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        counts = {
            scope: connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).rowcount
            for scope, sql in statements.items()
        }
    engine.dispose()
    return counts


def _numbers(count: int) -> str:
    return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n"


def _day(kind: str, first: str, days: str) -> str:
    return f"date('{first}', ({days}) || ' days')" if kind == "sqlite" else f"date '{first}' + {days}"
