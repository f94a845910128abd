"""The hook: a Halo connection, and the calls of the API as plain methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_provider_halo.api.blocking import run_blocking
from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.api.limiting import Limiter, process_limiter
from airflow_provider_halo.api.responses import Answer
from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.exceptions import HaloError, PayloadTooLarge, RequestRefused
from airflow_provider_halo.hooks import config
from airflow_provider_halo.hooks.connection import settings_of
from airflow_provider_halo.hooks.databases import missing_connection
from airflow_provider_halo.hooks.ledger import current_task, share_of, unpooled_ledger
from airflow_provider_halo.hooks.records import payload_from
from airflow_provider_halo.hooks.sending import send
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.settings import DEFAULTS, HaloSettings


class HaloHook(BaseHook):
    """Calls Halo's API with the keys of an Airflow connection.

    Traits are plain dicts; a context is ``{key: {"label": …, "type": …, "value": …}}``. A record that can't be stored is
    an `Outcome` with its problem; what stops everything (a wrong key, Halo being down) is raised as a `HaloError`.
    The methods may be called anywhere, also where an event loop runs already.

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
        """The asynchronous client behind the hook: ``async with hook.get_conn() as client: …``."""
        return HaloClient(self.settings, limiter=self._limiter())

    def identify_user(
        self,
        user_id: Any,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
    ) -> Outcome:
        """Store one user **who is present now**: Halo sets `last_seen` and may start automations.

        For anything scheduled use `update_users`, which marks nobody as active.
        """
        made = payload_from({"user_id": _given(user_id), "traits": traits, "context": context}, Counter())
        if isinstance(made, Problem):
            return _rejected("users", made)
        return self._one("users", made, lambda client: client.identify_user(made, session_id=session_id))

    def identify_company(
        self, company_id: Any, traits: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Store one company. Marks nobody as active."""
        made = payload_from({"company_id": company_id, "traits": traits, "context": context}, Counter())
        if isinstance(made, Problem):
            return _rejected("companies", made)
        return self._one("companies", made, lambda client: client.identify_company(made))

    def update_users(self, users: Iterable[Mapping[str, Any]], *, update_only: bool = False) -> list[Outcome]:
        """Store any number of users, a thousand a call. Marks nobody as active.

        :param users: ``{"user_id": …, "traits": {…}, "context": {…}}`` each; read as they are sent.
        :param update_only: skip users that Halo doesn't know.
        :return: what became of them, in no order; one outcome may stand for many users.
        :raises SecretMissing: when the connection has no identity secret.
        """
        outcomes: list[Outcome] = []
        warnings: Counter[str] = Counter()

        def made() -> Iterator[Payload | Problem]:
            for user in users:
                payload = payload_from(user, warnings)
                yield payload if payload.scope == "users" else Problem("users", "", "user_id", "is missing")

        send(
            self.settings,
            outcomes.append,
            users=made(),
            update_only=update_only,
            link_users=False,
            limiter=self._limiter(),
        )
        for kind, count in sorted(warnings.items()):
            self.log.warning("%s: %d", kind, count)
        return outcomes

    def link_user(self, user_id: Any, company_id: Any) -> Outcome:
        """Link a user to a company; a company that Halo doesn't know is made. Traits stay as they are."""
        made = payload_from({"user_id": _given(user_id), "company_id": company_id}, Counter())
        if isinstance(made, Problem) or made.company_id is None:
            problem = made if isinstance(made, Problem) else Problem("links", made.key, "company_id", "is missing")
            return _rejected("links", problem)
        return self._one("links", made, lambda client: client.link_user(made.key, str(made.company_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Whether the widget key and the identity secret pass; nothing is stored (Airflow's Test button)."""

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
        return unpooled_ledger(self.ledger_conn_id)

    @cached_property
    def _share(self) -> float:
        return share_of(self.settings, current_task())

    def _limiter(self) -> Limiter | None:
        """A limiter for one event loop; None where the connection has no limit, and the ledger isn't asked."""
        if self.settings.requests_per_second is None:
            return None
        if self._ledger is not None:
            return self._ledger.limiter(self.settings)
        return process_limiter(self.settings, share=self._share)

    def _one(self, scope: Scope, payload: Payload, call: Callable[[HaloClient], Awaitable[Answer]]) -> Outcome:
        async def send_it() -> None:
            async with self.get_conn() as client:
                await call(client)

        try:
            run_blocking(send_it())
        except (RequestRefused, PayloadTooLarge) as error:
            return _rejected(scope, Problem(scope, payload.key, "", error.message))
        return Outcome(scope=scope, status="stored", changes=(Change(payload),))


def _given(user_id: Any) -> Any:
    """An empty key in place of None, which in a record means "no user": of a user's own call that is a mistake."""
    return "" if user_id is None else user_id


def _rejected(scope: Scope, problem: Problem) -> Outcome:
    return Outcome(scope=scope, status="rejected", problem=Problem(scope, problem.key, problem.field, problem.reason))
