"""What Halo has of each record of one plan, read before it is sent and written after Halo's yes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from airflow_provider_halo.ledger.database import Database
from airflow_provider_halo.ledger.schema import KEY_LENGTH, RECORDS
from airflow_provider_halo.ledger.statements import ChangedRows, Upsert, key_parameter, rows_by_key
from airflow_provider_halo.records.problem import Scope

__all__ = ["AT_ONCE", "AcknowledgedRecords", "Acknowledgement", "KnownRecord", "SentRecord", "is_keepable", "utc_now"]

AT_ONCE: Final = 1_000  # records that one statement reads or writes

# Not a parameter: PyMySQL takes none in the part of an upsert that changes a row.
_ONE: Final[sa.ColumnElement[int]] = sa.literal_column("1")

# Whether Halo has taken a record once, or may have: the answer was lost. A row that was only refused, or forgotten before
# anything was sent, is none. `AcknowledgedRecords.sent` says the same.
_SENT: Final[sa.ColumnElement[bool]] = sa.or_(
    RECORDS.c.acknowledged_at.is_not(None), sa.and_(RECORDS.c.run_id.is_not(None), RECORDS.c.refused.is_(None))
)


class KnownRecord(NamedTuple):
    """What the ledger has of a record.

    :param fingerprint: of what Halo has; None when that isn't known.
    :param token: changes with every write of the row.
    :param refused: of what Halo refused last.
    """

    fingerprint: bytes | None
    token: int
    refused: bytes | None


class SentRecord(NamedTuple):
    """A record that was sent.

    :param fingerprint: of what Halo has; None when that isn't known.
    :param acknowledged_at: when Halo said yes last (UTC); None where the only answer was lost.
    """

    fingerprint: bytes | None
    acknowledged_at: datetime | None


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a record after an answer of Halo, or after none came.

    :param token: of the row when the record was read, 0 where there was none: `Mark.token`.
    :param fingerprint: of what Halo has acknowledged; None when it has refused the record, or nobody knows.
    :param parts: the fingerprints of its parts.
    :param refused: of what Halo has refused.
    """

    scope: Scope
    key: str
    token: int
    fingerprint: bytes | None
    parts: bytes | None = None
    refused: bytes | None = None


