"""The tables of the sample product (forms and scheduling), for any database that SQLAlchemy reaches."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Date, DateTime, Integer, MetaData, Numeric, String, Table
from sqlalchemy.schema import SchemaItem

__all__ = [
    "AI_CREDITS",
    "FORMS",
    "INTEGRATIONS",
    "MEETINGS",
    "METADATA",
    "ONBOARDING_EVENTS",
    "SAMPLE_INFO",
    "SUBMISSIONS",
    "SUBSCRIPTIONS",
    "TEAMS",
    "USERS",
]

METADATA: Final = MetaData()


def _table(name: str, *columns: SchemaItem) -> Table:
    # MySQL's and MariaDB's default charset depends on the server's age; names like 渡辺 need all of Unicode.
    return Table(name, METADATA, *columns, mysql_charset="utf8mb4")


def _id(name: str = "id") -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=False)


# No foreign keys, as in many a grown product: users whose team is gone are part of what a sync must cope with.
TEAMS: Final = _table(
    "teams",
    _id(),
    Column("name", String(120), nullable=False),
    Column("domain", String(120), nullable=False),
    Column("industry", String(60)),
    Column("created_at", DateTime, nullable=False),
)
USERS: Final = _table(
    "users",
    _id(),
    Column("team_id", Integer, index=True),
    Column("name", String(120), nullable=False),
    Column("email", String(160), nullable=False),
    Column("role", String(30), nullable=False),
    Column("created_at", DateTime, nullable=False),
)
SUBSCRIPTIONS: Final = _table(
    "subscriptions",  # a team on the free plan has no row here
    _id("team_id"),
    Column("plan", String(30), nullable=False),
    Column("status", String(30), nullable=False),
    Column("billing_interval", String(30), nullable=False),
    Column("seats", Integer, nullable=False),
    Column("mrr", Numeric(10, 2), nullable=False),
    Column("renews_on", Date, nullable=False),
    Column("renewal_status", String(40)),
)
AI_CREDITS: Final = _table(
    "ai_credits",
    _id("team_id"),
    Column("granted", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("resets_on", Date, nullable=False),
)
FORMS: Final = _table(
    "forms",
    _id(),
    Column("team_id", Integer, nullable=False, index=True),
    Column("created_by", Integer, index=True),
    Column("title", String(120), nullable=False),
    Column("is_published", Boolean, nullable=False),
    Column("created_at", DateTime, nullable=False),
)
SUBMISSIONS: Final = _table(
    "submissions",  # counted per form and month: a row per submission would only make the sample slow
    Column("form_id", Integer, primary_key=True, autoincrement=False),
    Column("month", Date, primary_key=True),
    Column("team_id", Integer, nullable=False, index=True),
    Column("total", Integer, nullable=False),
)
SCHEDULING_PAGES: Final = _table(
    "scheduling_pages",
    _id(),
    Column("team_id", Integer, nullable=False, index=True),
    Column("slug", String(80), nullable=False),
    Column("is_active", Boolean, nullable=False),
)
MEETINGS: Final = _table(
    "meetings",
    _id(),
    Column("team_id", Integer, nullable=False, index=True),
    Column("page_id", Integer, nullable=False),
    Column("host_id", Integer, index=True),
    Column("status", String(20), nullable=False),
    Column("starts_at", DateTime, nullable=False),
)
INTEGRATIONS: Final = _table(
    "integrations",
    _id(),
    Column("team_id", Integer, nullable=False, index=True),
    Column("service", String(40), nullable=False),
    Column("status", String(20), nullable=False),
    Column("error", String(200)),
    Column("changed_at", DateTime, nullable=False),
)
ONBOARDING_EVENTS: Final = _table(
    "onboarding_events",
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("event", String(40), primary_key=True),
    Column("happened_at", DateTime, nullable=False),
)
# What was generated. By this table a later run knows that the others are the sample's and may be replaced; databases
# that were filled by an earlier release have it under this name.
SAMPLE_INFO: Final = _table(
    "halo_demo_info",
    Column("seed", Integer, primary_key=True, autoincrement=False),
    Column("companies", Integer, nullable=False),
    Column("users", Integer, nullable=False),
    Column("changes", Integer, nullable=False),
)
