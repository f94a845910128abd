"""Stores users and companies by hand: one, a list of them, or what one query gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks.databases import airflow_sources
from airflow_provider_halo.hooks.typed_dicts import ContextEntry, Record
from airflow_provider_halo.operators.arguments import NOT_GIVEN, NotGiven, Resolvable, is_empty
from airflow_provider_halo.operators.delivery import DeliveryOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_halo.hooks.sending import Sending
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

    A key that is given and comes out empty (None, an empty text, an undefined template) is a rejected record: it never
    stands for "no user", which would store a person's traits with the company. Leave the argument out instead.

    :param user_id: the user's key. Templated.
    :param company_id: the company's key. Templated.
    :param traits: names and values.
    :param context: ``{key: {"label": …, "type": …, "value": …}}``.
    :param records: many at once.
    :param sql: a query, or the name of a ``.sql`` file that holds it. Templated.
    :param parameters: values for the names that stand in the query as ``:name``, bound by the database and never pasted into
        the text: ``sql="… WHERE name = :name", parameters={"name": "{{ params.name }}"}``. A list is for ``IN :names``.
    :param source_conn_id: the connection of its database. Templated.
    :param halo_conn_id: connection of type ``halo``; None takes ``[halo] conn_id``. Templated.
    :param activity: send users by users/identify: **sets their last_seen to now** and may start automations. Only for
        people who are present; not for ``sql``.
    :param update_only: skip users that Halo doesn't know.
    :param link_users: link users that name a company to it, one call per user.
    :param ledger_conn_id: the ledger that forgets what is sent here, so that the next sync of a plan restores the plan's
        truth; None takes ``[halo] ledger_conn_id``, ``none`` no ledger. Templated.
    :param allow_empty: no records at all, or a query without rows, is fine. Else the task fails.
    :param max_rejected: how many records may be rejected, a count or a share (``1%``), before the task fails.
    :param max_retry_seconds: how long to wait for Halo to come back. None: as long as the connection says, and 10 seconds at
        most with ``fail_open``.
    :param fail_open: for flows that must not break: what may pass (Halo or the network is away, a time-out, records that
        are refused) is a warning, and the XCom is the report with ``"delivered": False`` and the ``reason``. What won't pass
        fails all the same: a wrong key, connection or plan, a reserved trait, no records. ``"always"``: that doesn't, either.
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
    data_fields: ClassVar[tuple[str, ...]] = ("traits", "context", "records", "parameters")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        user_id: Resolvable[str | int | None] | NotGiven = NOT_GIVEN,
        company_id: Resolvable[str | int | None] | NotGiven = NOT_GIVEN,
        traits: Resolvable[Mapping[str, Any] | None] = None,
        context: Resolvable[Mapping[str, ContextEntry] | Mapping[str, Mapping[str, Any]] | None] = None,
        records: Resolvable[Sequence[Record] | Sequence[Mapping[str, Any]] | None] = None,
        sql: Resolvable[str | None] = None,
        parameters: Resolvable[Mapping[str, Any] | None] = None,
        source_conn_id: Resolvable[str | None] = None,
        halo_conn_id: Resolvable[str | None] = None,
        activity: bool = False,
        update_only: bool = False,
        link_users: bool = True,
        ledger_conn_id: Resolvable[str | None] = None,
        allow_empty: bool = False,
        max_rejected: int | str | None = 0,
        max_retry_seconds: float | None = None,
        fail_open: bool | Literal["always"] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            user_id=user_id,
            company_id=company_id,
            halo_conn_id=halo_conn_id,
            ledger_conn_id=ledger_conn_id,
            max_rejected=max_rejected,
            max_retry_seconds=max_retry_seconds,
            fail_open=fail_open,
            **kwargs,
        )
        self.traits = traits
        self.context = context
        self.records: Any = records
        self.sql = sql
        self.parameters = parameters
        self.source_conn_id = source_conn_id
        self.activity = activity
        self.update_only = update_only
        self.link_users = link_users
        self.allow_empty = allow_empty
        self._check_arguments()
        self.depend_on_data()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 (Airflow's signature)
        """Send the records; the report is the task's XCom."""
        if self.source_conn_id is not None or self.sql is not None:
            return self.deliver(self._send_query, when_empty=self._when_empty("the query returned no row"))
        return self.deliver(self._send_records, when_empty=self._when_empty("records is empty"))

    def _when_empty(self, cause: str) -> str:
        return "" if self.allow_empty else f"{cause}, so nothing was sent; allow_empty=True makes that fine"

    def _check_arguments(self) -> None:
        is_single = bool(self.given_ids)
        if [is_single, self.records is not None, self.sql is not None].count(True) != 1:
            raise ValueError("Give one of: user_id or company_id with traits; records; sql with source_conn_id.")
        if not is_single and (self.traits is not None or self.context is not None):
            raise ValueError("traits and context belong to user_id or company_id; of many, give them inside records.")
        if (self.sql is None) != (self.source_conn_id is None):
            raise ValueError("sql and source_conn_id go together.")
        if self.sql is None and self.parameters is not None:
            raise ValueError("parameters belong to sql, in which they stand as :name.")
        if self.sql is not None and self.activity:
            raise ValueError(
                "activity=True marks every user as active now, so it is for people who are present, not for a query: "
                "leave it off, or give the users by user_id or records."
            )

    def _send_records(self, sending: Sending) -> None:
        from airflow_provider_halo.records.payload import Payload

        payloads = self._payloads(sending.warnings)
        people = sum(isinstance(payload, Payload) and payload.scope == "users" for payload in payloads)
        if self.activity and people:
            self.log.warning(
                "activity=True: users/identify marks %d %s as active now, and may start automations in Halo",
                people,
                "person" if people == 1 else "people",
            )
        self._send(sending, companies=_of_scope("companies", payloads), users=_of_scope("users", payloads))

    def _payloads(self, warnings: Counter[str]) -> list[Payload | Problem]:
        from airflow_provider_halo.hooks.records import payload_from

        if self.given_ids:
            return [self.named_record(warnings, traits=self.traits, context=self.context)]
        records = self.records
        if isinstance(records, (str, bytes, Mapping)) or not isinstance(records, Sequence):
            raise SetupError(
                f"records must be a list of records, not a {type(records).__name__}; of one record give user_id or company_id "
                "and traits, and in place of a template, which makes a text of a list, give task.output."
            )
        return [payload_from(_with_true_keys(record), warnings) for record in records]

    def _send_query(self, sending: Sending) -> None:
        from airflow_provider_halo.hooks.records import records_of

        if is_empty(self.sql) or is_empty(self.source_conn_id):
            raise SetupError("sql and source_conn_id were given, but a template or XCom gave nothing for one of them.")
        with (
            airflow_sources() as sources,
            records_of(
                str(self.sql),
                str(self.source_conn_id),
                sources,
                parameters=self.parameters,
                where=f"sql of the task {self.task_id}",
                warnings=sending.warnings,
            ) as records,
        ):
            self._send(sending, **{records.scope: records.made})

    def _send(self, sending: Sending, **records: Any) -> None:
        self.send(
            sending,
            activity=self.activity,
            update_only=self.update_only,
            link_users=self.link_users,
            **records,
        )


def _with_true_keys(record: Any) -> Any:
    """A record in which a key that a template made of nothing (``None`` as a text) is an empty one.

    None itself stays: as a user's ``company_id`` it means "no company".
    """
    if not isinstance(record, Mapping):
        return record
    empty = {name: "" for name in ("user_id", "company_id") if record.get(name) is not None and is_empty(record[name])}
    return {**record, **empty}


def _of_scope(scope: str, payloads: Sequence[Payload | Problem]) -> Iterator[Payload | Problem]:
    return (payload for payload in payloads if payload.scope == scope)
