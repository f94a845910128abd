"""The first steps with a plan: `halo init` copies the DAGs and a first plan, `halo check` finds a plan's mistakes."""

from __future__ import annotations

import argparse
from pathlib import Path

import airflow_provider_halo
from airflow_provider_halo.cli.main import DONE, FAILED, WRONG, complain, say
from airflow_provider_halo.plan.findings import render_findings
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.settings import DEFAULTS

__all__ = ["check", "init"]

_PACKAGE = Path(airflow_provider_halo.__file__).parent


def check(arguments: argparse.Namespace) -> int:
    """Check the plan against its grammar and the guide's checklist.

    :raises PlanError: when the plan has mistakes.
    """
    findings = lint(load_plan(arguments.plan))
    say(render_findings(findings))
    severities = {finding.severity for finding in findings}
    return FAILED if "error" in severities or (arguments.strict and "warn" in severities) else DONE


def init(arguments: argparse.Namespace) -> int:
    """Copy what isn't there yet, and say what to do next."""
    folder = Path(arguments.folder)
    if folder.exists() and not folder.is_dir():
        complain(f"halo init: {folder} is a file; give the path of a folder.")
        return WRONG
    for source, target in _files():
        _copy(source, folder / target)
    plan = folder.absolute() / "halo.yaml"
    say(
        f"""
Next:
  1. Make the plan yours:        {folder / "halo.yaml"}
  2. Check it:                   halo check {folder / "halo.yaml"}
  3. Tell Airflow where it is:   export AIRFLOW__HALO__PLAN={plan}
  4. Make the connection `{DEFAULTS.conn_id}` (type HaloAgents) and the connection that the plan names as `source`.
  5. Unpause halo_backfill and trigger it once; then unpause halo_weekly_sync."""
    )
    return DONE


def _files() -> list[tuple[Path, Path]]:
    # An installed package has the DAGs inside; a checkout, which is installed as it lies, has them beside it.
    inside = _PACKAGE / "example_dags"
    dags = inside if inside.is_dir() else _PACKAGE.parent / "dags"
    plan_files = [PLAN, *sorted((PLAN.parent / "sql").glob("*.sql"))]
    return [(dag, Path(dag.name)) for dag in sorted(dags.glob("halo_*.py"))] + [
        (path, path.relative_to(PLAN.parent)) for path in plan_files
    ]


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        say(f"left alone: {target} (it already exists)")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    say(f"written:    {target}")
