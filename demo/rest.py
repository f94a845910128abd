"""Airflow's REST API and the sandbox's own calls, as far as the demo needs them."""

from __future__ import annotations

import json
from typing import Any

import httpx

from demo.failure import DemoFailure

__all__ = ["AirflowApi", "SandboxApi"]

_SECONDS = 30.0


class AirflowApi:
    """Airflow's REST API, with a token that is fetched with the password."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False)
        self._login = {"username": user, "password": password}

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def health(self) -> dict[str, str]:
        """State by part: metadatabase, scheduler, dag_processor. Empty while the API doesn't answer."""
        try:
            response = self._client.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return {}
        if response.status_code != httpx.codes.OK:
            return {}
        return {name: str((part or {}).get("status")) for name, part in response.json().items()}

    def dag_ids(self) -> set[str]:
        """Ids of the DAGs that are there to be run."""
        return {dag["dag_id"] for dag in self._get("/api/v2/dags")["dags"]}

    def import_errors(self) -> list[str]:
        """What kept DAG files from being read."""
        errors = self._get("/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {str(error['stack_trace']).strip().splitlines()[-1]}" for error in errors]

    def pool_slots(self, name: str) -> int | None:
        """Slots of a pool; None when there is no such pool."""
        response = self._send("GET", f"/api/v2/pools/{name}")
        return int(response.json()["slots"]) if response.status_code == httpx.codes.OK else None

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs start."""
        self._checked(self._send("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False}))

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run; returns its id."""
        response = self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(self._checked(response)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """State of a run: queued, running, success, failed."""
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def runs(self, dag_id: str) -> dict[str, str]:
        """State by id of all runs of a DAG."""
        return {run["dag_run_id"]: run["state"] for run in self._get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]}

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, mapped ones included."""
        answer = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")
        return list(answer["task_instances"])

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned, from XCom; None when it returned nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        response = self._send("GET", f"{path}?deserialize=true")
        return response.json()["value"] if response.status_code == httpx.codes.OK else None

    def _get(self, path: str) -> dict[str, Any]:
        return self._checked(self._send("GET", path))

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            if "Authorization" not in self._client.headers:
                token = self._client.post("/auth/token", json=self._login)
                self._client.headers["Authorization"] = f"Bearer {self._checked(token)['access_token']}"
            return self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise DemoFailure(f"Airflow's REST API does not answer {path}: {type(error).__name__}.") from error

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            return dict(response.json())
        raise DemoFailure(
            f"Airflow's REST API answers {response.status_code} to {response.request.method} "
            f"{response.request.url.path}: {response.text[:300]}"
        )


class SandboxApi:
    """What the sandbox tells about itself: the proof of what was stored."""

    def __init__(self, root: str) -> None:
        self._client = httpx.Client(base_url=f"{root}/_sandbox", timeout=_SECONDS, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get("/state").is_success
        except httpx.TransportError:
            return False

    def counts(self) -> dict[str, int]:
        """Records by kind."""
        return dict(self._get("/state"))

    def company(self, key: object) -> dict[str, Any]:
        """One company as it is stored."""
        return dict(self._get(f"/companies/{key}"))

    def user(self, key: object) -> dict[str, Any]:
        """One user as it is stored."""
        return dict(self._get(f"/users/{key}"))

    def as_the_ai_reads_it(self, key: object) -> str:
        """One company in the AI's prompt."""
        return self._client.get(f"/ai/companies/{key}").raise_for_status().text

    def records(self) -> list[dict[str, Any]]:
        """Every record that is stored."""
        with self._client.stream("GET", "/export") as response:
            response.raise_for_status()
            return [json.loads(line) for line in response.iter_lines() if line]

    def _get(self, path: str) -> Any:
        response = self._client.get(path)
        if not response.is_success:
            raise DemoFailure(f"The sandbox answers {response.status_code} to {path}: {response.text[:200]}")
        return response.json()
