"""A database that the package knows nothing of: whose order can't be relied on, so nothing is joined by order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, oracle, registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from airflow_provider_halo.plan.model import Query, Statement
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Company, ContextEntry
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.planning import plan_batches
from airflow_provider_halo.source.sql import Range, narrowed
from tests.databases import read_records


class Stranger(SQLiteDialect_pysqlite):
    """SQLite under a name that nobody has heard of: integers come in the order of numbers, not of their texts."""

    name = "stranger"
    supports_statement_cache = True


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine of that database."""
    registry.impls["stranger"] = lambda: Stranger
    engine = sa.create_engine(f"stranger:///{tmp_path}/stranger.db")
    yield engine
    engine.dispose()
    del registry.impls["stranger"]


def test_every_entry_is_looked_up_and_meets_its_record(stranger, plan):
    with stranger.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE teams (id INT, n INT)")
        connection.exec_driver_sql("INSERT INTO teams VALUES " + ", ".join(f"({n}, {n * n})" for n in range(1, 1201)))
    loaded = plan("""
companies:
  key: id
  traits: {sql: SELECT id FROM teams}
  context: {x: {label: X, value: n, sql: "SELECT id, n FROM teams WHERE id <> 7"}}
""")
    batches = plan_batches(loaded, select(loaded), lambda _: stranger, batch_size=500)
    assert [batch.expected_companies for batch in batches] == [500, 500, 200]
    records = [
        record
        for batch in [*batches, Batch(companies=(7, 8))]
        for record in read_records("companies", loaded, select(loaded), batch, lambda _: stranger, lambda *_: None)
    ]
    assert records == [
        Company(company_id=str(n), context={"x": ContextEntry("X", None if n == 7 else n * n)})
        for n in [*range(1, 1201), 7, 8]
    ]


@pytest.mark.parametrize(
    ("dialect", "quoted"), [(mssql.dialect(), "[key]"), (oracle.dialect(), '"key"')], ids=["mssql", "oracle"]
)
def test_the_sql_for_databases_that_are_not_here_is_plain(dialect, quoted):
    query = Query(
        name="companies.traits",
        scope="companies",
        source="app",
        statement=Statement(("SELECT id AS key, '12:30 100%' AS x FROM teams -- end",)),
        key="key",
        company="key",
        file="halo.yaml",
        line=6,
    )
    sql = str(narrowed(query, Range(1, 9), dialect).compile(dialect=dialect))
    column = f"q.{dialect.identifier_preparer.quote('key')}"
    assert column in {"q.key", f"q.{quoted}"}
    assert sql == (
        "SELECT q.* FROM (SELECT id AS key, '12:30 100%' AS x FROM teams -- end\n"
        f") q WHERE ({column} >= :halo_first AND {column} < :halo_next) ORDER BY {column}"
    )
