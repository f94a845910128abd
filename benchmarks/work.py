"""What a pass has to do, and the package's own ways to do it: a whole sync, a share of its batches, its reading alone."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from airflow_provider_halo.delivery.report import Report, merge
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import SCOPES
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.source.read import read_payloads
from airflow_provider_halo.sync.batch import SyncOptions, sync_batch
from airflow_provider_halo.sync.run import sync_plan

WIDGET_KEY = "ab_live_benchmark"
IDENTITY_SECRET = "ha_secret_of_a_benchmark_that_is_long"


class Work:
    """What all passes are given. Making it loads the plan.

    :param given: ``plan``, ``product`` (the URL of its database), ``base_url``, ``ledger`` (a URL; empty for none),
        ``links``, ``only``, ``batch_size``, ``share`` (the number of this task and of how many; None does all).
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.engine = sa.create_engine(given["product"])
        self.plan: LoadedPlan = load_plan(given["plan"])
        self.links = bool(given["links"])
        self.only = tuple(given["only"])
        self.selection = select(self.plan, self.only)
        self.settings = HaloSettings(
            widget_key=WIDGET_KEY,
            identity_secret=IDENTITY_SECRET,
            base_url=given["base_url"] or "http://127.0.0.1:9",
        )
        self._batch_size = int(given["batch_size"])
        self._share = given["share"]
        self._ledger = Ledger(sa.create_engine(given["ledger"]), "ledger") if given["ledger"] else None
        self._options = SyncOptions(only=self.only, link_users=self.links)

    def sends(self, scope: QueryScope) -> bool:
        """Whether records of a scope are sent."""
        return self.selection.sends(scope)

    def batches(self) -> list[Batch]:
        """The batches that a sync cuts."""
        return plan_batches(self.plan, self.selection, self._sources, batch_size=self._batch_size)

    def sync(self) -> dict[str, int]:
        """A sync as `halo sync` runs it."""
        run = None
        if self._ledger is not None:
            run = self._ledger.open_run(self.plan.name, self.settings, str(time.time_ns()), whole=True)
        report = sync_plan(
            self.plan,
            sources=self._sources,
            settings=self.settings,
            options=self._options,
            batch_size=self._batch_size,
            run=run,
        )
        return _counted(report)

    def share(self) -> dict[str, int]:
        """This task's share of the batches, each as Airflow's task runs it."""
        number, of = self._share
        reports = [
            sync_batch(self.plan, batch, sources=self._sources, settings=self.settings, options=self._options)
            for batch in self.batches()[number::of]
        ]
        return _counted(merge(reports))

    def reading(self) -> dict[str, int]:
        """What a sync does before anything of the ledger: read with all checks, joined by key, encoded, limits held."""
        count = 0
        for batch in self.batches():
            for scope in QUERY_SCOPES:
                blocks = read_payloads(scope, self.plan, self.selection, batch, self._sources, lambda *_: None)
                count += sum(isinstance(made, Payload) for block in blocks for made in block)
        return {"records": count}

    def _sources(self, _: str) -> sa.Engine:
        return self.engine


def _counted(report: Report) -> dict[str, int]:
    if report.total("failed") or report.total("rejected") or report.total("skipped"):
        raise SystemExit(report.to_text())
    return {
        "records": sum(report.counts(scope).total for scope in QUERY_SCOPES),
        "requests": report.requests,
        "bytes": report.bytes,
        **{f"{scope}_stored": report.counts(scope).stored for scope in SCOPES},
        **{f"{scope}_unchanged": report.counts(scope).unchanged for scope in SCOPES},
    }
