"""A sender in a process of its own: says that it is ready, reads its order as a line of JSON, sends that many requests."""

from __future__ import annotations

import asyncio
import json
import sys

import sqlalchemy as sa

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings


async def send(ledger: Ledger, settings: HaloSettings, requests: int) -> None:
    async with HaloClient(settings, limiter=ledger.limiter(settings)) as client:
        await asyncio.gather(
            *(client.identify_company(Payload("companies", str(key), b"{}", b"")) for key in range(requests))
        )


def main() -> None:
    print("ready", flush=True)
    order = json.loads(sys.stdin.readline())
    engine = sa.create_engine(order["ledger"])
    asyncio.run(send(Ledger(engine, "ledger"), HaloSettings(**order["settings"]), order["requests"]))
    engine.dispose()
    print("done")


if __name__ == "__main__":
    main()
