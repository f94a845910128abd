"""Reads which companies there are, without sending them: users may be linked only to these."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.links import KnownCompanies
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.source.read import read_keys

__all__ = ["CompanyLookup"]


class CompanyLookup:
    """Adds companies that the companies query gives to those that are known.

    :param companies: what is known of companies.
    """

    def __init__(self, plan: LoadedPlan, selection: Selection, sources: Sources, companies: KnownCompanies) -> None:
        self._plan = plan
        self._selection = selection
        self._sources = sources
        self._companies = companies
        no_company = None if plan.plan.users is None else plan.plan.users.no_company
        # Of the company of those who have left theirs the source knows nothing.
        self._not_looked_up = set() if no_company is None else {no_company.id}

    @property
    def is_of_another_database(self) -> bool:
        """Whether the companies come from another database than the users."""
        users, companies = self._plan.traits("users"), self._plan.traits("companies")
        return users is not None and companies is not None and users.source != companies.source

    async def read(self, batch: Batch) -> None:
        """Read the companies of a batch.

        :raises SourceError: when a database can't be reached or refuses the query.
        """
        if self._plan.traits("companies") is not None:
            await asyncio.to_thread(self._read, batch)

    async def before(self, chunks: AsyncIterator[list[Change]]) -> AsyncIterator[list[Change]]:
        """Pass on users that were named one by one, once their companies have been looked up."""
        async for chunk in chunks:
            company_ids = {user.payload.company_id for user in chunk if user.payload.company_id is not None}
            missing = sorted(company_ids - self._companies.seen - self._not_looked_up)
            if missing and self._plan.traits("companies"):
                batches = await asyncio.to_thread(
                    plan_batches, self._plan, self._selection, self._sources, company_ids=missing
                )
                for batch in batches:
                    await self.read(batch)
            yield chunk

    def _read(self, batch: Batch) -> None:
        for company_id in read_keys("companies", self._plan, batch, self._sources):
            self._companies.add(company_id)
