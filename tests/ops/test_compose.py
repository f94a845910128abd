"""The compose file: every command is one that exists, every setting one that is read, the sandbox over loopback only."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from celery_profile import WORKERS, celery_settings

from airflow_provider_halo.cli.commands import COMMANDS
from airflow_provider_halo.cli.main import main as halo
from airflow_provider_halo.provider_info import get_provider_info
from airflow_provider_halo.settings import HaloSettings

ROOT = Path(__file__).parents[2]
CELERY = {"redis", "worker-1", "worker-2"}
# Run in processes of their own: reading Airflow's commands and settings leaves traces in the one that does it.
PARSE = """
import json, sys
from airflow.cli.cli_parser import get_parser
parser = get_parser()
for words in json.loads(sys.argv[1]):
    parser.parse_args(words)
"""
UNKNOWN = """
import sys
from airflow.configuration import conf
known = {
    f"AIRFLOW__{section}__{option}".upper()
    for section, described in conf.configuration_description.items()
    for option in described["options"]
}
print(sorted(set(sys.argv[1:]) - known))
"""


def interpolated(text):
    """As compose reads it when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(interpolated((ROOT / "docker-compose.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def airflow_environment(compose):
    return compose["services"]["scheduler"]["environment"]


def test_the_services_are_those_of_the_two_engines(compose):
    services = compose["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["celery"]} == CELERY
    assert services.keys() - CELERY == {
        "postgres",
        "forms-db",
        "init",
        "sandbox",
        "api-server",
        "scheduler",
        "dag-processor",
    }


def test_what_talks_to_the_sandbox_shares_its_network(compose):
    services = compose["services"]
    beside = {name for name, service in services.items() if service.get("network_mode") == "service:sandbox"}
    assert beside == {"api-server", "scheduler", "dag-processor", "worker-1", "worker-2"}
    # Compose refuses ports of a service that has no network of its own.
    assert not [name for name in beside if "ports" in services[name]]


def test_every_published_port_is_bound_to_this_machine(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert sorted(ports) == ["127.0.0.1:8080:8080", "127.0.0.1:8484:8484"]


def test_no_two_log_servers_share_a_port(compose):
    services = compose["services"]
    ports = [
        services[name]["environment"]["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] for name in ("worker-1", "worker-2")
    ]
    assert len({*ports, "8793", "8794", "8080", "8484"}) == 6  # Airflow's own defaults, the API server, the sandbox


def test_every_service_waits_for_services_and_volumes_that_are_there(compose):
    services = compose["services"]
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        named = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        assert {name for name in named if not name.startswith(".")} <= compose["volumes"].keys()
        assert all((ROOT / name).exists() for name in named if name.startswith("."))


def test_a_service_that_is_waited_for_to_be_healthy_says_how_it_is(compose):
    services = compose["services"]
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] == "service_completed_successfully" or "healthcheck" in services[name]


def airflow_commands(compose):
    """What the image's entrypoint gives to `airflow`."""
    words = [service["command"] for service in compose["services"].values() if "command" in service]
    checks = [
        service["healthcheck"]["test"][1:] for service in compose["services"].values() if "healthcheck" in service
    ]
    commands = [command for command in words if command[0] not in {"bash", "python"}]
    return commands + [check[1:] for check in checks if check[0] == "airflow"] + [["db", "migrate"]]


def test_airflow_takes_every_airflow_command(compose):
    commands = airflow_commands(compose)
    assert sorted(command[0] for command in commands) == [
        "api-server",
        "celery",
        "celery",
        "dag-processor",
        "db",
        "jobs",
        "jobs",
        "scheduler",
    ]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(commands)],
        env={**os.environ, "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"},  # whose commands are there for it alone
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_celery_is_told_what_the_test_with_real_workers_tells_it(compose):
    # tests/scheduler/test_celery.py runs with these very settings, but for the two addresses.
    settings = celery_settings()
    assert settings.pop("AIRFLOW__CELERY__BROKER_URL").startswith("redis://")
    assert settings.pop("AIRFLOW__CELERY__RESULT_BACKEND").startswith("db+postgresql+psycopg2://")
    assert settings == {
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__CELERY__TASK_ACKS_LATE": "True",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    }
    # What is queued in Redis and not begun in ten minutes, Airflow takes for stuck; so the pool must be the narrower one.
    slots = int(get_provider_info()["config"]["halo"]["options"]["pool_slots"]["default"])
    assert slots <= len(WORKERS) * int(settings["AIRFLOW__CELERY__WORKER_CONCURRENCY"])
    assert {name for name in compose["services"] if name.startswith("worker-")} == set(WORKERS)


def test_init_migrates_and_makes_data_by_commands_that_exist(compose, capsys):
    bash, dash_c, script = compose["services"]["init"]["command"]
    assert (bash, dash_c) == ("bash", "-c")
    migrate, data = (shlex.split(part) for part in script.split("&&"))
    assert migrate == ["airflow", "db", "migrate"]
    assert data[:2] == ["halo", "sample"]
    with pytest.raises(SystemExit) as ended:
        halo([*data[1:], "--help"])
    assert ended.value.code == 0
    assert "--companies" in capsys.readouterr().out


def test_the_sandbox_is_started_by_words_it_takes(compose):
    words = compose["services"]["sandbox"]["command"]
    assert words[:4] == ["python", "-m", "airflow_provider_halo", "sandbox"]
    assert "sandbox" in {command.name for command in COMMANDS}
    done = subprocess.run([sys.executable, *words[1:], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_airflow_setting_is_one_that_airflow_reads(airflow_environment):
    names = [name for name in airflow_environment if name.startswith("AIRFLOW__")]
    ours = {f"AIRFLOW__HALO__{option.upper()}" for option in get_provider_info()["config"]["halo"]["options"]}
    left = [name for name in names if name not in ours]
    done = subprocess.run([sys.executable, "-c", UNKNOWN, *left], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "AIRFLOW__HALO__PLAN" in ours


def test_the_halo_connection_is_one_that_the_client_takes(compose, airflow_environment):
    connection = json.loads(airflow_environment["AIRFLOW_CONN_HALO_DEFAULT"])
    assert connection["conn_type"] == "halo"
    settings = HaloSettings(
        base_url=connection["host"],
        widget_key=connection["password"],
        identity_secret=connection["extra"]["identity_secret"],
    )
    assert settings.base_url == "http://127.0.0.1:8484/api/sdk"
    words = compose["services"]["sandbox"]["command"]
    assert words[words.index("--port") + 1] == "8484"
    assert "--open-admin" in words


def test_the_ledger_and_the_sandbox_remember_equally_long(compose, airflow_environment):
    # A sandbox that forgets at a restart would be missing what the ledger takes for stored.
    services = compose["services"]
    assert airflow_environment["AIRFLOW__HALO__LEDGER_CONN_ID"] == "halo_ledger"
    assert "@postgres:5432/" in airflow_environment["AIRFLOW_CONN_HALO_LEDGER"]
    words = services["sandbox"]["command"]
    folder = str(Path(words[words.index("--file") + 1]).parent)
    assert [volume for volume in services["sandbox"]["volumes"] if volume == f"logs:{folder}"]
    assert any(volume.startswith("metadata:") for volume in services["postgres"]["volumes"])


def test_the_plan_is_where_airflow_is_told(compose, airflow_environment):
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["scheduler"]["volumes"])
    folder, _, name = airflow_environment["AIRFLOW__HALO__PLAN"].rpartition("/")
    source = next(host for host, inside in mounts.items() if inside == folder)
    assert (ROOT / source / name).is_file()
