"""What the operators share: stopping, data that Airflow never stores, failures and delivery."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_halo.api.blocking import stop_running
from airflow_provider_halo.api.client import Stats
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.report import Report, Tally, failure_of
from airflow_provider_halo.exceptions import (
    AuthError,
    ConnectionMissing,
    ContextRefused,
    HaloError,
    LedgerError,
    PayloadTooLarge,
    PlanError,
    QueryRefused,
    RequestRefused,
    SetupError,
    SourceError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)
from airflow_provider_halo.hooks.ledger import airflow_ledger, limiter_of
from airflow_provider_halo.hooks.sending import send
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.stopped import SyncStopped

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

if TYPE_CHECKING:
    from airflow.sdk import Context


class StoppableOperator(BaseOperator):
    """An operator that stops sending at once when it is told to.

    Airflow's signal alone doesn't end a task: it would send for five seconds more until it is killed, beside the try that
    takes its place.
    """

    def on_kill(self) -> None:
        """Stop what is under way. What Halo has acknowledged until then is still written down in the ledger."""
        self.log.warning("Told to stop: a task that was cleared or marked, or a worker that shuts down")
        if not stop_running():
            sys.exit(1)  # between a query and the next: raised where the task is now, and tried again by Airflow


class DataOperator(StoppableOperator):
    """An operator with `data_fields`.

    Airflow keeps the rendered value of every template field in its database and shows it in the UI, so what holds traits
    must not be one. A data field takes Jinja, XComs and `expand` all the same.
    """

    data_fields: ClassVar[tuple[str, ...]] = ()

    def depend_on_data(self) -> None:
        """Run after the tasks whose XComs the data fields use. Call it when `__init__` has set them."""
        for name in self.data_fields:
            XComArg.apply_upstream_relationship(self, getattr(self, name))

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        # The one place that Airflow calls for single and for mapped tasks, and that knows (by `seen_oids`) which values
        # came out of an XCom: Jinja inside such data must stay text, or whoever writes the data could run templates.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        for name in self.data_fields:
            value = getattr(parent, name)
            self._check_upstream(name, value)
            setattr(parent, name, self.render_template(value, context, jinja_env, seen_oids))

    def _check_upstream(self, name: str, value: Any) -> None:
        # partial() looks at template fields only, so it hasn't made this task wait for the one whose XCom it uses.
        for operator, _ in XComArg.iter_xcom_references(value):
            if operator.task_id not in self.upstream_task_ids:
                raise AirflowFailException(
                    f"{name} comes from the task {operator.task_id!r}, but partial() doesn't make {self.task_id!r} wait "
                    f"for it: set {operator.task_id} >> {self.task_id} in the DAG, or give {name} to expand()."
                )


def run_key_of(context: Context) -> str:
    """What all tasks of a DAG run call it: the DAG and the run."""
    ti = context["ti"]
    return f"{ti.dag_id} {ti.run_id}"


_INCURABLE = (
    AuthError,
    ContextRefused,
    PayloadTooLarge,
    PlanError,
    RequestRefused,
    SetupError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Turn a `HaloError` into the exception that tells Airflow whether to try the task again.

    The causes are cut off: a database driver's error holds the SQL and its values, which don't belong into a task's log.
    """
    try:
        try:
            yield
        except SyncStopped as stopped:
            raise stopped.cause from None
    except asyncio.CancelledError:
        raise AirflowException("The task was told to stop, and did, before it was done.") from None
    except QueryRefused as error:
        raise AirflowFailException(str(error)) from None
    except (ConnectionMissing, SourceError, LedgerError) as error:
        # A database that is down may come back. So may Airflow's API server, without which every connection is missing.
        raise AirflowException(str(error)) from None
    except _INCURABLE as error:
        raise AirflowFailException(str(error)) from None
    except HaloError as error:
        raise AirflowException(str(error)) from None


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
        limit = Limit.parse(self.max_rejected, "max_rejected")
        reason = failure_of(report, max_rejected=limit, allow_empty=True)
        if reason is None:
            return None
        return "; ".join([reason, *(str(problem) for problem in report.rejects[1:])])

    def _not_delivered(self, reason: str) -> dict[str, Any]:
        self.log.warning("Not delivered, and fail_open lets the flow go on: %s", reason)
        return {"delivered": False, "reason": reason}
