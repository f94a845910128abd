"""One pass over the product, in a process of its own, so that its peak memory is that of the pass.

Called by `benchmarks.ledger`; prints what it measured as one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psycopg2  # noqa: F401 (what a pass imports anyway is imported before it begins)
import sqlalchemy as sa
import sqlalchemy.dialects.postgresql.psycopg2
import sqlalchemy.dialects.sqlite

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.query import LoadedPlan, Query, QueryScope
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.model import Company, ContextEntry, User
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.assembly import read_payloads
from airflow_provider_halo.sync.batch import Batch
from airflow_provider_halo.sync.engine import SyncOptions
from airflow_provider_halo.sync.narrowing import narrowed, range_of
from airflow_provider_halo.sync.outcome import SCOPES
from airflow_provider_halo.sync.planning import plan_batches
from airflow_provider_halo.sync.report import Report
from airflow_provider_halo.sync.rows import CHUNK_ROWS
from airflow_provider_halo.sync.run import sync_plan
from benchmarks.product import change, make, open_database

_SCOPES: tuple[QueryScope, ...] = ("companies", "users")
_SEED = blake2b(b"seed", digest_size=16)


class Pass:
    """What all passes are given.

    :param folder: with the product's database and the plan.
    :param base_url: of the Halo that says yes; empty where nothing is sent.
    :param ledger: URL of the ledger's database; empty for none.
    """

    def __init__(self, *, folder: Path, base_url: str, ledger: str, links: bool) -> None:
        self.engine = open_database(folder)
        self.plan: LoadedPlan = load_plan(folder / "halo.yaml")
        self.selection = select(self.plan)
        self.settings = HaloSettings(
            widget_key="ab_live_benchmark",
            identity_secret="ha_secret_of_a_benchmark_that_is_long",
            base_url=base_url or "http://127.0.0.1:9",
        )
        self.ledger = Ledger(sa.create_engine(ledger), "ledger") if ledger else None
        self.options = SyncOptions(link_users=links)

    def sources(self, _: str) -> sa.Engine:
        """The engine of any connection."""
        return self.engine

    def batches(self) -> list[Batch]:
        """The batches that a sync cuts."""
        return plan_batches(self.plan, self.selection, self.sources)

    def floor(self) -> dict[str, int]:
        """The least that anybody must do: the same statements read, made into records, encoded and hashed.

        One query after the other, row by row; the rows of an entry are taken to be those of its records, one each.
        Nothing is checked or converted: no key, no limit, no type.
        """
        count = 0
        for batch in self.batches():
            for scope in _SCOPES:
                if batch.no_company and scope == "companies":
                    continue
                count += self._floor_of(self.plan.traits(scope), self.selection.entries(scope), batch)
        return {"records": count}

    def _floor_of(self, driver: Query | None, entries: tuple[Query, ...], batch: Batch) -> int:
        assert driver is not None
        names, rows = self._rows(driver, batch)
        key_at, company_at = names.index(driver.key), names.index(driver.company)
        others = [(query, *self._rows(query, batch)) for query in entries]
        traits = [(at, name) for at, name in enumerate(names) if name not in {driver.key, driver.company}]
        values = [
            (query, iter(found), [(at, name) for at, name in enumerate(of) if name not in {query.key, query.company}])
            for query, of, found in others
        ]
        count = 0
        for row in rows:
            count += 1
            context = {}
            for query, found, columns in values:
                other = next(found)
                value = {name: other[at] for at, name in columns}
                assert query.entry is not None
                context[query.entry_key or ""] = ContextEntry(query.entry.label, value, query.entry.type)
            record: User | Company
            of_row = {name: row[at] for at, name in traits}
            if driver.scope == "users":
                record = User(user_id=str(row[key_at]), company_id=str(row[company_at]), traits=of_row, context=context)
            else:
                record = Company(company_id=str(row[key_at]), traits=of_row, context=context)
            hasher = _SEED.copy()
            hasher.update(to_json(record.traits))
            hasher.update(to_json(record.context))
            hasher.digest()
        return count

    def _rows(self, query: Query, batch: Batch) -> tuple[tuple[str, ...], Iterator[sa.Row[Any]]]:
        connection = self.engine.connect().execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
        result = connection.execute(narrowed(query, range_of(batch), self.engine.dialect))

        def rows() -> Iterator[sa.Row[Any]]:
            with closing(connection), closing(result):
                for chunk in result.partitions(CHUNK_ROWS):
                    yield from chunk

        return tuple(result.keys()), rows()

    def reading(self) -> dict[str, int]:
        """What a sync does before anything of the ledger: read with all checks, joined by key, encoded, limits held."""
        count = 0
        for batch in self.batches():
            for scope in _SCOPES:
                blocks = read_payloads(scope, self.plan, self.selection, batch, self.sources, lambda *_: None)
                count += sum(isinstance(made, Payload) for block in blocks for made in block)
        return {"records": count}

    def sync(self) -> dict[str, int]:
        """A sync as it is run."""
        run = None
        if self.ledger is not None:
            run = self.ledger.open_run(self.plan.name, self.settings, str(time.time_ns()), whole=True)
        report = sync_plan(self.plan, sources=self.sources, settings=self.settings, options=self.options, run=run)
        return _counted(report)


def _counted(report: Report) -> dict[str, int]:
    if report.total("failed") or report.total("rejected") or report.total("skipped"):
        raise SystemExit(report.to_text())
    return {
        "records": sum(report.counts(scope).total for scope in _SCOPES),
        "requests": report.requests,
        "bytes": report.bytes,
        **{f"{scope}_stored": report.counts(scope).stored for scope in SCOPES},
        **{f"{scope}_unchanged": report.counts(scope).unchanged for scope in SCOPES},
    }


def _peak() -> float:
    """Most memory that this process has had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20) if sys.platform == "darwin" else most / 1024


def main(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do one thing and say how long it took, and what memory it took above what the imports had taken."""
    if name == "ask":
        with sa.create_engine(given["url"], isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(given["sql"])
        return {}
    folder = Path(given["folder"])
    if name == "make":
        make(folder, given["users"])
        return {}
    if name == "change":
        return change(folder, given["time"])
    one = Pass(folder=folder, base_url=given["base_url"], ledger=given["ledger"], links=given["links"])
    todo: Callable[[], dict[str, int]] = getattr(one, name)
    before, began, cpu = _peak(), time.perf_counter(), time.process_time()
    found = todo()
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "megabytes": _peak() - before,
        **found,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
