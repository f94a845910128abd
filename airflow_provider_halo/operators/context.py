"""Stores context entries of one user or company by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks.typed_dicts import ContextEntry
from airflow_provider_halo.operators.arguments import NOT_GIVEN, NotGiven, Resolvable, is_empty
from airflow_provider_halo.operators.delivery import DeliveryOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_halo.hooks.sending import Sending

__all__ = ["ContextOperator"]


class ContextOperator(DeliveryOperator):
    """Store what the AI may know of one user or company, beside its traits. **Marks nobody as active** by default.

    One entry by ``key``, ``label``, ``type`` and ``value``, or several by ``entries``. An entry replaces the one of the
    same key whole; others stay. ``value`` and ``entries`` take Jinja and XComs, but are never shown in the UI or stored
    by Airflow.

    :param user_id: the user's key. Templated. One that comes out empty is a rejected record. Or:
    :param company_id: the company's key, likewise. Templated.
    :param key: the entry's key. Templated.
    :param label: heads the section in the AI's prompt. Templated.
    :param type: one of list, integration, error, status, config, feature, metric, relationship, custom; None lets Halo
        pick a rendering from the value. Templated.
    :param value: any JSON value.
    :param entries: ``{key: {"label": …, "type": …, "value": …}}``.
    :param halo_conn_id: connection of type ``halo``; None takes ``[halo] conn_id``. Templated.
    :param activity: send the user by users/identify: **sets last_seen to now** and may start automations. Only for one
        who is present.
    :param ledger_conn_id: the ledger that forgets what is sent here, so that the next sync of a plan restores the plan's
        truth; None takes ``[halo] ledger_conn_id``, ``none`` no ledger. Templated.
    :param max_rejected: 0 (the default) fails the task when the entry is rejected.
    :param max_retry_seconds: how long to wait for Halo to come back. None: as long as the connection says, and 10 seconds at
        most with ``fail_open``.
    :param fail_open: for flows that must not break: what may pass (Halo or the network is away, a time-out, records that
        are refused) is a warning, and the XCom is the report with ``"delivered": False`` and the ``reason``. What won't pass
        fails all the same: a wrong key, connection or plan, a reserved trait. ``"always"``: that doesn't, either.
    """

    template_fields: Sequence[str] = (
        "user_id",
        "company_id",
        "key",
        "entry_label",
        "type",
        "halo_conn_id",
        "ledger_conn_id",
    )
    data_fields: ClassVar[tuple[str, ...]] = ("value", "entries")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        user_id: Resolvable[str | int | None] | NotGiven = NOT_GIVEN,
        company_id: Resolvable[str | int | None] | NotGiven = NOT_GIVEN,
        key: Resolvable[str | None] = None,
        label: Resolvable[str | None] = None,
        type: Resolvable[str | None] = None,  # noqa: A002 (the API's word for it)
        value: Any = None,
        entries: Resolvable[Mapping[str, ContextEntry] | Mapping[str, Mapping[str, Any]] | None] = None,
        halo_conn_id: Resolvable[str | None] = None,
        activity: bool = False,
        ledger_conn_id: Resolvable[str | None] = None,
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
        self.key = key
        self.entry_label = label  # Airflow shows `label`, a property of every operator, in the graph
        self.type = type
        self.value = value
        self.entries: Any = entries
        self.activity = activity
        self._names_entry = entries is None
        if len(self.given_ids) != 1:
            raise ValueError("Give either user_id or company_id.")
        if (entries is None) == (key is None or label is None):
            raise ValueError("Give either key, label and value of one entry, or entries.")
        if activity and "user_id" not in self.given_ids:
            raise ValueError("activity=True is for a user who is present: give user_id, or leave it off.")
        self.depend_on_data()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 (Airflow's signature)
        """Send the entries; the report is the task's XCom."""
        return self.deliver(self._send)

    def _entries(self) -> Mapping[str, Any]:
        if not self._names_entry:
            if not isinstance(self.entries, Mapping) or not self.entries:
                raise SetupError("entries must hold at least one entry: {key: {label, type, value}}.")
            return self.entries
        for name, value in (("key", self.key), ("label", self.entry_label)):
            if is_empty(value):  # the AI would be told of an entry None
                raise SetupError(f"{name} is empty: it was given, but its template or XCom gave nothing.")
        kind = None if is_empty(self.type) else self.type
        return {str(self.key): {"label": self.entry_label, "type": kind, "value": self.value}}

    def _send(self, sending: Sending) -> None:
        payload = self.named_record(sending.warnings, context=self._entries())
        if self.activity:
            self.log.warning("activity=True: users/identify marks 1 person as active now")
        records: dict[str, Any] = {payload.scope: [payload]}
        self.send(sending, activity=self.activity, **records)
