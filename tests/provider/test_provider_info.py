from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import pytest
from jsonschema import Draft7Validator

from airflow_provider_halo import __version__
from airflow_provider_halo.contract import DEFAULT_BASE_URL
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.provider_info import get_provider_info
from airflow_provider_halo.settings import HaloSettings

AIRFLOW = Path(airflow.__file__).parent


def schema(name):
    return Draft7Validator(json.loads((AIRFLOW / name).read_text(encoding="utf-8")))


def test_airflow_takes_the_provider_info_at_run_time():
    assert [error.message for error in schema("provider_info.schema.json").iter_errors(get_provider_info())] == []


def test_the_connection_form_is_as_airflow_describes_one():
    # The schema of provider.yaml is the one that knows forms; a provider that isn't Airflow's own lacks its release data.
    info = get_provider_info() | {"state": "ready", "source-date-epoch": 0}
    assert [error.message for error in schema("provider.yaml.schema.json").iter_errors(info)] == []


def test_the_form_asks_for_every_setting_that_a_connection_has():
    (connection,) = get_provider_info()["connection-types"]
    fields = set(HaloSettings.__dataclass_fields__) - {"widget_key", "base_url", "conn_id"}
    assert set(connection["conn-fields"]) == fields
    for name, field in connection["conn-fields"].items():
        assert "null" in field["schema"]["type"], name  # every one may be left empty
        default = HaloSettings.__dataclass_fields__[name].default
        assert field["schema"].get("default") == default, name
    assert connection["ui-field-behaviour"]["placeholders"]["host"] == DEFAULT_BASE_URL
    assert connection["conn-fields"]["identity_secret"]["schema"]["format"] == "password"


def test_everything_that_is_named_can_be_imported():
    info = get_provider_info()
    for kind in ("hooks", "operators"):
        for group in info[kind]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    (connection,) = info["connection-types"]
    module, _, name = connection["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is HaloHook
    assert (HaloHook.conn_type, HaloHook.hook_name) == (connection["connection-type"], connection["hook-name"])
    (command,) = info["cli"]
    module, _, name = command.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_entry_points_resolve():
    found = {
        (entry.group, entry.name): entry.load()
        for group in ("apache_airflow_provider", "airflow.plugins")
        for entry in entry_points(group=group)
        if entry.dist is not None and entry.dist.name == "airflow-provider-halo"
    }
    assert {key: value.__name__ for key, value in found.items()} == {
        ("apache_airflow_provider", "provider_info"): "get_provider_info",
        ("airflow.plugins", "halo"): "HaloPlugin",
    }


def test_airflow_finds_the_provider_and_its_form():
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    provider = ProvidersManager().providers["airflow-provider-halo"]
    assert (provider.version, provider.data["name"]) == (__version__, "HaloAgents")
    assert ProvidersManagerTaskRuntime().hooks["halo"].hook_name == "HaloAgents"


def test_the_api_server_shows_the_form():
    # Its own models, which are what is in the way where Airflow's libraries don't fit together.
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBodyPartial
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [form for form in HookMetaService.hook_meta_data() if form.connection_type == "halo"]
    assert set(form.extra_fields) == set(get_provider_info()["connection-types"][0]["conn-fields"])
    assert form.standard_fields.password.title == "Widget key"
    assert ConnectionBodyPartial(conn_type="halo").conn_type == "halo"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("conn_id", "halo_default"),
        ("pool", "halo_api"),
        ("pool_slots", "4"),
        ("create_pool", "True"),
        ("batch_size", "5000"),
        ("max_rejected", "1%"),
        ("max_left_out", "1%"),
    ],
)
def test_a_config_option_has_its_default_and_the_environment_overrides_it(option, value, monkeypatch):
    from airflow.sdk import conf

    assert conf.get("halo", option) == value
    monkeypatch.setenv(f"AIRFLOW__HALO__{option.upper()}", "2%")
    assert conf.get("halo", option) == "2%"


def test_importing_the_package_and_its_provider_info_imports_no_airflow():
    code = (
        "import sys, airflow_provider_halo, airflow_provider_halo.provider_info;"
        "print([name for name in sys.modules if name.partition('.')[0] == 'airflow'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
