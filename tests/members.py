"""People who belong to several companies, in a database of each kind, and what Halo's sandbox holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.sandbox.server import SandboxServer
from airflow_provider_halo.settings import HaloSettings
from tests.databases import Database
from tests.product import SECRET, App

PLAN = """\
version: 1
source: app
companies:
  key: team_id
  traits: {sql: "SELECT id AS team_id, name FROM teams"}
users:
  key: user_id
  company: team_id
  traits:
    sql: |
      SELECT u.id AS user_id, m.team_id, u.name, m.role, m.is_home, m.joined_at
      FROM users u LEFT JOIN memberships m ON m.user_id = u.id
"""
PREFER = "  prefer: [is_home desc, joined_at]\n"


class Club:
    """Users and their memberships, a plan over them, and the Halo that it is brought to."""

    def __init__(self, database: Database, server: SandboxServer, folder: Path) -> None:
        self.database = database
        self.server = server
        settings = HaloSettings(widget_key="ab_live_sandbox", identity_secret=SECRET, base_url=server.url)
        self.app = App(database.engine, folder, server, settings)
        self.app.use_plan(PLAN)

    def fill(self, memberships: Sequence[tuple[Any, ...]], *, users: int = 0, teams: int = 5) -> None:
        """Members as ``(user, team, is_home, joined_at)``; ``users`` and ``teams`` are numbered from 1."""
        self.server.store.reset()
        highest = max([users, *(row[0] for row in memberships)])
        self.database.table("teams", "id INT, name VARCHAR(20)", [(n, f"Team {n}") for n in range(1, teams + 1)])
        self.database.table("users", "id INT, name VARCHAR(20)", [(n, f"User {n}") for n in range(1, highest + 1)])
        self.database.table(
            "memberships",
            "user_id INT, team_id INT, role VARCHAR(20), is_home INT, joined_at VARCHAR(20)",
            [(user, team, f"role in {team}", home, joined) for user, team, home, joined in memberships],
        )

    def held(self) -> dict[str, tuple[str | None, dict[str, Any]]]:
        """Of each user in Halo: the company that it is linked to, and its traits."""
        found = {}
        for key in self.server.store.find("users"):
            user = self.server.store.user(key)
            found[key] = (user["company_id"], user["traits"])
        return found

    def rejects(self, report: Report) -> dict[str, str]:
        """Why users were rejected."""
        assert len(report.rejects) == report.users.rejected
        return {problem.key: problem.reason for problem in report.rejects}
