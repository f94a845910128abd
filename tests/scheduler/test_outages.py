"""What a backfill stands on is killed in the middle of it, and comes back: the run ends as if nothing had been.

A real scheduler runs `halo_backfill`, as it is shipped but for the waits between its tries, with the LocalExecutor, a
ledger, and connections that are saved in Airflow. Airflow's metadata, the source and the ledger are PostgreSQL servers of
this test's own, which are stopped without a word to their clients. (Tasks and workers: test_kills.py.)

The table that is printed (by ``-s``) says of each outage how much of the run the ledger had, how long the part was away
before it was started again, and how much of what the ledger had was sent again all the same; of each run how it ended.
HALO_OUTAGE_SECONDS sets how long API server and databases are away (8): for over a minute a ledger's outage is no longer
sat out by the tasks that run, but by their next tries.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from backfills import DELAYS, TABLE_HEAD, TEAMS, USERS, Backfills, Outage, faster

pytestmark = [pytest.mark.scheduler, pytest.mark.databases]

SCOPES = ("companies", "users", "links")
SECONDS = float(os.environ.get("HALO_OUTAGE_SECONDS", "8"))


@pytest.fixture(scope="module")
def story(tmp_path_factory, start_airflow, start_cluster, recording_sandbox):
    """The runs: under the loss of scheduler and DAG processor, of the API server, of the source and then the ledger."""
    metadata, source, ledger = (start_cluster() for _ in range(3))
    with recording_sandbox(DELAYS) as halo:
        backfills = Backfills(tmp_path_factory.mktemp("outages"), halo, source, ledger)
        database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url.render_as_string()}
        environment = faster({**backfills.environment, **database})
        airflow = start_airflow(halo, backfills.dags, count=1, environment=environment)
        backfills.connect(airflow)

        def killed(name, share, seconds):
            return Outage(name, share, seconds, lambda: airflow.kill(name), lambda: airflow.start(name))

        yield (
            backfills.run(airflow, killed("scheduler", 0.25, 2), killed("dag-processor", 0.5, 2)),
            backfills.run(airflow, killed("api-server", 0.25, SECONDS)),
            backfills.run(
                airflow,
                Outage("source database", 0.2, SECONDS, source.crash, source.start),
                Outage("ledger database", 0.5, SECONDS, ledger.crash, ledger.start),
            ),
        )


def test_after_the_outages_halo_has_what_it_has_without_them(story, capsys):
    with capsys.disabled():
        print(f"\n{TABLE_HEAD}", *(run.row() for run in story), sep="\n")
    for run in story:
        assert (run.state, run.stored) == ("success", run.undisturbed)
        assert run.seen == 0
        counted = {scope: run.report[scope]["stored"] + run.report[scope]["unchanged"] for scope in SCOPES}
        assert counted == {"companies": TEAMS, "users": USERS, "links": USERS}


def test_what_the_ledger_had_is_not_sent_again(story):
    for run in story:
        for loss in run.losses:
            assert loss.acknowledged
            assert run.acknowledged_and_sent_again(loss) == frozenset()


def test_batches_that_died_with_a_process_or_were_being_read_were_tried_again(story):
    scheduler, _, databases = story
    for run in (scheduler, databases):
        assert run.tries("sync").keys() > {1}
    assert all(run.tries("report") == Counter({1: 1}) for run in story)
