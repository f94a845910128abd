"""When a run is green, Halo holds what the database says, whatever the batch size, the database and the ledger."""

from __future__ import annotations

import pytest
from truth.lab import expected_of
from truth.scenarios import SCENARIOS

EACH = [
    pytest.param(
        (scenario, name),
        id=f"{scenario.name}, {name}",
        marks=[] if name == "sqlite" else [pytest.mark.databases],
    )
    for scenario in SCENARIOS
    for name in scenario.databases
]


@pytest.mark.parametrize("laboratory", EACH, indirect=True)
@pytest.mark.parametrize("ledger", [False, True], ids=["without a ledger", "with a ledger"])
def test_halo_holds_what_the_database_says(laboratory, ledger):
    expected = expected_of(laboratory.scenario, laboratory.name)
    for batch_size in (1, 2, 300, 5_000):
        trial = laboratory.run(batch_size=batch_size, ledger=ledger)
        assert trial.stopped == ""
        assert trial.held == expected, f"batch size {batch_size}"
        assert trial.rejected() == laboratory.scenario.rejected
        assert trial.reports[0].total("rejected") == len(laboratory.scenario.rejected)


@pytest.mark.parametrize("laboratory", EACH, indirect=True)
def test_the_second_run_sends_nothing_and_calls_nothing_unchanged_that_is_not(laboratory):
    scenario = laboratory.scenario
    trial = laboratory.run(batch_size=2, ledger=True, times=2)
    assert trial.stopped == ""
    assert trial.reports[1].total("stored") == 0
    assert trial.reports[1].requests == 0
    whole = len(trial.held["companies"]) + len(trial.held["users"]) - len(scenario.left_out)
    assert trial.reports[1].companies.unchanged + trial.reports[1].users.unchanged == whole
