"""Runs and their batches: when, how much, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.acknowledged import utc_now
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import BATCHES, REJECTS, RUNS, kept_key, kept_text
from airflow_provider_halo.ledger.statements import Upsert
from airflow_provider_halo.records.problem import SCOPES, STATUSES

__all__ = ["RunRow", "Runs", "State"]

_ONE: Final[sa.ColumnElement[int]] = sa.literal_column("1")
State = Literal["running", "done", "failed"]
_SUMS: Final = ("requests", "retries", "bytes", "seconds")  # of a batch they add up over its attempts
_LABEL: Final = 255
_REASON: Final = 10_000
_AT_ONCE: Final = 500  # runs that one statement deletes: an IN list has its limits


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as the ledger has it.

    :param run_key: of Airflow: DAG and run; of the command: made up.
    :param whole: whether it was of the whole plan and all companies.
    :param reason: why it failed.
    :param batches: how many have begun; ``batches_done``: how many have ended well.
    :param report: the run's report, once it is closed; else None.
    """

    run_key: str
    whole: bool
    state: State
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    stored: int
    partial: int
    unchanged: int
    skipped: int
    rejected: int
    failed: int
    requests: int
    retries: int
    bytes: int
    seconds: float
    batches: int
    batches_done: int
    report: dict[str, Any] | None


