"""The benchmarks measure right work: all parts run and write their numbers down, and a lost record is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from inline_snapshot import snapshot

ROOT = Path(__file__).parents[2]
RATIOS = ["whole_25ms_over_floor", "whole_0ms_over_floor", "warm_ledger_over_floor", "four_tasks_speedup"]


def bench(*words):
    """A run where no PostgreSQL answers, whatever there is on this machine."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *words],
        cwd=ROOT,
        env=os.environ | {"HALO_TEST_POSTGRESQL": "postgres@127.0.0.1:9/test"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_quick_run_works_and_writes_its_numbers_down(tmp_path):
    # The parts that the numbers are of; the others have the test below, and `.ci/run`, which runs them all.
    done = bench("--quick", "--only", "whole,ledger,tasks", "--json", str(tmp_path / "results.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {name: found[name] > 0 for name in RATIOS} == dict.fromkeys(RATIOS, True)
    engine = [one["megabytes"] for name, one in found["passes"].items() if not name.endswith("floor")]
    assert found["peak_mb_above_imports"] == pytest.approx(max(engine), abs=0.001)
    assert found["backfill_over_engine"] is None
    assert found["reasons"] == {"backfill_over_engine": "not asked for (--only)"}
    assert found["missing"]["whole_postgresql"] == snapshot("no PostgreSQL listens at HALO_TEST_POSTGRESQL")
    assert not [name for name in found["passes"] if "postgresql" in name]
    assert sorted(found["machine"]) == ["cores", "memory_gb", "processor", "python", "system"]
    assert found["sizes"]["whole"] == "2,000 users in 40 companies"
    whole, floor = found["passes"]["whole_25ms"], found["passes"]["whole_25ms_floor"]
    assert whole["over_floor"] == pytest.approx(whole["seconds"] / floor["seconds"], rel=0.01)
    assert (whole["users_stored"], whole["companies_stored"], floor["records"]) == (2_000, 40, 2_040)
    assert (found["passes"]["ledger_warm"]["users_unchanged"], found["passes"]["ledger_warm"]["requests"]) == (5_000, 0)


def test_a_record_that_is_lost_fails_the_run_and_is_named(tmp_path):
    results = tmp_path / "results.json"
    done = bench("--quick", "--only", "whole", "--lose", "1", "--json", str(results))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "Wrong work: whole_0ms_floor: 2,000 users were due, 1,999 came in, 1,999 different ones.\n"
    )
    assert not results.exists()


def test_a_part_that_was_not_asked_for_is_null_with_a_reason(tmp_path):
    done = bench("--quick", "--only", "peers", "--json", str(tmp_path / "results.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {name: found[name] for name in RATIOS} == dict.fromkeys(RATIOS)
    assert set(found["reasons"].values()) == {"not asked for (--only)"}
    assert {name: one["records"] for name, one in found["passes"].items()} == {
        "peer_post": 20,
        "peer_client": 20,
        "peer_hook": 2_000,
        "peer_sync_users": 2_000,
        "peer_sync_whole": 2_040,
    }


@pytest.mark.parametrize("words", [["--quick", "--write"], ["--only", "whole", "--write"]])
def test_a_run_that_is_not_whole_is_not_written_to_the_page(words):
    done = bench(*words)
    assert done.returncode == 2
    assert "--write is for a run of all parts, and not for a quick one" in done.stderr


def test_a_part_that_does_not_exist_is_refused_with_those_that_do():
    done = bench("--only", "hole")
    assert done.returncode == 2
    assert (
        "there is no part 'hole'; the parts are whole, scopes, ledger, tasks, memory, peers, quota, backfill"
        in done.stderr
    )
