"""`Retry-After`, held against the server's own record of when each call came."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

WHERE = {
    "company": "path=companies/identify,nth=3",
    "users": "path=users/update,nth=1",
    "link": "path=companies/identify,nth=9",
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_sent_before_the_seconds_have_passed(lab, where, status):
    trial = lab.run(lab.app(teams=4, users=6, max_in_flight=1), faults=[f"{status}:{WHERE[where]},retry_after=1"])
    asked = [at for at, call in enumerate(trial.calls) if call.retry_after]
    assert len(asked) == 1
    refused, following = trial.calls[asked[0] : asked[0] + 2]
    assert (refused.result, following.result) == (str(status), "200")
    assert following.began >= refused.ended + 1.0


@pytest.mark.parametrize("ahead", [-5.0, 0.0, 5.0])
def test_nothing_is_sent_before_the_moment_that_the_server_names_by_its_own_clock(lab, ahead):
    app = lab.app(teams=4, users=6, max_in_flight=1, sandbox={"clock_ahead": ahead})
    trial = lab.run(app, faults=[f"429:{WHERE['users']},retry_after=date+1"])
    (at,) = (at for at, call in enumerate(trial.calls) if call.retry_after)
    refused, following = trial.calls[at : at + 2]
    assert following.began >= parsedate_to_datetime(refused.retry_after).timestamp()


def test_a_wait_that_one_call_is_asked_for_holds_all_lanes(lab, caplog):
    app = lab.app(teams=30, users=30, max_in_flight=8)
    trial = lab.run(app, faults=["429:nth=12,retry_after=1"])
    (refused,) = (call for call in trial.calls if call.retry_after)
    # From when the client has read the answer: until then other lanes may have had theirs, and gone on.
    (heard,) = (record.created for record in caplog.records if "looking for the rate" in record.getMessage())
    within = [call for call in trial.calls if heard < call.began < refused.ended + 1.0]
    assert len(within) <= 7  # what the other lanes had on their way
    assert heard < refused.ended + 0.9
