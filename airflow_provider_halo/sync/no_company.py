"""The company of users that have left theirs: Halo documents no way to unlink a user, so they are linked to this one instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import sqlalchemy as sa

from airflow_provider_halo.contract import COMPANIES_IDENTIFY
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.dry_run import DryRun
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.digest import scope_digest
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.records.fingerprint import TRAITS, Fingerprinter
from airflow_provider_halo.records.payload import Company, payload_of
from airflow_provider_halo.source.database import Sources, ask, engine_of
from airflow_provider_halo.source.sql import unnarrowed
from airflow_provider_halo.sync.changes import ChangeFinder, ChangeOptions

__all__ = ["NoCompany", "refuse_real_company"]


class NoCompany:
    """Sends the company before the first user is linked to it. Once, and again only when its name changes.

    :param finder: compares it with the ledger.
    """

    def __init__(self, company: Company, finder: ChangeFinder) -> None:
        self._company = company
        self._finder = finder
        self._is_settled = False

    @classmethod
    def of(cls, run: Run, plan: LoadedPlan, *, writes: bool) -> NoCompany | None:
        """That of a plan; None where it has none.

        :param writes: whether anything is sent.
        """
        no_company = None if plan.plan.users is None else plan.plan.users.no_company
        if no_company is None:
            return None
        fingerprints = Fingerprinter(COMPANIES_IDENTIFY, {TRAITS: b"users.no_company"})
        options = ChangeOptions(retry_rejected=True, writes=writes)
        finder = ChangeFinder(run, "companies", fingerprints, scope_digest(plan, "companies"), options)
        return cls(Company(company_id=no_company.id, traits={"name": no_company.name}), finder)

    async def before(
        self, chunks: AsyncIterator[list[Change]], delivery: Delivery | DryRun, take: Callable[[Outcome], None]
    ) -> AsyncIterator[list[Change]]:
        """Pass on users; before the first that is linked to it, the company.

        :param take: takes the company's outcome, when it is settled.
        """
        async for chunk in chunks:
            if not self._is_settled and any(user.payload.company_id == self._company.company_id for user in chunk):
                self._is_settled = True
                changes = await asyncio.to_thread(lambda: list(self._finder.find([[payload_of(self._company)]])))
                async with aclosing(Chunks(iter(changes), 1, take)) as companies:
                    await delivery.companies(companies)
            yield chunk


def refuse_real_company(plan: LoadedPlan, sources: Sources) -> None:
    """Look whether the companies query gives a company of the key that stands for none.

    :raises PlanError: when it does.
    :raises SourceError: when the database can't be reached or refuses the query.
    """
    no_company = None if plan.plan.users is None else plan.plan.users.no_company
    query = plan.traits("companies")
    if no_company is None or query is None:
        return
    rows = unnarrowed(query, query.key)
    same = sa.cast(rows.c[query.key], sa.Text) == no_company.id
    if ask(engine_of(query, sources), query, sa.select(sa.literal(1)).select_from(rows).where(same).limit(1)):
        message = (
            f"gives a company with the key {no_company.id!r}, which users.no_company takes for those who have none; give "
            "users.no_company an id that no company has"
        )
        raise PlanError([query.problem(message)])
