"""What a contributor types: every make target says what it does, the check's script is sound, versions name no place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from inline_snapshot import snapshot

ROOT = Path(__file__).parents[2]


def make(*words, **environment):
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
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
    assert done.stdout == snapshot("No Python 3.10 or later found: install one, or name it by make PYTHON=…\n")


@pytest.mark.parametrize(
    ("others", "scheduler", "succeeds"),
    [
        ("passes", None, True),
        (None, "passes", True),
        ("fails", "passes", False),
        ("passes", "fails", False),
        (None, None, False),  # more likely a misspelt TESTS than what somebody wanted
    ],
)
def test_all_tests_are_green_when_those_of_the_scheduler_and_the_others_are(tmp_path, others, scheduler, succeeds):
    tests = tmp_path / "test_of_this_folder.py"
    tests.write_text(
        "import pytest\n"
        + (f"def test_other(): assert '{others}' == 'passes'\n" if others else "")
        + (f"@pytest.mark.scheduler\ndef test_one(): assert '{scheduler}' == 'passes'\n" if scheduler else ""),
        encoding="utf-8",
    )
    # The Python of this test, and an environment that counts as made, whoever made it.
    bin_folder = Path(sys.executable).parent
    words = [f"TESTS={tests}", "WORKERS=0", f"VENV={bin_folder.parent}", f"--old-file={bin_folder.parent}/ready"]
    # Nothing but what the target asks for: the other plugins take as long to start as everything else.
    done = make("test", *words, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_PLUGINS="xdist.plugin")
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    wanted = [kind for kind in (others, scheduler) if kind]
    assert [done.stdout.count("1 passed"), done.stdout.count("1 failed")] == [
        wanted.count("passes"),
        wanted.count("fails"),
    ], done.stdout


def test_the_check_is_a_script_that_bash_can_read():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def pins_of(name):
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_are_versions_and_nothing_else(name):
    pins = pins_of(name)
    wrong = [pin for pin in pins if not re.fullmatch(r'[\w.-]+==[\w.]+( ; python_version >= "3\.11")?', pin)]
    assert wrong == []
    assert len(pins) > 100


def test_the_lowest_releases_are_those_of_the_project_file_and_pinned_nowhere_else():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "lowest"], capture_output=True, text=True, check=True)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[project]\n")[2]
    bounds = {name.lower(): release for name, release in re.findall(r'"([\w.-]+)>=([\w.]+)[";]', text)}
    assert done.stdout.lower().splitlines() == [f"{name}=={release}" for name, release in sorted(bounds.items())]
    assert len(bounds) > 30
    assert bounds.keys() & {pin.partition("==")[0].lower() for pin in pins_of("constraints-lowest.txt")} == set()
