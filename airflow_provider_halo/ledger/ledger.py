"""The ledger as a whole: from a database to what it has of one plan, and to one run of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.api.limiting import Limiter
from airflow_provider_halo.ledger.acknowledged import AcknowledgedRecords
from airflow_provider_halo.ledger.database import PATIENCE, Database
from airflow_provider_halo.ledger.erased import ErasedRecords
from airflow_provider_halo.ledger.gone import GoneRecords
from airflow_provider_halo.ledger.rates import shared_limiter
from airflow_provider_halo.ledger.rejects import Rejects
from airflow_provider_halo.ledger.retired import RetiredParts
from airflow_provider_halo.ledger.runs import Runs
from airflow_provider_halo.ledger.schema import PLANS, RUNS, kept_key
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.settings import HaloSettings

__all__ = ["Ledger", "PlanLedger", "Run", "workspace_of"]


@dataclass(frozen=True, kw_only=True)
class PlanLedger:
    """What the ledger has of one plan in one workspace.

    :param workspace: what stands for the workspace, see `workspace_of`.
    """

    plan: str
    workspace: str
    acknowledged: AcknowledgedRecords
    rejects: Rejects
    retired_parts: RetiredParts
    gone: GoneRecords
    erased: ErasedRecords
    runs: Runs


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a plan, which all its batches share.

    :param id: its row in the ledger; 0 of a run that leaves no trace.
    :param task: of Airflow's tasks the one that runs the batches, where a run has several.
    """

    plan_ledger: PlanLedger
    id: int
    task: str = ""

    def limiter(self, settings: HaloSettings) -> Limiter | None:
        """As `Ledger.limiter`, for the workspace of this run."""
        return shared_limiter(self.plan_ledger.acknowledged.database, self.plan_ledger.workspace, settings)


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

    def of_plan(self, plan: str, settings: HaloSettings) -> PlanLedger:
        """What it has of a plan in the workspace that a connection leads to.

        :param plan: the plan's name.
        :raises LedgerError: when the database can't be used.
        """
        self._database.prepare()
        workspace = workspace_of(settings)
        query = sa.select(PLANS.c.id).where(PLANS.c.workspace == workspace, PLANS.c.name == plan)
        return self._plan_ledger(
            self._database.id_of(PLANS, query, {"workspace": workspace, "name": plan}), workspace, plan
        )

    def plans(self, *, name: str | None = None, settings: HaloSettings | None = None) -> list[PlanLedger]:
        """What it has of each plan.

        :param name: only of plans of this name.
        :param settings: only in the workspace that this connection leads to.
        :raises LedgerError: when the database can't be used.
        """
        self._database.prepare()
        statement = sa.select(PLANS.c.id, PLANS.c.workspace, PLANS.c.name).order_by(PLANS.c.name, PLANS.c.id)
        if name is not None:
            statement = statement.where(PLANS.c.name == name)
        if settings is not None:
            statement = statement.where(PLANS.c.workspace == workspace_of(settings))
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [self._plan_ledger(row.id, row.workspace, row.name) for row in rows]

    def open_run(self, plan: str, settings: HaloSettings, run_key: str, *, whole: bool, writes: bool = True) -> Run:
        """One run of a plan; all its batches give the same key, and get the same run.

        :param whole: whether it reads the whole plan and all companies.
        :param writes: False for a run that sends nothing, and leaves no trace.
        :raises LedgerError: when the database can't be used.
        """
        plan_ledger = self.of_plan(plan, settings)
        return Run(plan_ledger=plan_ledger, id=plan_ledger.runs.open(run_key, whole=whole) if writes else 0)

    def runs_of(self, run_key: str) -> list[Run]:
        """The runs of a key, one of each plan that it brought to Halo.

        :raises LedgerError: when the database can't be used.
        """
        ledgers = {ledger.acknowledged.plan_id: ledger for ledger in self.plans()}
        statement = sa.select(RUNS.c.id, RUNS.c.plan_id).where(RUNS.c.run_key == kept_key(run_key))
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [Run(plan_ledger=ledgers[row.plan_id], id=row.id) for row in rows if row.plan_id in ledgers]

    def forget(self, settings: HaloSettings, scope: Scope, keys: Iterable[str]) -> None:
        """Make records unknown in all plans of a workspace, since somebody else has written them.

        :raises LedgerError: when the database can't be used.
        """
        listed = list(keys)
        for plan_ledger in self.plans(settings=settings):
            plan_ledger.acknowledged.forget(scope, listed)

    def erased(self, settings: HaloSettings) -> ErasedRecords:
        """The erased records of a workspace.

        :raises LedgerError: when the database can't be used.
        """
        self._database.prepare()
        return ErasedRecords(self._database, workspace_of(settings))

    def limiter(self, settings: HaloSettings) -> Limiter | None:
        """What holds a connection's requests per second among all tasks that share this ledger; None without a limit.

        It is of one event loop. Only its ``acquire`` asks the database, in a thread, and raises `LedgerError` when that
        can't be used.
        """
        return shared_limiter(self._database, workspace_of(settings), settings)

    def _plan_ledger(self, plan_id: int, workspace: str, name: str) -> PlanLedger:
        return PlanLedger(
            plan=name,
            workspace=workspace,
            acknowledged=AcknowledgedRecords(self._database, plan_id),
            rejects=Rejects(self._database, plan_id),
            retired_parts=RetiredParts(self._database, plan_id),
            gone=GoneRecords(self._database, plan_id),
            erased=ErasedRecords(self._database, workspace),
            runs=Runs(self._database, plan_id),
        )


def workspace_of(settings: HaloSettings) -> str:
    """What stands for the workspace of a connection in the ledger: a digest of its base URL and widget key."""
    return blake2b(f"{settings.base_url}\n{settings.widget_key}".encode(), digest_size=8).hexdigest()
