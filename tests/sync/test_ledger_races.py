"""Two runs of one plan at once: whatever comes between what, the ledger never has of a record what Halo hasn't."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from product import stopped_by

from airflow_provider_halo.delivery.report import Counts
from airflow_provider_halo.exceptions import HaloUnavailable
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.sandbox.faults import parse_fault
from airflow_provider_halo.source.batch import Batch

UNLEARN = "INSERT INTO halo_ledger_records"  # before a record that is known is sent again
NAMES = "INSERT INTO halo_ledger_names"  # before the first record is sent


@contextmanager
def meanwhile(engine: sa.Engine, statement: str, work: Callable[[], object]) -> Iterator[None]:
    """Do something once, before the ledger is told the first statement that begins like this."""
    due = threading.Lock()

    def look(_: sa.Connection, clause: object, *__: object) -> None:
        if str(clause).startswith(statement) and due.acquire(blocking=False):
            work()

    sa.event.listen(engine, "before_execute", look)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_execute", look)


@pytest.fixture
def app(app_of):
    return app_of(max_retry_seconds=0.05)


@pytest.fixture
def ledger_engine(app) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{app.folder / 'ledger.db'}")
    app.ledger = Ledger(engine, "ledger", patience=5)
    yield engine
    engine.dispose()


def execute(app, *statements: str) -> None:
    with app.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_run_of_one_part_does_not_write_back_what_another_run_has_replaced(app, ledger_engine):
    app.fill(teams=[(1, "Acme", "pro")])
    app.sync()
    execute(app, "UPDATE teams SET name = 'Bolt'", "INSERT INTO forms (team_id) VALUES (1)")
    # The run of the context has read the ledger, and the traits in it, when the run of the traits comes and goes.
    with meanwhile(ledger_engine, UNLEARN, lambda: app.sync(only=("companies.traits",))):
        app.sync(only=("companies.context.metrics",))
    execute(app, "UPDATE teams SET name = 'Acme'")
    assert app.sync().companies == Counts(stored=1)
    assert app.server.store.company("1")["traits"]["name"] == "Acme"


def test_a_lost_answer_makes_a_record_unknown_that_another_run_has_stored_meanwhile(app, ledger_engine):
    app.fill(teams=[(1, "Acme", "pro")])

    def overtake() -> None:
        execute(app, "UPDATE teams SET name = 'Bolt'")
        assert app.sync().companies == Counts(stored=1)
        app.server.faults.set([parse_fault("reset_after")])

    # Acme has been read when Bolt is stored; then Acme is stored, too, and nobody hears of it.
    with meanwhile(ledger_engine, NAMES, overtake), stopped_by(HaloUnavailable):
        app.sync()
    app.server.faults.set([])
    assert app.server.store.company("1")["traits"]["name"] == "Acme"
    assert app.sync().companies == Counts(stored=1)
    assert app.server.store.company("1")["traits"]["name"] == "Bolt"


def test_an_answer_that_only_counts_its_skips_makes_records_unknown_that_another_run_has_stored_meanwhile(
    app, ledger_engine
):
    app.fill(teams=[(1, "Acme", "pro")], users=[(10, 1, "Ada", "e", 0), (11, 1, "Bea", "e", 0)])
    app.server.store.update_users([("10", {})], update_only=False)

    def overtake() -> None:
        execute(app, "UPDATE users SET name = 'Zoe' WHERE id = 10")
        assert app.sync_batch(Batch(user=10)).users == Counts(stored=1)

    with meanwhile(ledger_engine, NAMES, overtake):
        assert app.sync(update_only=True, only=("users",)).users == Counts(stored=1, skipped=1)
    assert app.server.store.user("10")["traits"]["name"] == "Ada"
    assert app.sync().users == Counts(stored=2)
    assert app.server.store.user("10")["traits"]["name"] == "Zoe"
