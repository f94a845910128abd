"""Finds what is to be sent: records that the ledger doesn't know to be in Halo as they are, nor to be refused as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from typing import Final

import msgspec

from airflow_provider_halo.delivery.change import Change, Mark
from airflow_provider_halo.delivery.outcome import Outcome, rejection_of
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, KnownRecord
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.plan.digest import mappings, scope_digest
from airflow_provider_halo.plan.model import LoadedPlan, QueryScope
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.fingerprint import Fingerprinter, covers, link_fingerprint, merge_parts
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem, Scope
from airflow_provider_halo.sync.erased import ErasedSkipper

__all__ = ["ChangeFinder", "ChangeOptions", "change_finder"]

_REFUSED_BEFORE: Final = "was refused before, and neither it nor the plan has changed: {0}"


@dataclass(frozen=True, kw_only=True)
class ChangeOptions:
    """How a run compares records with the ledger.

    :param records: whether the records themselves are sent; else only users' links are.
    :param links: whether links are.
    :param full: send what hasn't changed, too.
    :param retry_rejected: try records again that Halo has refused as they are.
    :param writes: whether anything is sent, so that the ledger must be told before.
    :param no_company: the company that users are linked to who had one and have none any more; None leaves their links.
    """

    records: bool = True
    links: bool = False
    full: bool = False
    retry_rejected: bool = False
    writes: bool = True
    no_company: str | None = None


def change_finder(  # noqa: PLR0917 (whose changes, and how they are found)
    run: Run, plan: LoadedPlan, selection: Selection, scope: QueryScope, endpoint: str, options: ChangeOptions
) -> ChangeFinder:
    """The finder of one scope's changes.

    :param endpoint: path of the call that the records are sent by.
    """
    fingerprints = Fingerprinter(endpoint, mappings(selection, plan, scope))
    return ChangeFinder(run, scope, fingerprints, scope_digest(plan, scope), options)


@dataclass
class _Comparison:
    """Records by what becomes of them: Halo has them as they are, they are to be sent, or Halo has refused them as they are."""

    unchanged: list[Payload] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    refused: list[Payload] = field(default_factory=list)


class ChangeFinder:
    """Compares the records of one scope with the ledger, while they pass.

    The changes that it gives carry a `Mark`, and were made unknown in the ledger where it knew them, so that whatever
    becomes of this process, nobody takes an old fingerprint for what Halo has.

    :param plan_digest: of what the plan says of the scope: what was refused is tried again when it changes.
    """

    def __init__(
        self, run: Run, scope: Scope, fingerprints: Fingerprinter, plan_digest: bytes, options: ChangeOptions
    ) -> None:
        self.fingerprints = fingerprints
        self._run = run
        self._acknowledged = run.plan_ledger.acknowledged
        self._scope = scope
        self._plan_digest = plan_digest
        self._options = options
        self._erased = ErasedSkipper(run.plan_ledger.erased, scope, records=options.records, links=options.links)

    def find(self, blocks: Iterable[Sequence[Payload | Problem]]) -> Iterator[Change | Outcome]:
        """What is to be sent, and the outcomes of what isn't; the former `AT_ONCE` records later than they come, at most.

        :param blocks: records as they are read, in blocks of any size.
        """
        records = chain.from_iterable(blocks)
        while block := list(islice(records, AT_ONCE)):
            payloads: list[Payload] = []
            kept, skipped = self._erased.sort_out(block)
            yield from skipped
            for record in kept:
                if isinstance(record, Payload):
                    payloads.append(record)
                else:
                    yield rejection_of(record)
            if self._options.no_company is not None and self._options.links:
                payloads = self._moved_to(self._options.no_company, payloads)
            yield from self._find_in_block(payloads)

    def refusal(self, fingerprint: bytes) -> bytes:
        """What stands for a payload that was refused, under the plan as it is."""
        return blake2b(fingerprint + self._plan_digest, digest_size=16).digest()

    def _find_in_block(self, payloads: Sequence[Payload]) -> Iterator[Change | Outcome]:
        if self._options.records:
            comparison = self._compare(payloads)
        else:
            comparison = _Comparison(changed=[Change(payload) for payload in payloads])
        yield from self._refused_before(comparison.refused)
        unchanged, changed = comparison.unchanged, comparison.changed
        if self._options.links:
            unchanged_links, changed = self._with_links(changed, unchanged)
            if unchanged_links:
                yield Outcome(scope="links", status="unchanged", count=unchanged_links)
        if unchanged:
            # Which companies there are decides on links; of users only those are asked for that are stored in part.
            kept = unchanged if self._scope == "companies" else [user for user in unchanged if user.left_out]
            changes = tuple(Change(payload, sends_record=False) for payload in kept)
            yield Outcome(scope=self._scope, status="unchanged", count=len(unchanged), changes=changes)
        yield from changed

    def _compare(self, payloads: Sequence[Payload]) -> _Comparison:
        fingerprinted = [(payload, self.fingerprints.whole(payload)) for payload in payloads]
        fingerprint_by_key = {payload.key: fingerprint for payload, fingerprint in fingerprinted}
        known_by_key = self._known(self._scope, fingerprint_by_key, len(payloads))
        comparison = _Comparison()
        differing: list[tuple[Payload, bytes, KnownRecord]] = []
        for payload, fingerprint in fingerprinted:
            known = known_by_key.get(payload.key)
            if known is None or (known.fingerprint == fingerprint and not self._options.full):
                comparison.unchanged.append(payload)
            else:
                differing.append((payload, fingerprint, known))
        if differing:
            self._compare_parts(differing, comparison)
        return comparison

    def _compare_parts(self, differing: Sequence[tuple[Payload, bytes, KnownRecord]], comparison: _Comparison) -> None:
        """Sort the records whose fingerprint as a whole isn't the one that the ledger has."""
        options = self._options
        at_risk = [payload.key for payload, _, known in differing if known.fingerprint is not None]
        parts_by_key = self._acknowledged.parts(self._scope, at_risk) if at_risk else {}
        due: list[tuple[Payload, bytes, int]] = []
        partial: list[str] = []  # keys of records that have parts which aren't sent now
        for payload, fingerprint, known in differing:
            known_parts = parts_by_key.get(payload.key, b"")
            parts = self.fingerprints.parts(payload) if known_parts else b""
            if known_parts and not options.full and covers(known_parts, parts):
                comparison.unchanged.append(payload)  # a run of other parts was the last to send it
            elif not options.retry_rejected and self._is_refused(known, fingerprint):
                comparison.refused.append(payload)
            else:
                due.append((payload, fingerprint, known.token))
                if known_parts and merge_parts(known_parts, parts) != parts:
                    partial.append(payload.key)
        comparison.changed = self._mark(due, frozenset(at_risk), partial)

    def _is_refused(self, known: KnownRecord, fingerprint: bytes) -> bool:
        return known.refused is not None and known.refused == self.refusal(fingerprint)

    def _mark(
        self, due: Sequence[tuple[Payload, bytes, int]], at_risk: frozenset[str], partial: Sequence[str]
    ) -> list[Change]:
        """Tell the ledger of the records that it knows and that are about to be sent, and make changes of all.

        :param due: records with their fingerprint and the token of their row.
        """
        in_flight = [payload.key for payload, _, _ in due if payload.key in at_risk]
        if not in_flight or not self._options.writes:
            return [Change(payload, Mark(fingerprint, token)) for payload, fingerprint, token in due]
        new_token = self._acknowledged.mark_in_flight(self._scope, in_flight)
        # Only now: until then another run may have sent what this one leaves out.
        parts_by_key = self._acknowledged.parts(self._scope, partial, new_token) if partial else {}
        return [
            Change(payload, Mark(fingerprint, new_token, parts_by_key.get(payload.key, b"")))
            if payload.key in at_risk
            else Change(payload, Mark(fingerprint, token))
            for payload, fingerprint, token in due
        ]

    def _with_links(self, changed: Sequence[Change], unchanged: Sequence[Payload]) -> tuple[int, list[Change]]:
        """How many unchanged users have an unchanged link, too; and the users to be sent, or to be linked at least."""
        links = iter(self._mark_links([*(change.payload for change in changed), *unchanged]))
        due = [
            Change(change.payload, change.mark, link, sends_link=link is not None)
            for change, link in zip(changed, links, strict=False)  # the others are of the unchanged ones
        ]
        unchanged_links = 0
        for user, link in zip(unchanged, links, strict=True):
            if link is not None:
                due.append(Change(user, link=link, sends_record=False))
            elif user.company_id is not None:
                unchanged_links += 1
        return unchanged_links, due

    def _moved_to(self, no_company: str, users: Sequence[Payload]) -> list[Payload]:
        """The users, those with that company who have none and were linked to one."""
        without = [user.key for user in users if user.company_id is None]
        linked = self._acknowledged.sent("links", without) if without else {}
        return [
            msgspec.structs.replace(user, company_id=no_company)
            if user.company_id is None and user.key in linked
            else user
            for user in users
        ]

    def _mark_links(self, users: Sequence[Payload]) -> list[Mark | None]:
        """For each user what the ledger has of its link; None where Halo has the link as it is, or there is none."""
        companies = {user.company_id for user in users if user.company_id is not None}
        fingerprints: dict[str | None, bytes] = {company: link_fingerprint(company) for company in companies}
        linked = [(user.key, fingerprints[user.company_id]) for user in users if user.company_id is not None]
        known_by_key = self._known("links", dict(linked), len(linked))
        marks = [self._link_mark(known_by_key.get(user.key), fingerprints.get(user.company_id)) for user in users]
        if not self._options.writes:
            return marks
        return self._mark_links_in_flight(users, marks, known_by_key)

    def _link_mark(self, known: KnownRecord | None, fingerprint: bytes | None) -> Mark | None:
        if known is None or fingerprint is None or (known.fingerprint == fingerprint and not self._options.full):
            return None
        return Mark(fingerprint, known.token)

    def _mark_links_in_flight(
        self, users: Sequence[Payload], marks: list[Mark | None], known_by_key: Mapping[str, KnownRecord]
    ) -> list[Mark | None]:
        """Tell the ledger of the links that it knows and that are about to be sent."""
        at_risk = frozenset(
            user.key
            for user, mark in zip(users, marks, strict=True)
            if mark is not None and known_by_key[user.key].fingerprint is not None
        )
        if not at_risk:
            return marks
        self._note_moved(
            {user.key: mark.fingerprint for user, mark in zip(users, marks, strict=True) if mark}, known_by_key
        )
        new_token = self._acknowledged.mark_in_flight("links", list(at_risk))
        return [
            mark if mark is None or user.key not in at_risk else Mark(mark.fingerprint, new_token)
            for user, mark in zip(users, marks, strict=True)
        ]

    def _note_moved(self, fingerprints: Mapping[str, bytes], known_by_key: Mapping[str, KnownRecord]) -> None:
        """Note the links that users have left for another company's: Halo documents no way to take the former one back.

        Before they are made unknown, since a run that is tried again finds nothing to tell.
        """
        no_company = self._options.no_company
        none = None if no_company is None else link_fingerprint(no_company)
        moved = [
            key
            for key, fingerprint in fingerprints.items()
            if known_by_key[key].fingerprint not in {None, none, fingerprint}
        ]
        if moved:
            self._run.plan_ledger.gone.note(self._run.id, "links", dict.fromkeys(moved))

    def _known(self, scope: Scope, fingerprints: dict[str, bytes], count: int) -> dict[str, KnownRecord]:
        """What the ledger has of records; those that it knows to be as they are may be missing.

        :param count: how many records there are. A source that compares its keys without case may give one key twice:
            then the ledger can't be asked for one fingerprint of it.
        """
        if self._options.full or len(fingerprints) < count:
            fingerprints = dict.fromkeys(fingerprints, b"")
        return self._acknowledged.differing(scope, fingerprints) if fingerprints else {}

    def _refused_before(self, payloads: Sequence[Payload]) -> Iterator[Outcome]:
        if not payloads:
            return
        keys = [payload.key for payload in payloads]
        rejects = self._run.plan_ledger.rejects
        if self._options.writes:
            reasons = rejects.meet_again(self._run.id, self._scope, keys)
        else:
            reasons = rejects.reasons(self._scope, keys)
        for payload in payloads:
            name, reason = reasons.get(payload.key, ("", "no reason is on record"))
            text = _REFUSED_BEFORE.format(reason.removeprefix("Halo refuses it: "))
            problem = Problem(self._scope, payload.key, name, text)
            changes = (Change(payload, sends_record=False),)
            yield Outcome(scope=self._scope, status="rejected", changes=changes, problem=problem, is_repeated=True)
