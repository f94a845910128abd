"""The API's calls: who may, whether the body is right, what is stored, what is answered."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from airflow_provider_halo.sandbox import access, rules
from airflow_provider_halo.sandbox.config import SandboxState
from airflow_provider_halo.sandbox.rules import Refusal

__all__ = ["API", "DOCUMENTED", "Api", "answer", "refused"]

API: Final = "/api/sdk"  # documented: the path of the base URL

DOCUMENTED: Final = "x-sandbox-documented"  # yes, rule or no, as `Refusal.documented`

Body = dict[str, Any]
_NAMESPACE: Final = uuid.UUID("6b1f2a52-3d0c-4b7e-9a55-0d6f7c1f5e10")  # any constant: ids are the same on each run


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """The answer to a request that is refused. A header says whether HaloAgents documents that, and no client may rely on it."""
    response = answer(refusal.body, refusal.status)
    response.headers[DOCUMENTED] = refusal.documented
    return response


class Api:
    """The calls under the base URL, on the state of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self._config = state.config
        self._store = state.store
        self._clock = state.clock
        self._expired = state.expired

    def routes(self) -> list[BaseRoute]:
        """The routes, with their full paths."""
        calls: dict[str, Callable[[Body], Body]] = {
            "users/identify": self.users_identify,
            "users/update": self.users_update,
            "companies/identify": self.companies_identify,
            "events": self.events,
        }
        posts = [Route(f"{API}/{path}", self._keyed(call), methods=["POST"]) for path, call in calls.items()]
        return [*posts, Route(f"{API}/config", self._public_config, methods=["GET"])]

    def users_identify(self, body: Body) -> Body:
        """One user who is present: stored, and seen now. The answer's form is not documented.

        :raises Refusal: 400 or 403.
        """
        user_id = rules.read_id(body, "user_id")
        if not isinstance(body.get("session_id", ""), str):
            raise Refusal(400, "session_id must be a string", documented="rule")
        self._check_user(body, user_id)
        self._check_poison(user_id)
        rules.check_record(body, rules.USER)
        stored = self._store.identify_user(user_id, body)
        times = {name: stored[name] for name in ("first_seen", "last_seen")}
        return {**self._stored_form(user_id, stored, rules.USER), **times, "company_id": stored["company_id"]}

    def users_update(self, body: Body) -> Body:
        """Many users, none of them seen. All entries are checked before one is stored.

        The answer's form is not documented: counts, and ``errors`` where bad users are let pass.

        :raises Refusal: 400 or 403.
        """
        secret, now = self._config.identity_secret, self._now()
        access.check_bulk_token(body.get("user_token"), secret=secret, now=now, expired=self._expired)
        users = rules.read_users(body)
        for user_id, entry in users:
            self._check_poison(user_id)
            if self._config.refuse_context and "context" in entry:
                raise Refusal(400, "context is not allowed in users/update")
        valid, errors = self._split_valid(users)
        if errors and self._config.bad_user == "named":
            raise Refusal(400, f"{len(errors)} invalid users; nothing was stored", errors=errors)
        counts: Body = dict(self._store.update_users(valid, update_only=body.get("update_only", False)))
        return counts if self._config.bad_user != "partial" else {**counts, "errors": errors}

    def companies_identify(self, body: Body) -> Body:
        """One company, and the link of a user to it; answers with the stored company (documented: its times).

        :raises Refusal: 400 or 403.
        """
        company_id = rules.read_id(body, "company_id")
        user_id = rules.read_id(body, "user_id") if "user_id" in body else None
        if user_id is not None:
            self._check_user(body, user_id)
        rules.check_record(body, rules.COMPANY)
        stored = self._store.identify_company(company_id, body, user_id)
        return {**self._stored_form(company_id, stored, rules.COMPANY), "team_size": stored["team_size"]}

    def events(self, body: Body) -> Body:
        """Events are taken and forgotten, but for one thing: the user they are of is made and seen now (documented).

        No token is asked for: the documentation shows no field for one.

        :raises Refusal: 400.
        """
        user_id = rules.read_event_user(body)
        if user_id is not None:
            self._store.see(user_id)
        return {"success": True}

    async def _public_config(self, request: Request) -> Response:
        """What the widget reads; the only call without a key. What the agent and the settings hold beyond this is not documented."""
        if not request.query_params.get("org_id"):
            raise Refusal(400, "org_id is required", documented="rule")
        agent = {"id": str(uuid.uuid5(_NAMESPACE, f"{self._config.org_id}/agent")), "name": "Sandbox"}
        return answer({"agent": agent, "organization": {"name": "Sandbox", "settings": {}}})

    def _keyed(self, call: Callable[[Body], Body]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            access.check_widget_key(request.headers.get("authorization"), self._config.widget_key)
            return answer(call(rules.read_object(await request.body())))

        return endpoint

    def _split_valid(self, users: Sequence[tuple[str, Body]]) -> tuple[list[tuple[str, Body]], list[Body]]:
        """The users to store, and an error for each of the others.

        :raises Refusal: 400 for the first invalid user, where the sandbox doesn't name them.
        """
        valid: list[tuple[str, Body]] = []
        errors: list[Body] = []
        for user_id, entry in users:
            try:
                rules.check_record(entry, rules.USER, in_bulk=True)
            except Refusal as refusal:
                if self._config.bad_user == "nameless":
                    raise
                errors.append({"user_id": user_id, **refusal.body})
            else:
                valid.append((user_id, entry))
        return valid, errors

    def _now(self) -> float:
        return self._clock().timestamp()

    def _check_user(self, body: Body, user_id: str) -> None:
        if self._config.verify_identity:
            secret, now = self._config.identity_secret, self._now()
            access.check_user_token(body.get("user_token"), user_id, secret=secret, now=now, expired=self._expired)

    def _check_poison(self, user_id: str) -> None:
        if user_id in self._config.poison:
            raise Refusal(400, "Bad request")  # says nothing on purpose: that is what a client must cope with

    def _stored_form(self, key: str, stored: Body, kind: rules.Kind) -> Body:
        """A record as Halo stores it: columns, custom fields, and times with microseconds and +00:00 (documented)."""
        traits = stored["traits"]
        columns: Body = {name: traits.get(name) for name in sorted(kind.columns)}
        columns["signed_up_at"] = _moment(columns["signed_up_at"] or stored.get("signed_up_at"))
        return {
            "id": str(uuid.uuid5(_NAMESPACE, f"{self._config.org_id}/{kind.noun}/{key}")),
            "external_id": key,
            "org_id": self._config.org_id,
            **columns,
            "custom_fields": {name: value for name, value in traits.items() if name not in kind.columns},
            "context": stored["context"],
            "created_at": stored["created_at"],
            "updated_at": stored["updated_at"],
        }


def _moment(value: object) -> str | None:
    moment = rules.parse_iso_8601(value)
    return None if moment is None else moment.isoformat(timespec="microseconds")
