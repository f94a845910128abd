"""The whole demo as a person runs it, interrupted half-way: nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest


@pytest.mark.scheduler
def test_ctrl_c_stops_airflow_and_sandbox(tmp_path):
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [sys.executable, "-m", "demo", "run", "--companies", "2", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        # As in a terminal: a process that a test runner started in the background may ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 90
    while len(family) < 4 and time.monotonic() < deadline:  # sandbox, API server, scheduler, DAG processor
        time.sleep(0.2)
        family = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=60)
    assert (demo.returncode, said.splitlines()[-1]) == (130, "  ✗ Interrupted.")
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert not (folder / "logs" / "processes.json").exists()
