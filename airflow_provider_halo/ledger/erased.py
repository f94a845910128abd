"""The records that were erased: no run sends them again until somebody allows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from airflow_provider_halo.ledger.acknowledged import AT_ONCE, utc_now
from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import ERASED
from airflow_provider_halo.ledger.statements import Upsert, key_parameter, rows_by_key
from airflow_provider_halo.records.problem import Scope

__all__ = ["ErasedRecords"]


class ErasedRecords:
    """The erased companies and users of one workspace, whichever plan sent them.

    Only a digest of each key is kept: what has to be known of them is that they are not to be sent.

    :param workspace: what stands for the workspace, see `workspace_of`.
    """

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self._dialect = database.engine.dialect
        here = {"workspace": workspace, "scope": sa.bindparam("of_scope")}
        self._among = rows_by_key(self._dialect, ERASED, ["key"], here)
        self._upsert = Upsert(self._dialect, ERASED, [column.name for column in ERASED.c], _erased_again)

    def add(self, scope: Scope, keys: Iterable[str]) -> None:
        """Note that records are erased."""
        now = utc_now()
        rows = [
            {"workspace": self._workspace, "scope": scope, "key": digest, "erased_at": now}
            for digest in sorted({self._digest(scope, key) for key in keys})
        ]
        self._database.write(lambda connection: self._upsert.run(connection, rows))

    def remove(self, scope: Scope, keys: Iterable[str]) -> None:
        """Have records no longer count as erased."""
        digests = [self._digest(scope, key) for key in keys]
        statement = sa.delete(ERASED).where(
            ERASED.c.workspace == self._workspace, ERASED.c.scope == scope, ERASED.c.key.in_(digests)
        )
        self._database.write(lambda connection: connection.execute(statement))

    def among(self, scope: Scope, keys: Sequence[str]) -> set[str]:
        """Which of some records are erased."""
        key_by_digest = {self._digest(scope, key): key for key in keys}
        digests = list(key_by_digest)
        erased: set[str] = set()
        for at in range(0, len(digests), AT_ONCE):
            parameters = {"of_scope": scope, "keys": key_parameter(self._dialect, digests[at : at + AT_ONCE])}
            found = self._database.read(partial(_keys, statement=self._among, parameters=parameters))
            erased.update(key_by_digest[digest] for digest in found)
        return erased

    def any(self) -> bool:
        """Whether any record is erased."""
        statement = sa.select(sa.literal(1)).where(ERASED.c.workspace == self._workspace).limit(1)
        return self._database.read(lambda connection: connection.scalar(statement)) is not None

    def count(self, scope: Scope) -> int:
        """How many records of a scope are erased."""
        statement = (
            sa.select(sa.func.count())
            .select_from(ERASED)
            .where(ERASED.c.workspace == self._workspace, ERASED.c.scope == scope)
        )
        return int(self._database.read(lambda connection: connection.scalar(statement)) or 0)

    def _digest(self, scope: Scope, key: str) -> str:
        text = f"{scope}\n{key}".encode("utf-8", "replace")
        return blake2b(text, key=self._workspace.encode(), digest_size=16).hexdigest()


def _keys(connection: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Sequence[str]:
    return connection.scalars(statement, parameters).all()


def _erased_again(new: Any) -> Mapping[str, Any]:
    return {"erased_at": new.erased_at}
