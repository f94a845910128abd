"""The ledger's tables on each database, by each driver: what is written is read back, whoever else writes meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import LedgerError, SetupError
from airflow_provider_halo.ledger.acknowledged import AT_ONCE, Acknowledgement, KnownRecord, utc_now
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.ledger.rejects import Reject
from airflow_provider_halo.ledger.retired import Retired
from airflow_provider_halo.ledger.schema import METADATA, REJECTS, RUNS, SCHEMA, VERSION
from airflow_provider_halo.records.payload import ContextEntry
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.settings import HaloSettings

ONE, TWO = b"1" * 16, b"2" * 16
PARTS = b"p" * 24
# Keys that one database or another takes for equal, cuts, or can't keep.
CONFUSING = (
    "a",
    "A",
    "a ",
    " a",
    "ä",
    "á",
    "é",
    "e\u0301",  # the same letter, composed otherwise
    "ß",
    "ss",
    "ﬁ",
    "fi",
    "1",
    "01",
    "1.0",
    "%",
    "_",
    "'",
    '"',
    "\\",
    "{a,b}",
    "NULL",
    "😀",
    "😁",
    "x" * 500,
    "😀" * 500,  # 2,000 bytes
)


def acknowledge(acknowledged, *entries, run_id=1):
    acknowledged.database.write(lambda connection: acknowledged.acknowledge(connection, run_id, entries))


def entry(key="a", token=0, fingerprint=ONE, scope="users", **more):
    return Acknowledgement(scope=scope, key=key, token=token, fingerprint=fingerprint, **more)


def fingerprints(acknowledged, *keys, scope="users"):
    return {key: known.fingerprint for key, known in acknowledged.known(scope, keys).items()}


# Records.


def test_what_was_acknowledged_is_known_with_its_parts_in_its_scope_of_its_plan_in_its_workspace(
    ledger, halo, acknowledged
):
    assert acknowledged.known("users", ["a", "b"]) == {}
    acknowledge(acknowledged, entry(parts=PARTS), entry(scope="links", fingerprint=TWO))
    assert acknowledged.known("users", ["a", "b"]) == {"a": KnownRecord(ONE, 1, None)}
    assert acknowledged.known("links", ["a", "b"]) == {"a": KnownRecord(TWO, 1, None)}
    assert acknowledged.known("companies", ["a"]) == {}
    assert (acknowledged.parts("users", ["a", "b"]), acknowledged.parts("links", ["a"])) == ({"a": PARTS}, {})
    assert ledger.of_plan("another plan", halo).acknowledged.known("users", ["a"]) == {}
    elsewhere = HaloSettings(widget_key="ab_live_another_workspace")
    assert ledger.of_plan("halo", elsewhere).acknowledged.known("users", ["a"]) == {}
    assert ledger.of_plan("halo", halo).acknowledged.known("users", ["a"]) == {"a": KnownRecord(ONE, 1, None)}
    assert (
        acknowledged.counts(["users"]),
        acknowledged.counts(["users", "links"]),
        acknowledged.counts(["companies"]),
    ) == (1, 2, 0)


def test_a_record_is_unknown_from_before_it_is_sent_until_its_answer_is_written_down(acknowledged):
    acknowledge(acknowledged, entry(parts=PARTS), entry("b"))
    token = acknowledged.mark_in_flight("users", ["a"])
    assert acknowledged.known("users", ["a", "b"]) == {
        "a": KnownRecord(None, token, None),
        "b": KnownRecord(ONE, 1, None),
    }
    assert acknowledged.counts(["users"]) == 1
    acknowledge(acknowledged, entry(token=token, fingerprint=TWO, parts=PARTS * 2))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(TWO, token + 1, None)}
    assert acknowledged.parts("users", ["a"]) == {"a": PARTS * 2}


def test_the_parts_of_a_record_that_was_made_unknown_are_for_the_one_who_made_it_so(acknowledged):
    acknowledge(acknowledged, entry(parts=PARTS))
    token = acknowledged.mark_in_flight("users", ["a"])
    assert acknowledged.parts("users", ["a"], token) == {"a": PARTS}
    # Whoever is the second sends while another request is on the way: what Halo has by then, nobody knows.
    second = acknowledged.mark_in_flight("users", ["a"])
    assert (acknowledged.parts("users", ["a"], token), acknowledged.parts("users", ["a"], second)) == ({}, {})


def test_a_refusal_is_kept_until_the_record_is_acknowledged(acknowledged):
    acknowledge(acknowledged, entry(fingerprint=None, refused=TWO))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(None, 1, TWO)}
    assert acknowledged.counts(["users"]) == 0
    acknowledge(acknowledged, entry(token=1))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(ONE, 2, None)}


@pytest.mark.parametrize("known", [True, False], ids=["that was known", "that nobody knew"])
@pytest.mark.parametrize("writer", ["unlearns", "acknowledges", "forgets"])
def test_a_record_that_somebody_else_wrote_between_reading_and_writing_is_unknown(
    ledger, halo, acknowledged, writer, known
):
    if known:
        acknowledge(acknowledged, entry(parts=PARTS))
    token = acknowledged.mark_in_flight("users", ["a"]) if known else 0
    if writer == "unlearns":
        theirs = acknowledged.mark_in_flight("users", ["a"])
    elif writer == "acknowledges":
        acknowledge(acknowledged, entry(token=token, fingerprint=TWO, parts=PARTS))
        theirs = token + 1
    else:
        ledger.forget(halo, "users", ["a"])
        theirs = token + 1
    acknowledge(acknowledged, entry(token=token, parts=PARTS, refused=TWO))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(None, theirs + 1, None)}
    assert acknowledged.parts("users", ["a"]) == {}
    # The other one's answer, should it come only now, is no better.
    acknowledge(acknowledged, entry(token=theirs, fingerprint=TWO))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(None, theirs + 2, None)}
    # After them the record is like any other.
    acknowledge(acknowledged, entry(token=theirs + 2))
    assert fingerprints(acknowledged, "a") == {"a": ONE}


def test_an_answer_that_is_written_twice_since_the_first_time_was_not_confirmed_stays_written(acknowledged):
    acknowledge(acknowledged, entry(parts=b"p" * 12))
    acknowledge(acknowledged, entry(parts=b"p" * 12))
    assert acknowledged.known("users", ["a"]) == {"a": KnownRecord(ONE, 2, None)}
    assert acknowledged.parts("users", ["a"]) == {"a": b"p" * 12}


def test_of_two_who_have_sent_the_same_it_does_not_matter_who_came_last(acknowledged):
    token = acknowledged.mark_in_flight("users", ["a"])
    acknowledge(acknowledged, entry(token=token))
    acknowledge(acknowledged, entry(token=0))
    assert fingerprints(acknowledged, "a") == {"a": ONE}
    acknowledge(acknowledged, entry(token=0, fingerprint=TWO))
    assert acknowledged.known("users", ["a"])["a"].fingerprint is None


def test_records_are_forgotten_in_all_plans_of_a_workspace_and_in_no_other(ledger, halo, acknowledged):
    other = ledger.of_plan("another plan", halo).acknowledged
    elsewhere = ledger.of_plan("halo", HaloSettings(widget_key="ab_live_another_workspace")).acknowledged
    for some in (acknowledged, other, elsewhere):
        acknowledge(some, entry("a"), entry("b"), entry("a", scope="links"))
    ledger.forget(halo, "users", ["a", "never seen", "y" * 501])
    expected = {
        "a": KnownRecord(None, 2, None),
        "b": KnownRecord(ONE, 1, None),
        "never seen": KnownRecord(None, 1, None),
    }
    for some in (acknowledged, other):
        assert some.known("users", ["a", "b", "never seen", "y" * 501]) == expected
        assert fingerprints(some, "a", scope="links") == {"a": ONE}
    assert fingerprints(elsewhere, "a", "b", "never seen") == {"a": ONE, "b": ONE}


def test_keys_that_databases_confuse_are_different_records(ledger, halo, acknowledged):
    prints = {key: number.to_bytes(16, "big") for number, key in enumerate(CONFUSING)}
    acknowledge(acknowledged, *(entry(key, fingerprint=print_, parts=print_) for key, print_ in prints.items()))
    assert fingerprints(acknowledged, *CONFUSING) == prints
    assert acknowledged.parts("users", CONFUSING) == prints
    for key in CONFUSING:
        assert fingerprints(acknowledged, key) == {key: prints[key]}
    token = acknowledged.mark_in_flight("users", ["a", "é", "😀"])
    ledger.forget(halo, "users", ["a "])
    unknown = dict.fromkeys(("a", "a ", "é", "😀"))
    assert fingerprints(acknowledged, *CONFUSING) == prints | unknown
    acknowledge(acknowledged, *(entry(key, token, TWO) for key in ("a", "é", "😀")))
    assert fingerprints(acknowledged, *CONFUSING) == prints | dict.fromkeys(("a", "é", "😀"), TWO) | {"a ": None}


def test_a_key_that_is_too_long_is_not_kept_and_costs_the_others_nothing(acknowledged):
    acknowledge(acknowledged, entry("x" * 501), entry("x" * 500), entry("é" * 600))
    assert fingerprints(acknowledged, "x" * 501, "x" * 500, "é" * 600) == {"x" * 500: ONE}


def test_thousands_of_records_go_in_blocks(ledger, halo, acknowledged):
    keys = [f"user {number:04}" for number in range(2_500)]
    acknowledge(acknowledged, *(entry(key, parts=PARTS) for key in keys))
    blocks = [keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)]
    assert [len(acknowledged.known("users", block)) for block in blocks] == [1_000, 1_000, 500]
    assert [len(acknowledged.parts("users", block)) for block in blocks] == [1_000, 1_000, 500]
    for block in blocks:
        token = acknowledged.mark_in_flight("users", block)
        acknowledge(acknowledged, *(entry(key, token, TWO) for key in reversed(block)))
    assert {known for block in blocks for known in fingerprints(acknowledged, *block).values()} == {TWO}
    walked, last = [], ""
    while found := acknowledged.keys_after("users", last, 1_000):
        walked += found
        last = found[-1]
    assert walked == keys
    ledger.forget(halo, "users", keys)
    assert acknowledged.counts(["users"]) == 0
    assert [len(acknowledged.known("users", block)) for block in blocks] == [1_000, 1_000, 500]


def test_the_oldest_acknowledgement_that_still_holds_is_told(acknowledged):
    assert acknowledged.oldest() is None
    acknowledge(acknowledged, entry("a"), entry("b", fingerprint=None))
    assert timedelta(0) <= utc_now() - acknowledged.oldest() < timedelta(minutes=1)
    acknowledged.mark_in_flight("users", ["a"])
    assert acknowledged.oldest() is None


# Several at once.


def read_and_write(acknowledged, name, keys, rounds):
    """What a run does with its records, again and again: the last writer of each leaves it known or unknown."""
    for number in range(rounds):
        known = acknowledged.known("users", keys)
        token = acknowledged.mark_in_flight("users", [key for key in keys if key in known])
        fingerprint = f"{name}{number}".rjust(16).encode()
        acknowledge(acknowledged, *(entry(key, token if key in known else 0, fingerprint) for key in keys))


def test_threads_that_write_the_same_records_neither_lose_one_nor_wait_for_each_other_for_good(acknowledged):
    keys = [f"user {number}" for number in range(200)]
    failures = []

    def work(number):
        try:
            # Each in another order: the ledger sorts them, so that nobody waits in a circle.
            read_and_write(acknowledged, f"writer {number}", keys[number * 50 :] + keys[: number * 50], rounds=5)
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number], daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    known = acknowledged.known("users", keys)
    assert sorted(known) == sorted(keys)
    acknowledge(acknowledged, *(entry(key, known[key].token) for key in keys))
    assert set(fingerprints(acknowledged, *keys).values()) == {ONE}


PROCESS = """
import sys
import sqlalchemy as sa
from airflow_provider_halo.ledger.acknowledged import Acknowledgement
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.settings import HaloSettings

