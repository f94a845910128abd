"""The guide's five questions: answered from what the sandbox has stored, and held against the product's database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Engine, func, select

from airflow_provider_halo.sample.spread import EXAMPLE_TEAM
from airflow_provider_halo.sample.tables import AI_CREDITS, FORMS, INTEGRATIONS, MEETINGS, SUBMISSIONS, SUBSCRIPTIONS

__all__ = ["EXAMPLE_USER", "answers"]

EXAMPLE_USER: Final = 1

Facts: TypeAlias = "dict[str, Any]"
Stored: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and its answer.

    :param said: the answer in words, from the stored facts alone.
    :param stored: the facts as the sandbox holds them; ``true``: as the database does.
    """

    ask: str
    said: str
    stored: Facts
    true: Facts

    @property
    def right(self) -> bool:
        """Whether what is stored is what is true."""
        return self.stored == self.true


@dataclass(frozen=True, slots=True)
class _Question:
    ask: str
    stored: Callable[[Stored, Stored], Facts]  # of the company and the user, as the sandbox gives them
    true: Callable[[Connection], Facts]
    words: Callable[[Facts], str]

    def answer(self, company: Stored, user: Stored, connection: Connection) -> Answer:
        stored = self.stored(company, user)
        return Answer(self.ask, self.words(stored), stored, self.true(connection))


def answers(company: Stored, user: Stored, engine: Engine) -> list[Answer]:
    """Answer the five questions.

    :param company: the example company as it is stored in the sandbox; ``user``: likewise.
    :param engine: the product's database, for the truth.
    :raises KeyError: when an entry that should answer isn't stored.
    """
    with engine.connect() as connection:
        return [question.answer(company, user, connection) for question in _QUESTIONS]


def _entry(record: Stored, key: str) -> Mapping[str, Any]:
    value: Mapping[str, Any] = record["context"][key]["value"]
    return value


def _submissions_stored(company: Stored, _: Stored) -> Facts:
    metrics = _entry(company, "product_metrics")
    return {"submissions": metrics["submissions"], "forms": metrics["forms"]}


def _submissions_true(connection: Connection) -> Facts:
    total = select(func.sum(SUBMISSIONS.c.total)).where(SUBMISSIONS.c.team_id == EXAMPLE_TEAM)
    forms = select(func.count()).where(FORMS.c.team_id == EXAMPLE_TEAM)
    return {
        "submissions": int(connection.execute(total).scalar_one()),
        "forms": int(connection.execute(forms).scalar_one()),
    }


def _hubspot_stored(company: Stored, _: Stored) -> Facts:
    hubspot = _entry(company, "integrations").get("hubspot", {})
    return {
        "connected": bool(hubspot.get("connected")),
        "broken": hubspot.get("status") == "error",
        "error": hubspot.get("error"),
    }


def _hubspot_true(connection: Connection) -> Facts:
    row = connection.execute(
        select(INTEGRATIONS.c.status, INTEGRATIONS.c.error).where(
            INTEGRATIONS.c.team_id == EXAMPLE_TEAM, INTEGRATIONS.c.service == "hubspot"
        )
    ).one_or_none()
    status, error = row or ("disconnected", None)
    return {"connected": status != "disconnected", "broken": status == "error", "error": error}


def _hubspot_words(facts: Facts) -> str:
    if facts["broken"]:
        return f"HubSpot is connected, but in error: {facts['error']}."
    return "HubSpot is connected and syncing." if facts["connected"] else "HubSpot is not connected."


def _ai_stored(company: Stored, _: Stored) -> Facts:
    feature = _entry(company, "ai_features")
    return {
        "plan": company["traits"]["plan"],
        "usable": feature["has_credits"],
        "remaining": feature["credits_remaining"],
        "monthly": feature["credits_per_month"],
    }


def _ai_true(connection: Connection) -> Facts:
    credit = connection.execute(
        select(AI_CREDITS.c.granted, AI_CREDITS.c.used).where(AI_CREDITS.c.team_id == EXAMPLE_TEAM)
    ).one()
    return {
        "plan": _subscription(connection)["plan"],
        "usable": credit.used < credit.granted,
        "remaining": credit.granted - credit.used,
        "monthly": credit.granted,
    }


def _ai_words(facts: Facts) -> str:
    may = "Yes" if facts["usable"] else "Not this month"
    return (
        f"{may}: {facts['remaining']:,} of {facts['monthly']:,} AI credits remain on the {facts['plan'].title()} plan."
    )


def _start_stored(_: Stored, user: Stored) -> Facts:
    onboarding = _entry(user, "onboarding")
    return {"created_form": onboarding["has_created_form"], "booked_meeting": onboarding["has_booked_meeting"]}


def _start_true(connection: Connection) -> Facts:
    forms = select(func.count()).where(FORMS.c.created_by == EXAMPLE_USER)
    meetings = select(func.count()).where(MEETINGS.c.host_id == EXAMPLE_USER, MEETINGS.c.status != "cancelled")
    return {
        "created_form": connection.execute(forms).scalar_one() > 0,
        "booked_meeting": connection.execute(meetings).scalar_one() > 0,
    }


def _start_words(facts: Facts) -> str:
    forms = "has created forms" if facts["created_form"] else "has not created a form yet"
    meetings = "has booked a meeting" if facts["booked_meeting"] else "has not booked a meeting yet: that comes next"
    return f"This user {forms} and {meetings}."


def _plan_stored(company: Stored, _: Stored) -> Facts:
    billing = _entry(company, "billing")
    return {name: billing[name] for name in ("plan", "billing", "status")}


def _plan_true(connection: Connection) -> Facts:
    return _subscription(connection)


def _plan_words(facts: Facts) -> str:
    return f"{facts['plan'].title()}, {facts['billing']} billing, {facts['status']}."


def _subscription(connection: Connection) -> Facts:
    row = connection.execute(
        select(SUBSCRIPTIONS.c.plan, SUBSCRIPTIONS.c.billing_interval, SUBSCRIPTIONS.c.status).where(
            SUBSCRIPTIONS.c.team_id == EXAMPLE_TEAM
        )
    ).one()
    return {"plan": row.plan, "billing": row.billing_interval, "status": row.status}


_QUESTIONS: Final = (
    _Question(
        "How many submissions have I received?",
        _submissions_stored,
        _submissions_true,
        lambda facts: f"{facts['submissions']:,} in total across {facts['forms']:,} forms.",
    ),
    _Question("Why isn't HubSpot syncing?", _hubspot_stored, _hubspot_true, _hubspot_words),
    _Question("Can I use the AI features?", _ai_stored, _ai_true, _ai_words),
    _Question("How do I get started?", _start_stored, _start_true, _start_words),
    _Question("What plan am I on?", _plan_stored, _plan_true, _plan_words),
)
