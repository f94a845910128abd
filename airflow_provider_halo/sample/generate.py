"""The sample's rows, made from a seed alone: the same on any machine, for any database. No input, no output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias

from airflow_provider_halo.sample import words
from airflow_provider_halo.sample.spread import DELETED_TEAM, EXAMPLE_TEAM, TeamSizes

__all__ = ["AS_OF", "MONTHS", "Row", "TeamRows", "generate_rows", "generate_user"]

Row: TypeAlias = dict[str, Any]

AS_OF: Final = datetime(2026, 6, 1, 6, 0, 0)  # noqa: DTZ001 (the sample's tables hold naive UTC, as most products' do)
MONTHS: Final = (date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1))

EXAMPLE_SUBMISSIONS: Final = (412, 305, 287, 214, 176, 143, 121, 88, 56, 31, 14, 0)  # 12 forms, 1,847 in all

_PRICES: Final = {"starter": Decimal("29.00"), "business": Decimal("99.50"), "enterprise": Decimal("749.00")}
_CREDITS: Final = {"free": 20, "starter": 100, "business": 500, "enterprise": 5_000}
_RENEWALS: Final = ("up_for_renewal", "in_progress", "likely_to_renew", "set_to_cancel", "at_risk", "renewed", None)


@dataclass(slots=True)
class Ids:
    """The next free id of every table whose ids are counted up."""

    user: int = 1
    form: int = 1
    page: int = 1
    meeting: int = 1
    integration: int = 1

    def take(self, name: str) -> int:
        """Give out the next id of a table."""
        next_id: int = getattr(self, name)
        setattr(self, name, next_id + 1)
        return next_id


@dataclass(slots=True)
class TeamRows:
    """Everything that belongs to one team: its rows by table name, in the order of their ids."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> Row:
        """Append one row to a table."""
        self.rows.setdefault(table, []).append(row)
        return row


def generate_rows(spread: TeamSizes, seed: int) -> Iterator[TeamRows]:
    """Generate the rows of every team, one team after the other, then those of the users without a team."""
    ids = Ids()
    for team_id, size in spread.teams.items():
        random = Random(f"{seed} team {team_id}")  # a stream of its own: no team's data hangs on another's
        if team_id == DELETED_TEAM:
            team = TeamRows()
            _members(team, random, ids, team_id, domain="gone.example", size=size, since=AS_OF - timedelta(days=900))
            yield team
        else:
            yield _example(random, ids, size) if team_id == EXAMPLE_TEAM else _team(random, ids, team_id, size)
    for start in range(0, spread.without_team, 500):
        team = TeamRows()
        random = Random(f"{seed} without team {start}")
        size = min(500, spread.without_team - start)
        _members(team, random, ids, None, domain="mail.example", size=size, since=AS_OF - timedelta(days=400))
        yield team


def generate_user(
    random: Random, user_id: int, team_id: int | None, *, domain: str, role: str, created_at: datetime
) -> Row:
    """One user's row, with a name from all over the world."""
    (first, first_mail), (last, last_mail) = _pick(random, words.FIRST_NAMES), _pick(random, words.LAST_NAMES)
    return {
        "id": user_id,
        "team_id": team_id,
        "name": f"{first} {last}",
        "email": f"{first_mail}.{last_mail}.{user_id}@{domain}",
        "role": role,
        "created_at": created_at,
    }


