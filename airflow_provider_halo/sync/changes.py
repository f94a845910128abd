"""Records held against the ledger: those that Halo has as they are needn't be sent, nor those that it has refused as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Final

import msgspec

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, AcknowledgedRecords, Known
from airflow_provider_halo.ledger.ledger import Run
from airflow_provider_halo.records.fingerprint import Fingerprinter, covers, link_fingerprint, merged
from airflow_provider_halo.records.payload import Mark, Payload
from airflow_provider_halo.records.problem import Problem, Scope

AGAIN: Final = "was refused before, and neither it nor the plan has changed: {0}"


@dataclass(frozen=True, kw_only=True)
class DiffOptions:
    """How a run holds records against the ledger.

    :param records: whether the records themselves are sent; else only users' links are.
    :param links: whether links are.
    :param full: send what hasn't changed, too.
    :param retry_rejected: try records again that Halo has refused as they are.
    :param writes: whether anything is sent, so that the ledger must be told before.
    """

    records: bool = True
    links: bool = False
    full: bool = False
    retry_rejected: bool = False
    writes: bool = True


class Diff:
    """Holds the records of one scope against the ledger, while they pass.

    What it gives are changes: payloads with a `Mark`, made unknown in the ledger where it knew them, so that whatever
    becomes of this process, nobody takes an old fingerprint for what Halo has.

    :param plan_digest: of what the plan says of the scope: what was refused is tried again when it changes.
    """

    def __init__(
        self, run: Run, scope: Scope, fingerprints: Fingerprinter, plan_digest: bytes, options: DiffOptions
    ) -> None:
        self._run = run
        self._acknowledged: AcknowledgedRecords = run.plan_ledger.acknowledged
        self._scope = scope
        self._fingerprints = fingerprints
        self._plan_digest = plan_digest
        self._options = options

    def of(self, made: Iterator[Payload | Outcome]) -> Iterator[Payload | Outcome]:
        """What is to be sent, and the outcomes of what isn't; the former a block later than they come, at most."""
        while block := list(islice(made, AT_ONCE)):
            payloads = []
            for record in block:
                if isinstance(record, Payload):
                    payloads.append(record)
                else:
                    yield record
            yield from self._block(payloads)

    def refusal(self, fingerprint: bytes) -> bytes:
        """What stands for a payload that was refused, under the plan as it is."""
        return blake2b(fingerprint + self._plan_digest, digest_size=16).digest()

    def _block(self, payloads: list[Payload]) -> Iterator[Payload | Outcome]:
        unchanged: list[Payload] = []
        changed = payloads
        if self._options.records:
            unchanged, changed, refused = self._sorted(payloads)
            if refused:
                yield from self._refused(refused)
        if self._options.links:
            same, changed = self._linked(changed, unchanged)
            if same:
                yield Outcome(scope="links", status="unchanged", count=same)
        if unchanged:
            # Which companies there are decides on links; which users, nobody asks, so they needn't be kept.
            companies = tuple(unchanged) if self._scope == "companies" else ()
            yield Outcome(scope=self._scope, status="unchanged", count=len(unchanged), payloads=companies)
        yield from changed

    def _sorted(self, payloads: Sequence[Payload]) -> tuple[list[Payload], list[Payload], list[Payload]]:
        """The records that Halo has as they are, those to be sent, and those that it has refused as they are."""
        made = [(payload, self._fingerprints.whole(payload)) for payload in payloads]
        has_of = self._has(self._scope, {payload.key: fingerprint for payload, fingerprint in made}, len(made))
        unchanged: list[Payload] = []
        differing: list[tuple[Payload, bytes, Known]] = []
        for payload, fingerprint in made:
            has = has_of.get(payload.key)
            if has is None or (has.fingerprint == fingerprint and not self._options.full):
                unchanged.append(payload)
            else:
                differing.append((payload, fingerprint, has))
        at_risk = [payload.key for payload, _, has in differing if has.fingerprint is not None]
        parts = self._acknowledged.parts(self._scope, at_risk) if at_risk else {}
        changed: list[Payload] = []
        refused: list[Payload] = []
        others: list[str] = []  # records that have parts which aren't sent now
        for payload, fingerprint, has in differing:
            old = parts.get(payload.key, b"")
            sent = self._fingerprints.parts(payload) if old else b""
            if old and not self._options.full and covers(old, sent):
                unchanged.append(payload)  # a run of other parts was the last to send it
            elif has.refused == self.refusal(fingerprint) and not self._options.retry_rejected:
                refused.append(payload)
            else:
                changed.append(msgspec.structs.replace(payload, mark=Mark(fingerprint, has.token)))
                if merged(old, sent) != sent:
                    others.append(payload.key)
        return unchanged, self._marked(changed, frozenset(at_risk), others), refused

    def _marked(self, changed: list[Payload], at_risk: frozenset[str], others: Sequence[str]) -> list[Payload]:
        """Tell the ledger of the records that it knows and that are about to be sent."""
        keys = [payload.key for payload in changed if payload.key in at_risk]
        if not keys or not self._options.writes:
            return changed
        token = self._acknowledged.mark_in_flight(self._scope, keys)
        # Only now: until then another run may have sent what this one leaves out.
        parts = self._acknowledged.parts(self._scope, others, token) if others else {}
        return [
            msgspec.structs.replace(
                payload, mark=msgspec.structs.replace(payload.mark, token=token, parts=parts.get(payload.key, b""))
            )
            if payload.mark is not None and payload.key in at_risk
            else payload
            for payload in changed
        ]

    def _linked(self, changed: Sequence[Payload], unchanged: Sequence[Payload]) -> tuple[int, list[Payload]]:
        """How many unchanged users have an unchanged link, too; and the users to be sent, or to be linked at least."""
        users = [user for user in (*changed, *unchanged) if user.company_id is not None]
        prints = {user.key: link_fingerprint(user.company_id or "") for user in users}
        has_of = self._has("links", prints, len(users))
        at_risk: list[str] = []

        def link_of(user: Payload) -> Mark | None:
            has = has_of.get(user.key)
            if has is None:
                return None
            fingerprint = link_fingerprint(user.company_id or "")
            if has.fingerprint == fingerprint and not self._options.full:
                return None
            if has.fingerprint is not None:
                at_risk.append(user.key)
            return Mark(fingerprint, has.token)

        same = 0
        due: list[Payload] = []
        for user in changed:
            if user.company_id is not None:
                link = link_of(user)
                user = msgspec.structs.replace(user, link=link, linked=link is None)  # noqa: PLW2901 (the same user, marked)
            due.append(user)
        for user in unchanged:
            link = None if user.company_id is None else link_of(user)
            if link is not None:
                due.append(msgspec.structs.replace(user, link=link, unchanged=True))
            elif user.company_id is not None:
                same += 1
        if at_risk and self._options.writes:
            token = self._acknowledged.mark_in_flight("links", at_risk)
            moved = frozenset(at_risk)
            due = [
                msgspec.structs.replace(user, link=msgspec.structs.replace(user.link, token=token))
                if user.link is not None and user.key in moved
                else user
                for user in due
            ]
        return same, due

    def _has(self, scope: Scope, fingerprints: dict[str, bytes], count: int) -> dict[str, Known]:
        """What the ledger has of records; those that it knows to be as they are may be missing.

        :param count: how many records there are. A source that compares its keys without case may give one key twice:
            then the ledger can't be asked for one fingerprint of it.
        """
        if self._options.full or len(fingerprints) < count:
            fingerprints = dict.fromkeys(fingerprints, b"")
        return self._acknowledged.differing(scope, fingerprints) if fingerprints else {}

    def _refused(self, payloads: Sequence[Payload]) -> Iterator[Outcome]:
        keys = [payload.key for payload in payloads]
        rejects = self._run.plan_ledger.rejects
        if self._options.writes:
            reasons = rejects.met(self._run.id, self._scope, keys)
        else:
            reasons = rejects.reasons(self._scope, keys)
        for payload in payloads:
            field, reason = reasons.get(payload.key, ("", "no reason is on record"))
            problem = Problem(self._scope, payload.key, field, AGAIN.format(reason.removeprefix("Halo refuses it: ")))
            yield Outcome(scope=self._scope, status="rejected", payloads=(payload,), problem=problem)
