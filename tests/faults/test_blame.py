"""Users that Halo refuses, and bodies that it finds too large: one bad row costs one row, and the search has a price."""

from __future__ import annotations

from math import ceil, log2

import pytest

from airflow_provider_halo.delivery.report import Counts

ALONE = {"teams": 4, "users": 100}  # one batch, one request


@pytest.mark.parametrize(
    ("sandbox", "extra", "sizes"),
    [
        ({"bad_user": "named"}, 2, "the whole, the others, the named one alone"),
        ({"bad_user": "partial"}, 0, "the whole"),
        ({"bad_user": "nameless"}, 10, "halves down to it, without a name"),
        ({"poison": frozenset({"37"})}, 10, "halves down to it, without a name"),
    ],
    ids=["named", "per user", "nameless", "nameless and without a cause"],
)
def test_a_poisoned_user_costs_its_own_row_and_a_known_number_of_calls(lab, undisturbed, sandbox, extra, sizes):
    base = undisturbed(**ALONE, without=37)
    bad = () if "poison" in sandbox else (37,)
    app = lab.remembering(lab.app(**ALONE, bad=bad, sandbox=sandbox))
    trial = lab.run(app)
    spent = trial.requests - base.requests
    lab.note(f"one poisoned user of 100: {sizes}", base.requests, str(trial.requests), str(spent), "all but that one")
    assert (trial.error, trial.digest, spent) == (None, base.digest, extra)
    assert extra <= 2 * ceil(log2(100))
    assert (trial.report.users, trial.report.links) == (Counts(stored=99, rejected=1), Counts(stored=99))
    again = lab.run(app)  # what was refused isn't tried again until it changes
    assert (again.arrived, again.digest) == (0, trial.digest)
    assert again.report.users == Counts(unchanged=99, rejected=1)


@pytest.mark.parametrize("bad_user", ["nameless", "named", "partial"])
def test_a_poisoned_user_in_each_of_three_batches_at_once_costs_no_more_than_three_searches(lab, undisturbed, bad_user):
    size = {"teams": 3, "users": 1_500}
    options = {"link_users": False, "batch_size": 500, "jobs": 3}
    base = undisturbed(**size, options=options)
    app = lab.app(**size, bad=(7, 750, 1_499), sandbox={"bad_user": bad_user})
    trial = lab.run(app, **options)
    spent = trial.requests - base.requests
    bound = 2 * 3 * ceil(log2(1_500 / 3))
    lab.note(
        f"3 of 1,500 in 3 batches, {bad_user}", base.requests, str(trial.requests), f"{spent} (<= {bound})", "all but 3"
    )
    assert (trial.error, trial.report.users) == (None, Counts(stored=1_497, rejected=3))
    assert spent <= bound
    assert sorted(problem.key for problem in trial.report.rejects) == ["1499", "7", "750"]
    assert set(app.server.store.find("users")) == {str(user) for user in range(1, 1_501)} - {"7", "750", "1499"}


def test_a_body_above_the_cap_is_cut_at_the_price_of_the_refusal_and_the_parts(lab, undisturbed):
    size, options = {"teams": 4, "users": 900}, {"link_users": False}
    base = undisturbed(**size, options=options)
    app = lab.remembering(lab.app(**size, sandbox={"max_body_bytes": 60_000}))
    trial = lab.run(app, **options)
    spent = trial.requests - base.requests
    lab.note("413: 900 users, 60,000 bytes are the cap", base.requests, str(trial.requests), str(spent))
    assert (trial.error, trial.digest, trial.report.users) == (None, base.digest, Counts(stored=900))
    # The whole is refused, and each half; from then on what Halo takes is known, and the rest is cut beforehand.
    assert trial.path("users/update") == ["413", "413", *["200"] * 4]
    assert spent == len(trial.path("users/update")) - 1
    again = lab.run(app, **options)
    assert (again.arrived, again.digest) == (0, base.digest)
