"""A finding: one point that a plan meets or doesn't; and what every rule asks of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_provider_halo.plan.model import Entry, LoadedPlan, Query

__all__ = ["UNKNOWN", "Finding", "Severity", "entries_of", "fields_of", "first_four", "location_of", "render_findings"]

Severity = Literal["ok", "error", "warn", "unknown"]

_SIGNS: dict[Severity, str] = {"ok": "✓", "error": "✗", "warn": "✗", "unknown": "?"}
UNKNOWN = "unknown, because the SQL doesn't name all of its columns (a `*`, or an expression without AS)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One point of the checklist.

    :param rule: id of the rule, for example ``user-basics``.
    :param severity: ``ok``; ``error``: the AI is told something wrong; ``warn``: worth fixing, though the plan works;
        ``unknown``: the SQL's text doesn't tell.
    :param text: what was found, and for a warning what to do.
    :param location: file and line, where there is one.
    """

    rule: str
    severity: Severity
    text: str
    location: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to fix, as far as anybody can tell."""
        return self.severity not in {"error", "warn"}


def render_findings(findings: Sequence[Finding]) -> str:
    """The checklist as text: ✓ met, ✗ to fix, ? unknown; each with its rule, and a summary line."""
    return "\n".join([*map(_line, findings), "", f"{_summary(findings)}."])


def _line(finding: Finding) -> str:
    location = f" ({finding.location})" if finding.location else ""
    rule = f"{finding.rule}, error" if finding.severity == "error" else finding.rule
    details = "" if finding.severity == "ok" else f"{location} [{rule}]"
    return f"{_SIGNS[finding.severity]} {finding.text}{details}"


def _summary(findings: Sequence[Finding]) -> str:
    count = {severity: sum(finding.severity == severity for finding in findings) for severity in _SIGNS}
    summary = f"{count['ok']} of {len(findings)} points met"
    if count["error"]:
        summary += f", {count['error']} {'error' if count['error'] == 1 else 'errors'}"
    if count["warn"]:
        summary += f", {count['warn']} to fix"
    if count["unknown"]:
        summary += f", {count['unknown']} unknown"
    return summary


def location_of(query: Query) -> str:
    """Where the SQL of a query stands."""
    return f"{query.file}, line {query.line}"


def fields_of(query: Query) -> tuple[frozenset[str], bool]:
    """The columns that the text of a query names, without those that identify the record; and whether these are all."""
    names = frozenset(name for name in query.statement.columns if name is not None)
    return names - {query.key, query.company} - query.unsent, query.statement.known_columns is not None


def entries_of(plan: LoadedPlan) -> Iterator[tuple[Query, Entry]]:
    """The context queries, each with its entry."""
    for query in plan.queries:
        if query.entry is not None:
            yield query, query.entry


def first_four(names: list[str]) -> str:
    """The first of some names, and how many there are besides."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
