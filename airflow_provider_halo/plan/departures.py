"""Checks what a plan says of those who leave: `gone`, and `users.no_company`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from airflow_provider_halo.contract import COMPANY_RESERVED, ENUMERATIONS, USER_RESERVED
from airflow_provider_halo.plan.checks import check_name
from airflow_provider_halo.plan.messages import Problems, did_you_mean, format_value
from airflow_provider_halo.plan.model import LoadedPlan
from airflow_provider_halo.records.values import Json

__all__ = ["check_departures", "needs_ledger"]


def check_departures(data: Mapping[str, Json], problems: Problems) -> None:
    """Check `gone` and `users.no_company`, as far as their types are right.

    :param data: the plan as read, right or not.
    """
    gone = data.get("gone")
    if isinstance(gone, dict):
        _check_gone(gone, data, problems)
    users = data.get("users")
    no_company = users.get("no_company") if isinstance(users, dict) else None
    if isinstance(no_company, dict):
        _check_no_company(no_company, data, problems)


def needs_ledger(plan: LoadedPlan) -> list[str]:
    """What of a plan has no effect without a ledger: only by what was sent before can it be known who has left."""
    users = plan.plan.users
    wants = {
        "gone: empty": plan.plan.gone.empty,
        "users.no_company": users is not None and users.no_company is not None,
    }
    return [name for name, is_wanted in wants.items() if is_wanted]


def _check_gone(gone: Mapping[str, Json], data: Mapping[str, Json], problems: Problems) -> None:
    traits = gone.get("set")
    if not isinstance(traits, dict):
        return
    if gone.get("empty") is False:
        problems.at(("gone", "set"), "is only for records that are emptied. Write `empty: true`, or remove set.")
    for name, value in traits.items():
        path = ("gone", "set", name)
        if check_name(name, path, problems, "Name a trait, for example account_status."):
            for message in _trait_problems(name, value, data):
                problems.at(path, message)


def _trait_problems(name: str, value: Json, data: Mapping[str, Json]) -> Iterator[str]:
    reserved = {"companies": COMPANY_RESERVED, "users": USER_RESERVED}
    scopes = [scope for scope, names in reserved.items() if scope in data and name in names]
    if scopes:
        yield f"a name that Halo reserves for {' and '.join(scopes)}. Give the trait another name."
    allowed = ENUMERATIONS.get(name)
    if isinstance(value, (dict, list)):
        yield f"is {format_value(value)}, but must be a single value."
    elif allowed is not None and value is not None and value not in allowed:
        near = did_you_mean(str(value), allowed)
        yield f"is {format_value(value)}, which Halo doesn't accept.{near} Allowed values: {', '.join(allowed)}."


def _check_no_company(no_company: Mapping[str, Json], data: Mapping[str, Json], problems: Problems) -> None:
    path = ("users", "no_company")
    for name, advice in (
        ("id", "Write the key that this company has in Halo, such as none."),
        ("name", "Write the name that the AI reads, such as No company."),
    ):
        value = no_company.get(name)
        if isinstance(value, str):
            check_name(value, (*path, name), problems, advice)
    if "companies" not in data:
        problems.at(path, "needs companies: without them the plan links no user to any. Remove no_company.")
