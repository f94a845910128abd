"""Makes the database of pretix, a ticketing product for many organisers, by the migrations that its own release brings.

Nothing of pretix is in this repository: it comes from PyPI into an environment of its own, whose Python is given here.

    python tests/products/build.py --python .venv-product/bin/python --url postgresql://postgres@127.0.0.1:5432/pretix
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa

__all__ = ["migrate"]

_CONFIG = """\
[pretix]
instance_name=pretix
url=http://localhost
datadir={folder}

[database]
backend={backend}
name={name}
user={user}
password={password}
host={host}
port={port}
"""


def migrate(url: sa.URL, python: Path) -> None:
    """Give an empty database pretix's tables.

    :param url: of PostgreSQL or SQLite, the two that pretix knows.
    :param python: of an environment that has pretix.
    :raises subprocess.CalledProcessError: when a migration fails; its output is printed.
    """
    backend = {"postgresql": "postgresql", "sqlite": "sqlite3"}[url.get_backend_name()]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pretix.cfg"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                backend=backend,
                name=url.database,
                user=url.username or "",
                password=url.password or "",
                host=url.host or "",
                port=url.port or "",
            ),
            encoding="utf-8",
        )
        environment = {**os.environ, "PRETIX_CONFIG_FILE": str(config)}
        environment.pop("PYTHONPATH", None)
        command = [str(python), "-m", "pretix", "migrate", "--verbosity", "0"]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
        done.check_returncode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="of an environment that has pretix")
    parser.add_argument("--url", type=sa.make_url, required=True, help="an empty database of PostgreSQL or SQLite")
    words = parser.parse_args()
    migrate(words.url, words.python.absolute())


if __name__ == "__main__":
    main()
