"""Sums the batches of a run up, and says whether the run is done."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import config
from airflow_provider_halo.operators.arguments import is_empty
from airflow_provider_halo.operators.data import DataOperator
from airflow_provider_halo.operators.failures import airflow_failures
from airflow_provider_halo.sync.report import Report, failure_of, merge, parse_max_rejected

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportOperator(DataOperator):
    """Merge the reports of all batches into one, and fail when the run isn't done: green means done.

    It runs whatever became of the batches, and fails when a batch gave no report, when one was stopped or could not
    deliver records, when more were rejected than allowed, or when the plan's queries gave nothing at all.

    :param reports: ``sync.output``: the reports of the batches.
    :param expected: ``plan_batches.output``, or how many reports there must be; None doesn't check.
    :param max_rejected: how many records of the run may be rejected, a count or a share (``1%``); None takes
        ``[halo] max_rejected``. Templated.
    :param allow_empty: a run that read no record at all is fine.
    """

    template_fields: Sequence[str] = ("max_rejected",)
    data_fields: ClassVar[tuple[str, ...]] = ("reports", "expected")
    ui_color = "#ceead6"

    def __init__(
        self,
        *,
        reports: Any,
        expected: Any = None,
        max_rejected: int | str | None = None,
        allow_empty: bool = False,
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self.reports = reports
        self.expected = expected
        self.max_rejected = max_rejected
        self.allow_empty = allow_empty
        self._counts_batches = expected is not None
        self.depend_on_data()

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge the run; the merged report is the task's XCom, also when the task fails."""
        with airflow_failures():
            reports = self._reports()
            limit = self._limit()
        merged = merge(reports)
        self.log.info("%d batches\n%s", len(reports), merged.to_text())
        reason = self._missing(len(reports)) or failure_of(merged, max_rejected=limit, allow_empty=self.allow_empty)
        if reason is None:
            return merged.to_dict()
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=merged.to_dict())
        raise AirflowFailException(reason)

    def _reports(self) -> list[Report]:
        given = [self.reports] if isinstance(self.reports, dict) else list(self.reports or ())
        try:
            return [Report.from_dict(report) for report in given if report is not None]
        except (msgspec.ValidationError, TypeError, ValueError):
            raise SetupError("reports must be the output of SyncOperator tasks.") from None

    def _missing(self, found: int) -> str | None:
        if not self._counts_batches:
            return None
        expected = len(self.expected) if isinstance(self.expected, Sized) else self.expected
        if expected is None:
            return "the batches were never planned, so nothing was sent: see the task upstream that failed"
        if found < int(expected):
            missing = int(expected) - found
            return f"{missing} of {expected} batches gave no report: see the tasks upstream that failed"
        return None

    def _limit(self) -> int | str | None:
        try:
            return parse_max_rejected(config.max_rejected() if is_empty(self.max_rejected) else self.max_rejected)
        except ValueError as error:
            raise SetupError(str(error)) from None
