"""One batch from rows to report: where the rooms are joined."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient, Stats
from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.api.pacing import LongPause, Patience
from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.dry_run import DryRun
from airflow_provider_halo.delivery.links import KnownCompanies
from airflow_provider_halo.delivery.outcome import Outcome, as_changes
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError, LedgerError, SecretMissing, SetupError
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection, select
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.read import ReadStats, read_payloads
from airflow_provider_halo.sync.company_lookup import CompanyLookup
from airflow_provider_halo.sync.gc_frozen import gc_frozen
from airflow_provider_halo.sync.gone_batch import empty_gone
from airflow_provider_halo.sync.ledger_session import LedgerSession
from airflow_provider_halo.sync.no_company import NoCompany
from airflow_provider_halo.sync.options import SyncOptions
from airflow_provider_halo.sync.progress import Progress
from airflow_provider_halo.sync.stopped import SyncStopped

__all__ = ["SyncOptions", "sync_batch"]

log = logging.getLogger(__name__)

_COMPANIES_PER_CHUNK = 200  # a company is a request of its own, so a chunk is only what is read ahead


def sync_batch(
    plan: LoadedPlan,
    batch: Batch,
    *,
    sources: Sources,
    settings: HaloSettings,
    options: SyncOptions | None = None,
    run: Run | None = None,
    limiter: Limiter | None = None,
    patience: Patience | None = None,
) -> Report:
    """Bring one batch to Halo.

    :param sources: gives the engine of a connection id.
    :param run: the ledger's run that the batch belongs to; None without a ledger, and everything is sent.
    :param limiter: holds the requests per second. None: the ledger does among all that share it, or without one this
        process.
    :param patience: which pauses of Halo are sat out; None all of them.
    :return: what was stored, skipped, rejected or failed.
    :raises SyncStopped: when the batch had begun and can't go on, with what was delivered until then. Its cause is a
        `PlanError` when a query's columns don't fit the plan, a `SourceError` for a database that refuses a query, a
        `LedgerError` when the ledger's database can't be used, an `ApiError` when Halo refuses a credential, and
        `DeliveryStopped` when the delivery can't go on; or a `LongPause`, after which it can.
    :raises SetupError: before it begins, for a missing secret, options that exclude each other, or a ledger that can't
        be used.
    """
    if limiter is None and run is not None:
        limiter = run.limiter(settings)
    options = options or SyncOptions()
    if batch.gone:
        return empty_gone(
            plan, batch, sources=sources, settings=settings, run=run, limiter=limiter, dry_run=options.dry_run
        )
    batch_run = _BatchRun(plan, batch, sources, settings, options, run, limiter, patience)
    with gc_frozen():
        return run_blocking(batch_run.run())


class _BatchRun:
    def __init__(  # noqa: PLR0917 (as of `sync_batch`)
        self,
        plan: LoadedPlan,
        batch: Batch,
        sources: Sources,
        settings: HaloSettings,
        options: SyncOptions,
        run: Run | None,
        limiter: Limiter | None,
        patience: Patience | None,
    ) -> None:
        self._plan = plan
        self._batch = batch
        self._sources = sources
        self._settings = settings
        self._options = options
        self._limiter = limiter
        self._patience = patience
        self._selection: Selection = select(plan, options.only)
        _validate_options(options, batch, self._selection, settings)
        self._links = self._selection.links and options.link_users is not False
        self._tally = Tally(dry_run=options.dry_run)
        self._read_stats = ReadStats()
        self._companies = KnownCompanies()
        self._lookup = CompanyLookup(plan, self._selection, sources, self._companies)
        self._session: LedgerSession | None = None
        self._no_company: NoCompany | None = None
        if run is not None:
            self._session = LedgerSession(
                run, plan, self._selection, batch, self._read_stats, options, links=self._links
            )
            self._no_company = NoCompany.of(run, plan, writes=not options.dry_run)

    async def run(self) -> Report:
        progress = Progress(self._batch, lambda: self._tally.so_far, links=self._links)
        ticker = asyncio.create_task(progress.run())
        log.info("%s: starts", self._batch.label)
        try:
            report = await (self._dry_run() if self._options.dry_run else self._send())
        except SyncStopped as stopped:
            level = logging.WARNING if isinstance(stopped.cause, LongPause) else logging.ERROR
            log.log(level, "%s: stopped\n%s", self._batch.label, stopped.report.to_text())
            raise
        finally:
            ticker.cancel()
        log.info("%s: done\n%s", self._batch.label, report.to_text())
        return report

    async def _send(self) -> Report:
        async with HaloClient(self._settings, limiter=self._limiter, patience=self._patience) as client:
            delivery = Delivery(client, self._take, update_only=self._options.update_only)
            try:
                with self._session or contextlib.nullcontext():
                    await self._deliver(delivery)
            except HaloError as error:
                stopped = SyncStopped(self._report(client.stats, stopped=str(error)), error)
                if self._session is not None:
                    with contextlib.suppress(LedgerError):  # of its own errors, the first one is told
                        self._session.end(stopped.report)
                raise stopped from error
            report = self._report(client.stats)
            if self._session is not None:
                self._session.end(report)
            return report

    async def _dry_run(self) -> Report:
        dry_run = DryRun(self._take, self._settings.signs_users)
        try:
            await self._deliver(dry_run)
        except HaloError as error:
            raise SyncStopped(self._report(dry_run.stats, stopped=str(error)), error) from error
        return self._report(dry_run.stats)

    async def _deliver(self, delivery: Delivery | DryRun) -> None:
        """Companies before users, since users are linked to them; but users are read as soon as the companies are."""
        async with contextlib.AsyncExitStack() as stack:
            users: Chunks | None = None
            if (self._selection.users or self._links) and self._batch.users_too:
                users = await stack.enter_async_context(contextlib.aclosing(self._chunks("users")))
            if self._selection.companies:
                companies = await stack.enter_async_context(contextlib.aclosing(self._chunks("companies")))
                if users is not None:
                    companies.when_read(users.start)
                await delivery.companies(companies)
            elif self._links and self._batch.user is None:
                await self._lookup.read(self._batch)
            if users is not None:
                await self._deliver_users(delivery, users)

    async def _deliver_users(self, delivery: Delivery | DryRun, chunks: Chunks) -> None:
        users: AsyncIterator[list[Change]] = chunks
        if self._links:
            # Another database may put a user's company into another batch.
            if self._batch.user is not None or self._lookup.is_of_another_database:
                users = self._lookup.before(users)
            if self._no_company is not None:
                users = self._no_company.before(users, delivery, self._take)
        decide_link = self._companies.decide_link
        if not self._selection.users:
            await delivery.links(users, decide_link=decide_link)
        elif self._options.activity:
            await delivery.identify(users, decide_link=decide_link if self._links else None)
        else:
            await delivery.users(users, decide_link=decide_link if self._links else None)

    def _chunks(self, scope: QueryScope) -> Chunks:
        size = USERS_PER_UPDATE if scope == "users" else _COMPANIES_PER_CHUNK
        return Chunks(self._changes(scope), size, self._take)

    def _changes(self, scope: QueryScope) -> Iterator[Change | Outcome]:
        read = read_payloads(
            scope, self._plan, self._selection, self._batch, self._sources, self._tally.warn, stats=self._read_stats
        )
        with contextlib.closing(read) as blocks:
            yield from as_changes(blocks) if self._session is None else self._session.changes(scope, blocks)

    def _take(self, outcome: Outcome) -> None:
        """The one way that every outcome of the batch takes, whether its record was sent or not."""
        self._tally.emit(outcome)
        self._companies.note(outcome)
        if self._session is not None:
            self._session.record(outcome)

    def _report(self, stats: Stats, *, stopped: str = "") -> Report:
        return self._tally.report(
            requests=stats.requests,
            retries=stats.retries,
            size=stats.bytes,
            throttled=stats.throttled,
            requests_per_second=stats.requests_per_second,
            stopped=stopped,
        )


def _validate_options(options: SyncOptions, batch: Batch, selection: Selection, settings: HaloSettings) -> None:
    """Refuse what must not happen before a query is run or a byte is sent."""
    if options.activity and batch.user is None:
        raise SetupError(
            "activity=True marks every user it sends as active now, so it is only for one user who is present: "
            "give user_id, or leave activity off."
        )
    if selection.users and not options.activity and not settings.identity_secret:
        raise SecretMissing(
            f"Halo connection {settings.conn_id!r} has no identity_secret, and users/update, the call that "
            "marks nobody as active, needs one: put it into the connection's extras; or, for one user who is "
            "present now, opt in to activity=True. Companies alone need no secret: only=companies."
        )
