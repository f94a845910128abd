from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from airflow_provider_halo.cli.commands import COMMANDS
from airflow_provider_halo.plugin.commands import get_commands


def airflow(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "airflow", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_group_has_every_command_of_halo_with_its_arguments():
    (group,) = get_commands()
    assert group.name == "halo"
    made = {command.name: [argument.flags for argument in command.args] for command in group.subcommands}
    assert made == {command.name: [argument.flags for argument in command.arguments] for command in COMMANDS}


def test_the_commands_parse_as_those_of_halo():
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(["halo", "sync", "p.yaml", "--company", "1", "--no-link-users", "--jobs", "2"])
    assert (arguments.plan, arguments.company, arguments.link_users, arguments.jobs) == ("p.yaml", ["1"], False, 2)


def test_reading_the_commands_imports_nothing_that_they_need():
    # Airflow reads them on every start, whatever its command.
    code = (
        "import sys; from airflow_provider_halo.plugin.commands import get_commands; get_commands();"
        "print([name.split('.')[1:] for name in sys.modules if name.startswith('airflow_provider_halo.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    rooms = {room for room, *_ in modules}
    assert not rooms & {"plan", "records", "api", "sync", "hooks", "operators"}, rooms
    assert [module for module in modules if module[0] == "sample"] == [["sample"], ["sample", "spread"]]


@pytest.mark.parametrize("right", [True, False])
def test_airflow_halo_check_tells_by_its_exit_code(plan, right):
    if not right:
        plan.write_text("version: 2\n", encoding="utf-8")
    done = airflow("halo", "check", str(plan))
    assert done.returncode == (0 if right else 2), done.stderr
