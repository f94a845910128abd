"""The demo's background processes: started in groups of their own, watched, and stopped to the last child."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

import psutil

from demo.failure import DemoFailure

__all__ = ["Processes", "listed", "stop_listed"]

_GRACE: Final = 10.0  # seconds for a process to end by itself before it is killed


@dataclass(frozen=True, slots=True)
class Started:
    """One process of ours.

    :param born: its start time, by which a later `make down` knows that the id still means the same process.
    """

    name: str
    pid: int
    born: float
    log: Path


@final
@dataclass(slots=True)
class Processes:
    """The processes of one demo, as a context manager that stops them all, whatever happened.

    :param folder: holds their logs and the file that lists them.
    """

    folder: Path
    _started: list[Started] = field(default_factory=list)
    _popen: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _left_running: bool = False

    def __enter__(self) -> Processes:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._left_running:
            self.stop()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Path:
        """Start a process; what it says goes to ``folder/NAME.log``, which is returned."""
        log = self.folder / f"{name}.log"
        # Ctrl-C between a process's start and its entry here would leave it running, known to nobody.
        with log.open("wb") as output, _uninterrupted():
            # A session of its own: Ctrl-C reaches the demo alone, which then stops its processes in order.
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._popen[name] = process
            self._started.append(Started(name, process.pid, psutil.Process(process.pid).create_time(), log))
            self._write_list()
        return log

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a process to its end.

        :raises DemoFailure: when it fails.
        """
        log = self.start(name, command, environment)
        code = self._popen[name].wait()
        if code:
            raise DemoFailure(f"{name} ended with exit code {code}.", log)

    def wait(self, name: str) -> None:
        """Wait for a started process to end well.

        :raises DemoFailure: when it fails.
        """
        code = self._popen[name].wait()
        if code:
            raise DemoFailure(f"{name} ended with exit code {code}.", self.folder / f"{name}.log")

    def check(self, names: Sequence[str]) -> None:
        """See that these processes are still there.

        :raises DemoFailure: when one has ended.
        """
        for name in names:
            code = self._popen[name].poll()
            if code is not None:
                raise DemoFailure(f"{name} ended by itself, with exit code {code}.", self.folder / f"{name}.log")

    def leave_running(self) -> None:
        """Don't stop the processes at the end; `stop_listed` does, later."""
        self._left_running = True

    def stop(self) -> None:
        """Stop all processes and their children, the youngest first. A second Ctrl-C waits until that is done."""
        with _uninterrupted():
            _stop([started.pid for started in reversed(self._started) if _is_alive(started)])
            for process in self._popen.values():
                process.wait()
            _list_file(self.folder).unlink(missing_ok=True)

    def _write_list(self) -> None:
        listed = [
            {"name": started.name, "pid": started.pid, "born": started.born, "log": str(started.log)}
            for started in self._started
            if self._popen[started.name].poll() is None
        ]
        _list_file(self.folder).write_text(json.dumps(listed, indent=1), encoding="utf-8")


def listed(folder: Path) -> list[Started]:
    """The processes that an earlier demo left running in this folder and that are still there."""
    with contextlib.suppress(FileNotFoundError):
        entries = json.loads(_list_file(folder).read_text(encoding="utf-8"))
        processes = [Started(entry["name"], entry["pid"], entry["born"], Path(entry["log"])) for entry in entries]
        return [process for process in processes if _is_alive(process)]
    return []


def stop_listed(folder: Path) -> list[Started]:
    """Stop what an earlier demo left running; returns what was stopped."""
    running = listed(folder)
    _stop([started.pid for started in reversed(running)])
    _list_file(folder).unlink(missing_ok=True)
    return running


def _list_file(folder: Path) -> Path:
    return folder / "processes.json"


def _is_alive(started: Started) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(started.pid)
        return process.create_time() == started.born and _runs(process)
    return False


def _stop(pids: Sequence[int]) -> None:
    """End process groups politely, then by force. Airflow's tasks leave the group, so its children are ended one by one."""
    family = _family(pids, set())
    outside = [process for process in family if _group(process) not in pids]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
    for process in outside:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    family = _wait_until_gone(pids, family)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_until_gone(pids, family)


def _family(pids: Sequence[int], known: set[psutil.Process]) -> set[psutil.Process]:
    """What is known, whatever descends from it, and whatever is in the groups that ``pids`` lead: all that still runs."""
    family = set(known)
    for process in psutil.process_iter():
        if process.pid in pids or _group(process) in pids:
            family.add(process)
    for process in list(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            family.update(process.children(recursive=True))
    return {process for process in family if _runs(process)}


def _group(process: psutil.Process) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process.pid)
    return 0


def _wait_until_gone(pids: Sequence[int], family: set[psutil.Process]) -> set[psutil.Process]:
    """Wait for a family to end; returns who doesn't. Looks again each time, for children that came meanwhile."""
    deadline = time.monotonic() + _GRACE
    while (family := _family(pids, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return family


def _runs(process: psutil.Process) -> bool:
    # A zombie has ended. In a container without an init process nobody may ever collect it, so it isn't waited for.
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done. They are noted, not blocked: a child would inherit a block."""
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    received: list[int] = []
    handlers: dict[int, Any] = {
        number: signal.signal(number, lambda n, _: received.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