def _example(random: Random, ids: Ids, size: int) -> TeamRows:
    """The guide's example: Business, yearly, 1,847 submissions over 12 forms, and HubSpot's token has expired."""
    team = TeamRows()
    created = AS_OF - timedelta(days=420)
    team.add(
        "teams", id=EXAMPLE_TEAM, name="Acme Forms & Co", domain="acme.example", industry="Software", created_at=created
    )
    _subscribe(
        team,
        EXAMPLE_TEAM,
        plan="business",
        status="active",
        interval="annual",
        seats=25,
        renews=date(2027, 4, 7),
        renewal="likely_to_renew",
    )
    team.add("ai_credits", team_id=EXAMPLE_TEAM, granted=500, used=138, resets_on=date(2026, 7, 1))
    people = _members(team, random, ids, EXAMPLE_TEAM, domain="acme.example", size=size, since=created)
    for number, submissions in enumerate(EXAMPLE_SUBMISSIONS):
        form = team.add(
            "forms",
            id=ids.take("form"),
            team_id=EXAMPLE_TEAM,
            created_by=people[0]["id"] if people and number < 5 else people[-1]["id"] if people else None,
            title=words.FORM_TITLES[number],
            is_published=submissions > 0,
            created_at=created + timedelta(days=20 * number, hours=number),
        )
        _submissions(team, form, submissions)
    page = team.add("scheduling_pages", id=ids.take("page"), team_id=EXAMPLE_TEAM, slug="intro-call", is_active=True)
    for number in range(3 if len(people) > 1 else 0):  # booked with a colleague: the example user hasn't had one yet
        _meeting(
            team,
            ids,
            page,
            host=people[-1]["id"],
            status="held" if number else "upcoming",
            starts=AS_OF - timedelta(days=number),
        )
    for service, status, days in (
        ("google_calendar", "connected", 200),
        ("hubspot", "error", 3),
        ("slack", "connected", 90),
        ("zapier", "disconnected", 40),
    ):
        _integration(team, ids, EXAMPLE_TEAM, service, status=status, changed=AS_OF - timedelta(days=days))
    _milestones(team, people)
    return team


def _team(random: Random, ids: Ids, team_id: int, size: int) -> TeamRows:
    team = TeamRows()
    name = f"{_pick(random, words.TEAM_HEADS)} {_pick(random, words.TEAM_TAILS)}"
    domain = f"team-{team_id}.example"
    created = AS_OF - timedelta(minutes=int(random.random() * 1_500_000) + 2_000)
    team.add(
        "teams", id=team_id, name=name, domain=domain, industry=_pick(random, words.INDUSTRIES), created_at=created
    )
    plan = _pick(random, ("free", "free", "starter", "starter", "business", "enterprise"))
    if plan != "free":
        status = _pick(random, ("active", "active", "active", "trialing", "past_due"))
        interval = _pick(random, ("monthly", "annual"))
        renews = (AS_OF + timedelta(days=int(random.random() * 360) + 1)).date()
        _subscribe(
            team,
            team_id,
            plan=plan,
            status=status,
            interval=interval,
            seats=size + 5,
            renews=renews,
            renewal=_pick(random, _RENEWALS),
        )
    granted = _CREDITS[plan]
    used = int(granted * min(1.0, random.random() * 1.2))
    team.add("ai_credits", team_id=team_id, granted=granted, used=used, resets_on=date(2026, 7, 1))
    people = _members(team, random, ids, team_id, domain=domain, size=size, since=created)
    for _ in range(_mostly_small(random, 14)):
        form = team.add(
            "forms",
            id=ids.take("form"),
            team_id=team_id,
            created_by=_pick(random, people[:6])["id"] if people else None,
            title=_pick(random, words.FORM_TITLES),
            is_published=random.random() < 0.8,
            created_at=created + timedelta(minutes=_mostly_small(random, 500_000)),
        )
        _submissions(team, form, _mostly_small(random, 900) if form["is_published"] else 0)
    for number in range(_mostly_small(random, 4)):
        page = team.add(
            "scheduling_pages",
            id=ids.take("page"),
            team_id=team_id,
            slug=f"call-{number + 1}",
            is_active=random.random() < 0.9,
        )
        for _ in range(_mostly_small(random, 8)):
            host = _pick(random, people[:6])["id"] if people else None
            status = _pick(random, ("held", "held", "upcoming", "cancelled"))
            starts = AS_OF - timedelta(hours=int(random.random() * 2_000) - 300)
            _meeting(team, ids, page, host=host, status=status, starts=starts)
    for service, _error in words.SERVICES:
        if random.random() < 0.28:
            status = _pick(random, ("connected", "connected", "connected", "error", "disconnected"))
            _integration(
                team,
                ids,
                team_id,
                service,
                status=status,
                changed=AS_OF - timedelta(hours=_mostly_small(random, 9_000)),
            )
    _milestones(team, people)
    return team


