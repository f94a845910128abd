"""Looks for what is gone: records that Halo was sent and that the source no longer gives, and companies that users have left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import msgspec

from airflow_provider_halo.ledger.acknowledged import AT_ONCE, AcknowledgedRecords, SentRecord, utc_now
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.departures import needs_ledger
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, Query
from airflow_provider_halo.records.fingerprint import link_fingerprint
from airflow_provider_halo.records.problem import Scope
from airflow_provider_halo.records.shown import shown_key
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.database import Sources
from airflow_provider_halo.source.key_order import OutOfOrder, keys_without_company, ordered_keys

__all__ = [
    "KEYS_SHOWN",
    "Gone",
    "forget_returned",
    "look_for_gone",
    "missing_records",
    "warn_without_ledger",
    "with_gone_batch",
]

log = logging.getLogger(__name__)

KEYS_SHOWN: Final = 20
_PAGE: Final = 10_000  # keys that are read of the ledger at once


@dataclass(frozen=True)
class Gone:
    """What a look has found.

    :param counts: how many records of each scope of the plan are gone; of links those of users who are still there.
    :param known: how many records of these scopes were sent, the gone ones included.
    :param keys: the first of each, in the order of their keys.
    """

    counts: dict[Scope, int] = field(default_factory=dict)
    known: dict[Scope, int] = field(default_factory=dict)
    keys: dict[Scope, list[str]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many companies and users are gone."""
        return sum(self.counts.get(scope, 0) for scope in QUERY_SCOPES)

    def names(self, scope: Scope) -> str:
        """The first keys of a scope, and how many more there are."""
        more = self.counts[scope] - len(self.keys[scope])
        return ", ".join(map(shown_key, self.keys[scope])) + (f" and {more:,} more" if more else "")

    def to_log(self) -> None:
        """Name what is gone in the log."""
        for scope, count in self.counts.items():
            if count:
                what = "users who have left their company" if scope == "links" else f"{scope} are gone"
                log.info("%d of %d %s: %s", count, self.known[scope], what, self.names(scope))


