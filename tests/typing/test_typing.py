"""What a user's type checker says: nothing of a DAG that is right, and the mistake of one that isn't."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from inline_snapshot import snapshot

HERE = Path(__file__).parent
CACHE = (
    HERE.parents[1] / ".mypy_cache" / "users"
)  # the first run takes 20 seconds for Airflow's own modules, the next ones 2


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The lines that `mypy --strict` prints of both files; no configuration but its own defaults."""
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "mypy.ini").write_text("[mypy]\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", str(folder / "mypy.ini")),
        *("--cache-dir", str(CACHE), "--follow-imports", "silent", "--no-error-summary", "--no-pretty"),
        *("--hide-error-context", "user_dag.py", "wrong_uses.py"),
    ]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_user_s_dag_is_right_in_the_strictest_mode(checked):
    assert [line for line in checked if not line.startswith("wrong_uses.py")] == []


def test_wrong_uses_are_told_by_the_line(checked):
    source = (HERE / "wrong_uses.py").read_text(encoding="utf-8").splitlines()
    errors: dict[str, list[str]] = {}
    for line in checked:
        if match := re.fullmatch(r"wrong_uses\.py:(\d+): error: .*\[([a-z-]+)\]", line):
            errors.setdefault(source[int(match[1]) - 1], []).append(match[2])
    assert errors == snapshot(
        {
            'NO_KEY: UserRecord = {"traits": {"plan": "pro"}}': ["typeddict-item"],
            'UNKNOWN_KEY: UserRecord = {"user_id": "u1", "name": "Ada"}': ["typeddict-unknown-key"],
            'NO_SUCH_TYPE: ContextEntry = {"label": "CRM", "value": 1, "type": "stats"}': ["typeddict-item"],
            'HaloHook().update_users("u1")': ["arg-type"],
            'HaloHook().update_users([{"user_id": "u1"}], max_rejected=0.5)': ["arg-type"],
            'HaloHook().update_users([{"user_id": "u1"}])["users"]["accepted"]': ["typeddict-item"],
            'HaloHook().identify_user("u1", traits="pro")': ["arg-type"],
            'HaloHook().link_user("u1", None)': ["arg-type"],
            'IdentifyOperator(task_id="t", user_id=["u1"])': ["arg-type"],
            'IdentifyOperator(task_id="t", records="u1")': ["arg-type"],
            'IdentifyOperator(task_id="t", user_id="u1", fail_open="yes")': ["arg-type"],
            'ContextOperator(task_id="t", user_id="u1", entries=[1])': ["arg-type"],
            'SyncOperator(task_id="t", batch=1)': ["arg-type"],
            'ReportOperator(task_id="t")': ["call-arg"],
            "halo_sync(batch_size=[1])": ["arg-type"],
        }
    )
    wrong = [line for line in source if line and not line.startswith(("from", '"""'))]
    assert list(errors) == wrong