def _members(
    team: TeamRows, random: Random, ids: Ids, team_id: int | None, *, domain: str, size: int, since: datetime
) -> list[Row]:
    people: list[Row] = []
    minutes = (AS_OF - since) // timedelta(minutes=1)
    for number in range(size):
        role = (
            "owner" if number == 0 and team_id is not None else _pick(random, ("member", "member", "member", "admin"))
        )
        created = since + timedelta(minutes=int(random.random() * minutes) if number else 0)
        people.append(generate_user(random, ids.take("user"), team_id, domain=domain, role=role, created_at=created))
    team.rows.setdefault("users", []).extend(people)
    for person in people:
        team.add("onboarding_events", user_id=person["id"], event="signed_up", happened_at=person["created_at"])
    return people


def _milestones(team: TeamRows, people: list[Row]) -> None:
    """What each person has reached follows from what the team's tables say, so that no two answers disagree."""
    reached: dict[tuple[int, str], datetime] = {}
    for user_id, event, moment in (*_form_milestones(team), *_meeting_milestones(team)):
        reached.setdefault((user_id, event), moment)
    if people:
        owner = people[0]["id"]
        if len(people) > 1:
            reached[owner, "teammate_invited"] = people[1]["created_at"]
        if team.rows.get("integrations"):
            reached[owner, "integration_connected"] = team.rows["integrations"][0]["changed_at"]
    for (user_id, event), moment in reached.items():
        team.add("onboarding_events", user_id=user_id, event=event, happened_at=moment)


def _form_milestones(team: TeamRows) -> Iterator[tuple[int, str, datetime]]:
    for form in team.rows.get("forms", ()):
        if form["created_by"] is not None:
            yield form["created_by"], "form_created", form["created_at"]
            if form["is_published"]:
                yield form["created_by"], "form_published", form["created_at"]


def _meeting_milestones(team: TeamRows) -> Iterator[tuple[int, str, datetime]]:
    for meeting in team.rows.get("meetings", ()):
        if meeting["host_id"] is not None and meeting["status"] != "cancelled":
            yield meeting["host_id"], "meeting_booked", meeting["starts_at"]


def _subscribe(
    team: TeamRows,
    team_id: int,
    *,
    plan: str,
    status: str,
    interval: str,
    seats: int,
    renews: date,
    renewal: str | None,
) -> None:
    team.add(
        "subscriptions",
        team_id=team_id,
        plan=plan,
        status=status,
        billing_interval=interval,
        seats=seats,
        mrr=_PRICES[plan],
        renews_on=renews,
        renewal_status=renewal,
    )


def _submissions(team: TeamRows, form: Row, total: int) -> None:
    """Spread a form's submissions over the months; the last month takes what doesn't divide."""
    remaining = total
    for number, month in enumerate(MONTHS):
        part = remaining if number == len(MONTHS) - 1 else total // len(MONTHS)
        remaining -= part
        if part:
            team.add("submissions", form_id=form["id"], month=month, team_id=form["team_id"], total=part)


def _meeting(team: TeamRows, ids: Ids, page: Row, *, host: int | None, status: str, starts: datetime) -> None:
    team.add(
        "meetings",
        id=ids.take("meeting"),
        team_id=page["team_id"],
        page_id=page["id"],
        host_id=host,
        status=status,
        starts_at=starts,
    )


def _integration(team: TeamRows, ids: Ids, team_id: int, service: str, *, status: str, changed: datetime) -> None:
    error = dict(words.SERVICES)[service] if status == "error" else None
    team.add(
        "integrations",
        id=ids.take("integration"),
        team_id=team_id,
        service=service,
        status=status,
        error=error,
        changed_at=changed,
    )


def _pick(random: Random, choices: Any) -> Any:
    # random() alone is promised to give the same numbers in every Python; choice() isn't.
    return choices[int(random.random() * len(choices))]


def _mostly_small(random: Random, most: int) -> int:
    """A number from 0 to ``most``, more often small."""
    return int(most * random.random() * random.random())
