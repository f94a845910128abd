"""What the log says while a batch runs."""

from __future__ import annotations

from inline_snapshot import snapshot

from airflow_provider_halo.delivery.report import Counts, Report
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.sync.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(reports: list[Report], *, links: bool = True, **batch) -> list[str]:
    """The line of each report, ten seconds after the one before."""
    clock = Clock()
    report = Report()
    progress = Progress(Batch(index=1, of=4, **batch), lambda: report, links=links, clock=clock)
    said = []
    for report in reports:  # noqa: B007 (what the progress reads)
        clock.now += 10
        said.append(progress.line())
    return said


def test_it_says_how_far_the_batch_is_how_fast_and_what_remains():
    reports = [
        Report(),
        Report(companies=Counts(stored=10), users=Counts(stored=80, rejected=10)),
        Report(companies=Counts(stored=10), users=Counts(stored=480, rejected=15, failed=5), links=Counts(stored=100)),
        Report(companies=Counts(stored=10), users=Counts(stored=480, rejected=15, failed=5), links=Counts(stored=500)),
    ]
    assert lines(reports, expected_companies=10, expected_users=500) == snapshot(
        [
            "1/4: all companies, 500 users: 0 of about 10 companies, 0 of about 500 users, 0 of about 500 links; 0 records/s",
            "1/4: all companies, 500 users: 10 of about 10 companies, 90 of about 500 users, 0 of about 500 links; 10 records/s; 10 rejected; about 910 left, 182 s",
            "1/4: all companies, 500 users: 10 of about 10 companies, 500 of about 500 users, 100 of about 500 links; 51 records/s; 15 rejected, 5 failed; about 400 left, 20 s",
            "1/4: all companies, 500 users: 10 of about 10 companies, 500 of about 500 users, 500 of about 500 links; 40 records/s; 15 rejected, 5 failed",
        ]
    )


def test_without_expected_counts_it_says_what_is_done():
    assert lines([Report(users=Counts(stored=5))], links=False) == snapshot(
        ["1/4: all companies: 5 users; 0 records/s"]
    )
