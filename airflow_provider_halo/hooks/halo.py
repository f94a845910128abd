"""The hook: a Halo connection, and the calls of the API as plain methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_provider_halo.exceptions import HaloError, PayloadTooLarge, RecordsNotStored, RequestRefused
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.connection import settings_of
from airflow_provider_halo.hooks.databases import missing_connection
from airflow_provider_halo.hooks.typed_dicts import ContextEntry, ReportDict, UserRecord
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.settings import DEFAULTS, HaloSettings

if TYPE_CHECKING:
    from airflow_provider_halo.api.client import HaloClient, Stats
    from airflow_provider_halo.api.limiting import Limiter
    from airflow_provider_halo.api.responses import Answer
    from airflow_provider_halo.delivery.report import Report
    from airflow_provider_halo.hooks.sending import Sending
    from airflow_provider_halo.ledger.ledger import Ledger
    from airflow_provider_halo.records.payload import Payload

__all__ = ["HaloHook"]


class HaloHook(BaseHook):
    """Calls Halo's API with the keys of an Airflow connection.

    Traits are plain dicts; a context is ``{key: {"label": …, "type": …, "value": …}}``. Every method that sends returns a
    `ReportDict`: counts, keys and warnings, never traits, so that a task may return it. It raises `RecordsNotStored`, which
    carries that report, for what can't be stored, and another `HaloError` for what stops everything (a wrong key, Halo being
    down). The methods may be called anywhere, also where an event loop runs already.

    :param halo_conn_id: the connection; None takes ``[halo] conn_id``.
    :param ledger_conn_id: connection of the ledger's database, by which the connection's ``requests_per_second`` is held
        across tasks; nothing else is read or written there. None takes ``[halo] ledger_conn_id``, ``none`` no ledger.
    """

    conn_name_attr = "halo_conn_id"
    default_conn_name = DEFAULTS.conn_id
    conn_type = "halo"
    hook_name = "HaloAgents"

    def __init__(self, halo_conn_id: str | None = None, *, ledger_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.halo_conn_id = halo_conn_id or config.conn_id()
        self.ledger_conn_id = ledger_conn_id

    @cached_property
    def settings(self) -> HaloSettings:
        """The connection, checked; its secrets are masked in logs from here on.

        :raises SetupError: for a connection that is missing or can't be used.
        """
        try:
            connection = self.get_connection(self.halo_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self.halo_conn_id, "The Halo connection") from None
        # Airflow masks extras by their name and the password by its place; what it masks may change, these must not show.
        for secret in (
            connection.password,
            connection.extra_dejson.get("identity_secret") if connection.extra else None,
        ):
            if secret:
                mask_secret(secret)
        return settings_of(connection, self.halo_conn_id)

    def get_conn(self) -> HaloClient:
        """The asynchronous client behind the hook: ``async with hook.get_conn() as client: …``.

        Its methods take and give the package's internal types, which may change; what is stable are the hook's own.
        """
        from airflow_provider_halo.api.client import HaloClient

        return HaloClient(self.settings, limiter=self._limiter())

    def identify_user(
        self,
        user_id: str | int,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, ContextEntry] | Mapping[str, Mapping[str, Any]] | None = None,
        *,
        session_id: str | None = None,
    ) -> ReportDict:
        """Store one user **who is present now**: Halo sets `last_seen` and may start automations.

        For anything scheduled use `update_users`, which marks nobody as active.

        :param session_id: the session in which the user is present; None leaves it out.
        :raises RecordsNotStored: when the user can't be stored.
        :raises HaloError: when nothing can: a wrong key, Halo being down.
        """
        return self._send_one(
            "users",
            {"user_id": _key_or_empty(user_id), "traits": traits, "context": context},
            lambda client, user: client.identify_user(user, session_id=session_id),
        )

    def identify_company(
        self,
        company_id: str | int,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, ContextEntry] | Mapping[str, Mapping[str, Any]] | None = None,
    ) -> ReportDict:
        """Store one company. Marks nobody as active.

        :raises RecordsNotStored: when the company can't be stored.
        :raises HaloError: when nothing can: a wrong key, Halo being down.
        """
        return self._send_one(
            "companies",
            {"company_id": company_id, "traits": traits, "context": context},
            lambda client, company: client.identify_company(company),
        )

    def link_user(self, user_id: str | int, company_id: str | int) -> ReportDict:
        """Link a user to a company; a company that Halo doesn't know is made. Traits stay as they are.

        :raises RecordsNotStored: when the link can't be stored.
        :raises HaloError: when nothing can: a wrong key, Halo being down.
        """
        return self._send_one(
            "links",
            {"user_id": _key_or_empty(user_id), "company_id": company_id},
            lambda client, user: client.link_user(user.key, user.company_id or ""),
        )

    def update_users(
        self,
        users: Iterable[UserRecord] | Iterable[Mapping[str, Any]],
        *,
        update_only: bool = False,
        max_rejected: int | str | None = 0,
    ) -> ReportDict:
        """Store any number of users, a thousand a call. Marks nobody as active.

        :param users: ``{"user_id": …, "traits": {…}, "context": {…}}`` each. Any iterable, also a generator: users are read
            as they are sent, in another thread, and memory doesn't grow with their number.
        :param update_only: skip users that Halo doesn't know.
        :param max_rejected: how many users may be rejected: a count (``20``), a share (``1%``), or None for any number.
        :return: what became of them.
        :raises RecordsNotStored: when more are rejected, or any couldn't be delivered. All others are stored by then.
        :raises SecretMissing: when the connection has no identity secret.
        :raises HaloError: when sending can't go on: a wrong key, Halo being down. The log says what was stored until then.
        :raises TypeError: when ``users`` is no iterable of records.
        :raises SetupError: when ``max_rejected`` is no limit.
        """
        from airflow_provider_halo.hooks.sending import failure_with_rejects, send

        _check_iterable(users)
        limit = Limit.parse(max_rejected, "max_rejected")

        def deliver(sending: Sending) -> None:
            send(
                self.settings,
                sending,
                users=_user_payloads(users, sending.warnings),
                update_only=update_only,
                link_users=False,
                limiter=self._limiter(),
            )

        return self._deliver(deliver, lambda report: failure_with_rejects(report, limit))

    def test_connection(self) -> tuple[bool, str]:
        """Whether the widget key and the identity secret pass; nothing is stored (Airflow's Test button)."""
        from airflow_provider_halo.api.blocking import run_blocking
        from airflow_provider_halo.api.client import HaloClient

        async def test() -> tuple[bool, str]:
            # Without the ledger: a test of Halo's keys mustn't fail, or take a minute, for a database that is away.
            async with HaloClient(self.settings) as client:
                return await client.test()

        try:
            return run_blocking(test())
        except HaloError as error:
            return False, str(error)

    @cached_property
    def _ledger(self) -> Ledger | None:
        from airflow_provider_halo.hooks.ledger import unpooled_ledger

        return unpooled_ledger(self.ledger_conn_id)

    @cached_property
    def _share(self) -> float:
        from airflow_provider_halo.hooks.ledger import current_task, share_of

        return share_of(self.settings, current_task())

    def _limiter(self) -> Limiter | None:
        """A limiter for one event loop; None where the connection has no limit, and the ledger isn't asked."""
        if self.settings.requests_per_second is None:
            return None
        if self._ledger is not None:
            return self._ledger.limiter(self.settings)
        from airflow_provider_halo.api.limiting import process_limiter

        return process_limiter(self.settings, share=self._share)

    def _send_one(
        self, scope: Scope, record: Mapping[str, Any], call: Callable[[HaloClient, Payload], Awaitable[Answer]]
    ) -> ReportDict:
        """Send one record by one call."""
        from airflow_provider_halo.api.blocking import run_blocking
        from airflow_provider_halo.api.client import HaloClient
        from airflow_provider_halo.delivery.outcome import Outcome
        from airflow_provider_halo.hooks.records import payload_from

        async def send(payload: Payload, stats: Stats) -> Problem | None:
            async with HaloClient(self.settings, limiter=self._limiter(), stats=stats) as client:
                try:
                    await call(client, payload)
                except (RequestRefused, PayloadTooLarge) as error:
                    return Problem(scope, payload.key, "", error.message)
                return None

        def deliver(sending: Sending) -> None:
            payload = payload_from(record, sending.warnings)
            if isinstance(payload, Problem):
                problem: Problem | None = Problem(scope, payload.key, payload.field, payload.reason)
            elif scope == "links" and payload.company_id is None:
                problem = Problem(scope, payload.key, "company_id", "is missing")
            else:
                problem = run_blocking(send(payload, sending.stats))
            sending.emit(Outcome(scope=scope, status="rejected" if problem else "stored", problem=problem))

        return self._deliver(deliver, lambda report: str(report.rejects[0]) if report.rejects else None)

    def _deliver(self, deliver: Callable[[Sending], None], failure_of: Callable[[Report], str | None]) -> ReportDict:
        """Run a delivery; its report, in which nothing but counts and keys is left of the records."""
        from airflow_provider_halo.hooks.sending import Sending

        sending = Sending()
        try:
            deliver(sending)
        except HaloError as error:
            report = sending.report(stopped=str(error))
            if report.records or report.requests:
                self.log.error("Stopped early; until then\n%s", report.to_text())  # noqa: TRY400 (it goes on up)
            raise
        for kind, count in sorted(sending.warnings.items()):
            self.log.warning("%s: %d", kind, count)
        report = sending.report()
        failure = failure_of(report)
        if failure is not None:
            raise RecordsNotStored(failure, report.to_dict())
        return cast("ReportDict", report.to_dict())


def _key_or_empty(user_id: Any) -> Any:
    """An empty key in place of None, which in a record means "no user": of a user's own call that is a mistake."""
    return "" if user_id is None else user_id


def _check_iterable(users: Any) -> None:
    if isinstance(users, (str, bytes, Mapping)) or not isinstance(users, Iterable):
        raise TypeError(
            "users must be an iterable of records, such as [{'user_id': 'u1', 'traits': {'plan': 'pro'}}], "
            f"not a {type(users).__name__}."
        )


def _user_payloads(users: Iterable[Mapping[str, Any]], warnings: Counter[str]) -> Iterator[Payload | Problem]:
    from airflow_provider_halo.hooks.records import payload_from

    for user in users:
        payload = payload_from(user, warnings)
        if payload.scope == "users":
            yield payload
        elif isinstance(user, Mapping):
            yield Problem("users", "", "user_id", "is missing")
        else:
            yield Problem(
                "users", "", "", f"is a {type(user).__name__}, and no object with user_id, traits and context"
            )
