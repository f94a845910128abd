"""One batch from rows to report: where the rooms are joined. Progress is told while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.contract import USERS_PER_UPDATE
from airflow_provider_halo.delivery.chunks import Chunks
from airflow_provider_halo.delivery.deliver import Delivery
from airflow_provider_halo.delivery.dry_run import DryRun
from airflow_provider_halo.delivery.links import KnownCompanies
from airflow_provider_halo.delivery.outcome import Outcome, outcomes_of
from airflow_provider_halo.delivery.report import Report, Tally
from airflow_provider_halo.exceptions import HaloError, LedgerError, SecretMissing, SetupError
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection, select
from airflow_provider_halo.records.payload import Company, Payload
from airflow_provider_halo.records.problem import SCOPES, Problem, Scope
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.source.read import ReadStats, read_payloads, read_records
from airflow_provider_halo.sync.gc_frozen import gc_frozen
from airflow_provider_halo.sync.ledger_session import LedgerSession

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two lines


class Progress:
    """Turns the counts of a running batch into lines.

    :param batch: the batch; its expected counts tell what is left.
    :param counts: gives the counts as they stand.
    :param links: whether users are linked, so that links are expected too.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        batch: Batch,
        counts: Callable[[], Report],
        *,
        links: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batch = batch
        self._counts = counts
        self._clock = clock
        self._began = clock()
        self._last = self._began
        self._seen = 0
        users = batch.expected_users
        self._expected: dict[Scope, int | None] = {
            "companies": batch.expected_companies,
            "users": users,
            "links": users if links and not batch.no_company else 0,
        }

    async def run(self, *, every: float = EVERY, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Log a line every so often until cancelled."""
        while True:
            await sleep(every)
            log.info("%s", self.line())

    def line(self) -> str:
        """How far the batch is, in one line."""
        report = self._counts()
        now = self._clock()
        done = report.records
        rate = (done - self._seen) / max(now - self._last, 1e-9)
        self._seen, self._last = done, now
        parts = []
        for scope in SCOPES:
            count, expected = report.counts(scope).total, self._expected[scope]
            if count or expected:
                parts.append(f"{count:,} of about {expected:,} {scope}" if expected else f"{count:,} {scope}")
        line = f"{self._batch.label}: {', '.join(parts) or 'reading'}; {rate:,.0f} records/s"
        trouble = [f"{report.total(status):,} {status}" for status in ("rejected", "failed") if report.total(status)]
        if trouble:
            line += f"; {', '.join(trouble)}"
        known = [expected for expected in self._expected.values() if expected is not None]
        left = sum(known) - done
        if len(known) == len(SCOPES) and left > 0 and done:
            seconds = left * (now - self._began) / done
            line += f"; about {left:,} left, {seconds:,.0f} s"
        return line


_COMPANIES_PER_CHUNK = 200  # a company is a request of its own, so a chunk is only what is read ahead


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """What a sync is to do, the same for every batch of a run.

    :param only: names of the plan's parts to send (``companies``, ``users.context.onboarding``, ``links`` …); empty
        for all.
    :param full: send everything again, whatever the ledger says. Without a ledger every sync is full.
    :param dry_run: read, check and count, but send nothing.
    :param link_users: link each user to its company, one call per user. None: yes.
    :param update_only: skip users that Halo doesn't know.
    :param retry_rejected: try records again that Halo has refused and that haven't changed since.
    :param activity: send the user by users/identify, which marks it as active now. Only for a batch of one user.
    """

    only: tuple[str, ...] = ()
    full: bool = False
    dry_run: bool = False
    link_users: bool | None = None
    update_only: bool = False
    retry_rejected: bool = False
    activity: bool = False


def sync_batch(
    plan: LoadedPlan,
    batch: Batch,
    *,
    sources: Sources,
    settings: HaloSettings,
    options: SyncOptions | None = None,
    run: Run | None = None,
    limiter: Limiter | None = None,
) -> Report:
    """Bring one batch to Halo.

    :param sources: gives the engine of a connection id.
    :param run: the ledger's run that the batch belongs to; None without a ledger, and everything is sent.
    :param limiter: holds the requests per second. None: the ledger does among all that share it, or without one this
        process.
    :return: what was stored, skipped, rejected or failed.
    :raises PlanError: when a query's columns don't fit the plan; nothing of that query was sent.
    :raises SetupError: for a missing secret, or a database that refuses a query.
    :raises LedgerError: when the ledger's database can't be used.
    :raises ApiError: when Halo refuses a credential.
    :raises DeliveryStopped: when the run can't go on.

    Of an error that ends a batch which had begun, ``report`` holds what was delivered until then.
    """
    if limiter is None and run is not None:
        limiter = run.limiter(settings)
    batch_run = _BatchRun(plan, batch, sources, settings, options or SyncOptions(), run, limiter)
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
    ) -> None:
        self._plan = plan
        self._batch = batch
        self._sources = sources
        self._settings = settings
        self._options = options
        self._limiter = limiter
        self._selection: Selection = select(plan, options.only)
        self._links = self._selection.links and options.link_users is not False
        self._tally = Tally(dry_run=options.dry_run)
        self._known = KnownCompanies()
        self._notes = ReadStats()
        self._validate_options()
        self._memory = None if run is None else self._remember(run)

    def _remember(self, run: Run) -> LedgerSession:
        options = self._options
        return LedgerSession(
            run,
            self._plan,
            self._selection,
            self._batch,
            self._notes,
            links=self._links,
            full=options.full,
            retry_rejected=options.retry_rejected,
            activity=options.activity,
            writes=not options.dry_run,
        )

    def _validate_options(self) -> None:
        """Refuse what must not happen before a query is run or a byte is sent."""
        if self._options.activity and self._batch.user is None:
            raise SetupError(
                "activity=True marks every user it sends as active now, so it is only for one user who is present: "
                "give user_id, or leave activity off."
            )
        sends_users = self._selection.users and not self._options.activity
        if sends_users and not self._settings.identity_secret:
            raise SecretMissing(
                f"Halo connection {self._settings.conn_id!r} has no identity_secret, and users/update, the call that "
                "marks nobody as active, needs one: put it into the connection's extras; or, for one user who is "
                "present now, opt in to activity=True. Companies alone need no secret: only=companies."
            )

    async def run(self) -> Report:
        progress = Progress(self._batch, lambda: self._tally.so_far, links=self._links)
        ticker = asyncio.create_task(progress.run())
        log.info("%s: starts", self._batch.label)
        try:
            if self._options.dry_run:
                rehearsal = DryRun(self._emit, self._settings.signs_users)
                await self._deliver(rehearsal)
                report = self._tally.report(requests=rehearsal.requests, retries=0, size=rehearsal.bytes)
            else:
                report = await self._send()
        finally:
            ticker.cancel()
        log.info("%s: done\n%s", self._batch.label, report.to_text())
        return report

    async def _send(self) -> Report:
        async with HaloClient(self._settings, limiter=self._limiter) as client:
            try:
                with self._memory or contextlib.nullcontext():
                    await self._deliver(Delivery(client, self._emit, update_only=self._options.update_only))
            except HaloError as error:
                report = self._report(client, stopped=str(error))
                log.error("%s: stopped\n%s", self._batch.label, report.to_text())  # noqa: TRY400 (the error goes on up)
                error.report = report.to_dict()
                self._remember_failure(report)
                raise
            report = self._report(client)
            if self._memory is not None:
                self._memory.end(report)
            return report

    def _remember_failure(self, report: Report) -> None:
        """Write down how a batch ended that was stopped. Not by an error of the ledger's own: there is one already."""
        if self._memory is not None:
            with contextlib.suppress(LedgerError):
                self._memory.end(report)

    def _report(self, client: HaloClient, stopped: str = "") -> Report:
        stats = client.stats
        return self._tally.report(requests=stats.requests, retries=stats.retries, size=stats.bytes, stopped=stopped)

    async def _deliver(self, delivery: Delivery | DryRun) -> None:
        async with contextlib.AsyncExitStack() as stack:
            users: Chunks | None = None
            if (self._selection.users or self._links) and self._batch.users_too:
                users = await stack.enter_async_context(contextlib.aclosing(self._chunks("users", self._batch)))
            if self._selection.companies:
                companies = await stack.enter_async_context(contextlib.aclosing(self._chunks("companies", self._batch)))
                if users is not None:
                    companies.when_read(users.start)
                await delivery.companies(companies)
            elif self._links and self._batch.user is None:
                await self._learn_companies(self._batch)
            if users is not None:
                await self._deliver_users(delivery, users)

    async def _deliver_users(self, delivery: Delivery | DryRun, chunks: Chunks) -> None:
        users = self._knowing_their_companies(chunks) if self._batch.user is not None else chunks
        decide_link = self._decide_link if self._links else None
        if not self._selection.users:
            await delivery.links(users, decide_link=self._decide_link)
        elif self._options.activity:
            await delivery.identify(users, decide_link=decide_link)
        else:
            await delivery.users(users, decide_link=decide_link)

    async def _knowing_their_companies(self, chunks: Chunks) -> AsyncIterator[list[Payload]]:
        """Look up the companies of users that were named one by one, before their links are decided."""
        async for chunk in chunks:
            companies = {user.company_id for user in chunk if user.company_id is not None} if self._links else set()
            missing = sorted(companies - self._known.seen)
            if missing and self._plan.traits("companies"):
                batches = await asyncio.to_thread(
                    plan_batches, self._plan, self._selection, self._sources, company_ids=missing
                )
                for batch in batches:
                    await self._learn_companies(batch)
            yield chunk

    async def _learn_companies(self, batch: Batch) -> None:
        """Read which companies there are, without sending them: links may only go to these."""
        if self._plan.traits("companies") is None:
            return
        selection = select(self._plan, ("companies.traits",))

        def learn() -> None:
            # Counted as rejects or warnings only where the companies themselves are sent.
            for record in read_records("companies", self._plan, selection, batch, self._sources, lambda *_: None):
                if isinstance(record, Company):
                    self._known.add(record.company_id)

        await asyncio.to_thread(learn)

    def _decide_link(self, user: Payload) -> bool | Problem:
        decision = self._known.decide(user)
        if decision is True and user.linked:
            self._emit(Outcome(scope="links", status="unchanged"))
            return False
        return decision

    def _emit(self, outcome: Outcome) -> None:
        """Take what became of records that were sent."""
        self._pass_over(outcome)
        if self._memory is not None:
            self._memory.record(outcome)

    def _pass_over(self, outcome: Outcome) -> None:
        """Take what became of records that aren't sent."""
        self._tally.emit(outcome)
        self._known.note(outcome)
        if self._memory is not None and not outcome.payloads:
            self._memory.record(outcome)  # a record that came to no payload: its rejection is news to the ledger

    def _chunks(self, scope: QueryScope, batch: Batch) -> Chunks:
        size = USERS_PER_UPDATE if scope == "users" else _COMPANIES_PER_CHUNK
        return Chunks(self._changes(scope, batch), size, self._pass_over)

    def _changes(self, scope: QueryScope, batch: Batch) -> Iterator[Payload | Outcome]:
        blocks = read_payloads(
            scope, self._plan, self._selection, batch, self._sources, self._tally.warn, notes=self._notes
        )
        with contextlib.closing(blocks):
            made = outcomes_of(blocks)
            yield from made if self._memory is None else self._memory.changes(scope, made)
