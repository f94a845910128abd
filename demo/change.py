"""Lets some time pass in the sample product: changes a few rows, and says which."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from random import Random

from sqlalchemy import Connection, Engine, Table, delete, func, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_halo.sample import tables
from airflow_provider_halo.sample.data import SampleError, database_error
from airflow_provider_halo.sample.generate import AS_OF, MONTHS, generate_user
from airflow_provider_halo.sample.spread import EXAMPLE_TEAM
from airflow_provider_halo.sample.words import SERVICES

__all__ = ["break_integration", "change_sample"]

NEW_SUBMISSIONS = 153  # 1,847 become 2,000


def change_sample(engine: Engine) -> list[str]:
    """A week passes: HubSpot is repaired, forms fill up, a user and a team sign up, an integration goes.

    Every call changes things further, in the same way on every database.

    :return: what changed, a sentence each.
    :raises SampleError: when the sample's tables aren't there, or the database refuses.
    """
    try:
        with _begin(engine) as connection:
            number = _next_change(connection)
            return [
                _repair(connection, "hubspot"),
                _grow(connection, NEW_SUBMISSIONS),
                _sign_up(connection, number),
                _new_team(connection, number),
                _disconnect(connection, "slack"),
            ]
    except SQLAlchemyError as error:
        raise database_error(engine, error) from None


def break_integration(engine: Engine, service: str = "google_calendar") -> str:
    """An integration of the example team fails, as it does in the middle of a week: the guide's event.

    :return: what changed.
    :raises SampleError: when the sample's tables aren't there, or the database refuses.
    """
    failure = dict(SERVICES)[service]
    try:
        with _begin(engine) as connection:
            connection.execute(
                update(tables.INTEGRATIONS)
                .where(tables.INTEGRATIONS.c.team_id == EXAMPLE_TEAM, tables.INTEGRATIONS.c.service == service)
                .values(status="error", error=failure, changed_at=AS_OF + timedelta(days=9))
            )
            return f"{service} of team {EXAMPLE_TEAM} fails: {failure}"
    except SQLAlchemyError as error:
        raise database_error(engine, error) from None


def _begin(engine: Engine) -> AbstractContextManager[Connection]:
    if not inspect(engine).has_table(tables.SAMPLE_INFO.name):
        raise SampleError(
            f"The database {engine.url.database!r} does not contain the sample; write it first: "
            "halo sample --url URL --companies 200"
        )
    return engine.begin()


def _next_change(connection: Connection) -> int:
    number = int(connection.execute(select(tables.SAMPLE_INFO.c.changes)).scalar_one()) + 1
    connection.execute(update(tables.SAMPLE_INFO).values(changes=number))
    return number


def _repair(connection: Connection, service: str) -> str:
    connection.execute(
        update(tables.INTEGRATIONS)
        .where(tables.INTEGRATIONS.c.team_id == EXAMPLE_TEAM, tables.INTEGRATIONS.c.service == service)
        .values(status="connected", error=None, changed_at=AS_OF + timedelta(days=7))
    )
    return f"{service} of team {EXAMPLE_TEAM} works again"


def _grow(connection: Connection, more: int) -> str:
    form = connection.execute(
        select(func.min(tables.FORMS.c.id)).where(tables.FORMS.c.team_id == EXAMPLE_TEAM)
    ).scalar_one()
    connection.execute(
        update(tables.SUBMISSIONS)
        .where(tables.SUBMISSIONS.c.form_id == form, tables.SUBMISSIONS.c.month == MONTHS[-1])
        .values(total=tables.SUBMISSIONS.c.total + more)
    )
    total = connection.execute(
        select(func.sum(tables.SUBMISSIONS.c.total)).where(tables.SUBMISSIONS.c.team_id == EXAMPLE_TEAM)
    ).scalar_one()
    return f"team {EXAMPLE_TEAM} received {more} more submissions: {int(total):,} now"


def _sign_up(connection: Connection, number: int) -> str:
    user_id = _user(connection, number, EXAMPLE_TEAM, "acme.example", "member")
    return f"user {user_id} signed up in team {EXAMPLE_TEAM}"


def _new_team(connection: Connection, number: int) -> str:
    team_id = _next_id(connection, tables.TEAMS)
    created = AS_OF + timedelta(days=5)
    domain = f"team-{team_id}.example"
    connection.execute(
        insert(tables.TEAMS),
        [{"id": team_id, "name": "Frisch & Neu", "domain": domain, "industry": "Retail", "created_at": created}],
    )
    connection.execute(
        insert(tables.AI_CREDITS), [{"team_id": team_id, "granted": 20, "used": 0, "resets_on": MONTHS[-1]}]
    )
    user_id = _user(connection, number, team_id, domain, "owner")
    return f"team {team_id} was created, with user {user_id} as its owner"


def _disconnect(connection: Connection, service: str) -> str:
    connection.execute(
        delete(tables.INTEGRATIONS).where(
            tables.INTEGRATIONS.c.team_id == EXAMPLE_TEAM, tables.INTEGRATIONS.c.service == service
        )
    )
    return f"{service} was removed from team {EXAMPLE_TEAM}"


def _user(connection: Connection, number: int, team_id: int, domain: str, role: str) -> int:
    user_id = _next_id(connection, tables.USERS)
    created = AS_OF + timedelta(days=5, hours=number)
    row = generate_user(
        Random(f"change {number} {role}"), user_id, team_id, domain=domain, role=role, created_at=created
    )
    connection.execute(insert(tables.USERS), [row])
    connection.execute(
        insert(tables.ONBOARDING_EVENTS), [{"user_id": user_id, "event": "signed_up", "happened_at": created}]
    )
    return user_id


def _next_id(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.max(table.c.id))).scalar_one()) + 1
