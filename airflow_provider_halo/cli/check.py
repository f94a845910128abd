"""`halo check`: the plan's mistakes, and the guide's checklist."""

from __future__ import annotations

import argparse

from airflow_provider_halo.cli.main import DONE, FAILED, say
from airflow_provider_halo.plan.lint import lint, render_findings
from airflow_provider_halo.plan.loader import load_plan


def run(arguments: argparse.Namespace) -> int:
    """Check the plan; PlanError goes up to the caller, which knows its exit code."""
    findings = lint(load_plan(arguments.plan))
    say(render_findings(findings))
    return FAILED if arguments.strict and any(not finding.ok for finding in findings) else DONE
