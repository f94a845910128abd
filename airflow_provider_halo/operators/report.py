"""Sums the batches of a run up, and says whether the run is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset
from airflow.sdk.bases.xcom import BaseXCom

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import config
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.operators.arguments import Resolvable, as_count, is_empty
from airflow_provider_halo.operators.base import DataOperator, run_key_of
from airflow_provider_halo.operators.failures import airflow_failures, not_stored

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_halo.delivery.report import Report

__all__ = ["ReportOperator"]


class ReportOperator(DataOperator):
    """Merge the reports of all batches into one, and fail when the run isn't done: green means done.

    It runs whatever became of the batches, and fails when a batch gave no report, when one was stopped or could not
    deliver records, when more were rejected or stored in part than allowed, or when the plan's queries gave nothing at all.

    With a ledger it writes down how the run ended, says how many records are gone (``gone``: sent earlier, and no longer in
    the source), and warns of traits and entries that were sent and that the plan no longer has. When the run is done, an asset event of ``halo://DAG_ID`` carries the counts, for DAGs that wait for it:
    ``schedule=[Asset("halo://halo_weekly_sync")]``; ``outlets=[]`` leaves it out.

    :param reports: ``sync.output``: the reports of the batches.
    :param expected: ``plan_batches.output``, or how many reports there must be; None doesn't check.
    :param max_rejected: how many records of the run may be rejected, a count or a share (``1%``); None takes
        ``[halo] max_rejected``. Templated.
    :param max_left_out: how many records of the run may be stored in part, because an entry of theirs is left out, a count
        or a share; None takes ``[halo] max_left_out``. Templated.
    :param allow_empty: a run that read no record at all is fine.
    :param ledger_conn_id: connection of the ledger's database; None takes ``[halo] ledger_conn_id``, ``none`` no ledger.
        Templated.
    """

    template_fields: Sequence[str] = ("max_rejected", "max_left_out", "ledger_conn_id")
    data_fields: ClassVar[tuple[str, ...]] = ("reports", "expected")
    ui_color = "#ceead6"

    def __init__(
        self,
        *,
        reports: Resolvable[Sequence[Mapping[str, Any]] | Mapping[str, Any]],
        expected: Resolvable[Sequence[Any] | int | None] = None,
        max_rejected: Resolvable[int | str | None] = None,
        max_left_out: Resolvable[int | str | None] = None,
        allow_empty: bool = False,
        ledger_conn_id: Resolvable[str | None] = None,
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self.reports: Any = reports
        self.expected: Any = expected
        self.max_rejected: Any = max_rejected
        self.max_left_out: Any = max_left_out
        self.allow_empty = allow_empty
        self.ledger_conn_id: Any = ledger_conn_id
        if "outlets" not in kwargs and self.has_dag():  # type: ignore[no-untyped-call]  # Airflow's
            self.outlets.append(Asset(f"halo://{self.dag_id}"))
        self._counts_batches = expected is not None
        self.depend_on_data()

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge the run; the merged report is the task's XCom, also when the task fails."""
        from airflow_provider_halo.delivery.report import failure_of, merge

        with airflow_failures():
            reports = self._reports()
            max_rejected = self._limit(self.max_rejected, "max_rejected", config.max_rejected)
            max_left_out = self._limit(self.max_left_out, "max_left_out", config.max_left_out)
            merged = merge(reports)
            reason = self._missing(len(reports)) or failure_of(
                merged, max_rejected=max_rejected, max_left_out=max_left_out, allow_empty=self.allow_empty
            )
            self._close(context, merged, reason)
        self.log.info("%d batches\n%s", len(reports), merged.to_text())
        if reason is None:
            self._announce(context, merged)
            return merged.to_dict()
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=merged.to_dict())
        raise not_stored(reason, merged, final=True)

    def _close(self, context: Context, report: Report, reason: str | None) -> None:
        """Write down how the run ended. Of a dry run nothing stays, not what `PlanBatchesOperator` has begun either."""
        from airflow_provider_halo.hooks.ledger import airflow_ledger
        from airflow_provider_halo.sync.run import close_run

        with airflow_ledger(self.ledger_conn_id) as ledger:
            for run in [] if ledger is None else ledger.runs_of(run_key_of(context)):
                if report.dry_run:
                    run.plan_ledger.runs.discard(run.id)
                else:
                    close_run(run, report, reason=reason, keep_days=config.ledger_keep_days())

    def _announce(self, context: Context, report: Report) -> None:
        """Put the counts into the asset event that DAGs waiting for this run get."""
        from airflow_provider_halo.records.problem import SCOPES

        summary = report.to_dict()
        counts: dict[str, Any] = {scope: summary[scope] for scope in SCOPES}
        for asset in self.outlets:
            if isinstance(asset, Asset) and asset.uri.startswith("halo://"):
                context["outlet_events"][asset].extra = {**counts, "requests": report.requests}

    def _reports(self) -> list[Report]:
        import msgspec

        from airflow_provider_halo.delivery.report import Report

        reports = [self.reports] if isinstance(self.reports, dict) else list(self.reports or ())
        try:
            return [Report.from_dict(report) for report in reports if report is not None]
        except (msgspec.ValidationError, TypeError, ValueError):
            raise SetupError("reports must be the output of SyncOperator tasks.") from None

    def _missing(self, reports: int) -> str | None:
        """Why reports are missing, of so many that are there; None when they are all there or aren't counted."""
        if not self._counts_batches:
            return None
        expected = self._expected()
        if expected is None:
            return "the batches were never planned, so nothing was sent: see the task upstream that failed"
        missing = expected - reports
        if missing > 0:
            return f"{missing} of {expected} batches gave no report: see the tasks upstream that failed"
        return None

    def _expected(self) -> int | None:
        """How many reports there must be; None where nothing says."""
        expected = self.expected
        if isinstance(expected, Sized) and not isinstance(expected, (str, Mapping)):
            return len(expected)
        return None if is_empty(expected) else as_count(expected, "expected", minimum=0)

    @staticmethod
    def _limit(given: Any, name: str, configured: Callable[[], Limit]) -> Limit:
        return configured() if is_empty(given) else Limit.parse(given, name)
