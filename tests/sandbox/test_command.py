"""`halo sandbox`: flags, what is printed, how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path

import httpx
import pytest

from airflow_provider_halo.sandbox.command import add_arguments, host_warning, read_arguments, run, serve
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.server import SandboxServer

PROGRAM = (
    "import argparse, sys; from airflow_provider_halo.sandbox.command import add_arguments, run; "
    "parser = argparse.ArgumentParser(); add_arguments(parser); sys.exit(run(parser.parse_args()))"
)
ROOT = Path(__file__).parents[2]


def parse(*flags):
    parser = ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(flags)


def test_flags_become_settings(tmp_path):
    assert read_arguments(parse()) == SandboxConfig()
    flags = (
        "--widget-key k --identity-secret s --no-verify-identity --fault 429:every=2 --fault reset --max-body-bytes 9 "
        f"--bad-user named --refuse-context --poison u1,u2 --clock-ahead -5 --keep-alive 0.5 --open-admin --file {tmp_path}/s.sqlite"
    )
    assert read_arguments(parse(*flags.split())) == SandboxConfig(
        widget_key="k",
        identity_secret="s",
        verify_identity=False,
        faults=("429:every=2", "reset"),
        max_body_bytes=9,
        bad_user="named",
        refuse_context=True,
        poison=frozenset({"u1", "u2"}),
        clock_ahead=-5.0,
        keep_alive=0.5,
        open_admin=True,
        file=tmp_path / "s.sqlite",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_how_to_connect_and_ends_cleanly(number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        lines = []
        while not lines or not lines[-1].startswith("Stop with"):
            lines.append(process.stdout.readline().rstrip("\n"))
            assert lines[-1], process.communicate()
        name, _, value = shlex.split(lines[3])[1].partition("=")
        connection = json.loads(value)
        root = connection["host"].removesuffix("/api/sdk")
        assert lines[:3] == [
            f"HaloAgents sandbox: {root}/",
            "State: in memory, gone when it stops",
            "Connection for Airflow and halo:",
        ]
        assert (name, connection) == (
            "AIRFLOW_CONN_HALO_DEFAULT",
            {
                "conn_type": "halo",
                "password": "ab_live_sandbox",
                "host": f"{root}/api/sdk",
                "extra": {"identity_secret": "ha_secret_sandbox"},
            },
        )
        assert httpx.get(f"{root}/_sandbox/state", trust_env=False).status_code == 200
        process.send_signal(number)
        out, errors = process.communicate(timeout=20)
        assert (process.returncode, out, errors) == (0, "Stopped.\n", "")
    finally:
        process.kill()
        process.wait()


def test_a_taken_port_a_wrong_fault_and_a_wrong_file_are_one_sentence(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(parse("--port", str(port))) == 1
    assert capsys.readouterr().err.startswith(f"halo sandbox: can't listen on 127.0.0.1 port {port}: ")
    assert run(parse("--fault", "429:often=1")) == 2
    assert "unknown field `often`" in capsys.readouterr().err
    (tmp_path / "text").write_text("not a database" * 100)
    assert run(parse("--port", "0", "--file", str(tmp_path / "text"))) == 1
    assert "can't be used as --file" in capsys.readouterr().err
    assert run(parse("--port", "0", "--file", str(tmp_path / "no folder" / "s"))) == 1
    assert "can't be used as --file" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_what_is_not_a_port_is_refused(capsys, port):
    with pytest.raises(SystemExit):
        parse(f"--port={port}")
    assert "give a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--clock-ahead=soon", "'soon' is not a number of seconds within a year"),
        ("--clock-ahead=nan", "'nan' is not a number of seconds within a year"),
        ("--clock-ahead=-1e9", "'-1e9' is not a number of seconds within a year"),
        ("--keep-alive=-1", "'-1' is less than 0"),
    ],
)
def test_what_is_not_a_number_of_seconds_is_refused(capsys, flag, said):
    with pytest.raises(SystemExit):
        parse(flag)
    assert said in capsys.readouterr().err


def test_another_host_than_loopback_comes_with_a_warning():
    assert [host_warning(host, open_admin=True) for host in ("127.0.0.1", "localhost", "::1")] == ["", "", ""]
    assert "with the widget key" in host_warning("0.0.0.0", open_admin=False)
    assert "read and change everything" in host_warning("::", open_admin=True)


def test_serving_says_what_is_in_force_and_ends_when_told_to():
    said = []
    stop = threading.Event()

    def say(text):
        said.append(text)
        if text != "Stopped.":
            stop.set()

    assert serve(SandboxConfig(faults=("429",), verify_identity=False), host="0.0.0.0", port=0, say=say, stop=stop) == 0
    assert said[0].splitlines()[2] == "Fault: 429"
    assert '"verify_identity":false' in said[0]
    assert "WARNING: on 0.0.0.0 other machines can reach" in said[0]
    assert said[1:] == ["Stopped."]


@pytest.mark.parametrize(("open_admin", "status"), [(False, 403), (True, 200)])
def test_from_another_address_only_the_api_is_open_unless_said_otherwise(open_admin, status):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which address would be used
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]
    with SandboxServer(SandboxConfig(open_admin=open_admin), host="0.0.0.0") as server:
        outside = f"http://{address}:{server.port}"
        for path in ("/", "/_sandbox/state", "/_sandbox/export"):
            assert httpx.get(outside + path, trust_env=False).status_code == status
        headers = {"authorization": "Bearer ab_live_sandbox"}
        body = {"company_id": "c1"}
        assert httpx.post(
            f"{outside}/api/sdk/companies/identify", json=body, headers=headers, trust_env=False
        ).is_success
        assert httpx.get(f"{server.root}/_sandbox/state", trust_env=False).json()["companies"] == 1
