"""Each fault in turn, through the front door: the state is that of a run without it, and the price is stated.

A fault hits one call of each kind (a company, a users/update, a link) unless its case says otherwise, so that it costs
exactly three calls; where the price depends on who comes first it is bounded, with the reason.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_halo.delivery.report import Counts

LANES = 8  # max_in_flight, as connections have it
COMPANY, USERS, LINK = "path=companies/identify,nth=4", "path=users/update,nth=1", "path=companies/identify,nth=20"


@dataclass(frozen=True)
class Case:
    """A fault and its price.

    :param extra: calls more than without it.
    :param at_most: whether ``extra`` is a bound; ``why`` says where it comes from.
    :param unseen: whether some of the calls never reach the server.
    """

    name: str
    faults: tuple[str, ...] = ()
    extra: int = 0
    at_most: bool = False
    why: str = ""
    unseen: bool = False
    sandbox: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    size: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    outage: float = 0.0


def thrice(kind: str, name: str) -> Case:
    """One call of each kind meets it: each is sent once more."""
    return Case(name, tuple(f"{kind}{':' if ':' not in kind else ','}{where}" for where in (COMPANY, USERS, LINK)), 3)


CASES = [
    Case(
        "all of it at once",
        (
            *("503:every=11", "429:every=13,retry_after=0", "reset_before:every=17", "reset_during:every=19"),
            *(
                "reset_after:every=23",
                "truncate:every=29",
                "empty:every=31",
                "html:every=37",
                "500:every=41,when=after",
            ),
        ),
        26,
        at_most=True,
        why="44 of 100 calls are hit at most, the repeated ones too: 33 / (1 - 0.44) = 59",
    ),
    Case(
        "outage of 2 s",
        extra=6 * LANES,
        at_most=True,
        why="each lane's call is repeated with waits of up to 0.5, 1, 2, 4 … s: 2 s hold six of them only by rare luck",
        unseen=True,
        outage=2.0,
    ),
    Case("429, Retry-After in seconds", (f"429:{USERS},retry_after=1",), 1),
    Case("429, Retry-After as a date", (f"429:{USERS},retry_after=date+1",), 1),
    thrice("429:retry_after=0", "429, Retry-After: 0"),
    Case("429 without Retry-After", (f"429:{COMPANY}", f"429:{LINK}"), 2),
    Case("429, Retry-After is garbage", (f"429:{USERS},retry_after=next Tuesday",), 1),
    thrice("500", "500 with HTML"),
    thrice("502", "502 with HTML"),
    Case("503 with HTML and Retry-After", (f"503:{USERS},retry_after=1",), 1),
    thrice("500:when=after", "500 after storing"),
    thrice("reset_before", "reset before the answer"),
    thrice("reset_during", "reset during the answer"),
    thrice("reset_after", "reset after storing"),
    thrice("truncate", "truncated JSON"),
    thrice("empty", "200 with an empty body"),
    thrice("html", "200 with HTML"),
    Case(
        "server closes idle connections",
        (f"429:{COMPANY},retry_after=1", f"429:{LINK},retry_after=1"),
        2,
        why="the two 429, whose pauses leave all connections idle: no call is lost on a closed one",
        sandbox={"keep_alive": 0.2},
    ),
    Case(
        "server closes after each answer",
        extra=33,
        at_most=True,
        why="a call may meet a connection that is just being closed, and none meets two: its second has a new one",
        unseen=True,
        sandbox={"keep_alive": 0.0},
    ),
    Case(
        "answer later than the time-out",
        (f"delay:{USERS},seconds=2.2",),
        1,
        settings={"timeout": 1.5},
    ),
    Case("server's clock 5 s behind", sandbox={"clock_ahead": -5.0}),
    Case("server's clock 5 s ahead", sandbox={"clock_ahead": 5.0}),
    Case(
        "server's clock 6 minutes behind",
        extra=1,
        why="the token of users/update ends more than an hour ahead by that clock: one 403, then one with a shorter life",
        sandbox={"clock_ahead": -360.0},
    ),
    Case("server's clock 6 minutes ahead", sandbox={"clock_ahead": 360.0}),
    Case(
        "token expires in mid-batch, one lane",
        ("expire:path=users/update,nth=2",),
        1,
        size={"users": 2_200},
        options={"link_users": False},
        settings={"max_in_flight": 1},
    ),
    Case(
        "token expires in mid-batch, 3 in flight",
        ("expire:path=users/update,nth=1",),
        3,
        at_most=True,
        why="the calls that were on their way with the same token, once more each",
        size={"users": 2_200},
        options={"link_users": False},
    ),
    *[
        Case(
            "outage of 20 s",
            extra=10 * LANES,
            at_most=True,
            why="as for the short one: ten waits of up to 0.5, 1, 2 … 30 s are longer than 20 s but for rare luck",
            unseen=True,
            outage=20.0,
        )
    ]
    * ("HALO_TEST_LONG" in os.environ),  # it takes half a minute
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
remembering = pytest.mark.parametrize("remembers", [True], ids=["ledger"])
forgetting = pytest.mark.parametrize("remembers", [False], ids=["no ledger"])


@pytest.fixture(scope="module")
def trials(request, lab_of):
    """Every trial that a chosen test asks for. Several at a time, since most of their time is waits."""
    chosen = [item.callspec.params for item in request.session.items if item.module is request.module]

    def attempt(case: Case, *, remembers: bool):
        with closing(lab_of()) as lab:
            app = lab.app(sandbox=case.sandbox, **case.size, **case.settings)
            if remembers:
                lab.remembering(app)
            faulted = lab.run(app, faults=case.faults, outage=case.outage, **case.options)
            return faulted, lab.run(app, **case.options) if remembers else None

    with ThreadPoolExecutor(8) as pool:
        yield {(given["case"].name, given["remembers"]): pool.submit(attempt, **given) for given in chosen}


@each_case
@forgetting
def test_a_fault_changes_nothing_in_what_is_stored_and_its_price_is_known(lab, trials, undisturbed, case, remembers):
    trial, _ = trials[case.name, remembers].result()
    base = undisturbed(**case.size, options=case.options)
    assert (trial.error, trial.digest) == (None, base.digest)
    assert counts(trial) == counts(base)
    extra = trial.requests - base.requests
    lab.note(case.name, base.requests, str(trial.requests), f"{extra}{f' (<= {case.extra})' * case.at_most}")
    assert extra <= case.extra if case.at_most else extra == case.extra, case.why
    assert trial.report.retries == extra
    assert trial.arrived <= trial.requests if case.unseen else trial.arrived == trial.requests
    assert early(trial) == []
    assert leaks(trial) == set()


@each_case
@remembering
def test_with_a_ledger_the_next_run_finds_nothing_left_to_send(trials, undisturbed, case, remembers):
    faulted, clean = trials[case.name, remembers].result()
    base = undisturbed(**case.size, options=case.options)
    assert (faulted.error, faulted.digest, counts(faulted)) == (None, base.digest, counts(base))
    assert (clean.error, clean.digest, clean.arrived) == (None, base.digest, 0)
    assert counts(clean) == tuple(Counts(unchanged=count.stored) for count in counts(base))


def counts(trial) -> tuple[Counts, ...]:
    report = trial.report
    return report.companies, report.users, report.links


def early(trial) -> list[str]:
    """Calls that came before the time that an answer had asked to wait for.

    Those that hit a call of users/update or a single lane have nothing in flight beside them; of the others as many as
    there are lanes may have been on their way when the answer was given.
    """
    found = []
    for asked in trial.calls:
        if asked.retry_after.isdecimal():
            until = asked.ended + float(asked.retry_after)
            early = [call for call in trial.calls if asked.ended < call.began < until]
            if len(early) > (0 if asked.path == "users/update" else LANES - 1):
                found.append(f"{len(early)} calls within the {asked.retry_after} s after {asked}")
    return found


def leaks(trial) -> set[str]:
    """Secrets where none may be, in any call."""
    return {leak for call in trial.calls for leak in call.leaks}
