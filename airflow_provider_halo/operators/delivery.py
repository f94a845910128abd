"""What the operators for records by hand share: sending, judging and, where asked for, not failing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_halo.api.client import Stats
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.report import Report, Tally, failure_of, parse_max_rejected
from airflow_provider_halo.exceptions import HaloError, SetupError
from airflow_provider_halo.hooks.ledger import airflow_ledger
from airflow_provider_halo.hooks.rates import limiter_of
from airflow_provider_halo.hooks.sending import send
from airflow_provider_halo.operators.data import DataOperator
from airflow_provider_halo.operators.failures import airflow_failures
from airflow_provider_halo.settings import HaloSettings


class DeliveryOperator(DataOperator):
    """An operator that sends records and gives the counts.

    :param ledger_conn_id: connection of the ledger's database, which forgets what is sent here, so that the next sync of
        a plan restores the plan's truth. None takes ``[halo] ledger_conn_id``, ``none`` no ledger. Templated.
    :param max_rejected: how many records may be rejected, a count or a share, before the task fails.
    :param fail_open: a delivery that fails is a warning and ``{"delivered": False, "reason": …}``, for flows that must
        not break.
    """

    def __init__(
        self,
        *,
        ledger_conn_id: str | None = None,
        max_rejected: int | str | None = 0,
        fail_open: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.max_rejected = max_rejected
        self.fail_open = fail_open

    def deliver(self, send: Callable[[Tally, Counter[str]], Stats]) -> dict[str, Any]:
        """Run a delivery and judge it: counts and keys, never people's data.

        :param send: sends the records; counts outcomes in the tally, and what it mended in values in the counter.
        """
        tally, warnings = Tally(), Counter[str]()
        try:
            stats = send(tally, warnings)
            for kind, count in warnings.items():
                tally.warn(kind, count)
            report = tally.report(requests=stats.requests, retries=stats.retries, size=stats.bytes)
            reason = self._judge(report)
        except asyncio.CancelledError:  # told to stop, which is no failed delivery
            with airflow_failures():
                raise
        except HaloError as error:
            if self.fail_open:
                return self._not_delivered(str(error))
            if tally.so_far.records:
                self.log.error("stopped; until then\n%s", tally.so_far.to_text())  # noqa: TRY400 (the error goes on up)
            with airflow_failures():
                raise
        self.log.info("%s", report.to_text())
        if reason is None:
            return {"delivered": True, **report.to_dict()}
        if self.fail_open:
            return self._not_delivered(reason)
        # What could not be delivered is worth another try; what was rejected would be rejected again.
        raise (AirflowException if report.total("failed") else AirflowFailException)(reason)

    def send(self, settings: HaloSettings, emit: Callable[[Outcome], None], **records: Any) -> Stats:
        """Send records, and have the ledger forget them, where there is one."""
        with airflow_ledger(self.ledger_conn_id) as ledger:
            limiter = limiter_of(settings, ledger, self)
            return send(settings, emit, ledger=ledger, limiter=limiter, **records)

    def _judge(self, report: Report) -> str | None:
        try:
            limit = parse_max_rejected(self.max_rejected)
        except ValueError as error:
            raise SetupError(str(error)) from None
        reason = failure_of(report, max_rejected=limit, allow_empty=True)
        if reason is None:
            return None
        return "; ".join([reason, *(str(problem) for problem in report.rejects[1:])])

    def _not_delivered(self, reason: str) -> dict[str, Any]:
        self.log.warning("Not delivered, and fail_open lets the flow go on: %s", reason)
        return {"delivered": False, "reason": reason}
