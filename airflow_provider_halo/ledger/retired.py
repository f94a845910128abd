"""The names of all traits and entries that were ever sent, so that those which left the plan can be told: they stay in Halo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.acknowledged import utc_now
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import KEY_LENGTH, NAMES
from airflow_provider_halo.ledger.statements import Upsert
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.records.problem import Scope

__all__ = ["Retired", "RetiredParts"]


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A trait or entry that was sent and that the plan no longer has.

    :param name: for example ``companies.traits.mrr`` or ``users.context.onboarding``.
    :param entry: of an entry: its label and type, with the value that empties it; None for a trait.
    :param since: when a run of the whole plan first went without it (UTC).
    :param last_run: id of the last run that sent it.
    """

    name: str
    entry: ContextEntry | None
    since: datetime
    last_run: int

    @property
    def scope(self) -> Scope:
        """The records that have it."""
        return "companies" if self.name.startswith("companies.") else "users"

    @property
    def key(self) -> str:
        """The trait's or entry's own name."""
        return self.name.split(".", 2)[2]


class RetiredParts:
    """The names that one plan has sent to one workspace."""

    def __init__(self, database: Database, plan_id: int) -> None:
        self._database = database
        self._plan_id = plan_id
        self._upsert = Upsert(database.engine.dialect, NAMES, [column.name for column in NAMES.c], _sent_again)

    def note_sent(self, connection: sa.Connection, run_id: int, names: Mapping[str, ContextEntry | None]) -> None:
        """Note what a batch sends: traits, and entries with the value that empties them."""
        rows = [
            {
                "plan_id": self._plan_id,
                "name": name,
                "entry": None if entry is None else msgspec.json.encode(entry).decode(),
                "run_id": run_id,
                "retired_at": None,
            }
            for name, entry in sorted(names.items())
            if len(name) <= KEY_LENGTH
        ]
        self._upsert.run(connection, rows)

    def close(self, run_id: int) -> list[Retired]:
        """After a run of the whole plan: what it went without is retired from now on.

        :return: all that is retired, also from earlier on.
        """
        mine = NAMES.c.plan_id == self._plan_id
        absent = sa.select(NAMES.c.name).where(mine, NAMES.c.run_id != run_id, NAMES.c.retired_at.is_(None))

        def work(connection: sa.Connection) -> None:
            names = list(connection.scalars(absent))
            if names:
                connection.execute(sa.update(NAMES).where(mine, NAMES.c.name.in_(names)).values(retired_at=utc_now()))

        self._database.write(work)
        return self.retired()

    def retired(self) -> list[Retired]:
        """What is retired, and wasn't emptied yet."""
        statement = (
            sa.select(NAMES)
            .where(NAMES.c.plan_id == self._plan_id, NAMES.c.retired_at.is_not(None))
            .order_by(NAMES.c.name)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [
            Retired(name=row.name, entry=_entry(row.entry), since=row.retired_at, last_run=row.run_id) for row in rows
        ]

    def sent(self, scope: Scope) -> dict[str, ContextEntry | None]:
        """What records of a scope were ever sent, but for what `halo retire` has emptied.

        :return: by ``traits.NAME`` and ``context.KEY``: entries with the value that empties them, traits with None.
        """
        statement = (
            sa.select(NAMES.c.name, NAMES.c.entry).where(NAMES.c.plan_id == self._plan_id).order_by(NAMES.c.name)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        prefix = f"{scope}."
        return {row.name.removeprefix(prefix): _entry(row.entry) for row in rows if row.name.startswith(prefix)}

    def forget(self, names: Iterable[str]) -> None:
        """Forget names that were emptied in Halo."""
        statement = sa.delete(NAMES).where(NAMES.c.plan_id == self._plan_id, NAMES.c.name.in_(list(names)))
        self._database.write(lambda connection: connection.execute(statement))


def _entry(text: str | None) -> ContextEntry | None:
    # Its fields by hand: msgspec doesn't follow the type of `value`, which holds itself.
    return None if text is None else ContextEntry(**msgspec.json.decode(text))


def _sent_again(new: Any) -> Mapping[str, Any]:
    return {"entry": new.entry, "run_id": new.run_id, "retired_at": sa.null()}
