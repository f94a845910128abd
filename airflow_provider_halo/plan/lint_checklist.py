"""The checklist of HaloAgents' guide "Planning your context strategy", held against a plan: what the AI should know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from airflow_provider_halo.plan.finding import Finding, fields_of, place_of
from airflow_provider_halo.plan.query import LoadedPlan, Query

_OPEN = "can't be told: the SQL leaves column names open (a `*`, or an expression without AS)"

_USER_BASICS = ("name", "email", "role")
_NO_PRODUCT_TRAITS = frozenset({*_USER_BASICS, "avatar", "signed_up_at"})
_COMPANY_BASICS = ("name", "plan")
_BILLING = re.compile(
    r"billing|subscri|invoice|payment|renewal|contract|trial|\bmrr\b|\barr\b|credit|quota|seats", re.IGNORECASE
)
_ONBOARDING = re.compile(r"onboard|activat|activity|milestone|getting.started|setup", re.IGNORECASE)
_INTEGRATIONS = re.compile(r"integration|connect(ed|ion)", re.IGNORECASE)
_USAGE = re.compile(r"usage|limits?\b", re.IGNORECASE)
_ERRORS = re.compile(r"error|fail|problem|issue", re.IGNORECASE)


def check_guide(plan: LoadedPlan) -> Iterator[Finding]:
    """Every point of the guide's checklist that a plan can meet, in the guide's order."""
    users = plan.traits("users")
    companies = plan.traits("companies")
    yield from _user_traits(plan, users)
    yield from _company_traits(plan, companies)
    yield from _context_groups(plan)
    yield _errors(plan)


def _user_traits(plan: LoadedPlan, users: Query | None) -> Iterator[Finding]:
    if users is None:
        yield Finding(
            rule="users", severity="warn", text="the plan has no users: the AI knows nobody by name", place=plan.path
        )
        return
    yield _wanted(users, "user-basics", "user traits", _USER_BASICS)
    fields, complete = fields_of(users)
    product = sorted(fields - _NO_PRODUCT_TRAITS)
    yield _finding(
        "user-product-traits",
        users,
        found=f"user traits from the product: {_some(product)}" if product else "",
        missing="user traits say nothing of the product: add what support asks about, for example has_created_form",
        complete=complete,
        what="user traits from the product",
    )
    yield _finding(
        "user-sign-up",
        users,
        found="signed_up_at of users" if "signed_up_at" in fields else "",
        missing="users have no signed_up_at, so Halo takes the time of the import for it: select it AS signed_up_at",
        complete=complete,
        what="signed_up_at of users",
    )
    yield _milestones(plan, users)


def _milestones(plan: LoadedPlan, users: Query) -> Finding:
    queries = [query for query in plan.queries if query.entry is None or query.entry.type == "status"]
    found = sorted({name for query in queries for name in fields_of(query)[0] if name.startswith("has_")})
    return _finding(
        "milestones",
        users,
        found=f"onboarding milestones: {_some(found)}" if found else "",
        missing="no has_… column, so the AI can't tell how far somebody came: add milestones such as has_created_form",
        complete=all(fields_of(query)[1] for query in queries),
        what="onboarding milestones (has_… columns)",
    )


def _company_traits(plan: LoadedPlan, companies: Query | None) -> Iterator[Finding]:
    if companies is None:
        text = "the plan has no companies: the AI knows no plan and no billing"
        yield Finding(rule="companies", severity="warn", text=text, place=plan.path)
        return
    yield _wanted(companies, "company-basics", "company traits", _COMPANY_BASICS)
    fields, complete = fields_of(companies)
    billing = sorted(name for name in fields if _BILLING.search(name))
    yield _finding(
        "company-billing",
        companies,
        found=f"company traits on billing: {_some(billing)}" if billing else "",
        missing="company traits say nothing of billing: add billing_status, renewal_date, mrr or the like",
        complete=complete,
        what="company traits on billing",
    )


def _context_groups(plan: LoadedPlan) -> Iterator[Finding]:
    groups: tuple[tuple[str, str, Callable[[Query], bool], str], ...] = (
        ("context-onboarding", "onboarding and activity", _is_onboarding, "an entry of type status"),
        ("context-metrics", "product metrics", _is_metric, "an entry of type metric with counts"),
        ("context-integrations", "integration status", _is_integration, "an entry of type integration"),
        ("context-billing", "billing and usage", _is_billing, "an entry of type metric with credits, limits, invoices"),
    )
    entries = [query for query in plan.queries if query.entry is not None]
    for rule, what, fits, how in groups:
        found = [query for query in entries if fits(query)]
        if found:
            names = _some([query.name for query in found])
            yield Finding(rule=rule, severity="ok", text=f"context on {what}: {names}", place=place_of(found[0]))
        else:
            yield Finding(rule=rule, severity="warn", text=f"no context on {what}: add {how}", place=plan.path)


def _errors(plan: LoadedPlan) -> Finding:
    """Whether the AI can see what is broken: an `error` entry, or an integration whose rows carry their error."""
    rule = "context-errors"
    entries = [query for query in plan.queries if query.entry is not None]
    told = [query for query in entries if query.entry is not None and query.entry.type == "error"]
    integrations = [query for query in entries if _is_integration(query)]
    told += [query for query in integrations if any(_ERRORS.search(name) for name in fields_of(query)[0])]
    if told:
        text = f"what is broken is told: {_some([query.name for query in told])}"
        return Finding(rule=rule, severity="ok", text=text, place=place_of(told[0]))
    if any(not fields_of(query)[1] for query in integrations):
        return Finding(
            rule=rule, severity="unknown", text=f"whether integrations carry their errors {_OPEN}", place=plan.path
        )
    text = "nothing tells the AI what is broken: add an entry of type error, or an error column to the integrations"
    return Finding(rule=rule, severity="warn", text=text, place=plan.path)


def _named(query: Query) -> str:
    return f"{query.entry_key} {query.entry.label if query.entry else ''}"


def _is_onboarding(query: Query) -> bool:
    return query.entry is not None and (query.entry.type == "status" or bool(_ONBOARDING.search(_named(query))))


def _is_integration(query: Query) -> bool:
    return query.entry is not None and (query.entry.type == "integration" or bool(_INTEGRATIONS.search(_named(query))))


def _is_billing(query: Query) -> bool:
    return bool(_BILLING.search(_named(query)) or _USAGE.search(_named(query)))


def _is_metric(query: Query) -> bool:
    return query.entry is not None and query.entry.type == "metric" and not _BILLING.search(_named(query))


def _wanted(query: Query, rule: str, what: str, names: tuple[str, ...]) -> Finding:
    fields, complete = fields_of(query)
    missing = [name for name in names if name not in fields]
    return _finding(
        rule,
        query,
        found="" if missing else f"{what}: {', '.join(names)}",
        missing=f"{what} lack {' and '.join(missing)}: select {'it' if len(missing) == 1 else 'them'} in {query.name}",
        complete=complete,
        what=f"{what} {', '.join(missing)}",
    )


def _finding(rule: str, query: Query, *, found: str, missing: str, complete: bool, what: str) -> Finding:
    if found:
        return Finding(rule=rule, severity="ok", text=found, place=place_of(query))
    if not complete:
        return Finding(rule=rule, severity="unknown", text=f"{what}: {_OPEN}", place=place_of(query))
    return Finding(rule=rule, severity="warn", text=missing, place=place_of(query))


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
