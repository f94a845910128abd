"""Records that were made by hand or by one query, sent while they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.contract import COMPANY_RESERVED, USER_RESERVED, USERS_PER_UPDATE
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.outcome import Outcome, as_change
from airflow_provider_halo.delivery.report import Report, Tally, failure_of
from airflow_provider_halo.hooks.ledger import Forgetting
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.plan.model import QueryScope
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.settings import HaloSettings

__all__ = ["Sending", "failure_with_rejects", "send"]

_RESERVED: Final = {
    "users": {f"traits.{name}" for name in USER_RESERVED},
    "companies": {f"traits.{name}" for name in COMPANY_RESERVED},
}


@dataclass
class Sending:
    """What records by hand have come to so far, also where sending them ends in an error.

    :param tally: what became of them.
    :param warnings: what was mended in values, by kind.
    :param stats: how many requests it took.
    :param is_reserved: whether a record was rejected for a trait that Halo reserves, which no other try will change.
    """

    tally: Tally = field(default_factory=Tally)
    warnings: Counter[str] = field(default_factory=Counter)
    stats: Stats = field(default_factory=Stats)
    is_reserved: bool = False

    def emit(self, outcome: Outcome) -> None:
        """Count what became of records."""
        self.tally.emit(outcome)
        if outcome.status == "rejected" and outcome.problem is not None:
            problem = outcome.problem
            self.is_reserved = self.is_reserved or problem.field in _RESERVED.get(problem.scope, ())

    def report(self, *, stopped: str = "") -> Report:
        """The report, made once, at the end.

        :param stopped: why it ended early.
        """
        for kind, count in self.warnings.items():
            self.tally.warn(kind, count)
        stats = self.stats
        return self.tally.report(
            requests=stats.requests,
            retries=stats.retries,
            size=stats.bytes,
            throttled=stats.throttled,
            requests_per_second=stats.requests_per_second,
            stopped=stopped,
        )


def send(
    settings: HaloSettings,
    sending: Sending,
    *,
    companies: Iterable[Payload | Problem] = (),
    users: Iterable[Payload | Problem] = (),
    activity: bool = False,
    update_only: bool = False,
    link_users: bool = True,
    ledger: Ledger | None = None,
    limiter: Limiter | None = None,
) -> None:
    """Send companies, then users, and link each stored user that names a company.

    :param sending: counts what became of the records, problems included, and the requests.
    :param companies: read as they are sent, in a thread of their own; so are ``users``.
    :param activity: send users by users/identify, which marks each of them as active now.
    :param update_only: skip users that Halo doesn't know.
    :param ledger: forgets what is sent, so that the next sync of a plan restores the plan's truth.
    :param limiter: holds the requests per second; None holds them within this process.
    :raises HaloError: when it can't go on.
    """
    forgetting = None if ledger is None else Forgetting(ledger, settings)

    def take(outcome: Outcome) -> None:
        sending.emit(outcome)
        if forgetting is not None:
            forgetting.sent(outcome)

    def changes(scope: QueryScope, records: Iterable[Payload | Problem]) -> Iterator[Change | Outcome]:
        return map(as_change, records) if forgetting is None else forgetting.before(scope, records)

    def decide_link(user: Payload) -> bool:
        return user.company_id is not None

    async def run() -> None:
        async with HaloClient(settings, limiter=limiter, stats=sending.stats) as client:
            delivery = Delivery(client, take, update_only=update_only)
            try:
                async with aclosing(Chunks(changes("companies", companies), USERS_PER_UPDATE, take)) as chunks:
                    await delivery.companies(chunks)
                async with aclosing(Chunks(changes("users", users), USERS_PER_UPDATE, take)) as chunks:
                    store = delivery.identify if activity else delivery.users
                    await store(chunks, decide_link=decide_link if link_users else None)
            finally:
                if forgetting is not None:
                    await forgetting.finish()

    run_blocking(run())


def failure_with_rejects(report: Report, max_rejected: Limit) -> str | None:
    """Why a delivery counts as failed, with the first rejected records; None when it did what it should.

    :param max_rejected: how many records may be rejected.
    """
    failure = failure_of(report, max_rejected=max_rejected, allow_empty=True)
    if failure is None:
        return None
    return "; ".join([failure, *(str(problem) for problem in report.rejects[1:])])
