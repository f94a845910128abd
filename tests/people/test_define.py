"""A definition of the plan is read by queries of every kind, in every database."""

from __future__ import annotations

import pytest

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import SourceError

PLAN = """\
version: 1
source: app
define:
  home: |
    SELECT m.user_id, MIN(m.team_id) AS team_id -- the first one
    FROM memberships m GROUP BY m.user_id
  named_home: SELECT home.user_id, home.team_id, users.name FROM home JOIN users ON users.id = home.user_id
companies:
  key: team_id
  traits: {sql: "SELECT id AS team_id, name FROM teams"}
  context:
    people:
      label: People
      value: people
      sql: SELECT team_id, COUNT(*) AS people FROM home GROUP BY team_id
      empty: 0
users:
  key: user_id
  company: team_id
  traits: {sql: "SELECT user_id, team_id, name FROM named_home"}
  context:
    roles:
      label: Roles
      rows: many
      sql: |
        WITH roles AS (SELECT user_id, role FROM memberships)
        SELECT h.user_id, h.team_id, r.role FROM home h JOIN roles r ON r.user_id = h.user_id
        WHERE {{ batch("h.team_id") }}
"""
MEMBERS = [(1, 2, 0, None), (1, 1, 0, None), (2, 3, 0, None), (3, 3, 0, None)]


@pytest.mark.parametrize("batch_size", [1, 300])
def test_queries_read_definitions_as_tables(club, batch_size):
    club.fill(MEMBERS)
    club.app.use_plan(PLAN)
    report = club.app.sync(batch_size=batch_size)
    assert (report.users, report.links) == (Counts(stored=3), Counts(stored=3))
    assert {key: (company, traits["name"]) for key, (company, traits) in club.held().items()} == {
        "1": ("1", "User 1"),
        "2": ("3", "User 2"),
        "3": ("3", "User 3"),
    }
    people = [club.server.store.company(str(team))["context"]["people"]["value"] for team in range(1, 6)]
    assert people == [1, 0, 2, 0, 0]
    roles = club.server.store.user("1")["context"]["roles"]["value"]
    assert roles == [{"role": "role in 1"}, {"role": "role in 2"}]
    assert club.app.sync(company_ids=[3]).users == Counts(stored=2)


def test_an_error_in_a_definition_names_the_query_and_the_definition(club):
    club.fill(MEMBERS)
    club.app.use_plan(PLAN.replace("FROM memberships m GROUP", "FROM memberships_of m GROUP"))
    with pytest.raises(SourceError) as caught:
        club.app.sync()
    file = f"{club.app.folder}/halo.yaml"
    assert (
        f"users.traits ({file}, line 20; uses home ({file}, line 5) and named_home ({file}, line 7)) failed on connection"
    ) in str(caught.value)
