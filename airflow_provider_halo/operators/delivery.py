"""What the operators share that send records given by hand: how a delivery is run and judged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow_provider_halo.exceptions import (
    ContextRefused,
    HaloError,
    HaloUnavailable,
    PayloadTooLarge,
    RequestRefused,
    SystemicRefusal,
    TransientError,
)
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.operators.arguments import NOT_GIVEN, as_key, is_empty
from airflow_provider_halo.operators.base import DataOperator
from airflow_provider_halo.operators.failures import airflow_failures, not_stored

if TYPE_CHECKING:
    from airflow_provider_halo.delivery.report import Report
    from airflow_provider_halo.hooks.sending import Sending
    from airflow_provider_halo.records.payload import Payload
    from airflow_provider_halo.records.problem import Problem, Scope
    from airflow_provider_halo.settings import HaloSettings

__all__ = ["DeliveryOperator"]

_SHORT_WAIT: Final = 10.0  # seconds; whoever fails open would rather go on than wait for Halo
# Halo or the network is away, or Halo refuses records. What is wrong in the DAG, the connection or the plan won't pass.
_MAY_PASS: Final = (HaloUnavailable, TransientError, RequestRefused, PayloadTooLarge, SystemicRefusal, ContextRefused)


class DeliveryOperator(DataOperator):
    """An operator that sends records and gives the counts. Its arguments are described by its subclasses."""

    def __init__(
        self,
        *,
        user_id: Any,
        company_id: Any,
        halo_conn_id: Any,
        ledger_conn_id: Any,
        max_rejected: int | str | None,
        max_retry_seconds: float | None,
        fail_open: bool | Literal["always"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ids = {"user_id": user_id, "company_id": company_id}
        # Which of them were given is kept apart from the values, which a template or an XCom may make empty.
        self.given_ids = tuple(name for name, value in ids.items() if value is not NOT_GIVEN)
        self.user_id = None if user_id is NOT_GIVEN else user_id
        self.company_id = None if company_id is NOT_GIVEN else company_id
        self.halo_conn_id: Any = halo_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.max_rejected = max_rejected
        self.max_retry_seconds = max_retry_seconds
        self.fail_open = fail_open
        if not (isinstance(fail_open, bool) or fail_open == "always"):
            raise ValueError(f'fail_open must be True, False or "always", not {fail_open!r}.')
        if max_retry_seconds is not None and not _is_wait(max_retry_seconds):
            raise ValueError(f"max_retry_seconds must be a number of seconds above 0, not {max_retry_seconds!r}.")

    def named_record(self, warnings: Counter[str], **content: Any) -> Payload | Problem:
        """The one record that ``user_id`` and ``company_id`` name.

        An id that was given and came out empty is a problem. It must never stand for "no user": a person's traits would be
        stored with the company.
        """
        from airflow_provider_halo.hooks.records import payload_from
        from airflow_provider_halo.records.problem import Problem

        ids = {name: as_key(getattr(self, name), name) for name in self.given_ids}
        empty = next((name for name, value in ids.items() if value is None), None)
        if empty is not None:
            scope: Scope = "users" if "user_id" in ids else "companies"
            key = "" if ids.get("user_id") is None else str(ids["user_id"])
            reason = f"is empty: the argument {empty} was given, but its template or XCom gave nothing"
            return Problem(scope, key, empty, reason)
        return payload_from({**ids, **content}, warnings)

    def deliver(self, send: Callable[[Sending], None], *, when_empty: str = "") -> dict[str, Any]:
        """Run a delivery and judge it: counts and keys, never people's data.

        :param send: sends the records.
        :param when_empty: why it counts as failed when there was no record; empty where that is fine.
        """
        from airflow_provider_halo.hooks.sending import Sending

        sending = Sending()
        with airflow_failures():
            try:
                limit = Limit.parse(self.max_rejected, "max_rejected")
                send(sending)
            except HaloError as error:
                report = sending.report(stopped=str(error))
                if self._lets_pass(error, sending):
                    return self._not_delivered(str(error), report)
                if report.records or report.requests:
                    self.log.error("stopped; until then\n%s", report.to_text())  # noqa: TRY400 (the error goes on up)
                raise
            report = sending.report()
            self.log.info("%s", report.to_text())
            reason = self._judge(report, limit, when_empty)
            if reason is None:
                return {"delivered": True, **report.to_dict()}
            if self.fail_open == "always" or (self.fail_open and report.records and not sending.is_reserved):
                return self._not_delivered(reason, report)
            raise not_stored(reason, report)

    def send(self, sending: Sending, **records: Any) -> None:
        """Send records, and have the ledger forget them, where there is one."""
        from airflow_provider_halo.hooks.ledger import airflow_ledger, limiter_of
        from airflow_provider_halo.hooks.sending import send

        settings = self._settings()
        with airflow_ledger(self.ledger_conn_id) as ledger:
            limiter = limiter_of(settings, ledger, self)
            send(settings, sending, ledger=ledger, limiter=limiter, **records)

    def _settings(self) -> HaloSettings:
        """The connection, with this task's own patience."""
        settings = HaloHook(self.halo_conn_id if not is_empty(self.halo_conn_id) else None).settings
        wait = self.max_retry_seconds
        if wait is None:
            wait = min(settings.max_retry_seconds, _SHORT_WAIT) if self.fail_open else settings.max_retry_seconds
        # One request that hangs would make the wait longer than it is said to be.
        timeout = min(settings.timeout, wait) if self.fail_open else settings.timeout
        return replace(settings, max_retry_seconds=float(wait), timeout=timeout)

    def _lets_pass(self, error: HaloError, sending: Sending) -> bool:
        if not self.fail_open:
            return False
        if self.fail_open == "always":
            return True
        return isinstance(error, _MAY_PASS) and not sending.is_reserved

    def _judge(self, report: Report, limit: Limit, when_empty: str) -> str | None:
        from airflow_provider_halo.hooks.sending import failure_with_rejects

        if not report.records and when_empty:
            return when_empty
        return failure_with_rejects(report, limit)

    def _not_delivered(self, reason: str, report: Report) -> dict[str, Any]:
        self.log.warning("Not delivered, and fail_open lets the flow go on: %s", reason)
        return {"delivered": False, "reason": reason, **report.to_dict()}


def _is_wait(seconds: Any) -> bool:
    return (
        isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and math.isfinite(seconds) and seconds > 0
    )
