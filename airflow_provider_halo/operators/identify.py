"""Stores users and companies by hand: one, a list of them, or what one query gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.hooks.typed_dicts import ContextEntry, Record
from airflow_provider_halo.operators.arguments import Resolvable, as_key
from airflow_provider_halo.operators.delivery import DeliveryOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_halo.api.client import Stats
    from airflow_provider_halo.delivery.report import Tally
    from airflow_provider_halo.records.payload import Payload
    from airflow_provider_halo.records.problem import Problem

__all__ = ["IdentifyOperator"]


class IdentifyOperator(DeliveryOperator):
    """Store users or companies with their traits. **Marks nobody as active**, unless ``activity=True`` says so.

    One of three:

    - ``user_id`` or ``company_id``, with ``traits`` and perhaps ``context``. With both ids it is the user, who is
      linked to the company;
    - ``records``: a list of ``{"user_id" or "company_id" or both, "traits": {…}, "context": {…}}``;
    - ``sql`` and ``source_conn_id``: a SELECT with a column ``user_id`` (and perhaps ``company_id``) or ``company_id``;
      the other columns are traits. ``sql="users.sql"`` reads the query from a file beside the DAG, or in the DAG's
      ``template_searchpath``.

    What holds people's data (``traits``, ``context``, ``records``) takes Jinja and XComs, but is never shown in the UI
    or stored by Airflow. The task's XCom is the report: counts and keys.

    :param user_id: the user's key. Templated.
    :param company_id: the company's key. Templated.
    :param traits: names and values.
    :param context: ``{key: {"label": …, "type": …, "value": …}}``.
    :param records: many at once.
    :param sql: a query, or the name of a ``.sql`` file that holds it. Templated.
    :param source_conn_id: the connection of its database. Templated.
    :param halo_conn_id: connection of type ``halo``; None takes ``[halo] conn_id``. Templated.
    :param activity: send users by users/identify: **sets their last_seen to now** and may start automations. Only for
        people who are present; not for ``sql``.
    :param update_only: skip users that Halo doesn't know.
    :param link_users: link users that name a company to it, one call per user.
    :param ledger_conn_id: the ledger that forgets what is sent here, so that the next sync of a plan restores the plan's
        truth; None takes ``[halo] ledger_conn_id``, ``none`` no ledger. Templated.
    :param max_rejected: how many records may be rejected, a count or a share (``1%``), before the task fails.
    :param fail_open: a delivery that fails is a warning and ``{"delivered": False, "reason": …}``, for flows that must not
        break.
    """

    template_fields: Sequence[str] = (
        "user_id",
        "company_id",
        "sql",
        "source_conn_id",
        "halo_conn_id",
        "ledger_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    data_fields: ClassVar[tuple[str, ...]] = ("traits", "context", "records")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        user_id: Resolvable[str | int | None] = None,
        company_id: Resolvable[str | int | None] = None,
        traits: Resolvable[Mapping[str, Any] | None] = None,
        context: Resolvable[Mapping[str, ContextEntry] | Mapping[str, Mapping[str, Any]] | None] = None,
        records: Resolvable[Sequence[Record] | Sequence[Mapping[str, Any]] | None] = None,
        sql: Resolvable[str | None] = None,
        source_conn_id: Resolvable[str | None] = None,
        halo_conn_id: Resolvable[str | None] = None,
        activity: bool = False,
        update_only: bool = False,
        link_users: bool = True,
        ledger_conn_id: Resolvable[str | None] = None,
        max_rejected: int | str | None = 0,
        fail_open: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(ledger_conn_id=ledger_conn_id, max_rejected=max_rejected, fail_open=fail_open, **kwargs)
        self.user_id = user_id
        self.company_id = company_id
        self.traits = traits
        self.context = context
        self.records: Any = records
        self.sql = sql
        self.source_conn_id = source_conn_id
        self.halo_conn_id: Any = halo_conn_id
        self.activity = activity
        self.update_only = update_only
        self.link_users = link_users
        self._check_arguments()
        self.depend_on_data()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 (Airflow's signature)
        """Send the records; the report is the task's XCom."""
        return self.deliver(self._send_query if self.sql is not None else self._send_records)

    def _check_arguments(self) -> None:
        is_single = self.user_id is not None or self.company_id is not None
        if [is_single, self.records is not None, self.sql is not None].count(True) != 1:
            raise ValueError("Give one of: user_id or company_id with traits; records; sql with source_conn_id.")
        if not is_single and (self.traits is not None or self.context is not None):
            raise ValueError("traits and context belong to user_id or company_id; of many, give them inside records.")
        if (self.sql is None) != (self.source_conn_id is None):
            raise ValueError("sql and source_conn_id go together.")
        if self.sql is not None and self.activity:
            raise ValueError(
                "activity=True marks every user as active now, so it is for people who are present, not for a query: "
                "leave it off, or give the users by user_id or records."
            )

    def _send_records(self, tally: Tally, warnings: Counter[str]) -> Stats:
        from airflow_provider_halo.hooks.records import payload_from
        from airflow_provider_halo.records.payload import Payload

        records = [self._single()] if self.records is None else self.records
        if isinstance(records, (str, bytes, Mapping)) or not isinstance(records, Sequence):
            raise SetupError("records must be a list of records; of one record give user_id or company_id and traits.")
        payloads = [payload_from(record, warnings) for record in records]
        people = sum(isinstance(payload, Payload) and payload.scope == "users" for payload in payloads)
        if self.activity and people:
            self.log.warning(
                "activity=True: users/identify marks %d %s as active now, and may start automations in Halo",
                people,
                "person" if people == 1 else "people",
            )
        return self._send(tally, companies=_of_scope("companies", payloads), users=_of_scope("users", payloads))

    def _send_query(self, tally: Tally, warnings: Counter[str]) -> Stats:
        from airflow_provider_halo.hooks.records import records_of

        with (
            airflow_sources() as sources,
            records_of(
                str(self.sql),
                str(self.source_conn_id),
                sources,
                where=f"sql of the task {self.task_id}",
                warnings=warnings,
            ) as records,
        ):
            if records.scope == "users":
                return self._send(tally, users=records.made)
            return self._send(tally, companies=records.made)

    def _send(self, tally: Tally, **records: Any) -> Stats:
        return self.send(
            HaloHook(self.halo_conn_id).settings,
            tally.emit,
            activity=self.activity,
            update_only=self.update_only,
            link_users=self.link_users,
            **records,
        )

    def _single(self) -> dict[str, Any]:
        return {
            "user_id": as_key(self.user_id, "user_id"),
            "company_id": as_key(self.company_id, "company_id"),
            "traits": self.traits,
            "context": self.context,
        }


def _of_scope(scope: str, payloads: Sequence[Payload | Problem]) -> Iterator[Payload | Problem]:
    return (payload for payload in payloads if payload.scope == scope)
