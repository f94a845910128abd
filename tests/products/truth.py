"""What Halo must hold, taken from pretix's database by SQL of its own and put together in Python: no plan, no package."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

Record = dict[str, Any]


def companies(engine: sa.Engine) -> dict[str, Record]:
    """Each organiser's traits and context entries' values, by key."""
    people: dict[int, set[int]] = defaultdict(set)
    for organiser, person in _rows(engine, _MEMBERS):
        people[organiser].add(person)
    events: dict[int, list[bool]] = defaultdict(list)
    for organiser, is_live in _rows(engine, "SELECT organizer_id, live FROM pretixbase_event"):
        events[organiser].append(bool(is_live))
    paid: dict[int, list[float]] = defaultdict(list)
    for organiser, total in _rows(engine, "SELECT organizer_id, total FROM pretixbase_order WHERE status = 'p'"):
        paid[organiser].append(float(total))
    webhooks = _webhooks(engine)
    return {
        str(number): {
            "traits": {"name": name, "account_status": "active", "people": len(people[number])},
            "sales": {
                "events": len(events[number]),
                "live_events": sum(events[number]),
                "paid_orders": len(paid[number]),
                "revenue": round(sum(paid[number]), 2),
            },
            "webhooks": webhooks[number],
        }
        for number, name in _rows(engine, "SELECT id, name FROM pretixbase_organizer")
    }


def users(engine: sa.Engine) -> dict[str, Record]:
    """Each person's traits, organisers and home organiser, by key."""
    names = dict(_rows(engine, "SELECT id, name FROM pretixbase_organizer"))
    teams: dict[int, dict[int, list[tuple[bool, int]]]] = defaultdict(lambda: defaultdict(list))
    statement = (
        "SELECT m.user_id, t.organizer_id, t.all_organizer_permissions, m.id "
        "FROM pretixbase_team_members m, pretixbase_team t WHERE m.team_id = t.id"
    )
    for person, organiser, is_admin, number in _rows(engine, statement):
        teams[person][organiser].append((bool(is_admin), number))
    people = "SELECT id, fullname, email, locale, date_joined, last_login FROM pretixbase_user"
    result = {}
    for person, name, email, locale, joined, login in _rows(engine, people):
        mine = teams[person]
        result[str(person)] = {
            "traits": {
                "name": name,
                "email": email,
                "locale": locale,
                "signed_up_at": _moment(joined),
                "last_login_at": _moment(login),
                "account_status": "active",
            },
            "organisers": sorted(
                (names[organiser], "admin" if any(is_admin for is_admin, _ in rows) else "member")
                for organiser, rows in mine.items()
            ),
            "home": _home(mine),
        }
    return result


def _home(teams: dict[int, list[tuple[bool, int]]]) -> str | None:
    """Where somebody is an administrator, else where they were first."""
    ranks = [
        (not any(is_admin for is_admin, _ in rows), min(number for _, number in rows), organiser)
        for organiser, rows in teams.items()
    ]
    return str(min(ranks)[2]) if ranks else None


def _webhooks(engine: sa.Engine) -> dict[int, list[tuple[str, str]]]:
    """Of each organiser the states of its webhooks, as sorted pairs of service and state."""
    calls = {
        number: (bool(succeeded), code)
        for number, succeeded, code in _rows(
            engine, "SELECT webhook_id, success, return_code FROM pretixapi_webhookcall"
        )
    }
    result: dict[int, list[tuple[str, str]]] = defaultdict(list)
    statement = "SELECT id, organizer_id, comment, enabled FROM pretixapi_webhook"
    for number, organiser, service, is_enabled in _rows(engine, statement):
        succeeded, code = calls[number]
        state = "off" if not is_enabled else "active" if succeeded else f"HTTP {code}"
        result[organiser].append((service, state))
    for states in result.values():
        states.sort()
    return result


def _moment(value: datetime | str | None) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def _rows(engine: sa.Engine, statement: str) -> Iterable[Any]:
    with engine.connect() as connection:
        return connection.exec_driver_sql(statement).fetchall()


_MEMBERS = "SELECT t.organizer_id, m.user_id FROM pretixbase_team t, pretixbase_team_members m WHERE m.team_id = t.id"
