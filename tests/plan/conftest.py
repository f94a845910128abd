"""What the tests of the plan share: a right plan, and ways to load a text as a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.model import LoadedPlan

RIGHT = """\
# A right plan; the tests change one thing in it.
version: 1
source: forms_app
companies:
  key: team_id
  traits:
    sql: |
      SELECT t.id AS team_id, t.name, t.created_at AS signed_up_at, s.plan, 'annual' AS contract_term, s.is_trial
      FROM teams t LEFT JOIN subscriptions s ON s.team_id = t.id
  context:
    metrics:
      label: Product Metrics
      type: metric
      sql: SELECT team_id, count(*) AS forms FROM forms GROUP BY team_id
      empty: {forms: 0}
    integrations:
      label: Connected Integrations
      type: integration
      name: service
      sql: sql/integrations.sql
    errors:
      label: Open Problems
      type: error
      sql: SELECT team_id, id, title, opened_at FROM problems WHERE {{ batch("problems.team_id") }}
      order_by: [opened_at desc, id]
      limit: 20
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, email, role, has_form FROM users
  context:
    onboarding:
      label: Onboarding & Activity
      type: status
      sql: SELECT user_id, team_id, step, done FROM onboarding
questions:
  - ask: Why isn't my HubSpot sync working?
    answered_by: [companies.context.integrations]
"""
INTEGRATIONS = """\
-- what is connected
SELECT team_id, service, connected, status, error
FROM integrations;
"""


class PlanFolder:
    """A folder that is the working directory, so that a plan in it has a short name in every message."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.right = RIGHT
        self.write("sql/integrations.sql", INTEGRATIONS)

    def write(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def load(self, text: str | bytes) -> LoadedPlan:
        return load_plan(self.write("halo.yaml", text))

    def changed(self, old: str, new: str) -> str:
        assert self.right.count(old) == 1, f"{old!r} must stand once in the right plan"
        return self.right.replace(old, new)

    def problems(self, text: str | bytes) -> list[str]:
        try:
            self.load(text)
        except PlanError as error:
            return str(error).split("\n")
        return []


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanFolder:
    monkeypatch.chdir(tmp_path)
    return PlanFolder(tmp_path)
