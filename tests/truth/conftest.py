"""A database with a scenario's tables."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from databases import own_url
from truth.lab import DRIVERS, Laboratory


@pytest.fixture
def laboratory(request, tmp_path) -> Iterator[Laboratory]:
    scenario, name = request.param
    for url in own_url(DRIVERS[name], tmp_path, f"truth{os.getpid()}", " CHARACTER SET utf8mb4"):
        made = Laboratory(scenario, name, url, tmp_path)
        yield made
        made.engine.dispose()
