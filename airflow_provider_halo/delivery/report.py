"""The report: outcomes summed up as counts and keys, never traits. The same value goes to XCom, to files and to people."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from airflow_provider_halo.delivery.outcome import Outcome
from airflow_provider_halo.limit import Limit
from airflow_provider_halo.records.problem import SCOPES, STATUSES, Problem, Scope, Status
from airflow_provider_halo.settings import DEFAULTS

__all__ = ["REJECTS_SHOWN", "Counts", "Report", "Tally", "continued", "failure_of", "merge"]

_IN_HALO: Final = frozenset({"stored", "unchanged"})
_MAX_LEFT_OUT: Final = Limit.parse(DEFAULTS.max_left_out)
REJECTS_SHOWN = 20  # a report travels through XCom; the counts say how many there were in all


class Counts(msgspec.Struct, kw_only=True):
    """Records of one scope by outcome.

    :param partial: those that Halo has but for what was left out of them, sent now or before.
    """

    stored: int = 0
    partial: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All records of the scope, whatever became of them."""
        return self.stored + self.partial + self.unchanged + self.skipped + self.rejected + self.failed


class Report(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one batch, or one run of many, did.

    :param requests: HTTP calls sent, retries included; of a dry run the calls it would have taken.
    :param retries: how many of them repeated an earlier one.
    :param throttled: how many requests Halo refused for their rate (429).
    :param requests_per_second: the rate that Halo was last found to take; None where it refused none for their rate.
    :param bytes: bytes of the bodies of all requests.
    :param seconds: time spent; of several batches the sum.
    :param warnings: how often something was mended or left out on the way, by kind.
    :param rejects: at most 20 of the rejected records.
    :param left_out: at most 20 of the entries that were left out of records, which are so stored in part.
    :param failures: at most 20 of the records that could not be delivered.
    :param gone: how many records of each scope were sent earlier and are no longer in the source; None where that isn't
        known: without a ledger, and of a part of a run or of a plan.
    :param dry_run: nothing was sent.
    :param stopped: why the run ended early; empty when it went to its end.
    """

    companies: Counts = msgspec.field(default_factory=Counts)
    users: Counts = msgspec.field(default_factory=Counts)
    links: Counts = msgspec.field(default_factory=Counts)
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0
    warnings: dict[str, int] = msgspec.field(default_factory=dict)
    rejects: list[Problem] = msgspec.field(default_factory=list)
    left_out: list[Problem] = msgspec.field(default_factory=list)
    failures: list[Problem] = msgspec.field(default_factory=list)
    gone: dict[Scope, int] | None = None
    dry_run: bool = False
    stopped: str = ""
    throttled: int = 0
    requests_per_second: float | None = None

    def counts(self, scope: Scope) -> Counts:
        """The counts of one scope."""
        counts: Counts = getattr(self, scope)
        return counts

    def total(self, status: Status) -> int:
        """Records of all scopes with one outcome."""
        return sum(getattr(self.counts(scope), status) for scope in SCOPES)

    @property
    def records(self) -> int:
        """Records of all scopes, whatever became of them."""
        return sum(self.counts(scope).total for scope in SCOPES)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` reads it back. What says nothing in most reports is there only where it says something."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("failures", "dry_run", "stopped", "throttled", "requests_per_second"):
            if not data[name]:
                del data[name]
        if self.gone is None:
            del data["gone"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Read what `to_dict` wrote.

        :raises msgspec.ValidationError: for anything else.
        """
        return msgspec.convert(dict(data), cls)

    def to_text(self) -> str:
        """A table for people, with the rejects and warnings below it."""
        lines = self._table()
        would = "dry run, nothing sent; it would take " if self.dry_run else ""
        lines.append(
            f"{would}{self.requests:,} requests ({self.retries:,} retries), {self.bytes:,} bytes, {self.seconds:.1f} s"
        )
        if self.throttled:
            rate = (
                "" if self.requests_per_second is None else f"; it takes about {self.requests_per_second:,.0f} a second"
            )
            lines.append(f"Halo refused {self.throttled:,} requests for their rate, which were sent again{rate}")
        lines += [f"warning: {kind}: {count:,}" for kind, count in sorted(self.warnings.items())]
        lines += _left_out_lines(self.left_out, self.total("partial"))
        lines += _problem_lines("rejected", self.rejects, self.total("rejected"))
        lines += _problem_lines("failed", self.failures, self.total("failed"))
        if self.gone and any(self.gone.values()):
            counts = ", ".join(f"{count:,} {scope}" for scope, count in self.gone.items() if count)
            lines.append(f"no longer in the source: {counts} (halo status names them)")
        if self.stopped:
            lines.append(f"stopped early: {self.stopped}")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        lines = []
        for scope in SCOPES:
            counts = self.counts(scope)
            if counts.total:
                lines.append(f"{scope:<10}" + "".join(f"{getattr(counts, status):>11,}" for status in STATUSES))
        head = f"{'':<10}" + "".join(f"{status:>11}" for status in STATUSES)
        return [head, *lines] if lines else ["no records"]


def _problem_lines(title: str, shown: Sequence[Problem], total: int) -> list[str]:
    lines = [f"{title}: {problem}" for problem in shown]
    if lines and total > len(lines):
        lines.append(f"{title}: and {total - len(lines):,} more")
    return lines


def _left_out_lines(shown: Sequence[Problem], records: int) -> list[str]:
    lines = [f"left out: {problem}" for problem in shown]
    more = records - len({(problem.scope, problem.key) for problem in shown})
    if lines and more > 0:
        lines.append(f"left out: and of {more:,} records more")
    return lines


class Tally:
    """Adds outcomes up while a batch runs; `emit` on the sending side, `warn` from any thread."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._report = Report(dry_run=dry_run)
        self._warnings: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def emit(self, outcome: Outcome) -> None:
        """Count an outcome."""
        report = self._report
        counts = report.counts(outcome.scope)
        partial = self._count_partial(outcome)
        counts.partial += partial
        setattr(counts, outcome.status, getattr(counts, outcome.status) + outcome.count - partial)
        problem = outcome.problem
        if problem is None:
            return
        if outcome.status == "skipped":
            self.warn(f"{problem.scope} skipped: {problem.reason}", outcome.count)
        elif outcome.status == "failed" and len(report.failures) < REJECTS_SHOWN:
            report.failures.append(problem)
        elif outcome.status == "rejected" and len(report.rejects) < REJECTS_SHOWN:
            report.rejects.append(problem)

    def _count_partial(self, outcome: Outcome) -> int:
        """How many of an outcome's records something was left out of; notes the first of what was."""
        if outcome.scope == "links" or not (outcome.status in _IN_HALO or self._would_be_sent(outcome)):
            return 0
        partial = [change.payload.left_out for change in outcome.changes or outcome.unsure if change.payload.left_out]
        for problems in partial:
            self._report.left_out += problems[: REJECTS_SHOWN - len(self._report.left_out)]
        # Of an answer that only counts, any of the records may be those that it has stored.
        return min(len(partial), outcome.count)

    def _would_be_sent(self, outcome: Outcome) -> bool:
        return self._report.dry_run and outcome.status == "skipped"

    def warn(self, kind: str, count: int = 1) -> None:
        """Count something that was mended or left out on the way."""
        if count:
            with self._lock:
                self._warnings[kind] += count

    def report(
        self,
        *,
        requests: int,
        retries: int,
        size: int,
        throttled: int = 0,
        requests_per_second: float | None = None,
        stopped: str = "",
    ) -> Report:
        """The report as it stands."""
        report = self._report
        report.throttled = throttled
        report.requests_per_second = None if requests_per_second is None else round(requests_per_second, 1)
        report.requests, report.retries, report.bytes = requests, retries, size
        report.seconds = round(time.monotonic() - self._began, 3)
        report.stopped = stopped
        with self._lock:
            report.warnings = dict(self._warnings)
        return report

    @property
    def so_far(self) -> Report:
        """The counts while the batch goes on; for progress only."""
        return self._report


def merge(reports: Iterable[Report]) -> Report:
    """Sum the reports of several batches into that of their run."""
    total = Report()
    stopped: list[str] = []
    warnings: Counter[str] = Counter()
    for report in reports:
        for scope in SCOPES:
            sums, counts = total.counts(scope), report.counts(scope)
            for status in STATUSES:
                setattr(sums, status, getattr(sums, status) + getattr(counts, status))
        total.requests += report.requests
        total.retries += report.retries
        total.bytes += report.bytes
        total.throttled += report.throttled
        total.requests_per_second = report.requests_per_second or total.requests_per_second
        total.seconds = round(total.seconds + report.seconds, 3)
        warnings.update(report.warnings)
        total.rejects += report.rejects[: REJECTS_SHOWN - len(total.rejects)]
        total.left_out += report.left_out[: REJECTS_SHOWN - len(total.left_out)]
        total.failures += report.failures[: REJECTS_SHOWN - len(total.failures)]
        if report.gone is not None:
            total.gone = report.gone
        total.dry_run = total.dry_run or report.dry_run
        if report.stopped and report.stopped not in stopped:
            stopped.append(report.stopped)
    total.warnings = dict(warnings)
    total.stopped = "; ".join(stopped)
    return total


def continued(earlier: Report, later: Report) -> Report:
    """The report of one batch that was interrupted and begun anew: each record counts once.

    What the first part stored, the second one finds unchanged; what it left behind, the second one has brought.
    """
    total = msgspec.convert(msgspec.to_builtins(later), Report)
    for scope in SCOPES:
        counts = total.counts(scope)
        again = min(earlier.counts(scope).stored, counts.unchanged)
        counts.stored += again
        counts.unchanged -= again
    total.requests += earlier.requests
    total.retries += earlier.retries
    total.bytes += earlier.bytes
    total.throttled += earlier.throttled
    total.seconds = round(total.seconds + earlier.seconds, 3)
    return total


def failure_of(
    report: Report, *, max_rejected: Limit, max_left_out: Limit = _MAX_LEFT_OUT, allow_empty: bool = False
) -> str | None:
    """Why a run counts as failed, in one sentence; None when it did what it should.

    :param max_rejected: how many of its records may be rejected.
    :param max_left_out: how many of its records may be stored in part.
    :param allow_empty: whether a run that read no record at all is fine.
    """
    if report.stopped:
        return f"the run stopped early: {report.stopped}"
    failed = report.total("failed")
    if failed:
        first = f", the first: {report.failures[0]}" if report.failures else ""
        return f"{failed:,} of {report.records:,} records could not be delivered{first}; run it again to send them"
    rejected, partial = report.total("rejected"), report.total("partial")
    if not max_rejected.allows(rejected, report.records):
        what = f"{_share(rejected, 'rejected', report, max_rejected)}, more than max_rejected={max_rejected}"
        return what + _first(report.rejects)
    if not max_left_out.allows(partial, report.records):
        what = f"{_share(partial, 'stored in part', report, max_left_out)}, more than max_left_out={max_left_out}"
        return what + _first(report.left_out)
    if not report.records and not allow_empty:
        return "the plan's queries gave no record at all, so nothing was sent; check the source database and the SQL"
    return None


def _share(count: int, became: str, report: Report, limit: Limit) -> str:
    """What became of so many of a run's records."""
    share = f" ({count / report.records:.2%})" if limit.percent is not None else ""
    return f"{count:,} of {report.records:,} records were {became}{share}"


def _first(problems: Sequence[Problem]) -> str:
    return f"; the first: {problems[0]}" if problems else ""
