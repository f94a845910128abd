"""Plain dicts, as DAG authors write them, made into checked records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_halo.contract import CONTEXT_TYPES, MOMENT_TRAITS
from airflow_provider_halo.records.model import Company, ContextEntry, User
from airflow_provider_halo.records.payload import Payload, payload_of
from airflow_provider_halo.records.problem import Problem, Scope, Unsendable
from airflow_provider_halo.records.values import Json, Warnings, to_json_value, to_key, to_moment

_RECORD = frozenset({"user_id", "company_id", "traits", "context"})
_ENTRY = frozenset({"label", "type", "value"})


def payload_from(data: Any, warnings: Warnings) -> Payload | Problem:
    """Make one record ready to be sent.

    :param data: ``{"user_id": …, "company_id": …, "traits": {…}, "context": {key: {"label", "type", "value"}}}``. With a
        ``user_id`` it is a user, and ``company_id`` the company it is linked to; else it is a company.
    :param warnings: counts what was mended in values, by kind.
    :return: the payload, or why the record can't be sent; the reason never holds a value.
    """
    scope: Scope = "companies"
    key = ""
    try:
        fields = _object(data, "", "is no object with user_id or company_id, traits and context")
        user_id, company_id = fields.get("user_id"), fields.get("company_id")
        scope = "users" if user_id is not None else "companies"
        key = _key(user_id if scope == "users" else company_id, "user_id" if scope == "users" else "company_id")
        _known(fields, _RECORD, "", "give traits under `traits`, context entries under `context`")
        traits = _traits(fields.get("traits"), warnings)
        context = _context(fields.get("context"), warnings)
        if scope == "companies":
            return payload_of(Company(company_id=key, traits=traits, context=context))
        company = None if company_id is None else _key(company_id, "company_id")
        return payload_of(User(user_id=key, company_id=company, traits=traits, context=context))
    except Unsendable as error:
        return Problem(scope, key, error.field, error.reason)


def _traits(data: Any, warnings: Warnings) -> dict[str, Json]:
    given = _object({} if data is None else data, "traits", "must be an object of names and values")
    traits: dict[str, Json] = {}
    for name, value in given.items():
        convert = to_moment if name in MOMENT_TRAITS else to_json_value
        traits[str(name)] = _value(convert, value, warnings, f"traits.{name}")
    return traits


def _context(data: Any, warnings: Warnings) -> dict[str, ContextEntry]:
    given = _object({} if data is None else data, "context", "must be an object of keys and entries")
    return {str(name): _entry(entry, f"context.{name}", warnings) for name, entry in given.items()}


def _entry(data: Any, field: str, warnings: Warnings) -> ContextEntry:
    entry = _object(data, field, "must be an object with label, value and perhaps type")
    _known(entry, _ENTRY, field, "an entry has label, value and perhaps type")
    label, kind = entry.get("label"), entry.get("type")
    if not isinstance(label, str) or not label.strip():
        raise Unsendable("needs a label: it heads the section in the AI's prompt", field)
    if kind is not None and kind not in CONTEXT_TYPES:
        raise Unsendable(f"has a type that is none of {', '.join(CONTEXT_TYPES)}", field)
    if "value" not in entry:
        raise Unsendable("needs a value", field)
    return ContextEntry(label=label, value=_value(to_json_value, entry["value"], warnings, field), type=kind)


def _value(convert: Callable[[Any, Warnings], Json], value: Any, warnings: Warnings, field: str) -> Json:
    try:
        return convert(value, warnings)
    except Unsendable as error:
        raise Unsendable(error.reason, field) from None


def _key(value: Any, field: str) -> str:
    if value is None:
        raise Unsendable("is missing: a record is named by user_id or company_id", field)
    try:
        return to_key(value)
    except Unsendable as error:
        raise Unsendable(error.reason, field) from None


def _object(data: Any, field: str, reason: str) -> Mapping[Any, Any]:
    if not isinstance(data, Mapping):
        raise Unsendable(reason, field)
    return data


def _known(data: Mapping[Any, Any], names: frozenset[str], field: str, mend: str) -> None:
    unknown = sorted(str(name) for name in data if name not in names)
    if unknown:
        raise Unsendable(f"has unknown keys ({', '.join(unknown)}); {mend}", field)
