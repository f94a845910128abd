"""`halo check`: a right plan against the guide's checklist, and the checklist as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_halo.plan.finding import Finding
from airflow_provider_halo.plan.lint_checklist import check_guide
from airflow_provider_halo.plan.quality import check_quality
from airflow_provider_halo.plan.query import LoadedPlan

__all__ = ["Finding", "lint", "render_findings"]

_SIGNS = {"ok": "✓", "warn": "✗", "unknown": "?"}


def lint(plan: LoadedPlan) -> list[Finding]:
    """Hold a plan against the checklist, by its text alone: no database is asked.

    :return: a finding for every point, met ones included, in the order of the guide.
    """
    return [*check_guide(plan), *check_quality(plan)]


def render_findings(findings: Sequence[Finding]) -> str:
    """The checklist as text: ✓ met, ✗ to be mended, ? not told by the text; each with its rule, and a summary line."""
    lines = []
    for finding in findings:
        place = f" ({finding.place})" if finding.place and finding.severity != "ok" else ""
        rule = "" if finding.severity == "ok" else f" [{finding.rule}]"
        lines.append(f"{_SIGNS[finding.severity]} {finding.text}{place}{rule}")
    count = {severity: sum(finding.severity == severity for finding in findings) for severity in _SIGNS}
    summary = f"{count['ok']} of {len(findings)} points met"
    if count["warn"]:
        summary += f", {count['warn']} to mend"
    if count["unknown"]:
        summary += f", {count['unknown']} can't be told from the text"
    return "\n".join([*lines, "", f"{summary}."])
