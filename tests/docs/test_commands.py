"""Every command that the documentation shows runs, page by page, as somebody types it who reads from top to bottom."""

from __future__ import annotations

import contextlib
import html
import json
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from documents import DOCS, PAGES, README, ROOT, blocks

from airflow_provider_halo.cli.main import main
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

# Commands that aren't run here, and why.
NOT_RUN = {
    "airflow pools set ": "needs Airflow's metadata database; tests/provider/test_pool.py makes the pool",
    "curl -X POST ": "needs a live Airflow; tests/scheduler triggers halo_event_update by REST",
    "git ": "changes the checkout",
    "make ": "test_every_make_target_is_one looks; .ci/run runs them",
    "pip install ": "the tests run on an installed package; .ci/run installs the wheel",
    "python docs/generate.py": "test_site.py runs it",
    ".ci/run": "the whole check; this is a part of it",
    ".venv/bin/": "tools of a contributor, on the environment of `make venv`",
}
PORT = "8484"
FOLDER = "/absolute/path/of"
RUN = [page for page in DOCS if blocks(page, "bash")]


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "bash") for line in block.text.splitlines() if line]


def is_run(line: str) -> bool:
    return not line.startswith(tuple(NOT_RUN))


def value_of(line: str, folder: Path, url: str) -> tuple[str, str]:
    """Name and value of an `export`, on this machine's paths and port."""
    name, _, value = line.removeprefix("export ").partition("=")
    return name, shlex.split(value)[0].replace(FOLDER, str(folder)).replace(f"http://127.0.0.1:{PORT}", url)


def test_what_is_not_run_is_there_and_nothing_else():
    lines = [line for page in PAGES for line in commands(page)]
    assert {reason for reason in NOT_RUN if not any(line.startswith(reason) for line in lines)} == set()
    assert {line.split()[0] for line in lines if is_run(line)} == {"halo", "export", "curl"}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The sample product, its plan and a sandbox, as the README leaves them."""
    monkeypatch.chdir(tmp_path)
    # What a page exports goes when the test ends.
    for name in ("AIRFLOW_CONN_HALO_LEDGER", "AIRFLOW__HALO__LEDGER_CONN_ID", "AIRFLOW__HALO__PLAN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["sample", "--url", "sqlite:///forms.db", "--companies", "20"]) == 0
    assert main(["init", "my_dags"]) == 0
    with SandboxServer(SandboxConfig()) as server:
        for line in commands(README):
            if line.startswith("export "):
                monkeypatch.setenv(*value_of(line, tmp_path, server.root))
        yield server


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page, workspace, tmp_path, monkeypatch, capsys):
    for block in blocks(page, "bash", "yaml", "sql"):
        named = re.match(r"(?:#|--) (\S+\.(?:yaml|sql))\n", block.text)
        if named is not None:  # a file that the reader is told to write
            path = tmp_path / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        for line in block.text.splitlines() if block.language == "bash" else ():
            if line.startswith("export "):
                monkeypatch.setenv(*value_of(line, tmp_path, workspace.root))
            elif line.startswith("curl -d "):
                _, _, body, url = shlex.split(line)
                urllib.request.urlopen(url.replace(f"http://127.0.0.1:{PORT}", workspace.root), body.encode()).close()
            elif is_run(line) and not line.startswith("halo sandbox"):
                code = main(shlex.split(line)[1:])
                assert code == 0, f"{line}\n{''.join(capsys.readouterr())}"


def test_every_command_of_the_other_pages_is_run_elsewhere():
    others = [page for page in PAGES if page != README and page not in RUN]
    assert [line for page in others for line in commands(page) if is_run(line)] == []


def test_every_make_target_is_one():
    run = {line.split()[1] for page in PAGES for line in commands(page) if line.startswith("make ")}
    done = subprocess.run(
        ["make", "-n", f"PYTHON={sys.executable}", *sorted(run)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))}
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    assert sorted(told - set(targets)) == []


def _free_port() -> int:
    """A port below those that a system gives by itself: no test beside this one gets it before the sandbox does."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def test_the_ten_minutes_run_as_they_are_written(tmp_path):
    port = str(_free_port())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    sandbox = None
    printed = {}
    try:
        for line in filter(is_run, commands(README)):
            if line.startswith("export "):
                name, value = value_of(line, tmp_path, f"http://127.0.0.1:{port}")
                environment[name] = value
            elif line.startswith("halo sandbox"):
                words = shlex.split(line.replace(PORT, port))
                sandbox = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
                _wait_for(f"http://127.0.0.1:{port}/_sandbox/state")
            else:
                done = subprocess.run(
                    shlex.split(line), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                printed[line] = done.stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_sandbox/state") as answer:
            state = json.load(answer)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/record?scope=companies&id=1") as answer:
            page = html.unescape(answer.read().decode())
    finally:
        if sandbox is not None:
            sandbox.terminate()
            sandbox.wait(timeout=20)
    assert "dry run, nothing sent" in printed["halo sync my_dags/halo.yaml --dry-run"]
    (shown,) = blocks(README, "text")
    assert shown.text in page
    assert state["companies"] == 20
    assert state["users"] > 100
    assert sorted(path.name for path in (tmp_path / "my_dags").glob("*.py")) == sorted(
        path.name for path in (ROOT / "dags").glob("*.py")
    )


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"nothing answers at {url}")
