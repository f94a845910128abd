"""Which room may know which: the contracts of pyproject.toml, and an import that imports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_layers_hold_and_there_are_no_cycles():
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_importing_the_package_imports_nothing_else():
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys; before = set(sys.modules); import airflow_provider_halo; "
                "print(sorted(set(sys.modules) - before))"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert loaded.strip() == "['airflow_provider_halo']"


def test_check_and_sandbox_start_without_airflow():
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys; import airflow_provider_halo.cli.main, airflow_provider_halo.cli.starter, "
                "airflow_provider_halo.sandbox.server; "
                "print([name for name in sys.modules if name == 'airflow' or name.startswith('airflow.')])"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert loaded.strip() == "[]"
