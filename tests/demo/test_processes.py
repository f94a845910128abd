"""The demo leaves nothing running: whole families end, also children in groups of their own, but no stranger."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from inline_snapshot import snapshot

from demo.airflow_home import AirflowHome, free_ports
from demo.failure import DemoFailure
from demo.processes import Processes, listed, stop_listed
from demo.stage import fresh

# A parent whose child leaves its process group, as Airflow's tasks do.
FAMILY = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def runs(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def start_family(processes):
    log = processes.start("family", [sys.executable, "-c", FAMILY], os.environ)
    deadline = time.monotonic() + 20
    while not log.read_text().strip() and time.monotonic() < deadline:
        time.sleep(0.05)
    return listed(processes.folder)[0].pid, int(log.read_text())


def test_children_end_with_their_parents_whatever_went_wrong(tmp_path):
    with pytest.raises(ZeroDivisionError), Processes(tmp_path) as processes:  # noqa: PT012 (what is tested is the exit)
        pids = start_family(processes)
        assert all(runs(pid) for pid in pids)
        1 / 0  # noqa: B018
    assert not any(runs(pid) for pid in pids)
    assert listed(tmp_path) == []


@pytest.fixture
def terminal() -> Iterator[None]:
    """Ctrl-C as in a terminal: a test run that was started in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("milliseconds", range(24))
def test_ctrl_c_at_any_moment_of_a_start_leaves_nothing_running(tmp_path, milliseconds):
    def press_ctrl_c():
        time.sleep(milliseconds / 1_000)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), Processes(tmp_path) as processes:  # noqa: PT012 (what is tested is the exit)
        finger = threading.Thread(target=press_ctrl_c)
        finger.start()
        for name in ("sandbox", "scheduler", "api-server"):
            processes.start(name, ["sleep", "60"], os.environ)
        finger.join()
        time.sleep(5)
    assert [child for child in psutil.Process().children() if child.name() == "sleep"] == []


# Asked to end, it does half a second after the file of that name is there.
SLOW_TO_END = """
import os, signal, sys, time

def end(*_):
    print("asked", flush=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    time.sleep(0.5)
    sys.exit()

signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("terminal")
def test_a_second_ctrl_c_waits_until_all_is_stopped(tmp_path):
    def wait_for(word):
        deadline = time.monotonic() + 20
        while word not in log.read_text().split() and time.monotonic() < deadline:
            time.sleep(0.01)

    def press_ctrl_c():
        wait_for("asked")  # now it's being stopped, however busy the machine is
        os.kill(os.getpid(), signal.SIGINT)
        (tmp_path / "pressed").touch()

    with pytest.raises(KeyboardInterrupt), Processes(tmp_path) as processes:  # noqa: PT012 (what is tested is the exit)
        log = processes.start("sandbox", [sys.executable, "-c", SLOW_TO_END, str(tmp_path / "pressed")], os.environ)
        wait_for("up")
        (process,) = listed(tmp_path)
        threading.Thread(target=press_ctrl_c).start()
        raise ZeroDivisionError
    assert not runs(process.pid)
    assert not (tmp_path / "processes.json").exists()


def test_what_was_left_running_is_stopped_later(tmp_path):
    with Processes(tmp_path) as processes:
        pids = start_family(processes)
        processes.leave_running()
    assert all(runs(pid) for pid in pids)
    assert [process.name for process in stop_listed(tmp_path)] == ["family"]
    assert not any(runs(pid) for pid in pids)
    assert stop_listed(tmp_path) == []


def test_a_stranger_who_got_the_same_process_id_is_left_alone(tmp_path):
    entry = {"name": "scheduler", "pid": os.getpid(), "born": 1.0, "log": "scheduler.log"}
    (tmp_path / "processes.json").write_text(json.dumps([entry]))
    assert stop_listed(tmp_path) == []


def test_a_process_that_fails_is_named_with_the_end_of_its_log(tmp_path):
    with Processes(tmp_path) as processes, pytest.raises(DemoFailure) as raised:
        processes.run("db-migrate", [sys.executable, "-c", "print('no such table'); raise SystemExit(3)"], os.environ)
    assert str(raised.value) == snapshot("db-migrate ended with exit code 3.")
    assert (raised.value.log, raised.value.tail()) == (tmp_path / "db-migrate.log", ["no such table"])


def test_a_process_that_ends_by_itself_is_noticed(tmp_path):
    with Processes(tmp_path) as processes:
        processes.start("sandbox", [sys.executable, "-c", "raise SystemExit(1)"], os.environ)
        deadline = time.monotonic() + 20
        while listed(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(DemoFailure) as raised:
            processes.check(["sandbox"])
    assert str(raised.value) == snapshot("sandbox ended by itself, with exit code 1.")


def test_task_logs_are_told_in_words(tmp_path):
    log = tmp_path / "attempt=1.log"
    error = {"exc_type": "AirflowFailException", "exc_value": "wrong widget key"}
    log.write_text(json.dumps({"level": "error", "event": "Task failed", "error_detail": [error]}) + "\nplain\n[1]\n")
    assert DemoFailure("x", log).tail() == snapshot(
        ["error Task failed AirflowFailException: wrong widget key", "plain", "[1]"]
    )


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoFailure, match="contains files that are not a demo's: name another --folder"):
        fresh(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_demo_that_is_up_is_not_run_over(tmp_path):
    with Processes(tmp_path / "logs") as processes:
        start_family(processes)
        with pytest.raises(DemoFailure, match="stop it first, by `make down`"):
            fresh(tmp_path)


def test_the_demos_airflow_takes_nothing_from_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTION", "postgres://secret")
    home = AirflowHome(
        folder=tmp_path / "airflow",
        database=tmp_path / "forms.db",
        sandbox_url="http://127.0.0.1:1/api/sdk",
        widget_key="ab_live_x",
        identity_secret="ha_secret_x",
        batch_size=10,
    )
    home.create()
    environment = home.environment()
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW_CONN_PRODUCTION" not in environment
    assert (home.folder / "passwords.json").stat().st_mode & 0o077 == 0
    assert "ha_secret_x" not in repr(home)
    assert home.password not in repr(home)


def test_free_ports_are_all_different():
    assert len(set(free_ports(20))) == 20
