"""`halo sample`: a database of the sample product, to try a plan on before it meets one's own."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from sqlalchemy import Engine

from airflow_provider_halo.cli.main import DONE, WRONG, complain, say
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.sample.data import SampleError, open_database, write_sample


def run(arguments: argparse.Namespace) -> int:
    """Write the sample, say what was written and what to do next."""
    try:
        engine = open_database(arguments.url)
        if engine.dialect.name == "sqlite" and engine.url.database in {None, "", ":memory:"}:
            complain("halo sample: A database in memory is gone when the command ends; name a file: sqlite:///forms.db")
            return WRONG
        written = write_sample(engine, arguments.companies, arguments.users, seed=arguments.seed, progress=say)
    except SampleError as error:
        complain(f"halo sample: {error}")
        return WRONG
    say(f"Written to {engine.url.render_as_string(hide_password=True)}: {written}")
    say(_next_steps(engine))
    return DONE


def _next_steps(engine: Engine) -> str:
    source = load_plan(PLAN).plan.source
    return f"""
Next:
  1. Get the plan that reads it:   halo init my_dags
  2. Tell Airflow where it is:     {_connection(engine, source or "")}
  3. See what would be sent:       halo sync my_dags/halo.yaml --dry-run
Without a HaloAgents account, `halo sandbox` runs the Halo API on this machine."""


def _connection(engine: Engine, source: str) -> str:
    """How to make the connection that the plan names; a server's is left to the user, since it has a password."""
    if engine.dialect.name != "sqlite":
        return f"make the connection `{source}` to this database"
    path = Path(engine.url.database or "").absolute()
    value = json.dumps({"conn_type": "sqlite", "host": str(path)})
    return f"export AIRFLOW_CONN_{source.upper()}={shlex.quote(value)}"
