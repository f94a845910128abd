"""What is public, whole: whoever changes this list changes what docs/stability.md promises."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
from inline_snapshot import snapshot

import airflow_provider_halo
from airflow_provider_halo.cli.commands import COMMANDS
from airflow_provider_halo.hooks import HaloHook, ReportDict
from airflow_provider_halo.operators import (
    ContextOperator,
    IdentifyOperator,
    PlanBatchesOperator,
    ReportOperator,
    SyncOperator,
    halo_sync,
)
from airflow_provider_halo.provider_info import get_provider_info


def test_these_names_are_public():
    modules = ("operators", "hooks", "exceptions", "provider_info")
    names = {name: importlib.import_module(f"airflow_provider_halo.{name}").__all__ for name in modules}
    assert {name: sorted(exported) for name, exported in names.items()} == snapshot(
        {
            "operators": [
                "ContextOperator",
                "IdentifyOperator",
                "PlanBatchesOperator",
                "ReportOperator",
                "SyncOperator",
                "halo_sync",
            ],
            "hooks": [
                "CompanyRecord",
                "ContextEntry",
                "ContextType",
                "HaloHook",
                "Record",
                "RecordProblem",
                "ReportDict",
                "StatusCounts",
                "UserRecord",
                "airflow_sources",
            ],
            "exceptions": [
                "ApiError",
                "AuthError",
                "ConnectionMissing",
                "ContextRefused",
                "DeliveryStopped",
                "HaloError",
                "HaloUnavailable",
                "LedgerError",
                "PayloadTooLarge",
                "PlanError",
                "PlanProblem",
                "QueryRefused",
                "RecordsNotStored",
                "RequestBlocked",
                "RequestRefused",
                "SecretMissing",
                "SetupError",
                "SourceError",
                "SystemicRefusal",
                "TokenRefused",
                "TransientError",
                "UnexpectedAnswer",
                "UnlikelyChange",
                "Unreachable",
                "UnreadableAnswer",
                "WidgetKeyRefused",
            ],
            "provider_info": ["get_provider_info"],
        }
    )
    assert airflow_provider_halo.__all__ == ["__version__"]


@pytest.mark.parametrize("module", ["operators", "hooks", "exceptions"])
def test_every_public_name_says_what_it_is(module):
    imported = importlib.import_module(f"airflow_provider_halo.{module}")
    for name in imported.__all__:
        value = getattr(imported, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_these_are_the_arguments_of_the_operators_all_of_them_written_out():
    operators = (ContextOperator, IdentifyOperator, PlanBatchesOperator, ReportOperator, SyncOperator)
    arguments = {operator.__name__: parameters(operator.__init__) for operator in operators}
    assert {**arguments, "halo_sync": parameters(halo_sync)} == snapshot(
        {
            "ContextOperator": [
                "user_id",
                "company_id",
                "key",
                "label",
                "type",
                "value",
                "entries",
                "halo_conn_id",
                "activity",
                "ledger_conn_id",
                "max_rejected",
                "max_retry_seconds",
                "fail_open",
            ],
            "IdentifyOperator": [
                "user_id",
                "company_id",
                "traits",
                "context",
                "records",
                "sql",
                "parameters",
                "source_conn_id",
                "halo_conn_id",
                "activity",
                "update_only",
                "link_users",
                "ledger_conn_id",
                "allow_empty",
                "max_rejected",
                "max_retry_seconds",
                "fail_open",
            ],
            "PlanBatchesOperator": [
                "plan",
                "only",
                "batch_size",
                "company_ids",
                "ledger_conn_id",
                "halo_conn_id",
                "max_changed",
                "max_gone",
                "dry_run",
                "force",
            ],
            "ReportOperator": [
                "reports",
                "expected",
                "max_rejected",
                "max_left_out",
                "allow_empty",
                "ledger_conn_id",
                "trigger_rule",
            ],
            "SyncOperator": [
                "plan",
                "batch",
                "company_id",
                "user_id",
                "only",
                "full",
                "dry_run",
                "link_users",
                "activity",
                "retry_rejected",
                "max_rejected",
                "max_left_out",
                "halo_conn_id",
                "ledger_conn_id",
                "deferrable",
            ],
            "halo_sync": [
                "group_id",
                "plan",
                "only",
                "company_ids",
                "batch_size",
                "full",
                "dry_run",
                "link_users",
                "retry_rejected",
                "max_rejected",
                "max_left_out",
                "max_changed",
                "max_gone",
                "force",
                "allow_empty",
                "halo_conn_id",
                "ledger_conn_id",
                "deferrable",
                "pool",
                "prefix_group_id",
                "default_args",
            ],
        }
    )
    for function in (*operators, halo_sync):
        for name in parameters(function if function is halo_sync else function.__init__):
            if name != "trigger_rule":  # Airflow's own
                assert f":param {name}:" in function.__doc__, (function, name)


def test_these_are_the_arguments_of_the_hook():
    methods = {name: parameters(value) for name, value in vars(HaloHook).items() if inspect.isfunction(value)}
    public = {name: arguments for name, arguments in methods.items() if name == "__init__" or name[0] != "_"}
    assert public == snapshot(
        {
            "__init__": ["halo_conn_id", "ledger_conn_id"],
            "get_conn": [],
            "identify_user": ["user_id", "traits", "context", "session_id"],
            "identify_company": ["company_id", "traits", "context"],
            "link_user": ["user_id", "company_id"],
            "update_users": ["users", "update_only", "max_rejected"],
            "test_connection": [],
        }
    )


def test_these_are_the_keys_of_a_report():
    assert sorted(ReportDict.__annotations__) == snapshot(
        [
            "bytes",
            "companies",
            "dry_run",
            "failures",
            "gone",
            "left_out",
            "links",
            "rejects",
            "requests",
            "requests_per_second",
            "retries",
            "seconds",
            "stopped",
            "throttled",
            "users",
            "warnings",
        ]
    )


def test_these_are_the_options_of_the_connection_and_the_configuration():
    info = get_provider_info()
    (connection,) = info["connection-types"]
    assert (connection["connection-type"], sorted(connection["conn-fields"])) == snapshot(
        (
            "halo",
            [
                "identity_secret",
                "max_in_flight",
                "max_retry_seconds",
                "requests_per_second",
                "timeout",
                "verify_identity",
            ],
        )
    )
    assert {section: sorted(described["options"]) for section, described in info["config"].items()} == snapshot(
        {
            "halo": [
                "batch_size",
                "conn_id",
                "create_pool",
                "defer_after",
                "ledger_conn_id",
                "ledger_keep_days",
                "max_changed",
                "max_gone",
                "max_left_out",
                "max_rejected",
                "plan",
                "pool",
                "pool_slots",
            ]
        }
    )


def test_these_are_the_commands_and_their_words():
    words = {command.name: [" ".join(argument.flags) for argument in command.arguments] for command in COMMANDS}
    assert words == snapshot(
        {
            "check": ["plan", "--strict"],
            "sync": [
                "plan",
                "--only",
                "--company",
                "--ledger",
                "--full",
                "--retry-rejected",
                "--max-changed",
                "--max-gone",
                "--force",
                "--dry-run",
                "--link-users",
                "--update-only",
                "--max-rejected",
                "--max-left-out",
                "--allow-empty",
                "--halo-conn",
                "--batch-size",
                "--jobs",
                "--report",
            ],
            "status": ["plan", "--ledger", "--runs", "--rejects", "--json"],
            "retire": ["plan", "--only", "--dry-run", "--ledger", "--halo-conn"],
            "erase": ["plan", "--company", "--user", "--allow", "--dry-run", "--json", "--ledger", "--halo-conn"],
            "ledger": ["action", "plan", "--company", "--user", "--all", "--days", "--ledger"],
            "init": ["folder"],
            "sample": ["--url", "--companies", "--users", "--seed"],
            "sandbox": [
                "--host",
                "--port",
                "--open-admin",
                "--widget-key",
                "--identity-secret",
                "--no-verify-identity",
                "--file",
                "--fault",
                "--quota",
                "--burst",
                "--at-once",
                "--retry-after",
                "--max-body-bytes",
                "--bad-user",
                "--refuse-context",
                "--poison",
                "--clock-ahead",
                "--keep-alive",
                "--quiet",
            ],
        }
    )


def test_importing_the_operators_imports_no_library_that_airflow_has_not_imported_already():
    code = (
        "import sys, airflow.sdk; from airflow.sdk import DAG, Asset, BaseOperator, Param, XComArg, conf, task; "
        "before = set(sys.modules); import airflow_provider_halo.operators; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    foreign = {name.partition(".")[0] for name in modules} - {"airflow_provider_halo", *sys.stdlib_module_names}
    assert {name for name in modules if name.partition(".")[0] in foreign - {"airflow"}} == set()
    assert [name for name in modules if name.startswith("airflow.providers")] == []
    # What only a running task needs stays out, too: it is the greater part of the package.
    rooms = {".".join(name.split(".")[:2]) for name in modules if name.startswith("airflow_provider_halo.")}
    assert sorted(rooms) == snapshot(
        [
            "airflow_provider_halo.api",
            "airflow_provider_halo.hooks",
            "airflow_provider_halo.limit",
            "airflow_provider_halo.operators",
            "airflow_provider_halo.records",
            "airflow_provider_halo.sync",
        ]
    )


def parameters(function):
    """The names of a function's parameters, without those that Airflow takes."""
    return [name for name in inspect.signature(function).parameters if name not in {"self", "kwargs"}]
