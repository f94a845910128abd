"""The people who use the product while the demo runs: their browsers identify them, which is what last_seen is for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, select

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.records.payload import Payload, User, payload_of
from airflow_provider_halo.sample.tables import USERS
from airflow_provider_halo.settings import HaloSettings

__all__ = ["be_present"]


def be_present(engine: Engine, settings: HaloSettings, count: int) -> int:
    """Identify the first users of the database, as the product's pages do when a person opens them.

    :return: how many people that were.
    """
    with engine.connect() as connection:
        rows = connection.execute(
            select(USERS.c.id, USERS.c.name, USERS.c.email).order_by(USERS.c.id).limit(count)
        ).all()
    return asyncio.run(_identify(settings, [_payload(row) for row in rows]))


async def _identify(settings: HaloSettings, payloads: Sequence[Payload]) -> int:
    async with HaloClient(settings) as client:
        await asyncio.gather(*(client.identify_user(payload) for payload in payloads))
    return len(payloads)


def _payload(row: Any) -> Payload:
    payload = payload_of(User(user_id=str(row.id), traits={"name": row.name, "email": row.email}))
    if not isinstance(payload, Payload):
        raise TypeError(str(payload))  # the demo's own data: a name and an address always fit
    return payload