class Runs:
    """The runs of one plan in one workspace."""

    def __init__(self, database: Database, plan_id: int) -> None:
        self._database = database
        self._plan_id = plan_id
        self._dialect = database.engine.dialect
        self._begun = Upsert(self._dialect, BATCHES, [column.name for column in BATCHES.c], _begun_again)

    def open(self, run_key: str, *, whole: bool) -> int:
        """The id of a run, which is made when it isn't there: all tasks of a run find the same one.

        :param whole: whether whoever opens it reads everything; a run is whole when all of them do.
        """
        key = kept_key(run_key)
        query = sa.select(RUNS.c.id).where(RUNS.c.plan_id == self._plan_id, RUNS.c.run_key == key)
        values = {
            "plan_id": self._plan_id,
            "run_key": key,
            "whole": whole,
            "state": "running",
            "started_at": utc_now(),
            **dict.fromkeys((*STATUSES, *_SUMS), 0),
        }

        run_id = self._database.id_of(RUNS, query, values)
        if not whole:
            partial = sa.update(RUNS).where(RUNS.c.id == run_id).values(whole=False)
            self._database.write(lambda connection: connection.execute(partial))
        return run_id

    def begin_batch(self, run_id: int, task: str, number: int, label: str) -> None:
        """Note that a batch begins, perhaps once more."""
        row = {
            "run_id": run_id,
            "task": task,
            "number": number,
            "label": kept_text(label, _LABEL),
            "state": "running",
            "attempts": 1,
            "started_at": utc_now(),
            "ended_at": None,
            **dict.fromkeys((*STATUSES, *_SUMS), 0),
            "report": None,
            "found": None,
        }
        self._database.write(lambda connection: self._begun.run(connection, [row]))

    def end_batch(  # noqa: PLR0917 (which batch, and how it ended)
        self,
        run_id: int,
        task: str,
        number: int,
        state: State,
        report: Mapping[str, Any],
        record_counts: Mapping[str, int],
    ) -> None:
        """Note how a batch ended.

        :param report: its report, as in XCom.
        :param record_counts: how many records each query of the plan had rows for.
        """
        values: dict[str, Any] = {
            "state": state,
            "ended_at": utc_now(),
            "report": msgspec.json.encode(report).decode(),
            "found": msgspec.json.encode(record_counts).decode(),
            **_totals(report),
            **{name: BATCHES.c[name] + report[name] for name in _SUMS},
        }
        statement = sa.update(BATCHES).where(
            BATCHES.c.run_id == run_id, BATCHES.c.task == task, BATCHES.c.number == number
        )
        self._database.write(lambda connection: connection.execute(statement.values(values)))

    def close(self, run_id: int, state: State, reason: str | None, report: Mapping[str, Any]) -> None:
        """Note how a run ended, with its report as in XCom."""
        values = {
            "state": state,
            "reason": None if reason is None else kept_text(reason, _REASON),
            "ended_at": utc_now(),
            "report": msgspec.json.encode(report).decode(),
            **_totals(report),
            **{name: report[name] for name in _SUMS},
        }
        self._database.write(
            lambda connection: connection.execute(sa.update(RUNS).where(RUNS.c.id == run_id).values(values))
        )

    def discard(self, run_id: int) -> None:
        """Forget a run that was only planned: one without a batch that has begun."""
        batches = sa.select(sa.literal(1)).where(BATCHES.c.run_id == RUNS.c.id).exists()
        self._database.write(
            lambda connection: connection.execute(sa.delete(RUNS).where(RUNS.c.id == run_id, ~batches))
        )

    def is_whole(self, run_id: int) -> bool:
        """Whether a run is of the whole plan and all companies."""
        statement = sa.select(RUNS.c.whole).where(RUNS.c.id == run_id)
        return bool(self._database.read(lambda connection: connection.scalar(statement)))

    def last_whole(self) -> tuple[str, dict[str, int]] | None:
        """The last run of the whole plan that read something: its key, and how many records each query had rows for.

        A run counts by what its batches found, also when some of them failed.
        """
        statement = (
            sa.select(RUNS.c.id, RUNS.c.run_key)
            .where(RUNS.c.plan_id == self._plan_id, RUNS.c.whole)
            .order_by(RUNS.c.id.desc())
            .limit(10)
        )

        def work(connection: sa.Connection) -> tuple[str, dict[str, int]] | None:
            for run in connection.execute(statement).all():
                record_counts: Counter[str] = Counter()
                for text in connection.scalars(
                    sa.select(BATCHES.c.found).where(BATCHES.c.run_id == run.id, BATCHES.c.found.is_not(None))
                ):
                    record_counts.update(msgspec.json.decode(text, type=dict[str, int]))
                if any(record_counts.values()):
                    return run.run_key, dict(record_counts)
            return None

        return self._database.read(work)

    def last(self, count: int) -> list[RunRow]:
        """The last runs, the newest first."""
        of_run = sa.select(
            BATCHES.c.run_id,
            sa.func.count().label("batches"),
            sa.func.sum(sa.case((BATCHES.c.state == "done", 1), else_=0)).label("batches_done"),
            *(sa.func.sum(BATCHES.c[name]).label(name) for name in (*STATUSES, *_SUMS)),
        ).group_by(BATCHES.c.run_id)
        newest = sa.select(RUNS).where(RUNS.c.plan_id == self._plan_id).order_by(RUNS.c.id.desc()).limit(count)

        def work(connection: sa.Connection) -> list[RunRow]:
            rows = connection.execute(newest).all()
            sums = {
                row.run_id: row
                for row in connection.execute(of_run.where(BATCHES.c.run_id.in_([run.id for run in rows])))
            }
            return [_row(run, sums.get(run.id)) for run in rows]

        return self._database.read(work)

    def prune(self, days: int) -> int:
        """Delete runs that ended, or began and never ended, so many days ago; but never the last run of the whole plan.

        :return: how many.
        """
        keep = (
            sa.select(sa.func.max(RUNS.c.id))
            .where(RUNS.c.plan_id == self._plan_id, RUNS.c.whole, RUNS.c.state == "done")
            .scalar_subquery()
        )
        mine = RUNS.c.plan_id == self._plan_id
        limit = utc_now() - timedelta(days=days)
        # Read first: MySQL doesn't let a statement delete from what it reads.
        old = sa.select(RUNS.c.id).where(
            mine, sa.func.coalesce(RUNS.c.ended_at, RUNS.c.started_at) < limit, RUNS.c.id != sa.func.coalesce(keep, 0)
        )

        stale = sa.and_(REJECTS.c.plan_id == self._plan_id, REJECTS.c.last_seen < limit)
        self._database.write(lambda connection: connection.execute(sa.delete(REJECTS).where(stale)))

        def delete_some(connection: sa.Connection) -> int:
            ids = list(connection.scalars(old.limit(_AT_ONCE)))
            connection.execute(sa.delete(BATCHES).where(BATCHES.c.run_id.in_(ids)))
            connection.execute(sa.delete(RUNS).where(mine, RUNS.c.id.in_(ids)))
            return len(ids)

        deleted = 0
        while count := self._database.write(delete_some):
            deleted += count
        return deleted


def _totals(report: Mapping[str, Any]) -> dict[str, int]:
    return {status: sum(report[scope][status] for scope in SCOPES) for status in STATUSES}


def _row(run: Any, sums: Any) -> RunRow:
    source = run if run.report is not None or sums is None else sums
    return RunRow(
        run_key=run.run_key,
        whole=run.whole,
        state=run.state,
        reason=run.reason,
        started_at=run.started_at,
        ended_at=run.ended_at,
        batches=0 if sums is None else int(sums.batches),
        batches_done=0 if sums is None else int(sums.batches_done),
        report=None if run.report is None else msgspec.json.decode(run.report),
        seconds=float(source.seconds or 0),
        **{name: int(getattr(source, name) or 0) for name in (*STATUSES, *_SUMS[:-1])},
    )


def _begun_again(new: Any) -> Mapping[str, Any]:
    return {"state": new.state, "attempts": BATCHES.c.attempts + _ONE, "label": new.label, "ended_at": sa.null()}
