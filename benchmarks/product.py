"""The product whose data is brought: companies and their users, the same ones each time, and a plan for them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

USERS_PER_COMPANY = 50

PLAN = """\
version: 1
source: product
companies:
  key: company_id
  traits:
    sql: SELECT id AS company_id, name, domain, industry, plan, employee_count, mrr, signed_up_at FROM companies
  context:
    seats:
      label: Seats
      type: metric
      sql: SELECT company_id, bought, used, renews_on FROM seats
users:
  key: user_id
  company: company_id
  traits:
    sql: >-
      SELECT id AS user_id, company_id, name, email, role, locale, is_admin, logins, score, signed_up_at FROM users
  context:
    activity:
      label: Activity
      type: status
      sql: SELECT user_id, company_id, last_page, visits, minutes FROM activity
    onboarding:
      label: Onboarding
      type: status
      sql: SELECT user_id, company_id, step, has_invited, finished_at FROM onboarding
"""

# {0}: how many users; {1}: how many companies; {2}: users of a company.
_SQL = """\
CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT, domain TEXT, industry TEXT, plan TEXT,
  employee_count INTEGER, mrr REAL, signed_up_at TEXT);
CREATE TABLE seats (company_id INTEGER PRIMARY KEY, bought INTEGER, used INTEGER, renews_on TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY, company_id INTEGER, name TEXT, email TEXT, role TEXT, locale TEXT,
  is_admin INTEGER, logins INTEGER, score REAL, signed_up_at TEXT);
CREATE TABLE activity (user_id INTEGER PRIMARY KEY, company_id INTEGER, last_page TEXT, visits INTEGER, minutes INTEGER);
CREATE TABLE onboarding (user_id INTEGER PRIMARY KEY, company_id INTEGER, step TEXT, has_invited INTEGER,
  finished_at TEXT);

INSERT INTO companies
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {1})
SELECT i, 'Company ' || i, 'company' || i || '.example',
  CASE i % 3 WHEN 0 THEN 'Retail' WHEN 1 THEN 'Logistics' ELSE 'Public services' END,
  CASE i % 2 WHEN 0 THEN 'business' ELSE 'starter' END, i % 900, (i * 37 % 9000) / 4.0,
  date('2020-01-01', (i % 2000) || ' days')
FROM n;
INSERT INTO seats SELECT id, 10 + id % 50, id % 10, date('2027-01-01', (id % 365) || ' days') FROM companies;

INSERT INTO users
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0})
SELECT i, 1 + (i - 1) / {2}, 'Given' || (i % 997) || ' Family' || (i % 1009), 'user' || i || '@company.example',
  CASE i % 4 WHEN 0 THEN 'Owner' ELSE 'Member' END, CASE i % 3 WHEN 0 THEN 'de-AT' ELSE 'en-GB' END,
  i % 4 = 0, i * 31 % 500, (i * 17 % 1000) / 8.0, date('2021-01-01', (i % 1500) || ' days') || 'T08:30:00+00:00'
FROM n;
INSERT INTO activity
SELECT id, company_id, '/reports/' || (id % 40), id * 7 % 300, id * 13 % 2000 FROM users;
INSERT INTO onboarding
SELECT id, company_id, CASE id % 5 WHEN 0 THEN 'invited colleagues' ELSE 'done' END, id % 2,
  date('2022-01-01', (id % 900) || ' days')
FROM users;

CREATE INDEX users_company ON users (company_id);
CREATE INDEX activity_company ON activity (company_id);
CREATE INDEX onboarding_company ON onboarding (company_id);
"""


def make(folder: Path, users: int) -> None:
    """Write the database and the plan into a folder."""
    (folder / "halo.yaml").write_text(PLAN, encoding="utf-8")
    engine = open_database(folder)
    sql = _SQL.format(users, -(-users // USERS_PER_COMPANY), USERS_PER_COMPANY)
    with engine.begin() as connection:
        for statement in sql.split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()


def change(folder: Path, time: int) -> dict[str, int]:
    """Change a hundredth of the companies and of the users, evenly spread: others each time.

    :return: how many of each.
    """
    engine = open_database(folder)
    with engine.begin() as connection:
        counts = {
            "companies": connection.exec_driver_sql(
                "UPDATE companies SET mrr = mrr + 1 WHERE id % 100 = ?", (time % 100,)
            ).rowcount,
            "users": connection.exec_driver_sql(
                "UPDATE activity SET visits = visits + 1 WHERE user_id % 100 = ?", (time % 100,)
            ).rowcount,
        }
    engine.dispose()
    return counts


def open_database(folder: Path) -> sa.Engine:
    """The product's database."""
    return sa.create_engine(f"sqlite:///{folder / 'product.db'}")
