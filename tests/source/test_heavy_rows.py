"""Rows of half a megabyte, and of some kilobytes: as many of them are in the memory as it bears, whatever their number."""

import subprocess
import sys

import pytest

MEASURE = """
import sys
from pathlib import Path
import sqlalchemy as sa
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.source.read import read_payloads
from airflow_provider_halo.source.batch import Batch
plan, engine = load_plan(sys.argv[1]), sa.create_engine(sys.argv[2])
def read(batch):
    refused = 0
    for block in read_payloads("users", plan, select(plan), batch, lambda _: engine, lambda *_: None):
        refused += sum(isinstance(made, Problem) for made in block)
    return refused
def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
few = read(Batch(companies=(2,)))
before = peak()
many = read(Batch(companies=(1,)))
print(few, many, (peak() - before) // 1024)
"""


def test_rows_of_half_a_megabyte_come_a_few_at_a_time(database, plan):
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite maps its sorter's temporary file into the memory, so that this would measure the file")
    loaded = plan('users: {key: id, company: team, traits: {sql: "SELECT id, team, note FROM users"}}')
    long = "x" * 500_000
    text = "LONGTEXT" if database.engine.dialect.name == "mysql" else "TEXT"
    database.table("users", f"id INT, team INT, note {text}", [(0, 2, "x")])
    for at in range(1, 400, 20):
        database.insert("users", [(at + more, 1, long) for more in range(20)])
    url = database.engine.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", MEASURE, loaded.path, url], check=True, capture_output=True, text=True)
    few, refused, megabytes = map(int, done.stdout.split())
    assert (few, refused) == (0, 400)
    assert megabytes < 60  # ten at first, in a few forms, and what the driver holds of them; all would be 200
