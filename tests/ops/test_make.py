"""What a contributor types: every make target says what it does, the check's script is sound, versions name no place."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(*words):
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_target_is_in_the_help():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split()
    told = [line.split()[1] for line in make("help").stdout.splitlines()]
    assert sorted(told) == sorted(targets)


def test_make_alone_tells_what_there_is():
    assert make().stdout == make("help").stdout


def test_without_a_python_it_says_what_to_do(tmp_path):
    done = make("venv", f"VENV={tmp_path}/venv", "PYTHON=")
    assert done.returncode != 0
    assert done.stdout == "No Python 3.10 or later found: install one, or name it by make PYTHON=…\n"


def test_the_check_is_a_script_that_bash_can_read():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_constraints_are_versions_and_nothing_else():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    wrong = [pin for pin in pins if not re.fullmatch(r'[\w.-]+==[\w.]+( ; python_version >= "3\.11")?', pin)]
    assert wrong == []
    assert len(pins) > 100
