"""Runs that are killed for real: a process that forks one child a run, which ends by SIGKILL at the moment it is told.

A script of its own, so that what is forked has one thread and no connections. It reads a line of JSON for each run, and
answers with a line that says how the run ended: `killed`, `done`, or the error.

Moments, with a number that counts them from 1: `begin` (a transaction of the ledger is about to begin), `commit` (one is
about to be committed), `end` (one has ended), `request` (a request is about to leave), `sent` (it is on the way), `answer`
(its answer is in).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa
from httpx_aiohttp import AiohttpTransport

from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.batch import SyncOptions
from airflow_provider_halo.sync.run import sync_plan

ON_THE_WAY = 0.004  # seconds in which the sandbox has a request, and mostly not answered it


class Killer:
    """Counts moments, and kills this process at the one that is due."""

    def __init__(self, moment: str, number: int) -> None:
        self.moment = moment
        self.left = number

    def at(self, moment: str) -> bool:
        if moment == self.moment:
            self.left -= 1
        return moment == self.moment and self.left == 0

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, engine: sa.Engine) -> None:
        def on(moment: str):
            def met(*_: object) -> None:
                if self.at(moment):
                    self.die()

            return met

        sa.event.listen(engine, "checkout", on("begin"))
        sa.event.listen(engine, "commit", on("commit"))
        sa.event.listen(engine, "checkin", on("end"))

        send = AiohttpTransport.handle_async_request

        async def watched(transport, request):
            if self.at("request"):
                self.die()
            if self.at("sent"):
                on_the_way = asyncio.create_task(send(transport, request))
                await asyncio.sleep(ON_THE_WAY)
                self.die()
                return await on_the_way
            response = await send(transport, request)
            if self.at("answer"):
                self.die()
            return response

        AiohttpTransport.handle_async_request = watched


def run(order: dict) -> None:
    engine = sa.create_engine(order["ledger"])
    Killer(order["moment"], order["number"]).watch(engine)
    product = sa.create_engine(order["product"])
    settings = HaloSettings(**order["settings"])
    plan = load_plan(Path(order["plan"]))
    ledger = Ledger(engine, "ledger", patience=5)
    sync_plan(
        plan,
        sources=lambda _: product,
        settings=settings,
        options=SyncOptions(**{**order["options"], "only": tuple(order["options"].get("only", ()))}),
        batch_size=order["batch_size"],
        run=ledger.open_run(plan.name, settings, order["key"], whole=order["whole"]),
    )


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            except BaseException as error:  # noqa: BLE001 (whatever it is, the one who asked must hear of it)
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = {0: "done", 1: "error"}.get(os.waitstatus_to_exitcode(status), "killed")
        os.write(1, f"{ended}\n".encode())


if __name__ == "__main__":
    main()
