"""Empties in Halo what was sent and the plan no longer has: it stays there, and the AI goes on reading it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.outcome import Outcome, as_change
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Acknowledgement
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.ledger.retired import Retired
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.records.fingerprint import CONTEXT, TRAITS, drop_part
from airflow_provider_halo.records.values import Json
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.database import Sources, columns_of, engine_of
from airflow_provider_halo.sync.emptying import EmptyValues, deliver_emptied
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["retirable", "retire"]

# In place of a record's fingerprint: that of no record, so that its parts decide whether it has changed.
_BY_PARTS: Final = bytes(16)


def retirable(plan: LoadedPlan, retired: Sequence[Retired], sources: Sources) -> list[Retired]:
    """What of the retired traits and entries the plan doesn't have again by now.

    :raises SourceError: when a database can't be reached or refuses a query, of which the columns are asked.
    """
    present = {query.name for query in plan.queries}
    for scope in QUERY_SCOPES:
        traits = plan.traits(scope)
        if traits is not None and any(part.scope == scope and part.entry is None for part in retired):
            present |= {f"{scope}.traits.{column}" for column in columns_of(engine_of(traits, sources), traits)}
    return [part for part in retired if part.name not in present]


def retire(run: Run, retired: Sequence[Retired], settings: HaloSettings) -> Report:
    """Send the empty value of retired traits and entries to all records that the ledger knows.

    :param run: that it is written down as.
    :return: what was stored, rejected or failed.
    :raises SyncStopped: when it can't go on, with what was done until then.
    """
    tally = Tally()

    def report(stats: Stats, *, stopped: str = "") -> Report:
        return tally.report(
            requests=stats.requests,
            retries=stats.retries,
            size=stats.bytes,
            throttled=stats.throttled,
            requests_per_second=stats.requests_per_second,
            stopped=stopped,
        )

    def changes(scope: QueryScope) -> Iterator[Change | Outcome]:
        return _emptied(run, scope, [part for part in retired if part.scope == scope])

    async def send() -> Report:
        async with HaloClient(settings, limiter=run.limiter(settings)) as client:
            delivery = Delivery(client, tally.emit)
            try:
                await deliver_emptied(delivery, changes, tally.emit)
            except HaloError as error:
                raise SyncStopped(report(client.stats, stopped=str(error)), error) from error
            return report(client.stats)

    return run_blocking(send())


def _emptied(run: Run, scope: QueryScope, retired: Sequence[Retired]) -> Iterator[Change | Outcome]:
    """The changes, for every record of a scope; the ledger is told of each before it is sent."""
    if not retired:
        return
    traits: dict[str, Json] = {part.key: None for part in retired if part.entry is None}
    context = {part.key: part.entry for part in retired if part.entry is not None}
    empty_values = EmptyValues(scope, traits, context)
    last = ""
    while keys := run.plan_ledger.acknowledged.keys_after(scope, last, AT_ONCE):
        _forget_parts(run, scope, keys, retired)
        yield from map(as_change, map(empty_values.payload, keys))
        last = keys[-1]


def _forget_parts(run: Run, scope: QueryScope, keys: Sequence[str], retired: Sequence[Retired]) -> None:
    """Have the ledger not know the parts that are emptied: should they return to the plan, they are sent again.

    A record's other parts stay known. Of its traits as a whole that holds when a run without the retired one has sent
    them since.
    """
    acknowledged = run.plan_ledger.acknowledged
    known_by_key = acknowledged.known(scope, keys)
    parts_by_key = acknowledged.parts(scope, keys)
    run_by_key = acknowledged.acknowledged_in(scope, keys)
    last_with_trait = max((part.last_run for part in retired if part.entry is None), default=-1)
    rows = []
    for key, known in known_by_key.items():
        if known.fingerprint is None:
            continue
        remaining = parts_by_key.get(key, b"")
        for part in retired:
            if part.entry is not None:
                remaining = drop_part(remaining, CONTEXT + part.key)
        if run_by_key.get(key, 0) <= last_with_trait:
            remaining = drop_part(remaining, TRAITS)
        rows.append(Acknowledgement(scope=scope, key=key, token=known.token, fingerprint=_BY_PARTS, parts=remaining))

    def work(connection: sa.Connection) -> None:
        acknowledged.acknowledge(connection, run.id, rows)

    acknowledged.database.write(work)
