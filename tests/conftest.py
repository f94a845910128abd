"""What every test may use: an Airflow of its own, and the sandbox on a loopback port."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest

# Airflow reads these when it is first imported. The tests never touch the user's Airflow.
_HOME = tempfile.mkdtemp(prefix="halo-tests-")  # each worker of pytest-xdist has its own
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": os.path.join(_HOME, "dags"),  # noqa: PTH118 (before anything is imported)
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "NO_PROXY": "127.0.0.1,localhost",
    }
)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW__HALO__"))]:
    del os.environ[name]

# What several modules use: a product to sync, databases to read from, servers to crash, a sandbox that remembers.
pytest_plugins = ["product", "samples", "databases", "clusters", "recording"]


@pytest.fixture(autouse=True)
def rates_that_no_earlier_test_has_found():
    """What a process has found of an account's rate lasts as long as the process, and tests come to one port again."""
    from airflow_provider_halo.api import adaptive

    adaptive._RATES.clear()
