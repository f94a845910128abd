"""Brings one batch of a plan, or one company or user, to Halo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import conf
from airflow.sdk.bases.xcom import BaseXCom

from airflow_provider_halo.exceptions import LedgerError, SetupError
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.limit import NO_LIMIT, Limit
from airflow_provider_halo.operators.arguments import Resolvable, as_boolean, as_key, as_names, is_empty
from airflow_provider_halo.operators.base import StoppableOperator, run_key_of
from airflow_provider_halo.operators.failures import airflow_failures, not_stored
from airflow_provider_halo.sync.stopped import SyncStopped

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_provider_halo.api.pacing import LongPause, Patience
    from airflow_provider_halo.delivery.report import Report
    from airflow_provider_halo.ledger.ledger import Ledger, Run
    from airflow_provider_halo.plan.model import LoadedPlan
    from airflow_provider_halo.settings import HaloSettings
    from airflow_provider_halo.source.batch import Batch
    from airflow_provider_halo.source.database import Sources
    from airflow_provider_halo.sync.batch import SyncOptions

__all__ = ["SyncOperator"]

_LABEL = "{{ task.batch_label }}"


class SyncOperator(StoppableOperator):
    """Read a part of the source database by a plan, and store it in Halo. Marks nobody as active.

    What to bring: ``batch``, one of `PlanBatchesOperator`; or ``company_id`` for that company's record, ``user_id`` for
    that user and its link to its company, or both.

    The report goes to XCom, also when the task fails, so that `ReportOperator` can judge the run as a whole.

    :param plan: path of the plan file; None takes ``[halo] plan``. Templated.
    :param batch: a batch. Templated.
    :param company_id: a company's key. Templated. None or an empty text counts as not given, as a form's blank field does.
    :param user_id: a user's key, likewise. Templated.
    :param only: names of the plan's parts to send, as a list or with commas; empty for all. Templated.
    :param full: send everything again, whatever the ledger says. Templated.
    :param dry_run: read, check and count, but send nothing. Templated.
    :param link_users: link users to their companies, one call per user, with a ledger only for links that are new or have
        moved; None: yes. Templated.
    :param retry_rejected: with a ledger, try records again that Halo has refused and that haven't changed since.
        Templated.
    :param activity: mark the user as active now (users/identify), for one who is present: needs ``user_id``. Templated.
    :param max_rejected: the task fails when more records are rejected, a count or a share (``1%``). None takes ``[halo]
        max_rejected`` where this task is the whole run, and leaves it to the `ReportOperator` where it is one of many.
        Templated.
    :param max_left_out: the same for records that are stored in part, because an entry of theirs is left out; None takes
        ``[halo] max_left_out``. Templated.
    :param halo_conn_id: connection of type ``halo``; None takes ``[halo] conn_id``. Templated.
    :param ledger_conn_id: connection of the ledger's database, so that only what changed is sent; None takes ``[halo]
        ledger_conn_id``, ``none`` no ledger. Templated.
    :param deferrable: with a ledger, wait in the triggerer when Halo asks for a pause longer than ``[halo] defer_after``: the
        task frees its worker and its slot, and goes on behind what the ledger knows. Needs a triggerer that runs. None takes
        ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "plan",
        "batch",
        "company_id",
        "user_id",
        "only",
        "full",
        "is_dry_run",
        "link_users",
        "activity",
        "retry_rejected",
        "max_rejected",
        "max_left_out",
        "halo_conn_id",
        "ledger_conn_id",
    )
    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        plan: Resolvable[str | None] = None,
        batch: Resolvable[Mapping[str, Any] | None] = None,
        company_id: Resolvable[str | int | None] = None,
        user_id: Resolvable[str | int | None] = None,
        only: Resolvable[Sequence[str] | str | None] = None,
        full: Resolvable[bool | str] = False,
        dry_run: Resolvable[bool | str] = False,
        link_users: Resolvable[bool | str | None] = None,
        activity: Resolvable[bool | str] = False,
        retry_rejected: Resolvable[bool | str] = False,
        max_rejected: Resolvable[int | str | None] = None,
        max_left_out: Resolvable[int | str | None] = None,
        halo_conn_id: Resolvable[str | None] = None,
        ledger_conn_id: Resolvable[str | None] = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.batch: Any = batch
        self.company_id = company_id
        self.user_id = user_id
        self.only = only
        self.full = full
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.link_users = link_users
        self.activity = activity
        self.retry_rejected = retry_rejected
        self.max_rejected: Any = max_rejected
        self.max_left_out: Any = max_left_out
        self.halo_conn_id: Any = halo_conn_id
        self.ledger_conn_id: Any = ledger_conn_id
        self.deferrable = deferrable

    @property
    def batch_label(self) -> str:
        """The batch in a few words: Airflow shows it in place of the map index."""
        return str(self.batch.get("label", "")) if isinstance(self.batch, Mapping) else ""

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        # Here, and not by a default in __init__, which partial() of Airflow 3.2 doesn't take over. Airflow reads it next.
        if context.get("map_index_template") is None:
            context["map_index_template"] = _LABEL

    def execute(self, context: Context) -> dict[str, Any]:
        """Sync the batch; the report is the task's XCom."""
        return self.resume(context)

    def resume(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 (the trigger's: that the time has come)
        *,
        unanswered: float = 0.0,
        earlier: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Sync the batch, or what is left of it after a pause: Airflow calls this when the task was deferred.

        :param unanswered: seconds for which Halo has taken no request.
        :param earlier: the report until then.
        """
        from airflow_provider_halo.api.pacing import LongPause
        from airflow_provider_halo.delivery.report import Report, continued

        before = Report.from_dict(earlier or {})
        with airflow_failures():
            try:
                report, reason = self._sync(context, unanswered)
            except SyncStopped as stopped:
                report = continued(before, stopped.report)
                if isinstance(stopped.cause, LongPause):
                    self._wait_for(stopped.cause, report)
                self._push(context, report.to_dict())
                raise
        report = continued(before, report)
        if reason is None:
            return report.to_dict()
        self._push(context, report.to_dict())
        raise not_stored(reason, report)

    def _wait_for(self, pause: LongPause, report: Report) -> NoReturn:
        """Give the worker and the slot back until a pause of Halo is over."""
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        self.log.warning("%s: deferred until then; what is stored stays stored", pause)
        self.defer(
            trigger=DateTimeTrigger(datetime.now(tz=timezone.utc) + timedelta(seconds=pause.seconds)),
            method_name="resume",
            kwargs={"unanswered": pause.unanswered, "earlier": report.to_dict()},
        )

    def _patience(self, ledger: Ledger | None, unanswered: float) -> Patience:
        from airflow_provider_halo.api.pacing import Patience

        defer_after = config.defer_after()
        may_defer = self.deferrable
        if may_defer is None:
            may_defer = conf.getboolean("operators", "default_deferrable", fallback=False)
        if ledger is None or not defer_after or not may_defer:
            return Patience(unanswered=unanswered)
        return Patience(longest_pause=float(defer_after), unanswered=unanswered)

    def _sync(self, context: Context, unanswered: float) -> tuple[Report, str | None]:
        """The batch's report, and why the task counts as failed.

        :param unanswered: as of `resume`.
        """
        from airflow_provider_halo.api.pacing import LongPause
        from airflow_provider_halo.delivery.report import failure_of
        from airflow_provider_halo.hooks.ledger import airflow_ledger, limiter_of
        from airflow_provider_halo.plan.loader import load_plan
        from airflow_provider_halo.sync.batch import SyncOptions, sync_batch
        from airflow_provider_halo.sync.run import close_run

        plan = load_plan(config.plan_path() if is_empty(self.plan) else str(self.plan))
        options = SyncOptions(
            only=as_names(self.only, "only"),
            full=as_boolean(self.full, "full") or False,
            dry_run=as_boolean(self.is_dry_run, "dry_run") or False,
            link_users=as_boolean(self.link_users, "link_users"),
            retry_rejected=as_boolean(self.retry_rejected, "retry_rejected") or False,
            activity=as_boolean(self.activity, "activity") or False,
        )
        settings = HaloHook(self.halo_conn_id).settings
        with airflow_sources() as sources, airflow_ledger(self.ledger_conn_id) as ledger:
            batch = self._batch(plan, sources)
            max_rejected = self._limit(batch, self.max_rejected, "max_rejected", config.max_rejected)
            max_left_out = self._limit(batch, self.max_left_out, "max_left_out", config.max_left_out)
            run = None if ledger is None else self._run(context, ledger, plan, settings, options, batch)

            def end(report: Report) -> str | None:
                # A batch may be empty, a run may not.
                reason = report.stopped or failure_of(
                    report, max_rejected=max_rejected, max_left_out=max_left_out, allow_empty=True
                )
                # Of a planned batch, the ReportOperator closes the run.
                if run is not None and run.id and batch.is_by_name:
                    close_run(run, report, reason=reason, keep_days=0)  # events are many; the next sync sweeps
                return reason

            try:
                report = sync_batch(
                    plan,
                    batch,
                    sources=sources,
                    settings=settings,
                    options=options,
                    run=run,
                    limiter=limiter_of(settings, ledger, self),
                    # A full sync would begin anew each time, whatever the ledger knows.
                    patience=self._patience(None if options.full else ledger, unanswered),
                )
            except SyncStopped as stopped:
                if not isinstance(stopped.cause, (LedgerError, LongPause)):
                    end(stopped.report)
                raise
            return report, end(report)

    def _run(  # noqa: PLR0917 (which run of what)
        self,
        context: Context,
        ledger: Ledger,
        plan: LoadedPlan,
        settings: HaloSettings,
        options: SyncOptions,
        batch: Batch,
    ) -> Run:
        import msgspec

        run = ledger.open_run(
            plan.name,
            settings,
            run_key_of(context),
            whole=not options.only and batch.companies is None and batch.user is None,
            writes=not options.dry_run,
        )
        return msgspec.structs.replace(run, task=self.task_id)

    def _batch(self, plan: LoadedPlan, sources: Sources) -> Batch:
        import msgspec

        from airflow_provider_halo.plan.selection import select
        from airflow_provider_halo.source.batch import Batch
        from airflow_provider_halo.source.planning import batch_for

        company_id, user_id = as_key(self.company_id, "company_id"), as_key(self.user_id, "user_id")
        if company_id is not None or user_id is not None:
            if self.batch is not None:
                raise SetupError("Give either batch, or company_id and user_id.")
            selection = select(plan, as_names(self.only, "only"))
            return batch_for(plan, sources, selection=selection, company_id=company_id, user_id=user_id)
        if self.batch is None:
            raise SetupError(
                "Nothing to sync: give company_id, user_id or both (of a shipped DAG: in the trigger form, or in the "
                'REST call as "conf": {"company_id": …}); or batch, one of PlanBatchesOperator.'
            )
        try:
            return Batch.from_dict(self.batch)
        except (msgspec.ValidationError, AttributeError, TypeError):
            raise SetupError("batch is not one of PlanBatchesOperator: give plan_batches.output to expand().") from None

    @staticmethod
    def _limit(batch: Batch, given: Any, name: str, configured: Callable[[], Limit]) -> Limit:
        if not is_empty(given):
            return Limit.parse(given, name)
        return NO_LIMIT if batch.of > 1 else configured()

    def _push(self, context: Context, report: dict[str, Any]) -> None:
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=report)
