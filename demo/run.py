"""The whole demo, from an empty folder to the proof: backfill, a week later the sync, an event, and a quiet week."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from airflow_provider_halo.sample.spread import EXAMPLE_TEAM, USERS_PER_COMPANY
from airflow_provider_halo.settings import HaloSettings
from demo.airflow_home import USER
from demo.answers import EXAMPLE_USER, answers
from demo.change import break_integration, change_sample
from demo.dag_run import Finished, Runner
from demo.failure import DemoFailure
from demo.people import be_present
from demo.processes import Processes, stop_listed
from demo.proof import Snapshot, changed, missing, moved, snapshot, started, users_in
from demo.screen import Screen
from demo.stage import Stage, build, fresh

__all__ = ["bring_down", "bring_up", "run_demo"]

_PRESENT = 40  # people who are using the product before the first sync
_SCOPES = ("companies", "users", "links")
_STATUSES = ("stored", "partial", "unchanged", "skipped", "rejected", "failed")


def run_demo(screen: Screen, *, folder: Path, companies: int, users: int | None, seed: int) -> int:
    """Play the demo and stop everything.

    :return: 0 when all is as claimed, else 1.
    """

    def play(processes: Processes, home: Path) -> int:
        story = _Story(screen, processes, _build(screen, processes, home, companies=companies, users=users, seed=seed))
        story.people_come()
        story.backfill()
        story.a_week_passes()
        story.something_happens()
        story.nothing_happens()
        return story.end()

    return _play_and_stop(screen, folder, play)


def bring_up(screen: Screen, *, folder: Path, companies: int, users: int | None, seed: int) -> int:
    """Play the demo as far as the backfill, and leave everything running.

    :return: 0 when all is as claimed, else 1.
    """

    def play(processes: Processes, home: Path) -> int:
        stage = _build(screen, processes, home, companies=companies, users=users, seed=seed)
        story = _Story(screen, processes, stage)
        story.people_come()
        story.backfill()
        if story.troubles:
            return story.end()
        processes.leave_running()
        screen.heading("Look around")
        screen.say(f"Airflow:  {stage.home.url}   user {USER}, password {stage.home.password}")
        screen.say(f"Sandbox:  {stage.sandbox_root}   companies and users as the AI reads them")
        screen.say("Trigger halo_backfill or halo_event_update in Airflow; `make down` stops everything.")
        return 0

    return _play_and_stop(screen, folder, play)


def bring_down(screen: Screen, *, folder: Path) -> int:
    """Stop what `bring_up` left running.

    :return: 0.
    """
    stopped = stop_listed(_logs(folder.absolute()))
    screen.say(
        f"Stopped: {', '.join(process.name for process in stopped)}." if stopped else "Nothing of the demo is running."
    )
    return 0


class _Story:
    """The acts of the demo, each with its checks. What fails is shown at once and counted."""

    def __init__(self, screen: Screen, processes: Processes, stage: Stage) -> None:
        self._screen = screen
        self._stage = stage
        self._runner = Runner(
            screen=screen,
            airflow=stage.airflow,
            sandbox=stage.sandbox,
            home=stage.home.folder,
            timeout=180 + users_in(stage.engine) / 50,
            check=lambda: processes.check(["api-server", "scheduler", "dag-processor", "sandbox"]),
        )
        self._runs: list[Finished] = []
        self._before = Snapshot({}, {}, {})
        self.troubles = 0

    def people_come(self) -> None:
        """Some people use the product, and their browsers say so: users/identify, which sets last_seen."""
        self._screen.heading("People use the product")
        settings = HaloSettings(
            widget_key=self._stage.widget_key,
            base_url=self._stage.home.sandbox_url,
            identity_secret=self._stage.identity_secret,
        )
        count = be_present(self._stage.engine, settings, _PRESENT)
        self._before = snapshot(self._stage.sandbox)
        self._screen.say(f"{count} people open it, and their browsers identify them: Halo sets their last_seen.")
        self._screen.say("From here on nobody is present, so no last_seen may move.")

    def backfill(self) -> None:
        """Everything that exists, once."""
        self._screen.heading("halo_backfill: every company and user, once")
        self._finish(self._runner.run("halo_backfill", {}))
        self._answer("What the AI answers now, from what Halo has stored")

    def a_week_passes(self) -> None:
        """Data changes, and the weekly sync brings it over."""
        self._screen.heading("A week passes; halo_weekly_sync")
        for sentence in change_sample(self._stage.engine):
            self._screen.say(f"· {sentence}")
        run = self._runner.run("halo_weekly_sync", {})
        self._finish(run)
        report = run.report
        sent = sum(report[scope]["stored"] for scope in _SCOPES)
        unchanged = sum(report[scope]["unchanged"] for scope in _SCOPES)
        self._check(
            0 < sent < unchanged,
            f"Only what changed was sent: {sent:,} records; {unchanged:,} are as the ledger has them",
        )
        company = self._stage.sandbox.company(EXAMPLE_TEAM)
        self._check(
            "slack" not in company["context"]["integrations"]["value"],
            "The integration that was removed is gone from what the AI reads",
        )
        self._answer("The same questions, a week later")

    def something_happens(self) -> None:
        """An integration fails, and an event brings that one company over."""
        self._screen.heading(f"An event: halo_event_update for company {EXAMPLE_TEAM}")
        self._screen.say(f"· {break_integration(self._stage.engine)}")
        before = self._before
        self._finish(self._runner.run("halo_event_update", {"company_id": EXAMPLE_TEAM}, report_task="sync"))
        self._check(
            changed(before, self._before) == {("companies", str(EXAMPLE_TEAM))},
            f"Company {EXAMPLE_TEAM} changed in Halo, and nothing else did",
        )
        for line in self._stage.sandbox.as_the_ai_reads_it(EXAMPLE_TEAM).split("\n\n"):
            if line.startswith("[Connected Integrations]"):
                for part in line.splitlines():
                    self._screen.aside(part)

    def nothing_happens(self) -> None:
        """One more week, in which nothing changes."""
        self._screen.heading("Another week, and nothing changes; halo_weekly_sync")
        run = self._runner.run("halo_weekly_sync", {})
        self._finish(run)
        self._check(run.report["requests"] == 0, f"{run.report['requests']:,} requests")

    def end(self) -> int:
        """The reports, the last checks, and the exit code."""
        self._screen.heading("Reports of the four runs")
        self._screen.table([_TITLES, *(row for run in self._runs for row in _rows(run))])
        self._screen.heading("Proof")
        gaps = missing(self._stage.engine, self._before)
        self._check(not gaps, "Halo has every company, user and link of the database" if not gaps else "; ".join(gaps))
        self._stage.airflow.close()
        self._stage.sandbox.close()
        return 1 if self.troubles else 0

    def _finish(self, run: Finished) -> None:
        self._runs.append(run)
        report = run.report
        stored = ", ".join(f"{report[scope]['stored']:,} {scope}" for scope in _SCOPES)
        self._screen.say(
            f"Done in {run.seconds:.0f} s, {run.batches} task{'s' if run.batches > 1 else ''}: {stored} stored"
        )
        lost = sum(report[scope][status] for scope in _SCOPES for status in ("rejected", "failed"))
        self._check(lost == 0, f"{lost:,} records rejected or failed")
        after = snapshot(self._stage.sandbox)
        active = moved(self._before, after)
        seen = sum(1 for first, last in after.seen.values() if first or last)
        self._check(
            not active,
            f"No user's last_seen moved ({len(after.seen):,} compared, {seen:,} of them seen before)"
            if not active
            else f"{run.dag_id} marked {len(active):,} users active, for example {active[0]}",
        )
        begun = started(self._before, after)
        self._check(begun == 0, f"{begun} automations started")
        self._before = after

    def _answer(self, title: str) -> None:
        self._screen.heading(title)
        company = self._stage.sandbox.company(EXAMPLE_TEAM)
        user = self._stage.sandbox.user(EXAMPLE_USER)
        for answer in answers(company, user, self._stage.engine):
            self._screen.say(answer.ask)
            text = f"   {answer.said}"
            self._check(answer.right, text if answer.right else f"{text} But the database says {answer.true}")

    def _check(self, right: bool, text: str) -> None:  # noqa: FBT001 (read as "check that …")
        if right:
            self._screen.good(text)
        else:
            self.troubles += 1
            self._screen.trouble(text)


_TITLES = ("DAG", "records", *_STATUSES, "requests", "retries", "seconds")


def _rows(run: Finished) -> list[tuple[str, ...]]:
    """A row a scope; the DAG and what the run as a whole took stand in its first row."""
    rows = []
    for number, scope in enumerate(_SCOPES):
        counts = (f"{run.report[scope][status]:,}" for status in _STATUSES)
        whole = (f"{run.report['requests']:,}", f"{run.report['retries']:,}", f"{run.seconds:.0f}")
        rows.append((run.dag_id if not number else "", scope, *counts, *(whole if not number else ("", "", ""))))
    return rows


def _build(screen: Screen, processes: Processes, home: Path, *, companies: int, users: int | None, seed: int) -> Stage:
    screen.heading(f"Starting Airflow, the sandbox and a product with {companies:,} companies")
    return build(screen, processes, home, companies=companies, users=users or companies * USERS_PER_COMPANY, seed=seed)


def _play_and_stop(screen: Screen, folder: Path, play: Callable[[Processes, Path], int]) -> int:
    """Play in a fresh folder; whatever happens, nothing is left running but what was meant to be."""
    ended = signal.signal(signal.SIGTERM, _interrupt)
    try:
        home = fresh(folder)
        with Processes(_logs(home)) as processes:
            code = play(processes, home)
        if code:
            screen.trouble(f"Some checks failed; the logs are in {_logs(home)}.")
        else:
            screen.say(f"All checks passed, in {screen.seconds:.0f} s.")
    except DemoFailure as failure:
        screen.trouble(str(failure))
        for line in failure.tail():
            screen.aside(line)
        if failure.log is not None:
            screen.say(f"More in {failure.log}")
        return 1
    else:
        return code
    finally:
        signal.signal(signal.SIGTERM, ended)


def _logs(folder: Path) -> Path:
    return folder / "logs"


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
