"""What the operators share that send records given by hand: how a delivery is run and judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.operators.base import DataOperator, airflow_failures

if TYPE_CHECKING:
    from airflow_provider_halo.api.client import Stats
    from airflow_provider_halo.delivery.outcome import Outcome
    from airflow_provider_halo.delivery.report import Report, Tally
    from airflow_provider_halo.settings import HaloSettings

__all__ = ["DeliveryOperator"]


class DeliveryOperator(DataOperator):
    """An operator that sends records and gives the counts. Its arguments are described by its subclasses."""

    def __init__(self, *, ledger_conn_id: Any, max_rejected: int | str | None, fail_open: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.max_rejected = max_rejected
        self.fail_open = fail_open

    def deliver(self, send: Callable[[Tally, Counter[str]], Stats]) -> dict[str, Any]:
        """Run a delivery and judge it: counts and keys, never people's data.

        :param send: sends the records; counts outcomes in the tally, and what it mended in values in the counter.
        """
        from airflow_provider_halo.delivery.report import Tally
        from airflow_provider_halo.hooks.sending import sum_up

        tally, warnings = Tally(), Counter[str]()
        try:
            report = sum_up(tally, warnings, send(tally, warnings))
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
        from airflow_provider_halo.hooks.ledger import airflow_ledger, limiter_of
        from airflow_provider_halo.hooks.sending import send

        with airflow_ledger(self.ledger_conn_id) as ledger:
            limiter = limiter_of(settings, ledger, self)
            return send(settings, emit, ledger=ledger, limiter=limiter, **records)

    def _judge(self, report: Report) -> str | None:
        from airflow_provider_halo.hooks.sending import failure_with_rejects

        return failure_with_rejects(report, Limit.parse(self.max_rejected, "max_rejected"))

    def _not_delivered(self, reason: str) -> dict[str, Any]:
        self.log.warning("Not delivered, and fail_open lets the flow go on: %s", reason)
        return {"delivered": False, "reason": reason}