url, number = sys.argv[1:]
ledger = Ledger(sa.create_engine(url), "ledger", patience=60)
print("ready", flush=True)
sys.stdin.readline()
run = ledger.open_run("halo", HaloSettings(widget_key="ab_live_test"), "one run", whole=True)
acknowledged = run.plan_ledger.acknowledged
for _ in range(3):
    keys = [f"user {key}" for key in range(100)]
    known = acknowledged.known("users", keys)
    token = acknowledged.mark_in_flight("users", list(known))
    entries = [
        Acknowledgement(scope="users", key=key, token=token if key in known else 0, fingerprint=number.rjust(16).encode())
        for key in keys
    ]
    acknowledged.database.write(lambda connection: acknowledged.acknowledge(connection, run.id, entries))
run.plan_ledger.runs.begin_batch(run.id, "sync", int(number), f"batch {number}")
print(acknowledged.plan_id, run.id)
"""


def test_six_processes_at_once_make_the_tables_once_and_find_the_same_run(ledger, halo, engine, own_database):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, own_database, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, 7)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120) for process in processes]
    assert [errors for _, errors in ended] == [""] * 6
    assert len({output for output, _ in ended}) == 1
    plan_ledger = ledger.of_plan("halo", halo)
    assert sorted(plan_ledger.acknowledged.known("users", [f"user {key}" for key in range(100)])) == sorted(
        f"user {key}" for key in range(100)
    )
    assert [(run.run_key, run.batches) for run in plan_ledger.runs.last(10)] == [("one run", 6)]
    with engine.connect() as connection:
        assert connection.execute(sa.select(SCHEMA)).all() == [(1, VERSION)]
    assert {table for table in sa.inspect(engine).get_table_names() if table.startswith("halo_")} == set(
        METADATA.tables
    )


def test_tables_that_a_killed_process_left_half_made_are_completed(engine, ledger, halo):
    made = []

    def interrupt(_, __, statement, *___):
        if "CREATE TABLE" in statement:
            made.append(statement)
            if len(made) == 4:
                raise KeyboardInterrupt

    sa.event.listen(engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ledger.of_plan("halo", halo)
    sa.event.remove(engine, "before_cursor_execute", interrupt)
    assert ledger.open_run("halo", halo, "run", whole=True).id == 1
    assert set(METADATA.tables) <= set(sa.inspect(engine).get_table_names())


# Databases that can't be used.


def test_a_ledger_of_a_newer_version_is_refused_by_naming_the_mend(engine, ledger, halo, plan_ledger):
    with engine.begin() as connection:
        connection.execute(sa.update(SCHEMA).values(version=VERSION + 1))
    assert ledger.of_plan("halo", halo)  # looked at once; a running process goes on
    with pytest.raises(SetupError) as refused:
        Ledger(engine, "ledger").of_plan("halo", halo)
    assert str(refused.value) == (
        f"The ledger in 'ledger' was made by a newer version of airflow-provider-halo (its tables have version "
        f"{VERSION + 1}, this package knows {VERSION}): upgrade the package here, too."
    )
    assert not isinstance(refused.value, LedgerError)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://halo:s3cret@127.0.0.1:9/ledger",
        "postgresql+psycopg2://halo:s3cret@127.0.0.1:9/ledger",
        "mysql+pymysql://halo:s3cret@127.0.0.1:9/ledger",
    ],
)
def test_a_database_that_is_away_is_asked_again_for_a_while_then_told_in_a_sentence(url, halo):
    pytest.importorskip(sa.make_url(url).get_driver_name())
    engine = sa.create_engine(url)
    ledger = Ledger(engine, "ledger", patience=1)
    tries = []
    sa.event.listen(engine, "do_connect", lambda *_: tries.append(1))
    with pytest.raises(LedgerError) as away:
        ledger.open_run("halo", halo, "run", whole=True)
    assert len(tries) > 1
    text = str(away.value)
    assert text.startswith("The ledger database (connection 'ledger') can't be used: ")
    assert text.endswith(". Check the connection, and that its login may make tables there.")
    assert "\n" not in text
    for word in ("SELECT", "INSERT", "s3cret", "sqlalche.me", "halo_ledger"):
        assert word not in text
    # A traceback prints what an error came from, and SQLAlchemy's has the statement.
    assert away.value.__cause__ is None
    assert away.value.__suppress_context__


def test_a_folder_that_is_missing_is_told_at_once(tmp_path, halo):
    ledger = Ledger(sa.create_engine(f"sqlite:///{tmp_path}/nowhere/ledger.db"), "ledger")
    with pytest.raises(LedgerError) as missing:
        ledger.of_plan("halo", halo)
    assert str(missing.value) == snapshot(
        "The ledger database (connection 'ledger') can't be used: unable to open database file. Check the "
        "connection, and that its login may make tables there."
    )


def test_what_a_refused_statement_held_is_not_told(engine, acknowledged):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE halo_ledger_records")
    with pytest.raises(LedgerError) as refused:
        acknowledge(acknowledged, entry("ada@example.com"))
    assert "ada@example.com" not in str(refused.value)
    assert "INSERT" not in str(refused.value)


def test_a_database_that_can_hold_no_ledger_is_refused():
    # SQLAlchemy's own stand-in, which needs no driver.
    oracle = sa.create_mock_engine("oracle+cx_oracle://", print)
    with pytest.raises(SetupError) as refused:
        Ledger(oracle, "warehouse")
    assert str(refused.value) == snapshot(
        "The ledger connection 'warehouse' leads to a database of the kind oracle; a ledger lives in SQLite, PostgreSQL, "
        "MySQL or MariaDB."
    )


# Rejects.


def note(plan_ledger, run_id, *rejected):
    plan_ledger.acknowledged.database.write(lambda connection: plan_ledger.rejects.add(connection, run_id, rejected))


def without_times(listed):
    count, rejects = listed
    assert all(reject.first_seen <= reject.last_seen <= utc_now() for reject in rejects)
    return count, [(reject.problem, reject.attempts, reject.size) for reject in rejects]


def test_rejects_count_their_attempts_and_keep_the_last_reason(plan_ledger):
    rejects = plan_ledger.rejects
    assert (rejects.any(), rejects.listed(5)) == (False, (0, []))
    first = Problem("users", "a", "traits.mrr", "is wrong")
    note(plan_ledger, 1, (first, 120), (Problem("companies", "a", "", "is too large"), None))
    assert rejects.any()
    again = Problem("users", "a", "", "Halo refuses it: no")
    note(plan_ledger, 2, (again, 130))
    count, found = without_times(rejects.listed(5))
    # Those that were met last come first, and a second may have passed between these two.
    assert (count, sorted(found, key=lambda one: one[0].scope)) == (
        2,
        [(Problem("companies", "a", "", "is too large"), 1, None), (again, 2, 130)],
    )
    assert (rejects.listed(1)[0], len(rejects.listed(1)[1])) == (2, 1)
    assert rejects.reasons("users", ["a", "b"]) == {"a": ("", "Halo refuses it: no")}


def test_the_first_sight_of_a_reject_stays_and_the_last_moves(engine, plan_ledger):
    problem = Problem("users", "a", "", "no")
    note(plan_ledger, 1, (problem, 5))
    then = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 (as every database keeps it)
    with engine.begin() as connection:
        connection.execute(sa.update(REJECTS).values(first_seen=then, last_seen=then))
    note(plan_ledger, 2, (problem, 6))
    [reject] = plan_ledger.rejects.listed(5)[1]
    assert reject == Reject(problem=problem, attempts=2, first_seen=then, last_seen=reject.last_seen, size=6)
    assert reject.last_seen > then
    with engine.begin() as connection:
        connection.execute(sa.update(REJECTS).values(last_seen=then))
    assert plan_ledger.rejects.meet_again(3, "users", ["a", "b"]) == {"a": ("", "no")}
    [met] = plan_ledger.rejects.listed(5)[1]
    assert (met.attempts, met.first_seen, met.last_seen > then) == (2, then, True)


def test_reasons_and_fields_of_any_length_and_script_are_kept_or_cut(plan_ledger):
    note(
        plan_ledger, 1, (Problem("users", "é", "f" * 600, "😀" * 3_000), 1), (Problem("users", "k" * 501, "", "no"), 1)
    )
    assert plan_ledger.rejects.reasons("users", ["é", "k" * 501]) == {"é": ("f" * 254 + "…", "😀" * 1_999 + "…")}


def test_rejects_end_when_the_record_is_stored_or_a_whole_run_does_not_meet_it(plan_ledger):
    for key in ("stored", "gone", "met", "tried"):
        note(plan_ledger, 1, (Problem("users", key, "", "no"), 1))
    note(plan_ledger, 1, (Problem("companies", "gone", "", "no"), 1))
    plan_ledger.acknowledged.database.write(
        lambda connection: plan_ledger.rejects.delete(connection, "users", ["stored", "unheard of"])
    )
    plan_ledger.rejects.meet_again(2, "users", ["met"])
    note(plan_ledger, 2, (Problem("users", "tried", "", "no"), 1))
    plan_ledger.rejects.close(2)
    _, left = plan_ledger.rejects.listed(9)
    assert sorted((reject.problem.scope, reject.problem.key) for reject in left) == [
        ("users", "met"),
        ("users", "tried"),
    ]


# Names.


def sent(plan_ledger, run_id, names):
    plan_ledger.acknowledged.database.write(
        lambda connection: plan_ledger.retired_parts.note_sent(connection, run_id, names)
    )


def test_names_are_retired_when_a_whole_run_goes_without_them_and_return_when_they_are_sent_again(plan_ledger):
    entries = {"companies.context.metrics": ContextEntry("Metrics", {"forms": 0}, "metric")}
    sent(plan_ledger, 1, {"companies.traits.mrr": None, "users.traits.name": None, **entries})
    assert plan_ledger.retired_parts.close(1) == []
    sent(plan_ledger, 2, {"users.traits.name": None})
    retired = plan_ledger.retired_parts.close(2)
    assert retired == [
        Retired(
            name="companies.context.metrics",
            entry=ContextEntry("Metrics", {"forms": 0}, "metric"),
            since=retired[0].since,
            last_run=1,
        ),
        Retired(name="companies.traits.mrr", entry=None, since=retired[1].since, last_run=1),
    ]
    assert [(name.scope, name.key) for name in retired] == [("companies", "metrics"), ("companies", "mrr")]
    assert timedelta(0) <= utc_now() - retired[0].since < timedelta(minutes=1)
    sent(plan_ledger, 3, {"companies.traits.mrr": None})
    assert [name.name for name in plan_ledger.retired_parts.retired()] == ["companies.context.metrics"]
    plan_ledger.retired_parts.forget(["companies.context.metrics"])
    assert plan_ledger.retired_parts.retired() == []
    assert [name.name for name in plan_ledger.retired_parts.close(3)] == ["users.traits.name"]


# Runs.

REPORT = {
    **{
        scope: {"stored": stored, "partial": 0, "unchanged": 0, "skipped": 1, "rejected": 0, "failed": 0}
        for scope, stored in (("companies", 1), ("users", 2), ("links", 3))
    },
    "requests": 4,
    "retries": 1,
    "bytes": 100,
    "seconds": 0.5,
}


def test_a_run_that_is_opened_twice_is_the_same_one_and_its_batches_add_up_over_their_attempts(plan_ledger):
    runs = plan_ledger.runs
    run_id = runs.open("dag/é run", whole=True)
    assert runs.open("dag/é run", whole=True) == run_id
    assert runs.open("dag/another run", whole=False) != run_id
    for _ in range(2):
        runs.begin_batch(run_id, "sync", 1, "label " * 100)
        runs.end_batch(run_id, "sync", 1, "failed", REPORT, {"users.traits": 2})
    runs.begin_batch(run_id, "sync", 2, "label")
    runs.end_batch(run_id, "sync", 2, "done", REPORT, {"users.traits": 3, "companies.traits": 1})
    runs.begin_batch(run_id, "sync", 3, "label")
    other, run = runs.last(5)
    assert (other.run_key, other.whole, other.state, other.batches) == ("dag/another run", False, "running", 0)
    assert (run.run_key, run.whole, run.state, run.ended_at, run.report) == ("dag/é run", True, "running", None, None)
    assert (run.batches, run.batches_done) == (3, 1)
    # Records are those of a batch's last attempt; what it cost is the sum of all attempts.
    assert (run.stored, run.skipped, run.requests, run.retries, run.bytes, run.seconds) == (12, 6, 12, 3, 300, 1.5)
    runs.close(run_id, "done", None, {**REPORT, "warnings": {"é": 1}})
    closed = runs.last(5)[1]
    assert (closed.state, closed.stored, closed.requests, closed.seconds) == ("done", 6, 4, 0.5)
    assert closed.report == {**REPORT, "warnings": {"é": 1}}
    assert closed.started_at <= closed.ended_at <= utc_now()


def test_runs_whose_keys_are_too_long_for_a_column_are_told_apart_all_the_same(plan_ledger):
    keys = ["d" * 500, "d" * 501, f"{'d' * 495}/scheduled__1", f"{'d' * 495}/scheduled__2"]
    ids = [plan_ledger.runs.open(key, whole=True) for key in keys]
    assert len(set(ids)) == 4
    assert [plan_ledger.runs.open(key, whole=True) for key in keys] == ids
    assert {len(run.run_key) for run in plan_ledger.runs.last(9)} == {500}
    assert plan_ledger.runs.last(9)[-1].run_key == keys[0]


def test_the_last_whole_run_is_the_last_one_that_found_something(plan_ledger):
    runs = plan_ledger.runs
    first, part, empty, _ = (runs.open(key, whole=key != "part") for key in ("first", "part", "empty", "last"))
    assert runs.last_whole() is None
    for number in (1, 2):
        runs.begin_batch(first, "sync", number, "label")
        runs.end_batch(first, "sync", number, "failed", REPORT, {"users.traits": 2, "companies.traits": number})
    runs.begin_batch(part, "sync", 1, "label")
    runs.end_batch(part, "sync", 1, "done", REPORT, {"users.traits": 99})
    runs.begin_batch(empty, "sync", 1, "label")
    runs.end_batch(empty, "sync", 1, "done", REPORT, {})
    assert runs.last_whole() == ("first", {"users.traits": 4, "companies.traits": 3})


def test_old_runs_are_pruned_but_never_the_last_whole_one(engine, plan_ledger):
    runs = plan_ledger.runs
    old = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=40)
    for key, whole, state in (
        ("old", True, "done"),
        ("last whole", True, "done"),
        ("failed", True, "failed"),
        ("part", False, "done"),
        ("never ended", True, "running"),
    ):
        run_id = runs.open(key, whole=whole)
        runs.begin_batch(run_id, "sync", 1, "label")
        if state != "running":
            runs.end_batch(run_id, "sync", 1, state, REPORT, {"users.traits": 1})
            runs.close(run_id, state, None, REPORT)
    with engine.begin() as connection:
        connection.execute(sa.update(RUNS).values(started_at=old))
        connection.execute(sa.update(RUNS).where(RUNS.c.ended_at.is_not(None)).values(ended_at=old))
    runs.open("new", whole=True)
    note(plan_ledger, 1, (Problem("users", "new", "", "no"), 1))
    assert runs.prune(50) == 0
    assert runs.prune(30) == 4
    assert [run.run_key for run in runs.last(9)] == ["new", "last whole"]
    assert plan_ledger.rejects.listed(9)[0] == 1
    assert runs.prune(30) == 0
