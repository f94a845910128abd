"""Fills pretix's tables with organisers and their people, and lets weeks go by. The same every time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

FIRST_PERSON = 1_001  # pretix's own migrations make an administrator, with the number 1
START = datetime(2026, 1, 5, 8, 30, tzinfo=timezone.utc)
ORGANISERS, PEOPLE, IN_SEVERAL, IN_NONE = 150, 3_000, 207, 25
SERVICES = ("HubSpot", "Mailchimp", "Slack", "Zapier")

_TABLES = (
    "pretixbase_organizer",
    "pretixbase_user",
    "pretixbase_team",
    "pretixbase_team_members",
    "pretixbase_event",
    "pretixbase_saleschannel",
    "pretixbase_order",
    "pretixapi_webhook",
    "pretixapi_webhookcall",
)


class Organisers:
    """pretix's database in use. Each method is something that happens in a week of such a product."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._random = random.Random(20260105)
        metadata = sa.MetaData()
        metadata.reflect(engine, only=_TABLES, resolve_fks=False)
        self._tables = metadata.tables
        self._next_ids = dict.fromkeys(_TABLES, 1)

    def fill(self) -> None:
        """The product after some years."""
        people = list(range(FIRST_PERSON, FIRST_PERSON + PEOPLE))
        self._insert("pretixbase_organizer", (self._organiser(number) for number in range(1, ORGANISERS + 1)))
        self._insert("pretixbase_user", map(self._person, people))
        # Two teams each: who is in both is in one organisation all the same.
        self._insert(
            "pretixbase_team",
            (
                {"organizer_id": organiser, "name": name, "all_organizer_permissions": name == "Admins"}
                for organiser in range(1, ORGANISERS + 1)
                for name in ("Admins", "Box office")
            ),
        )
        members: set[tuple[int, int]] = set()
        for at, person in enumerate(people[: PEOPLE - IN_NONE]):
            homes = 2 + person % 2 if at < IN_SEVERAL else 1
            for organiser in self._random.sample(range(1, ORGANISERS + 1), homes):
                teams = (_team(organiser, admins=True), _team(organiser, admins=False))
                chosen = teams if self._random.random() < 0.1 else (self._random.choice(teams),)
                members.update((team, person) for team in chosen)
        self._insert("pretixbase_team_members", ({"team_id": t, "user_id": p} for t, p in sorted(members)))
        for organiser in range(1, ORGANISERS + 1):
            self._add_events(organiser, self._random.randrange(5))
            self._add_webhooks(organiser, self._random.choices(SERVICES, k=self._random.randrange(4)))

    def weeks_pass(self) -> None:
        """People leave, move, arrive; an organiser closes down; integrations break and are mended; tickets are sold."""
        leaving_all = range(1_300, 1_330)
        leaving_one = range(1_001, 1_021)
        with self._engine.begin() as connection:
            members, teams = self._tables["pretixbase_team_members"], self._tables["pretixbase_team"]
            connection.execute(members.delete().where(members.c.user_id.in_(leaving_all)))
            for person in leaving_one:
                rows = connection.execute(
                    sa.select(members.c.id, teams.c.organizer_id)
                    .join(teams, teams.c.id == members.c.team_id)
                    .where(members.c.user_id == person)
                    .order_by(members.c.id)
                ).all()
                left = rows[0].organizer_id
                connection.execute(members.delete().where(members.c.id.in_([i for i, o in rows if o == left])))
            webhooks, calls = self._tables["pretixapi_webhook"], self._tables["pretixapi_webhookcall"]
            connection.execute(webhooks.update().where(webhooks.c.id % 7 == 0).values(enabled=False))
            connection.execute(calls.update().where(calls.c.id % 5 == 0).values(success=False, return_code=502))
            users = self._tables["pretixbase_user"]
            connection.execute(
                users.update().where(users.c.id % 50 == 0).values(last_login=START + timedelta(days=90, minutes=7))
            )
        self.delete_people(range(1_400, 1_410))
        self.close_organisers([17, 90])
        arriving = [self._person(number) for number in range(FIRST_PERSON + PEOPLE, FIRST_PERSON + PEOPLE + 40)]
        self._insert("pretixbase_user", arriving)
        self._insert(
            "pretixbase_team_members",
            ({"team_id": _team(100 + at % 40, admins=False), "user_id": p["id"]} for at, p in enumerate(arriving)),
        )
        for organiser in (3, 5, 8, 13, 21):
            self._add_events(organiser, 1)

    def delete_people(self, people: Iterable[int]) -> None:
        """Accounts are deleted, with their memberships."""
        numbers = list(people)
        self._delete("pretixbase_team_members", user_id=numbers)
        self._delete("pretixbase_user", id=numbers)

    def close_organisers(self, organisers: list[int]) -> None:
        """Organisers close down, with all they had but their people's accounts."""
        events = self._ids("pretixbase_event", organizer_id=organisers)
        webhooks = self._ids("pretixapi_webhook", organizer_id=organisers)
        self._delete("pretixbase_order", event_id=events)
        self._delete("pretixbase_saleschannel", organizer_id=organisers)
        self._delete("pretixbase_event", id=events)
        self._delete("pretixapi_webhookcall", webhook_id=webhooks)
        self._delete("pretixapi_webhook", id=webhooks)
        teams = self._ids("pretixbase_team", organizer_id=organisers)
        self._delete("pretixbase_team_members", team_id=teams)
        self._delete("pretixbase_team", id=teams)
        self._delete("pretixbase_organizer", id=organisers)

    def rejoin(self, person: int, organiser: int) -> None:
        """Somebody who had left comes back, to another organiser."""
        self._insert("pretixbase_team_members", [{"team_id": _team(organiser, admins=False), "user_id": person}])

    def _organiser(self, number: int) -> dict[str, Any]:
        name = f"Bühne {number}" if number % 9 == 0 else f"Organiser {number}"
        return {"id": number, "name": name, "slug": f"organiser-{number}"}

    def _person(self, number: int) -> dict[str, Any]:
        return {
            "id": number,
            "email": f"person{number}@example.com" if number % 40 else None,
            "fullname": f"Persón {number}" if number % 11 else None,
            "is_active": True,
            "date_joined": START - timedelta(days=number % 900, seconds=number),
            "last_login": START + timedelta(hours=number) if number % 3 else None,
            "locale": ("en", "de", "fr")[number % 3],
            "auth_backend_identifier": None,
            "session_token": f"token-{number}",
        }

    def _add_events(self, organiser: int, count: int) -> None:
        channel = self._insert(
            "pretixbase_saleschannel", [{"organizer_id": organiser, "identifier": f"web{self._next('channel')}"}]
        )[0]
        for _ in range(count):
            number = self._next("event")
            event = self._insert(
                "pretixbase_event",
                [
                    {
                        "organizer_id": organiser,
                        "slug": f"e{number}",
                        "name": f'{{"en": "Event {number}"}}',
                        "currency": "EUR",
                        "date_from": START + timedelta(days=number % 300),
                        "live": self._random.random() < 0.7,
                    }
                ],
            )[0]
            self._insert(
                "pretixbase_order",
                (self._order(event, organiser, channel) for _ in range(self._random.randrange(12))),
            )

    def _order(self, event: int, organiser: int, channel: int) -> dict[str, Any]:
        return {
            "event_id": event,
            "organizer_id": organiser,
            "sales_channel_id": channel,
            "code": f"{self._next('order'):05d}",
            "status": self._random.choice("ppppnec"),
            "datetime": START + timedelta(minutes=self._random.randrange(100_000)),
            "total": Decimal(self._random.randrange(500, 25_000)) / 100,
        }

    def _add_webhooks(self, organiser: int, services: Iterable[str]) -> None:
        for service in services:
            webhook = self._insert(
                "pretixapi_webhook",
                [
                    {
                        "organizer_id": organiser,
                        "comment": service,
                        "enabled": self._random.random() < 0.8,
                        "target_url": f"https://{service.casefold()}.example/{organiser}",
                    }
                ],
            )[0]
            failed = self._random.random() < 0.3
            self._insert(
                "pretixapi_webhookcall",
                [{"webhook_id": webhook, "success": not failed, "return_code": 500 if failed else 200}],
            )

    def _next(self, name: str) -> int:
        number = self._next_ids.get(name, 1)
        self._next_ids[name] = number + 1
        return number

    def _insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Insert rows, each with a value for every column that must have one. Gives their ids."""
        columns = self._tables[table].columns
        needed = {column.name: _filler(column) for column in columns if not column.nullable}
        complete = []
        for row in rows:
            number = row.get("id") or self._next(table)
            self._next_ids[table] = max(self._next_ids[table], number + 1)
            complete.append({**needed, **row, "id": number})
        if complete:
            with self._engine.begin() as connection:
                connection.execute(self._tables[table].insert(), complete)
        return [row["id"] for row in complete]

    def _ids(self, table: str, **conditions: list[int]) -> list[int]:
        chosen = self._tables[table]
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(chosen.c.id).where(*_conditions(chosen, conditions))))

    def _delete(self, table: str, **conditions: list[int]) -> None:
        chosen = self._tables[table]
        with self._engine.begin() as connection:
            connection.execute(chosen.delete().where(*_conditions(chosen, conditions)))


def _conditions(table: sa.Table, conditions: Mapping[str, list[int]]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name].in_(values) for name, values in conditions.items()]


def _team(organiser: int, *, admins: bool) -> int:
    return 2 * organiser - admins


def _filler(column: sa.Column[Any]) -> Any:
    """A value that says nothing, for a column that must have one."""
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, (sa.Integer, sa.Numeric)):
        return 0
    if isinstance(kind, (sa.DateTime, sa.Date)):
        return START
    return {} if isinstance(kind, sa.JSON) else "{}"  # SQLite keeps JSON in columns of text
