"""Sends records whose values are empty: null for a trait, and for an entry the value that it has without rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing

from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.dry_run import DryRun
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.ledger import PlanLedger
from airflow_provider_halo.plan.model import QUERY_SCOPES, QueryScope
from airflow_provider_halo.records.payload import Company, ContextEntry, Payload, User, payload_of
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.records.values import Json

__all__ = ["EmptyValues", "deliver_emptied"]


class EmptyValues:
    """What empties the records of a scope: one value for all of them.

    :param traits: null, or what is to be said of the records instead, by name.
    :param context: entries with their empty values, by key.
    """

    def __init__(self, scope: QueryScope, traits: Mapping[str, Json], context: Mapping[str, ContextEntry]) -> None:
        self._scope = scope
        self._traits = dict(traits)
        self._context = dict(context)

    @classmethod
    def of_all_sent(cls, plan_ledger: PlanLedger, scope: QueryScope, set_traits: Mapping[str, Json]) -> EmptyValues:
        """What empties all that the ledger knows to have been sent to records of a scope.

        :param set_traits: traits that are given a value instead.
        """
        sent = plan_ledger.retired_parts.sent(scope)
        traits: dict[str, Json] = {name.removeprefix("traits."): None for name, entry in sent.items() if entry is None}
        context = {name.removeprefix("context."): entry for name, entry in sent.items() if entry is not None}
        return cls(scope, {**traits, **set_traits}, context)

    def payload(self, key: str) -> Payload | Problem:
        """A record with these values."""
        if self._scope == "companies":
            return payload_of(Company(company_id=key, traits=self._traits, context=self._context))
        return payload_of(User(user_id=key, traits=self._traits, context=self._context))


async def deliver_emptied(
    delivery: Delivery | DryRun,
    changes: Callable[[QueryScope], Iterator[Change | Outcome]],
    emit: Callable[[Outcome], None],
) -> None:
    """Deliver emptied records: companies one by one, users in full requests.

    :param changes: the records of a scope; read in a thread of its own.
    :param emit: takes the outcomes of records that can't be sent.
    """
    for scope in QUERY_SCOPES:
        async with aclosing(Chunks(changes(scope), USERS_PER_UPDATE, emit)) as chunks:
            await (delivery.companies(chunks) if scope == "companies" else delivery.users(chunks))
