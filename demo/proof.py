"""What the demo claims, held against the sandbox's records: nobody was marked active, everything is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from airflow_provider_halo.sample.tables import TEAMS, USERS
from demo.rest import SandboxApi

__all__ = ["Snapshot", "changed", "missing", "moved", "snapshot", "started", "users_in"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The sandbox at one moment.

    :param seen: ``{user id: (first_seen, last_seen)}`` of every user.
    :param contents: ``{(scope, id): (traits, context, company)}`` of every record, without times.
    :param automations: automations that were started, by kind.
    """

    seen: dict[str, tuple[str | None, str | None]]
    contents: dict[tuple[str, str], tuple[Any, ...]]
    automations: dict[str, int]


def snapshot(sandbox: SandboxApi) -> Snapshot:
    """Read all records of the sandbox."""
    seen: dict[str, tuple[str | None, str | None]] = {}
    contents: dict[tuple[str, str], tuple[Any, ...]] = {}
    for record in sandbox.records():
        if "user_id" in record:
            seen[record["user_id"]] = (record["first_seen"], record["last_seen"])
            contents["users", record["user_id"]] = (record["traits"], record["context"], record["company_id"])
        else:
            contents["companies", record["company_id"]] = (record["traits"], record["context"], None)
    return Snapshot(seen, contents, _automations(sandbox.counts()))


def moved(before: Snapshot, after: Snapshot) -> list[str]:
    """Users who look active though nobody was there: a first_seen or last_seen that changed, or that a new user has."""
    return sorted(
        user_id
        for user_id, seen in after.seen.items()
        if (seen != before.seen[user_id] if user_id in before.seen else seen[1] is not None)
    )


def started(before: Snapshot, after: Snapshot) -> int:
    """How many automations were started in between."""
    return sum(after.automations.values()) - sum(before.automations.values())


def changed(before: Snapshot, after: Snapshot) -> set[tuple[str, str]]:
    """Records whose traits, context or company changed, and new ones."""
    return {key for key, content in after.contents.items() if before.contents.get(key) != content}


def missing(engine: Engine, after: Snapshot) -> list[str]:
    """What the product's database has and the sandbox doesn't, or the other way round; empty when they agree."""
    companies, company_of = _in_database(engine)
    linked = {key: content[2] for (scope, key), content in after.contents.items() if scope == "users"}
    wrong = {user_id for user_id, company_id in company_of.items() if linked.get(user_id) != company_id}
    return [
        *_compared("companies", companies, after),
        *_compared("users", set(company_of), after),
        *_difference("links", wrong, "not as in the database"),
    ]


def _in_database(engine: Engine) -> tuple[set[str], dict[str, str | None]]:
    """The ids of the companies, and of each user the company to which it must be linked."""
    with engine.connect() as connection:
        companies = {str(team_id) for (team_id,) in connection.execute(select(TEAMS.c.id))}
        # A team that was deleted is no company: its users are linked to none.
        company_of = {
            str(user_id): str(team_id) if str(team_id) in companies else None
            for user_id, team_id in connection.execute(select(USERS.c.id, USERS.c.team_id))
        }
    return companies, company_of


def _compared(scope: str, expected: set[str], after: Snapshot) -> list[str]:
    stored = {key for kind, key in after.contents if kind == scope}
    return [
        *_difference(scope, expected - stored, "not stored"),
        *_difference(scope, stored - expected, "not in the database"),
    ]


def users_in(engine: Engine) -> int:
    """Users in the product's database."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(USERS)).scalar_one())


def _difference(scope: str, keys: Iterable[str], what: str) -> list[str]:
    examples = sorted(keys)
    return [f"{len(examples):,} {scope} are {what}, for example {examples[0]}"] if examples else []


def _automations(counts: Mapping[str, Any]) -> dict[str, int]:
    return dict(counts["automations"])
