"""The page on sizes is what its calculation gives, and the calculation is what it says it is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sizes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import sizes

    return sizes


@pytest.fixture
def costs(sizes):
    """Costs of round figures: nothing for the processor, 10 s for a run, 2 s for a batch."""
    return sizes.Constants(
        company=0.0, user=0.0, link=0.0, known=0.0, remembered=0.0, airflow_run=10.0, airflow_task=2.0
    )


def test_the_table_of_the_page_is_the_one_that_the_module_prints():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sizes"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout in (ROOT / "benchmarks" / "SIZES.md").read_text(encoding="utf-8")
    assert len(done.stdout.splitlines()) == 12


def test_the_constants_say_which_run_they_are_from(sizes):
    found = json.loads((ROOT / "benchmarks" / "constants.json").read_text(encoding="utf-8"))
    assert sorted(found) == sorted(["made_by", "date", *(field.name for field in fields(sizes.Constants))])


def test_a_backfill_waits_for_each_company_and_link_and_for_a_thousand_users_at_once(sizes, costs):
    setting = sizes.Setting(users=32_000, companies=3_200, slots=4, in_flight=8, latency=0.1, batch_size=8_800)
    # 4 ranges, all at once: each has 800 companies, 8 at a time; 8 requests of users; 8,000 links, 8 at a time. Airflow:
    # 10 s, and 2 s twice, since the batch of users without a company finds no free slot.
    assert sizes.backfill(setting, costs, links=False) == sizes.Expected(3_232, pytest.approx(14 + 10 + 0.1))
    assert sizes.backfill(setting, costs, links=True) == sizes.Expected(35_232, pytest.approx(14 + 10 + 0.1 + 100))


def test_a_run_has_a_thousand_batches_at_most(sizes):
    assert sizes.Setting(users=1_000, companies=50).batches == 2
    assert sizes.Setting(users=10_000_000, companies=500_000).batches == 1_000


def test_a_weekly_run_reads_all_and_sends_what_has_changed(sizes, costs):
    from dataclasses import replace

    setting = sizes.Setting(users=90_000, companies=10_000, slots=4, latency=0.0, cores=2)
    known = replace(costs, known=0.001)
    # All 100,000 records are read on two cores, and half of them before that by one task; 20 ranges send users. Airflow:
    # 10 s, and 2 s for each of the six times that 21 batches fill four slots.
    assert sizes.weekly(setting, known) == sizes.Expected(100 + 20, pytest.approx(10 + 12 + 50 + 50))