def look_for_gone(plan: LoadedPlan, sources: Sources, run: Run) -> Gone:
    """Hold all keys that the source gives against those that were sent, and write down which are missing.

    A record that is there and can't be sent isn't gone. Keys pass in their order, so that the memory stays flat.

    :param run: a run of the whole plan; one without an id leaves no trace.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    look = _Look(plan, sources, run)
    for query in filter(None, map(plan.traits, QUERY_SCOPES)):
        for sort in (False, True):
            try:
                look.compare(query, sort=sort)
            except OutOfOrder:
                continue
            break
    return look.end()


class _Look:
    """One look, noted in the ledger as it goes on."""

    def __init__(self, plan: LoadedPlan, sources: Sources, run: Run) -> None:
        self._plan = plan
        self._sources = sources
        self._run = run
        self._ledger = run.plan_ledger
        self._began = utc_now()
        self._last_look = run.plan_ledger.gone.last_look(run.id)
        self._gone = Gone()
        self._is_raced = False

    def compare(self, query: Query, *, sort: bool) -> None:
        """Look for the missing records of a traits query.

        :raises OutOfOrder: as of `ordered_keys`; what was found until then is to be found anew.
        """
        gone, acknowledged = self._gone, self._ledger.acknowledged
        scopes: list[Scope] = ["users", "links"] if query.scope == "users" else ["companies"]
        if self._run.id:
            self._ledger.gone.begin(self._run.id, scopes)
        gone.counts.update(dict.fromkeys(scopes, 0))
        gone.keys.update({scope: [] for scope in scopes})
        for scope, records in missing_records(self._plan, query, self._sources, acknowledged, sort=sort):
            gone.counts[scope] += len(records)
            gone.keys[scope] += sorted(records)[: KEYS_SHOWN - len(gone.keys[scope])]
            if self._run.id:
                self._ledger.gone.note(self._run.id, scope, dict(self._last_seen(records)))
        gone.known.update({scope: acknowledged.size(scope) for scope in scopes if gone.counts[scope]})

    def _last_seen(self, records: Mapping[str, SentRecord]) -> Iterator[tuple[str, datetime | None]]:
        for key, record in records.items():
            sent = record.acknowledged_at
            # Perhaps by another run, of a record that is younger than this look's reading of the source.
            self._is_raced = self._is_raced or sent is None or sent >= self._began
            yield key, max(filter(None, (sent, self._last_look)), default=None)

    def end(self) -> Gone:
        """What is gone, written down."""
        gone, run = self._gone, self._run
        if not run.id:
            return gone
        self._ledger.gone.end(run.id, gone.counts)
        if self._is_raced:
            forget_returned(self._plan, self._sources, run)
            for scope in gone.counts:
                gone.counts[scope], records = self._ledger.gone.listed(scope, KEYS_SHOWN)
                gone.keys[scope] = [record.key for record in records]
            self._ledger.gone.end(run.id, gone.counts)
        return gone


def warn_without_ledger(plan: LoadedPlan) -> None:
    """Say what of a plan has no effect without a ledger."""
    wanted = needs_ledger(plan)
    if wanted:
        log.warning(
            "%s: no effect without a ledger ([halo] ledger_conn_id), which knows who has left: %s",
            *(plan.path, ", ".join(wanted)),
        )


def with_gone_batch(plan: LoadedPlan, batches: Sequence[Batch], gone: Gone | None) -> list[Batch]:
    """The batches of a run, and one more where the plan says that what is gone is emptied, and something is."""
    if gone is None or not gone.records or not plan.plan.gone.empty:
        return list(batches)
    count = len(batches) + 1
    expected = {f"expected_{scope}": gone.counts.get(scope, 0) for scope in QUERY_SCOPES}
    last = Batch(gone=True, index=count, **expected)  # type: ignore[arg-type]  # mypy takes them for any field's
    return [msgspec.structs.replace(batch, of=count) for batch in (*batches, last)]


def missing_records(
    plan: LoadedPlan, query: Query, sources: Sources, acknowledged: AcknowledgedRecords, *, sort: bool = False
) -> Iterator[tuple[Scope, dict[str, SentRecord]]]:
    """The records that were sent and that a traits query no longer gives; of users also links to a company they have left.

    :param sort: as of `ordered_keys`, whose errors it raises.
    """
    no_company = None if plan.plan.users is None else plan.plan.users.no_company
    kept = None if no_company is None else no_company.id
    with closing(ordered_keys(query, sources, sort=sort)) as given:
        for _, missing in _compare(_pages(partial(acknowledged.keys_after, query.scope, sent=False)), given):
            if kept is not None and query.scope == "companies":
                missing.discard(kept)
            for sent in _sent(acknowledged, query.scope, sorted(missing)):
                yield query.scope, sent
    if query.scope == "users" and acknowledged.keys_after("links", "", 1):
        yield from (("links", links) for links in _missing_links(query, sources, acknowledged, kept))


def _missing_links(
    query: Query, sources: Sources, acknowledged: AcknowledgedRecords, kept: str | None
) -> Iterator[dict[str, SentRecord]]:
    """Links that were sent, of users who no longer have a company.

    :param kept: the company of users without one; links to it stay.
    """
    none = None if kept is None else link_fingerprint(kept)
    links: dict[str, SentRecord] = {}

    def linked(keys: list[str]) -> dict[str, SentRecord]:
        links.clear()
        for sent in _sent(acknowledged, "links", keys):
            links.update((key, link) for key, link in sent.items() if none is None or link.fingerprint != none)
        return links

    for keys in keys_without_company(query, sources, linked):
        yield {key: links[key] for key in keys}


def forget_returned(plan: LoadedPlan, sources: Sources, run: Run) -> None:
    """Look once more at what a run has missed, and have it no longer count as gone where it is there again.

    :raises SourceError: when a database can't be reached or refuses a query.
    """
    gone = run.plan_ledger.gone
    for query in filter(None, map(plan.traits, QUERY_SCOPES)):
        scope = query.scope
        for sort in (False, True):
            if not gone.keys_after(run.id, scope, "", 1):
                break
            pages = _pages(partial(gone.keys_after, run.id, scope))
            try:
                with closing(ordered_keys(query, sources, sort=sort)) as given:
                    for page, missing in _compare(pages, given):
                        returned = [key for key in page if key not in missing]
                        for at in range(0, len(returned), AT_ONCE):
                            gone.forget(scope, returned[at : at + AT_ONCE])
            except OutOfOrder:
                continue
            break


def _sent(acknowledged: AcknowledgedRecords, scope: Scope, keys: Sequence[str]) -> Iterator[dict[str, SentRecord]]:
    for at in range(0, len(keys), AT_ONCE):
        sent = acknowledged.sent(scope, keys[at : at + AT_ONCE])
        if sent:
            yield sent


def _pages(keys_after: partial[list[str]]) -> Iterator[list[str]]:
    last = ""
    while page := keys_after(last, _PAGE):
        yield page
        last = page[-1]


def _compare(pages: Iterable[list[str]], given: Iterator[list[str]]) -> Iterator[tuple[list[str], set[str]]]:
    """Each page, and those of its keys that aren't given. Both ascend; no more than a page and a block are held."""
    block: list[str] = []
    for page in pages:
        missing = set(page)
        missing.difference_update(block)
        while not block or block[-1] < page[-1]:
            following = next(given, None)
            if following is None:
                break
            block = following
            missing.difference_update(block)
        yield page, missing
