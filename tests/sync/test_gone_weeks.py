"""Any weeks: whatever comes, goes and fails in between, a green run leaves Halo as the source and the plan have it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from product import PLAN, App, change, stopped_by

from airflow_provider_halo.exceptions import HaloUnavailable
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.sync.stopped import SyncStopped

WEEKLY = PLAN.replace("  company: team_id\n", "  company: team_id\n  no_company: {id: none, name: No company}\n")
WEEKLY += "gone: {empty: true, set: {status: deleted}}\n"
USERS, TEAMS = range(10, 16), range(1, 4)
EMPTY = {"name": None, "email": None, "status": "deleted"}


@dataclass
class Expected:
    """What Halo should hold: by user and team what it was given last."""

    traits: dict[str, dict[str, Any]] = field(default_factory=dict)
    company: dict[str, str | None] = field(default_factory=dict)

    def week(self, users: dict[int, int | None], teams: set[int]) -> None:
        for key in list(self.traits):
            if int(key) not in users and self.traits[key] != EMPTY:
                self.traits[key] = EMPTY
                # The ledger forgets the link, too: who returns without a company keeps the one that Halo has.
                self.forgotten.add(key)
        for number, team in users.items():
            key = str(number)
            before = self.traits.get(key)
            self.traits[key] = {"name": f"User {number}", "email": "e"}
            if before is not None and "status" in before:
                self.traits[key]["status"] = None
            self._link(key, team, teams)

    forgotten: set[str] = field(default_factory=set)

    def _link(self, key: str, team: int | None, teams: set[int]) -> None:
        if team in teams:
            self.company[key] = str(team)
            self.forgotten.discard(key)
        elif team is None and self.company.get(key) is not None and key not in self.forgotten:
            self.company[key] = "none"
        else:
            self.company.setdefault(key, None)


def held(app: App, key: str) -> tuple[dict[str, Any], str | None]:
    user = app.server.store.user(key)
    return user["traits"], user["company_id"]


weeks = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(USERS), st.sampled_from([*TEAMS, None]), min_size=1),
        st.sets(st.sampled_from(TEAMS), min_size=1),
        st.sampled_from([1, 2, 5_000]),
        st.sampled_from(["", "500:first=1", "reset_after:first=2", "500:first=4"]),
    ),
    min_size=2,
    max_size=5,
)


@pytest.fixture
def weekly(app_of) -> App:
    app = app_of(max_retry_seconds=0.2)
    app.use_plan(WEEKLY)
    return app


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weeks=weeks)
def test_any_weeks_leave_halo_as_the_source_has_it(weekly, weeks):
    weekly.server.store.reset()
    weekly.use_plan(f"name: plan_{weekly.runs}\n{WEEKLY}")  # a ledger that knows nothing
    weekly.with_ledger()
    expected = Expected()
    for users, teams, batch_size, fault in weeks:
        change(
            weekly,
            "DELETE FROM users",
            "DELETE FROM teams",
            *(f"INSERT INTO teams VALUES ({team}, 'Team', 'p')" for team in teams),
            *(
                f"INSERT INTO users VALUES ({user}, {'NULL' if team is None else team}, 'User {user}', 'e', 1)"
                for user, team in users.items()
            ),
        )
        if fault:
            weekly.server.faults.set([parse_fault(fault)])
            with suppress(SyncStopped):
                weekly.sync(batch_size=batch_size, force=True)
            weekly.server.faults.set([])
        report = weekly.sync_and_close(batch_size=batch_size, force=True)
        assert report.total("failed") == report.total("rejected") == 0
        expected.week(users, teams)
        for key, traits in expected.traits.items():
            assert held(weekly, key)[0] == traits
            if key in {str(user) for user in users}:
                assert held(weekly, key)[1] == expected.company[key]
        assert weekly.sync_and_close(batch_size=batch_size, force=True).requests == 0


def test_a_run_that_is_killed_between_the_look_and_the_sending_is_taken_up_by_the_next(weekly):
    weekly.with_ledger().fill(teams=[(1, "A", "p")], users=[(key, 1, f"User {key}", "e", 1) for key in USERS])
    weekly.sync_and_close()
    change(weekly, "DELETE FROM users WHERE id < 13")
    weekly.server.faults.set([parse_fault("reset_after")])  # what is sent arrives, and no answer does
    with stopped_by(HaloUnavailable):
        weekly.sync(max_gone="none")
    weekly.server.faults.set([])
    assert held(weekly, "10")[0] == EMPTY
    # The ledger doesn't take it for what it was: should they return now, they are sent whole.
    change(weekly, "INSERT INTO users VALUES (10, 1, 'User 10', 'e', 1)")
    report = weekly.sync_and_close(max_gone="none")
    assert (report.users.stored, report.gone) == (3, {"companies": 0, "users": 2, "links": 0})
    assert held(weekly, "10")[0] == {"name": "User 10", "email": "e", "status": None}
    assert held(weekly, "11")[0] == EMPTY
    assert weekly.sync_and_close().requests == 0
