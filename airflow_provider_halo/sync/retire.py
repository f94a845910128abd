"""Empties in Halo what was sent and the plan no longer has: it stays there, and the AI goes on reading it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

import sqlalchemy as sa

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.outcome import Outcome, outcome_of
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Entry
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.ledger.retired import Retired
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.records.fingerprint import CONTEXT, TRAITS, without
from airflow_provider_halo.records.payload import Company, ContextEntry, Payload, User, payload_of
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.database import Sources, columns_of, engine_of

log = logging.getLogger(__name__)

# In place of a record's fingerprint: that of no record, so that its parts decide whether it has changed.
_BY_PARTS: Final = bytes(16)


def retirable(plan: LoadedPlan, retired: Sequence[Retired], sources: Sources) -> list[Retired]:
    """What of the retired traits and entries the plan doesn't have again by now.

    :raises SourceError: when a database can't be reached or refuses a query, of which the columns are asked.
    """
    present = {query.name for query in plan.queries}
    for scope in QUERY_SCOPES:
        driver = plan.traits(scope)
        if driver is not None and any(one.scope == scope and one.entry is None for one in retired):
            present |= {f"{scope}.traits.{column}" for column in columns_of(engine_of(driver, sources), driver)}
    return [one for one in retired if one.name not in present]


def retire(run: Run, retired: Sequence[Retired], settings: HaloSettings) -> Report:
    """Send the empty value of retired traits and entries to all records that the ledger knows.

    :param run: that it is written down as.
    :return: what was stored, rejected or failed.
    :raises HaloError: when it can't go on; its ``report`` holds what was done until then.
    """
    tally = Tally()

    async def send() -> Report:
        async with HaloClient(settings, limiter=run.limiter(settings)) as client:

            def report(stopped: str = "") -> Report:
                stats = client.stats
                return tally.report(requests=stats.requests, retries=stats.retries, size=stats.bytes, stopped=stopped)

            try:
                delivery = Delivery(client, tally.emit)
                for scope in QUERY_SCOPES:
                    some = [one for one in retired if one.scope == scope]
                    async with aclosing(Chunks(_emptied(run, scope, some), USERS_PER_UPDATE, tally.emit)) as chunks:
                        await (delivery.companies(chunks) if scope == "companies" else delivery.users(chunks))
            except HaloError as error:
                error.report = report(str(error)).to_dict()
                raise
            return report()

    return run_blocking(send())


def _emptied(run: Run, scope: QueryScope, retired: Sequence[Retired]) -> Iterator[Payload | Outcome]:
    """The payloads, for every record of a scope; the ledger is told of each before it is sent."""
    if not retired:
        return
    traits: dict[str, Json] = {one.key: None for one in retired if one.entry is None}
    context: dict[str, ContextEntry] = {one.key: one.entry for one in retired if one.entry is not None}
    make: Callable[[str], Company | User] = (
        (lambda key: Company(company_id=key, traits=traits, context=context))
        if scope == "companies"
        else (lambda key: User(user_id=key, traits=traits, context=context))
    )
    last = ""
    while keys := run.plan_ledger.acknowledged.keys_after(scope, last, AT_ONCE):
        _forget_parts(run, scope, keys, retired)
        yield from (outcome_of(payload_of(make(key))) for key in keys)
        last = keys[-1]


def _forget_parts(run: Run, scope: QueryScope, keys: Sequence[str], retired: Sequence[Retired]) -> None:
    """Have the ledger not know the parts that are emptied: should they return to the plan, they are sent again.

    A record's other parts stay known. Of its traits as a whole that holds when a run without the retired one has sent
    them since.
    """
    acknowledged = run.plan_ledger.acknowledged
    known, parts, runs = (
        acknowledged.known(scope, keys),
        acknowledged.parts(scope, keys),
        acknowledged.acknowledged_in(scope, keys),
    )
    last_with_trait = max((one.last_run for one in retired if one.entry is None), default=-1)
    entries = []
    for key, has in known.items():
        if has.fingerprint is None:
            continue
        left = parts.get(key, b"")
        for one in retired:
            if one.entry is not None:
                left = without(left, CONTEXT + one.key)
        if runs.get(key, 0) <= last_with_trait:
            left = without(left, TRAITS)
        entries.append(Entry(scope=scope, key=key, token=has.token, fingerprint=_BY_PARTS, parts=left))

    def work(connection: sa.Connection) -> None:
        acknowledged.acknowledge(connection, run.id, entries)

    acknowledged.database.write(work)
