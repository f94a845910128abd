"""Records that were made by hand or by one query, sent while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import islice

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.delivery import Delivery
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

    def reject(problem: Problem) -> None:
        emit(Outcome(scope=problem.scope, status="rejected", problem=problem))

    def decide_link(user: Payload) -> bool:
        return user.company_id is not None

    async def run() -> Stats:
        async with HaloClient(settings) as client:
            delivery = Delivery(client, emit, update_only=update_only)
            async with aclosing(_chunks(companies, reject)) as chunks:
                await delivery.companies(chunks)
            async with aclosing(_chunks(users, reject)) as chunks:
                store = delivery.identify if activity else delivery.users
                await store(chunks, decide_link=decide_link if link_users else None)
            return client.stats

    return run_blocking(run())


async def _chunks(
    records: Iterable[Payload | Problem], reject: Callable[[Problem], None]
) -> AsyncGenerator[Sequence[Payload], None]:
    """Payloads in the chunks that `Delivery` takes, read by one thread, so that a slow database doesn't hold the sender."""
    rest = iter(records)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo-records") as executor:
        while made := await loop.run_in_executor(executor, lambda: list(islice(rest, USERS_PER_UPDATE))):
            payloads = []
            for record in made:
                if isinstance(record, Payload):
                    payloads.append(record)
                else:
                    reject(record)
            if payloads:
                yield payloads
