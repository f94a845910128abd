"""PostgreSQL servers of a test's own, which it may crash and start again."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from demo.airflow_home import free_ports

USERS_OF_ROOT = ("postgres", "nobody")  # PostgreSQL refuses to run as root


class Cluster:
    """One server with its databases, on a port of its own.

    :param programs: the folder of initdb and pg_ctl.
    :param user: who runs it; None for whoever runs the test.
    """

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self._folder = folder
        self._programs = programs
        self._as = {"user": user, "extra_groups": []} if user else {}
        (self.port,) = free_ports(1)
        self._run("initdb", "--username=halo", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
            # What is committed outlives a crash of the server without it; only the machine's own would lose it.
            settings.write(f"fsync = off\nport = {self.port}\nlisten_addresses = '127.0.0.1'\n")
            settings.write(f"unix_socket_directories = '{folder}'\n")
        self.start()

    @property
    def url(self) -> sa.URL:
        """Of its database ``postgres``."""
        return sa.make_url(f"postgresql+psycopg2://halo@127.0.0.1:{self.port}/postgres")

    @property
    def socket_url(self) -> sa.URL:
        """The same by its Unix socket."""
        return sa.make_url(f"postgresql+psycopg2://halo@/postgres?host={self._folder}&port={self.port}")

    @property
    def connection(self) -> dict[str, Any]:
        """The fields of an Airflow connection to it."""
        fields = {"conn_type": "postgres", "host": "127.0.0.1", "port": self.port, "login": "halo"}
        return {**fields, "schema": "postgres"}

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return (self._folder / "data" / "postmaster.pid").exists()

    def start(self) -> None:
        """Start it, after a crash with what had been committed, and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder / 'log'}")

    def crash(self) -> None:
        """Stop it without a word to its clients."""
        self._run("pg_ctl", "stop", "--mode=immediate")

    def _run(self, program: str, *words: str) -> None:
        # The server keeps what it inherits: a pipe would be waited for.
        with (self._folder / "output").open("wb+") as output:
            done = subprocess.run(
                [self._programs / program, f"--pgdata={self._folder / 'data'}", *words],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._as,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program} failed: {output.read().decode()}"


@pytest.fixture(scope="module")
def start_cluster() -> Iterator[Callable[[], Cluster]]:
    """Starts PostgreSQL servers; at the end of the module they are gone."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's own programs (initdb, pg_ctl) are neither in PATH nor in /usr/lib/postgresql")
    user = _user()
    folders: list[Path] = []
    clusters: list[Cluster] = []

    def start() -> Cluster:
        # Not below pytest's folder, which nobody but its owner may enter.
        folder = Path(tempfile.mkdtemp(prefix="halo-postgresql-"))
        folders.append(folder)
        if user:
            shutil.chown(folder, user)
        clusters.append(Cluster(folder, programs, user))
        return clusters[-1]

    yield start
    for cluster in clusters:
        if cluster.is_up:  # a test may have failed while it was down
            cluster.crash()
    for folder in folders:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    found = shutil.which("pg_ctl")
    if found and shutil.which("initdb", path=str(Path(found).parent)):
        return Path(found).parent
    # Debian keeps them out of PATH, a folder for each version.
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(installed, key=lambda path: float(path.parent.name), default=None)


def _user() -> str | None:
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in USERS_OF_ROOT if name in known), None)
    if user is None:
        pytest.skip(f"PostgreSQL refuses to run as {getpass.getuser()}, and there is no user {USERS_OF_ROOT}")
    return user
