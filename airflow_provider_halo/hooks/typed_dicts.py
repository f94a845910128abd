"""Records as users write them and reports as they get them, for type checkers. At run time all of them are plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from airflow_provider_halo.records.problem import Scope

__all__ = [
    "CompanyRecord",
    "ContextEntry",
    "ContextType",
    "Record",
    "RecordProblem",
    "ReportDict",
    "StatusCounts",
    "UserRecord",
]

ContextType: TypeAlias = Literal[
    "list", "integration", "error", "status", "config", "feature", "metric", "relationship", "custom"
]


class _EntryBase(TypedDict):
    label: str
    value: Any


class ContextEntry(_EntryBase, total=False):
    """What the AI may know of a user or company under one key.

    ``label`` heads the section in the AI's prompt, ``value`` is any JSON value, and without a ``type`` Halo picks a
    rendering.
    """

    type: ContextType | None


class _RecordBase(TypedDict, total=False):
    traits: Mapping[str, Any] | None
    context: Mapping[str, ContextEntry] | None


class _CompanyKey(TypedDict):
    company_id: str | int


class _UserKey(TypedDict):
    user_id: str | int


class CompanyRecord(_CompanyKey, _RecordBase):
    """A company: its key, and optionally its traits and its context entries by key."""


class UserRecord(_UserKey, _RecordBase, total=False):
    """A user: its key, and optionally the company to link it to, its traits and its context entries by key."""

    company_id: str | int | None


Record: TypeAlias = "UserRecord | CompanyRecord"


class StatusCounts(TypedDict):
    """How many records of one scope ended with which status; ``partial``: stored, but for what was left out."""

    stored: int
    partial: int
    unchanged: int
    skipped: int
    rejected: int
    failed: int


class RecordProblem(TypedDict):
    """Why one record wasn't stored, or was in part. ``field`` names the trait or entry (``traits.mrr``); empty for the record as a whole.

    ``reason`` never holds a value.
    """

    scope: Scope
    key: str
    field: str
    reason: str


class _ReportBase(TypedDict):
    companies: StatusCounts
    users: StatusCounts
    links: StatusCounts
    requests: int
    retries: int
    bytes: int
    seconds: float
    warnings: dict[str, int]
    rejects: list[RecordProblem]
    left_out: list[RecordProblem]


class ReportDict(_ReportBase, total=False):
    """What a delivery or a sync did: counts and keys, never traits. Tasks may return it: XCom takes it as it is.

    ``requests`` and ``retries`` count HTTP calls, ``bytes`` their bodies, ``seconds`` the time spent. ``warnings`` counts by
    kind what was changed or left out on the way. ``rejects``, ``left_out`` (entries that make a record ``partial``) and
    ``failures`` hold at most 20 each. ``failures``, ``throttled`` (requests that Halo refused for their rate),
    ``requests_per_second`` (the rate that it was found to take), ``gone`` (of a whole sync with a ledger: how many records of
    each scope the source no longer gives), ``dry_run`` and ``stopped`` (why a sync ended early) are there only where they apply.
    """

    failures: list[RecordProblem]
    throttled: int
    requests_per_second: float
    gone: dict[Scope, int]
    dry_run: bool
    stopped: str
