"""Records that were made by hand or by one query, sent while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.chunks import chunks_of
from airflow_provider_halo.sync.delivery import Delivery
from airflow_provider_halo.sync.made import outcome_of
from airflow_provider_halo.sync.outcome import Outcome


def send(
    settings: HaloSettings,
    emit: Callable[[Outcome], None],
    *,
    companies: Iterable[Payload | Problem] = (),
    users: Iterable[Payload | Problem] = (),
    activity: bool = False,
    update_only: bool = False,
    link_users: bool = True,
) -> Stats:
    """Send companies, then users, and link each stored user that names a company.

    :param emit: takes what became of the records, problems included.
    :param companies: read as they are sent, in a thread of their own; so are ``users``.
    :param activity: send users by users/identify, which marks each of them as active now.
    :param update_only: skip users that Halo doesn't know.
    :return: how many requests it took.
    :raises HaloError: when it can't go on.
    """

    def decide_link(user: Payload) -> bool:
        return user.company_id is not None

    async def run() -> Stats:
        async with HaloClient(settings) as client:
            delivery = Delivery(client, emit, update_only=update_only)
            async with aclosing(chunks_of(map(outcome_of, companies), USERS_PER_UPDATE, emit)) as chunks:
                await delivery.companies(chunks)
            async with aclosing(chunks_of(map(outcome_of, users), USERS_PER_UPDATE, emit)) as chunks:
                store = delivery.identify if activity else delivery.users
                await store(chunks, decide_link=decide_link if link_users else None)
            return client.stats

    return run_blocking(run())
