"""What a run sends doesn't depend on the database that its ledger lives in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import own_url

from airflow_provider_halo.delivery.report import Counts, Report

NOT_LINKED = {"links skipped: its company is not in the companies query": 1}


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, by the driver that the test names."""
    yield from own_url(request.param, tmp_path, "ledger_runs")


def told(report: Report) -> tuple[Counts, Counts, Counts, int, dict[str, int]]:
    return report.companies, report.users, report.links, report.requests, report.warnings


@pytest.mark.parametrize(
    "ledger_url",
    [
        "sqlite",
        *(pytest.param(driver, marks=pytest.mark.databases) for driver in ("psycopg2", "pymysql")),
    ],
    indirect=True,
)
def test_only_what_changed_is_sent_wherever_the_ledger_lives(app, ledger_url):
    def change(*statements: str) -> None:
        with app.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def sync(**options: object) -> tuple[Counts, Counts, Counts, int, dict[str, int]]:
        return told(app.sync(batch_size=2, **options))

    app.with_ledger(ledger_url)
    app.fill(
        teams=[(1, "Acme", "pro"), (2, "Bolt", "free")],
        users=[
            (10, 1, "Ada", "ada@example.com", 5),
            (11, 2, "Bea", "bea@example.com", 0),
            (12, None, "Cid", "cid@example.com", 1),
            (13, 99, "Dan", "dan@example.com", 2),  # of a team that isn't in the companies query
        ],
    )
    unchanged = Counts(unchanged=2), Counts(unchanged=4), Counts(unchanged=2, skipped=1), 0, NOT_LINKED

    # 2 companies; users of 3 ranges and those without a company; 2 links.
    assert sync() == (Counts(stored=2), Counts(stored=4), Counts(stored=2, skipped=1), 8, NOT_LINKED)
    assert sync() == unchanged

    change(
        "UPDATE teams SET plan = 'pro' WHERE id = 2",
        "UPDATE users SET visits = 6 WHERE id = 10",
    )
    assert sync() == (
        Counts(stored=1, unchanged=1),
        Counts(stored=1, unchanged=3),
        Counts(unchanged=2, skipped=1),
        2,
        NOT_LINKED,
    )
    assert sync() == unchanged

    # A moved user is one link, and no user: its team is none of its traits.
    change("UPDATE users SET team_id = 2 WHERE id = 10")
    assert sync() == (
        Counts(unchanged=2),
        Counts(unchanged=4),
        Counts(stored=1, unchanged=1, skipped=1),
        1,
        NOT_LINKED,
    )
    assert app.server.store.user("10")["company_id"] == "2"
    assert sync() == unchanged

    # What a run of one part has sent, a run of all knows.
    change("INSERT INTO forms (team_id) VALUES (2)")
    assert sync(only=("companies.context.metrics",)) == (Counts(stored=1, unchanged=1), Counts(), Counts(), 1, {})
    assert sync() == unchanged

    # A value that returns is a change like any other.
    change("UPDATE teams SET plan = 'free' WHERE id = 2")
    assert sync()[3] == 1
    assert app.server.store.company("2")["traits"]["plan"] == "free"
    assert sync() == unchanged

    app.ledger.forget(app.settings, "users", ["11", "12"])
    app.ledger.forget(app.settings, "links", ["11"])
    assert sync() == (
        Counts(unchanged=2),
        Counts(stored=2, unchanged=2),
        Counts(stored=1, unchanged=1, skipped=1),
        3,
        NOT_LINKED,
    )
    assert sync(full=True)[:3] == (Counts(stored=2), Counts(stored=4), Counts(stored=2, skipped=1))
    assert sync() == unchanged
