"""A ledger whose PostgreSQL server dies and is started again, by the network and by a Unix socket."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.settings import HaloSettings

pytestmark = pytest.mark.databases


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster()


@pytest.mark.parametrize("way", ["url", "socket_url"])
def test_a_ledger_waits_for_its_server_to_come_back(cluster, way):
    engine = sa.create_engine(getattr(cluster, way))
    plan_ledger = Ledger(engine, "ledger", patience=20).of_plan("plan", HaloSettings(widget_key="ab_live_x"))
    assert plan_ledger.runs.open("before", whole=True) > 0
    cluster.crash()
    back = threading.Timer(1.5, cluster.start)
    back.start()
    assert plan_ledger.runs.open("after", whole=True) > 0
    back.join()
    engine.dispose()
