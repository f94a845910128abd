"""The report, and when a run counts as failed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.delivery.report import Counts, Report, Tally, failure_of, merge
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.records.problem import SCOPES, STATUSES, Problem

BAD = Problem(
    "users", "u7", "traits.mrr", "holds bytes, which have no form in JSON; cast the column to text in the SQL"
)


def test_outcomes_add_up_to_a_report_of_counts_and_keys():
    tally = Tally()
    tally.emit(Outcome(scope="companies", status="stored", count=2))
    tally.emit(Outcome(scope="users", status="stored", count=1_000))
    tally.emit(Outcome(scope="users", status="rejected", problem=BAD))
    tally.emit(
        Outcome(
            scope="links", status="skipped", count=3, problem=Problem("links", "u1", "", "its company was not stored")
        )
    )
    tally.warn("NUL characters removed", 4)
    report = tally.report(requests=3, retries=1, size=90_000)
    data = report.to_dict()
    assert data.pop("seconds") >= 0
    assert data == {
        "companies": {"stored": 2, "partial": 0, "unchanged": 0, "skipped": 0, "rejected": 0, "failed": 0},
        "users": {"stored": 1_000, "partial": 0, "unchanged": 0, "skipped": 0, "rejected": 1, "failed": 0},
        "links": {"stored": 0, "partial": 0, "unchanged": 0, "skipped": 3, "rejected": 0, "failed": 0},
        "requests": 3,
        "retries": 1,
        "bytes": 90_000,
        "warnings": {"NUL characters removed": 4, "links skipped: its company was not stored": 3},
        "rejects": [{"scope": "users", "key": "u7", "field": "traits.mrr", "reason": BAD.reason}],
        "left_out": [],
    }
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_at_most_twenty_rejects_are_shown_and_the_text_says_how_many_more():
    tally = Tally()
    for number in range(25):
        tally.emit(Outcome(scope="users", status="rejected", problem=Problem("users", f"u{number}", "", "is refused")))
    report = tally.report(requests=0, retries=0, size=0)
    assert [problem.key for problem in report.rejects] == [f"u{number}" for number in range(20)]
    assert report.to_text().splitlines()[-1] == "rejected: and 5 more"


counts = st.builds(Counts, **dict.fromkeys(STATUSES, st.integers(0, 10**6)))
reports = st.builds(
    Report,
    companies=counts,
    users=counts,
    links=counts,
    requests=st.integers(0, 10**6),
    retries=st.integers(0, 10**6),
    bytes=st.integers(0, 10**9),
    warnings=st.dictionaries(st.sampled_from(["a", "b"]), st.integers(1, 9)),
    rejects=st.lists(st.just(BAD), max_size=20),
    left_out=st.lists(st.just(BAD), max_size=20),
    stopped=st.sampled_from(["", "Halo is down", "x"]),
)


@given(st.lists(reports, max_size=5))
def test_the_report_of_a_run_is_the_sum_of_its_batches_and_survives_xcom(parts):
    total = merge(parts)
    for scope in SCOPES:
        for status in STATUSES:
            assert getattr(total.counts(scope), status) == sum(getattr(part.counts(scope), status) for part in parts)
    assert (total.requests, total.bytes) == (sum(p.requests for p in parts), sum(p.bytes for p in parts))
    assert len(total.rejects) == min(20, sum(len(part.rejects) for part in parts))
    assert len(total.left_out) == min(20, sum(len(part.left_out) for part in parts))
    assert Report.from_dict(json.loads(json.dumps(total.to_dict()))) == total


def test_a_report_of_before_there_were_records_in_part_is_read_all_the_same():
    assert Report.from_dict({"users": {"stored": 1}, "rejects": []}) == Report(users=Counts(stored=1))


def _report(*, stored: int = 0, rejected: int = 0, failed: int = 0, stopped: str = "") -> Report:
    return Report(
        users=Counts(stored=stored, rejected=rejected, failed=failed), stopped=stopped, rejects=[BAD] * bool(rejected)
    )


@pytest.mark.parametrize(
    ("report", "limit", "reason"),
    [
        (_report(stored=99, rejected=1), "1%", None),
        (
            _report(stored=98, rejected=2),
            "1%",
            f"2 of 100 records were rejected (2.00%), more than max_rejected=1%; the first: {BAD}",
        ),
        (_report(stored=98, rejected=2), 2, None),
        (
            _report(stored=98, rejected=2),
            "1",
            f"2 of 100 records were rejected, more than max_rejected=1; the first: {BAD}",
        ),
        (_report(rejected=2), None, None),
        (_report(rejected=2), "100%", None),
        (_report(stored=5, failed=1), None, "1 of 6 records could not be delivered; run it again to send them"),
        (_report(stored=5, stopped="Halo is down"), None, "the run stopped early: Halo is down"),
        (
            _report(),
            "1%",
            "the plan's queries gave no record at all, so nothing was sent; check the source database and the SQL",
        ),
    ],
)
def test_a_run_fails_for_the_reason_that_it_names(report, limit, reason):
    assert failure_of(report, max_rejected=Limit.parse(limit)) == reason


def test_an_empty_run_may_be_allowed():
    assert failure_of(_report(), max_rejected=Limit.parse("1%"), allow_empty=True) is None
