"""Records of a batch, and the payloads that leave of them: made of the traits query's rows and the entries joined to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing

from airflow_provider_halo.plan.query import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.records.values import to_key
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.making import Maker, Record
from airflow_provider_halo.source.read import KEYS_AT_ONCE, Notes, Reading, Rows, Warn
from airflow_provider_halo.source.sql import Companies, Part, Records, range_of


def read_records(  # noqa: PLR0917 (what is read, by which plan, from where: no one of them has a default)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    notes: Notes | None = None,
) -> Generator[Record, None, None]:
    """Read one scope of a batch, record by record. Closing the generator cancels its queries and closes its connections.

    :param selection: which entries are read, and whether traits are part of the records.
    :param sources: gives the engine of a connection id.
    :param warn: is told what was changed or dropped on the way, as ``(kind, how often)``.
    :param notes: filled in while the records are read.
    :return: each record, or the `Problem` that keeps it from being sent; in the order of the keys' texts within a batch's
        range. Keys that a batch names (``companies``, ``user``) and the traits query doesn't give are problems too.
    :raises PlanError: when a result lacks a column that the plan names, or has one that Halo reserves.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    counts: Counter[str] = Counter()
    maker = Maker(scope, selection, counts)
    read = _read(scope, plan, selection, batch, sources, notes or Notes(), counts, encodes=False)
    with closing(read) as blocks:
        for rows in blocks:
            records = [rows] if isinstance(rows, Problem) else maker.records(rows)
            _tell(counts, warn)
            yield from records


def read_payloads(  # noqa: PLR0917 (as of `read_records`)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    warn: Warn,
    *,
    notes: Notes | None = None,
) -> Generator[Sequence[Payload | Problem], None, None]:
    """Read one scope of a batch as what is sent of it: what `payload_of` makes of `read_records`, many at once.

    Where nothing is wrong with a block of records, as is the rule, they are made column by column.
    """
    counts: Counter[str] = Counter()
    maker = Maker(scope, selection, counts)
    read = _read(scope, plan, selection, batch, sources, notes or Notes(), counts, encodes=True)
    with closing(read) as blocks:
        for rows in blocks:
            payloads = [rows] if isinstance(rows, Problem) else maker.payloads(rows)
            _tell(counts, warn)
            yield payloads


def _read(  # noqa: PLR0917 (as of `read_records`)
    scope: QueryScope,
    plan: LoadedPlan,
    selection: Selection,
    batch: Batch,
    sources: Sources,
    notes: Notes,
    counts: Counter[str],
    *,
    encodes: bool,
) -> Generator[Rows | Problem, None, None]:
    driver = plan.traits(scope)
    if driver is None:
        return
    for part in _parts(scope, batch):
        missing = _named(scope, part)
        reading = Reading(driver, selection, part, sources, counts, notes, encodes=encodes)
        with closing(reading.rows()) as blocks:
            for rows in blocks:
                for key in rows.heads.keys if missing else ():
                    missing.pop(key, None)
                yield rows
        yield from reading.refused
        for key in missing:
            yield Problem(scope, key, "", f"is not in the {scope} query ({driver.name})")


def _tell(counts: Counter[str], warn: Warn) -> None:
    for kind, count in counts.items():
        warn(kind, count)
    counts.clear()


def _parts(scope: QueryScope, batch: Batch) -> list[Part]:
    """What a batch asks of a scope, in parts that one query each can answer."""
    if scope == "users" and batch.user is not None:
        return [Records((batch.bind(batch.user, batch.user_key_type),))]
    if batch.companies is not None:
        if scope == "users" and not batch.users_too:
            return []
        keys = [batch.bind(key) for key in dict.fromkeys(batch.companies)]
        return [Companies(tuple(keys[at : at + KEYS_AT_ONCE])) for at in range(0, len(keys), KEYS_AT_ONCE)]
    if batch.user is not None or (batch.no_company and scope == "companies"):
        return []
    return [range_of(batch)]


def _named(scope: QueryScope, part: Part) -> dict[str, None]:
    """The records that a part names by their own keys, so that those without a row can be told."""
    if isinstance(part, Records) or (isinstance(part, Companies) and scope == "companies"):
        return {to_key(key): None for key in part.keys}
    return {}