class AcknowledgedRecords:
    """The records of one plan in one workspace.

    :param plan_id: the plan's row in the ledger.
    """

    def __init__(self, database: Database, plan_id: int) -> None:
        self.database = database
        self.plan_id = plan_id
        dialect = database.engine.dialect
        self._dialect = dialect
        here = {"plan_id": plan_id, "scope": sa.bindparam("of_scope")}
        self._known = rows_by_key(dialect, RECORDS, ["key", "fingerprint", "token", "refused"], here)
        self._parts = rows_by_key(dialect, RECORDS, ["key", "parts", "token"], here)
        self._sent = rows_by_key(dialect, RECORDS, ["key", *SentRecord._fields, "run_id", "refused"], here)
        self._run_ids = rows_by_key(dialect, RECORDS, ["key", "run_id"], here)
        self._mark_in_flight = Upsert(dialect, RECORDS, ["plan_id", "scope", "key", "token"], _in_flight)
        self._forget = Upsert(dialect, RECORDS, ["plan_id", "scope", "key", "token"], _forgotten)
        self._differing = ChangedRows(dialect, RECORDS, "fingerprint", ["token", "refused"], here)
        self._acknowledge = Upsert(dialect, RECORDS, [column.name for column in RECORDS.c], _acknowledged)

    def known(self, scope: Scope, keys: Sequence[str]) -> dict[str, KnownRecord]:
        """What the ledger has of some records, at most `AT_ONCE`; those that it doesn't know are missing."""
        rows = self._read(self._known, scope, keys)
        return {key: KnownRecord(fingerprint, token, refused) for key, fingerprint, token, refused in rows}

    def parts(self, scope: Scope, keys: Sequence[str], token: int | None = None) -> dict[str, bytes]:
        """The fingerprints of the parts of some records, at most `AT_ONCE`.

        :param token: only of those that have this one: what they were when `mark_in_flight` made them unknown.
        """
        rows = self._read(self._parts, scope, keys)
        return {key: parts for key, parts, row_token in rows if parts and token in {None, row_token}}

    def mark_in_flight(self, scope: Scope, keys: Sequence[str]) -> int:
        """Make records unknown that are about to be sent again, at most `AT_ONCE`.

        What Halo has of them isn't known until the answer is written down: not if this process ends before, nor if the
        answer never comes.

        :return: their token from now on. Who wrote the row down meanwhile, or does so later, finds another than its own.
        """
        token = secrets.randbits(62) + 1
        rows = [{"plan_id": self.plan_id, "scope": scope, "key": key, "token": token} for key in sorted(keys)]
        self.database.write(lambda connection: self._mark_in_flight.run(connection, rows))
        return token

    def forget(self, scope: Scope, keys: Iterable[str]) -> None:
        """Make records unknown that somebody else has written.

        Also such as the ledger doesn't know yet: a sync that is sending them now must not take them for its own.
        """
        kept = sorted({key for key in keys if is_keepable(key)})
        for at in range(0, len(kept), AT_ONCE):
            rows = [
                {"plan_id": self.plan_id, "scope": scope, "key": key, "token": 1} for key in kept[at : at + AT_ONCE]
            ]
            self.database.write(partial(self._forget.run, rows=rows))

    def forget_all(self) -> int:
        """Make all records unknown; returns how many were known."""
        mine = RECORDS.c.plan_id == self.plan_id
        known = sa.select(sa.func.count()).select_from(RECORDS).where(mine, RECORDS.c.fingerprint.is_not(None))
        forget = sa.update(RECORDS).where(mine)

        def work(connection: sa.Connection) -> int:
            count = int(connection.scalar(known) or 0)
            connection.execute(forget.values(fingerprint=None, parts=None, refused=None, token=RECORDS.c.token + 1))
            return count

        return self.database.write(work)

    def acknowledge(self, connection: sa.Connection, run_id: int, answers: Iterable[Acknowledgement]) -> None:
        """Write answers down.

        A row that somebody else wrote since it was read becomes unknown, unless both have sent the same: two requests for
        it were on the way at once, and which of them Halo took last can't be told.
        """
        now = utc_now()
        # In the order of the keys, so that two processes never wait for each other's rows.
        rows = [
            {
                "plan_id": self.plan_id,
                "scope": answer.scope,
                "key": answer.key,
                "fingerprint": answer.fingerprint,
                "parts": answer.parts,
                "refused": answer.refused,
                "token": answer.token + 1,
                "run_id": run_id,
                "acknowledged_at": None if answer.fingerprint is None else now,
            }
            for _, answer in sorted({(answer.scope, answer.key): answer for answer in answers}.items())
            if is_keepable(answer.key)
        ]
        self._acknowledge.run(connection, rows)

    def differing(self, scope: Scope, fingerprints: Mapping[str, bytes]) -> dict[str, KnownRecord]:
        """What the ledger has of those of some records, at most `AT_ONCE`, that it doesn't know to be as they are now.

        The database compares, since a record that is left as it is should cost as little as can be: not even its row.

        :param fingerprints: by key; an empty one is like none that the ledger has.
        """
        rows = self.database.read(lambda connection: self._differing.run(connection, {"of_scope": scope}, fingerprints))
        return {key: KnownRecord(fingerprint, token or 0, refused) for key, fingerprint, token, refused in rows}

    def counts(self, scopes: Sequence[Scope]) -> int:
        """How many records of some scopes Halo is known to have."""
        statement = (
            sa.select(sa.func.count())
            .select_from(RECORDS)
            .where(RECORDS.c.plan_id == self.plan_id, RECORDS.c.scope.in_(scopes), RECORDS.c.fingerprint.is_not(None))
        )
        return int(self.database.read(lambda connection: connection.scalar(statement)) or 0)

    def size(self, scope: Scope) -> int:
        """How many records of a scope were sent, as of `sent`."""
        statement = (
            sa.select(sa.func.count())
            .select_from(RECORDS)
            .where(RECORDS.c.plan_id == self.plan_id, RECORDS.c.scope == scope, _SENT)
        )
        return int(self.database.read(lambda connection: connection.scalar(statement)) or 0)

    def oldest(self) -> datetime | None:
        """When the record was acknowledged that has waited longest for news (UTC)."""
        statement = sa.select(sa.func.min(RECORDS.c.acknowledged_at)).where(
            RECORDS.c.plan_id == self.plan_id, RECORDS.c.fingerprint.is_not(None)
        )
        moment: datetime | None = self.database.read(lambda connection: connection.scalar(statement))
        return moment

    def acknowledged_in(self, scope: Scope, keys: Sequence[str]) -> dict[str, int]:
        """The run in which each of some records was written down last, at most `AT_ONCE`."""
        return {key: run_id for key, run_id in self._read(self._run_ids, scope, keys) if run_id is not None}

    def keys_after(self, scope: Scope, key: str, count: int, *, sent: bool = True) -> list[str]:
        """The next keys of a scope, in their order; for whoever walks through all of them.

        :param sent: only of records that were sent, as of `sent`. Without that the database needn't look at the rows.
        """
        statement = (
            sa.select(RECORDS.c.key)
            .where(RECORDS.c.plan_id == self.plan_id, RECORDS.c.scope == scope, RECORDS.c.key > key)
            .order_by(RECORDS.c.key)
            .limit(count)
        )
        if sent:
            statement = statement.where(_SENT)
        return self.database.read(lambda connection: _first_column(connection.execute(statement)))

    def sent(self, scope: Scope, keys: Sequence[str]) -> dict[str, SentRecord]:
        """Those of some records, at most `AT_ONCE`, that Halo has taken once, or may have: their answer was lost.

        What was refused ever since, or only forgotten, isn't one of them.
        """
        rows = self._read(self._sent, scope, keys)
        return {
            key: SentRecord(fingerprint, acknowledged_at)
            for key, fingerprint, acknowledged_at, run_id, refused in rows
            if acknowledged_at is not None or (run_id is not None and refused is None)
        }

    def erase(self, scope: Scope, keys: Sequence[str], token: int | None) -> None:
        """Know nothing of records any more, at most `AT_ONCE`, as if they had never been sent.

        The rows stay, empty: another run that is sending one of them now must not take what it has read for its own.

        :param token: of the rows, as `mark_in_flight` gave it. A row that somebody else has written since becomes unknown
            instead. None erases all.
        """
        mine = sa.and_(RECORDS.c.plan_id == self.plan_id, RECORDS.c.scope == scope, RECORDS.c.key.in_(list(keys)))
        unknown = {"fingerprint": None, "parts": None, "refused": None, "token": RECORDS.c.token + 1}
        nothing = {**unknown, "run_id": None, "acknowledged_at": None}

        def work(connection: sa.Connection) -> None:
            if token is None:
                connection.execute(sa.update(RECORDS).where(mine).values(nothing))
                return
            connection.execute(sa.update(RECORDS).where(mine, RECORDS.c.token == token).values(nothing))
            connection.execute(sa.update(RECORDS).where(mine, RECORDS.c.token != token).values(unknown))

        self.database.write(work)

    def delete(self, connection: sa.Connection, scope: Scope, keys: Sequence[str]) -> None:
        """Delete what is known of records, at most `AT_ONCE`, their keys included."""
        mine = sa.and_(RECORDS.c.plan_id == self.plan_id, RECORDS.c.scope == scope, RECORDS.c.key.in_(list(keys)))
        connection.execute(sa.delete(RECORDS).where(mine))

    def _read(self, statement: sa.Executable, scope: Scope, keys: Sequence[str]) -> Sequence[Any]:
        parameters = {"of_scope": scope, "keys": key_parameter(self._dialect, keys)}
        return self.database.read(lambda connection: connection.execute(statement, parameters).all())


