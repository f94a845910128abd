"""The ledger as a whole: from a database to the pages of one plan, and to one run of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.book import AT_ONCE, Book, is_keepable
from airflow_provider_halo.ledger.database import PATIENCE, Database, Upsert
from airflow_provider_halo.ledger.names import Names
from airflow_provider_halo.ledger.rejects import Rejects
from airflow_provider_halo.ledger.runs import Runs
from airflow_provider_halo.ledger.schema import PLANS, RECORDS
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.settings import HaloSettings


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What the ledger has of one plan in one workspace."""

    book: Book
    rejects: Rejects
    names: Names
    runs: Runs


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a plan, which all its batches share.

    :param id: its row in the ledger.
    :param whole: whether it is of the whole plan and all companies.
    """

    pages: Pages
    id: int
    whole: bool


class Ledger:
    """What Halo has acknowledged, kept in a database.

    :param engine: of the database; its tables are made on first use.
    :param conn_id: names it in errors.
    :param patience: seconds that it may be away before that is an error.
    """

    def __init__(self, engine: sa.Engine, conn_id: str, *, patience: float = PATIENCE) -> None:
        self._database = Database(engine, conn_id, patience=patience)

    @property
    def conn_id(self) -> str:
        """The connection of its database."""
        return self._database.conn_id

    def pages(self, plan: str, settings: HaloSettings) -> Pages:
        """The pages of a plan in the workspace that a connection leads to.

        :param plan: the plan's name.
        :raises LedgerError: when the database can't be used.
        """
        self._database.prepare()
        plan_id = self._plan_id(workspace_of(settings), plan)
        return Pages(
            book=Book(self._database, plan_id),
            rejects=Rejects(self._database, plan_id),
            names=Names(self._database, plan_id),
            runs=Runs(self._database, plan_id),
        )

    def open_run(self, plan: str, settings: HaloSettings, run_key: str, *, whole: bool, writes: bool = True) -> Run:
        """One run of a plan; all its batches give the same key, and get the same run.

        :param writes: False for a run that sends nothing, and leaves no trace.
        :raises LedgerError: when the database can't be used.
        """
        pages = self.pages(plan, settings)
        return Run(pages=pages, id=pages.runs.open(run_key, whole=whole) if writes else 0, whole=whole)

    def forget(self, settings: HaloSettings, scope: Scope, keys: Iterable[str]) -> None:
        """Make records unknown in all plans of a workspace, since somebody else has written them.

        Also such as the ledger doesn't know yet: a sync that is sending them now must not take them for its own.

        :raises LedgerError: when the database can't be used.
        """
        self._database.prepare()
        plans = sa.select(PLANS.c.id).where(PLANS.c.workspace == workspace_of(settings))
        plan_ids: Sequence[int] = self._database.read(lambda connection: connection.scalars(plans).all())
        kept = sorted({key for key in keys if is_keepable(key)})
        forget = Upsert(self._database.engine.dialect, RECORDS, ["plan_id", "scope", "key", "token"], _forgotten)
        for plan_id in plan_ids:
            for at in range(0, len(kept), AT_ONCE):
                rows = [{"plan_id": plan_id, "scope": scope, "key": key, "token": 1} for key in kept[at : at + AT_ONCE]]
                self._database.write(partial(forget.run, rows=rows))

    def _plan_id(self, workspace: str, name: str) -> int:
        found = sa.select(PLANS.c.id).where(PLANS.c.workspace == workspace, PLANS.c.name == name)
        return self._database.id_of(PLANS, found, {"workspace": workspace, "name": name})


def workspace_of(settings: HaloSettings) -> str:
    """What stands for the workspace of a connection in the ledger: a digest of its base URL and widget key."""
    return blake2b(f"{settings.base_url}\n{settings.widget_key}".encode(), digest_size=8).hexdigest()


def _forgotten(_: object) -> dict[str, sa.ColumnElement[object]]:
    one: sa.ColumnElement[int] = sa.literal_column("1")
    return {"fingerprint": sa.null(), "parts": sa.null(), "refused": sa.null(), "token": RECORDS.c.token + one}
