"""The smallest product with a plan: teams and their users, for tests of what goes on around a sync."""

from __future__ import annotations

from collections.abc import Iterable

ACTIVITY = """\
  context:
    activity:
      label: Activity
      sql: {0}
"""


def shop_plan(source: str, *, name: str | None = None, activity: str | None = None) -> str:
    """A plan over the shop.

    :param source: connection of its database.
    :param activity: SQL of an entry of users; None leaves it out.
    """
    return f"""\
version: 1
{f"name: {name}" if name else "# without a name"}
source: {source}
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name FROM teams
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name FROM users
""" + (ACTIVITY.format(activity) if activity else "")


def shop_sql(teams: Iterable[int]) -> str:
    """The shop's tables, with a user of the same number in each team."""
    numbers = list(teams)
    return f"""
CREATE TABLE teams (id INTEGER, name TEXT);
CREATE TABLE users (id INTEGER, team_id INTEGER, name TEXT);
INSERT INTO teams VALUES {", ".join(f"({team}, 'Team')" for team in numbers)};
INSERT INTO users VALUES {", ".join(f"({team}, {team}, 'User')" for team in numbers)};
"""