def _first_column(result: sa.CursorResult[Any]) -> list[str]:
    """The texts that a statement gives, taken from the driver's rows: SQLAlchemy's would take most of the time."""
    rows = [] if result.cursor is None else result.cursor.fetchall()
    return [key if isinstance(key, str) else bytes(key).decode() for (key,) in rows]


def is_keepable(key: str) -> bool:
    """Whether the ledger can remember a record of this key."""
    return len(key) <= KEY_LENGTH


def utc_now() -> datetime:
    """This moment in UTC, without an offset, to the second: as every database keeps it."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def _forgotten(_: object) -> Mapping[str, Any]:
    return {"fingerprint": sa.null(), "parts": sa.null(), "refused": sa.null(), "token": RECORDS.c.token + _ONE}


def _in_flight(new: Any) -> Mapping[str, Any]:
    return {
        # The parts stay, for whoever sends some of them and writes the others back. But of a record that was unknown
        # already nobody knows them: another request is on the way.
        "parts": sa.case((RECORDS.c.fingerprint.is_not(None), RECORDS.c.parts), else_=sa.null()),
        "fingerprint": sa.null(),
        "token": new.token,
    }


def _acknowledged(new: Any) -> Mapping[str, Any]:
    as_read = RECORDS.c.token == new.token - _ONE
    # Somebody else has sent the very same in between. Whichever of the two came last, Halo has it so.
    same = RECORDS.c.fingerprint == new.fingerprint
    return {
        "parts": sa.case((as_read, new.parts), (same, RECORDS.c.parts), else_=sa.null()),
        "refused": sa.case((as_read, new.refused), else_=sa.null()),
        "run_id": new.run_id,
        "acknowledged_at": sa.func.coalesce(new.acknowledged_at, RECORDS.c.acknowledged_at),
        # These two last: the others compare with what was there.
        "fingerprint": sa.case((sa.or_(as_read, same), new.fingerprint), else_=sa.null()),
        "token": sa.case((as_read, new.token), else_=RECORDS.c.token + _ONE),
    }
