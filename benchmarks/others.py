"""Users brought to Halo as teams do it by hand, one pass in a process of its own: what the package is compared with."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import sqlalchemy as sa

from airflow_provider_halo.api.tokens import bulk_token
from benchmarks.passes import measured
from benchmarks.work import IDENTITY_SECRET, WIDGET_KEY

_HEADERS = {"Authorization": f"Bearer {WIDGET_KEY}"}
_USERS_PER_UPDATE = 1_000  # documented
_SQL = """
SELECT u.id, u.name, u.email, u.role, u.locale, u.is_admin, u.logins, u.score, u.signed_up_at,
  a.last_page, a.visits, a.minutes, o.step, o.has_invited, o.finished_at
FROM users u JOIN activity a ON a.user_id = u.id JOIN onboarding o ON o.user_id = u.id
"""
_TRAITS = ("name", "email", "role", "locale", "is_admin", "logins", "score", "signed_up_at")


def users_of(url: str) -> Iterator[dict[str, Any]]:
    """The users as the API takes them, from one query."""
    with sa.create_engine(url).connect() as connection:
        for row in connection.execute(sa.text(_SQL)).mappings():
            activity = {name: row[name] for name in ("last_page", "visits", "minutes")}
            onboarding = {name: row[name] for name in ("step", "has_invited", "finished_at")}
            yield {
                "user_id": str(row["id"]),
                "traits": {name: row[name] for name in _TRAITS},
                "context": {
                    "activity": {"label": "Activity", "type": "status", "value": activity},
                    "onboarding": {"label": "Onboarding", "type": "status", "value": onboarding},
                },
            }


def post(given: dict[str, Any], token: str) -> int:
    """The loop that comes first to mind: `httpx.post` for each user."""
    count = 0
    for user in users_of(given["product"]):
        count += 1
        body = {"user_token": token, "users": [user]}
        httpx.post(f"{given['base_url']}/users/update", json=body, headers=_HEADERS).raise_for_status()
    return count


def client(given: dict[str, Any], token: str) -> int:
    """The same with a client that keeps its connection."""
    count = 0
    with httpx.Client(base_url=given["base_url"], headers=_HEADERS) as kept:
        for user in users_of(given["product"]):
            count += 1
            kept.post("/users/update", json={"user_token": token, "users": [user]}).raise_for_status()
    return count


def hook(given: dict[str, Any], token: str) -> int:
    """Airflow's own way: HttpHook in a task, 1,000 users a request, one request after the other."""
    from airflow.providers.http.hooks.http import HttpHook  # noqa: PLC0415 (the other two do without Airflow)

    users = users_of(given["product"])
    http, count = HttpHook(method="POST", http_conn_id="halo_api"), 0
    while part := list(islice(users, _USERS_PER_UPDATE)):
        count += len(part)
        http.run("users/update", json={"user_token": token, "users": part}, headers=_HEADERS)
    return count


def main(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Send all users of a product in one of the three ways."""
    ways: dict[str, Callable[[dict[str, Any], str], int]] = {"post": post, "client": client, "hook": hook}
    token = bulk_token(IDENTITY_SECRET, time.time())
    if name != "hook":
        return measured(lambda: {"records": ways[name](given, token)})
    with tempfile.TemporaryDirectory(prefix="halo-bench-airflow-") as home:
        connection = {"conn_type": "http", "host": given["base_url"]}
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW_CONN_HALO_API": json.dumps(connection)}
        import airflow.providers.http.hooks.http  # noqa: F401, PLC0415 (imports aren't measured)

        return measured(lambda: {"records": ways[name](given, token)})


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
