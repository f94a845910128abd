"""Faults that end a run: how many calls it takes to see it, and that the next run sends the rest and no more."""

from __future__ import annotations

import pytest

from airflow_provider_halo.exceptions import HaloUnavailable, TokenRefused, WidgetKeyRefused

LANES = 8
SIZE = {"teams": 20, "users": 60}  # 20 companies, one users/update, 60 links


@pytest.mark.parametrize("after", [0, 20, 50])
@pytest.mark.parametrize(("status", "error", "tries"), [(401, WidgetKeyRefused, 1), (403, TokenRefused, 2)])
def test_a_credential_that_stops_passing_ends_the_run_within_the_calls_in_flight(
    lab, undisturbed, status, error, tries, after
):
    base = undisturbed(**SIZE)
    app = lab.remembering(lab.app(**SIZE))
    # In Halo's own words, a JSON error; the look whether others pass is one call for all lanes.
    of_tokens = 'path=companies/identify,contains=user_token,body={"error":"bad signature"},'
    looks = status == 403
    trial = lab.run(app, faults=[f"{status}:{of_tokens if status == 403 else ''}first={after + 1}"])
    refused = [call for call in trial.calls if call.result == str(status)]
    lab.note(
        f"{status} after {after} calls" + " with a token" * (status == 403),
        base.requests,
        str(trial.requests),
        f"{len(refused)} refused (<= {tries * LANES + looks})",
        "stopped; the next run sends the rest",
    )
    assert type(trial.error) is error
    # Each lane's own, and of a token one more try with a new one; a widget key is never tried twice.
    assert 1 <= len(refused) <= tries * LANES + looks
    assert trial.report.retries <= (tries - 1) * LANES + looks
    # Nothing is sent any more once the first refusal was read, but for what the lanes had on their way.
    first = min(call.ended for call in refused)
    assert sum(call.began > first for call in trial.calls) <= tries * LANES + looks
    the_rest_is_sent_and_nothing_else(lab, app, trial, base)


def test_a_halo_that_stays_down_ends_the_run_and_the_next_one_sends_the_rest(lab, undisturbed):
    base = undisturbed(**SIZE)
    app = lab.remembering(lab.app(**SIZE, max_retry_seconds=1.0))
    trial = lab.run(app, faults=["503:first=31"])
    lab.note(
        "503 for longer than max_retry_seconds", base.requests, str(trial.requests), "-", "stopped; the next run …"
    )
    assert type(trial.error) is HaloUnavailable
    the_rest_is_sent_and_nothing_else(lab, app, trial, base)


def the_rest_is_sent_and_nothing_else(lab, app, trial, base) -> None:
    """The next run brings the state of an undisturbed one, by the calls whose yes the first one hasn't read."""
    acknowledged = sum(call.result == "200" for call in trial.calls)
    again = lab.run(app)
    assert (again.error, again.digest) == (None, base.digest)
    stored = [
        (first.stored, second.unchanged, second.stored) for first, second in zip(*each(trial, again), strict=True)
    ]
    assert stored == [
        (first.stored, first.stored, whole.stored - first.stored)
        for first, whole in zip(*each(trial, base), strict=True)
    ]
    # A yes may have been on its way when the run stopped: that call is sent once more.
    unread = again.arrived - (base.requests - acknowledged)
    assert 0 <= unread <= LANES
    assert again.arrived == base.requests - (
        trial.report.companies.stored + trial.report.links.stored + (trial.report.users.stored > 0)
    )


def each(*trials):
    return [(trial.report.companies, trial.report.users, trial.report.links) for trial in trials]
