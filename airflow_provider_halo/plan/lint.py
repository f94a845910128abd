"""Checks a plan that loads against the guide's checklist: what it still lacks or could do better."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from airflow_provider_halo.contract import LIST_TITLES
from airflow_provider_halo.plan.checks import query_of
from airflow_provider_halo.plan.departures import needs_ledger
from airflow_provider_halo.plan.findings import UNKNOWN, Finding, entries_of, fields_of, first_four, location_of
from airflow_provider_halo.plan.forms import check_forms
from airflow_provider_halo.plan.messages import join_names
from airflow_provider_halo.plan.model import LoadedPlan, Query
from airflow_provider_halo.plan.sql_limits import row_limit
from airflow_provider_halo.plan.sql_text import quoted_templates, selects_everything

__all__ = ["lint"]

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
_VAGUE = frozenset(
    {
        *("data", "info", "information", "details", "misc", "miscellaneous", "other", "stuff", "things", "general"),
        *("context", "custom", "values", "value", "fields", "attributes", "properties", "entry", "object", "list"),
        *("test", "todo", "label", "untitled", "metadata"),
    }
)
_IDS = frozenset({"id", "uuid", "slug", "key", "code"})
_CURRENT = frozenset({"integration", "error", "list", "status"})  # types whose old value misleads most


def lint(plan: LoadedPlan) -> list[Finding]:
    """Check a plan against the checklist, by its text alone: no database is asked.

    :return: a finding for every point, met ones included, in the order of the guide.
    """
    return [*_check_guide(plan), *_check_quality(plan)]


# The guide's checklist, in its order.


def _check_guide(plan: LoadedPlan) -> Iterator[Finding]:
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
            rule="users",
            severity="warn",
            text="the plan has no users, so the AI knows nobody by name: add users",
            location=plan.path,
        )
        return
    yield _wanted(users, "user-basics", "user traits", _USER_BASICS)
    fields, complete = fields_of(users)
    product = sorted(fields - _NO_PRODUCT_TRAITS)
    yield _finding(
        "user-product-traits",
        users,
        found=f"user traits from the product: {first_four(product)}" if product else "",
        missing="no user trait comes from the product: add what support asks about, for example has_created_form",
        complete=complete,
        what="user traits from the product",
    )
    yield _finding(
        "user-sign-up",
        users,
        found="signed_up_at of users" if "signed_up_at" in fields else "",
        missing="users have no signed_up_at, so Halo uses the time of the import: select the time of sign-up AS signed_up_at",
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
        found=f"onboarding milestones: {first_four(found)}" if found else "",
        missing="no has_… column, so the AI can't tell how far a user has come: add milestones such as has_created_form",
        complete=all(fields_of(query)[1] for query in queries),
        what="onboarding milestones (has_… columns)",
    )


def _company_traits(plan: LoadedPlan, companies: Query | None) -> Iterator[Finding]:
    if companies is None:
        text = "the plan has no companies, so the AI knows nothing of plans and billing: add companies"
        yield Finding(rule="companies", severity="warn", text=text, location=plan.path)
        return
    yield _wanted(companies, "company-basics", "company traits", _COMPANY_BASICS)
    fields, complete = fields_of(companies)
    billing = sorted(name for name in fields if _BILLING.search(name))
    yield _finding(
        "company-billing",
        companies,
        found=f"company traits on billing: {first_four(billing)}" if billing else "",
        missing="no company trait is about billing: add billing_status, renewal_date, mrr or similar",
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
    for rule, topic, fits, advice in groups:
        matching = [query for query, _ in entries_of(plan) if fits(query)]
        if matching:
            text = f"context on {topic}: {first_four([query.name for query in matching])}"
            yield Finding(rule=rule, severity="ok", text=text, location=location_of(matching[0]))
        else:
            yield Finding(rule=rule, severity="warn", text=f"no context on {topic}: add {advice}", location=plan.path)


def _errors(plan: LoadedPlan) -> Finding:
    """Whether the AI can see what is broken: an `error` entry, or an integration whose rows have their error."""
    rule = "context-errors"
    integrations = [query for query, _ in entries_of(plan) if _is_integration(query)]
    with_errors = [query for query, entry in entries_of(plan) if entry.type == "error"]
    with_errors += filter(_has_error_column, integrations)
    if with_errors:
        text = f"errors are included: {first_four([query.name for query in with_errors])}"
        return Finding(rule=rule, severity="ok", text=text, location=location_of(with_errors[0]))
    if any(not fields_of(query)[1] for query in integrations):
        text = f"errors of integrations: {UNKNOWN}"
        return Finding(rule=rule, severity="unknown", text=text, location=plan.path)
    text = "nothing tells the AI what is broken: add an entry of type error, or an error column to the integrations"
    return Finding(rule=rule, severity="warn", text=text, location=plan.path)


def _key_and_label(query: Query) -> str:
    return f"{query.entry_key} {query.entry.label if query.entry else ''}"


def _has_error_column(query: Query) -> bool:
    return any(_ERRORS.search(name) for name in fields_of(query)[0])


def _is_onboarding(query: Query) -> bool:
    return query.entry is not None and (query.entry.type == "status" or bool(_ONBOARDING.search(_key_and_label(query))))


def _is_integration(query: Query) -> bool:
    return query.entry is not None and (
        query.entry.type == "integration" or bool(_INTEGRATIONS.search(_key_and_label(query)))
    )


def _is_billing(query: Query) -> bool:
    return bool(_BILLING.search(_key_and_label(query)) or _USAGE.search(_key_and_label(query)))


def _is_metric(query: Query) -> bool:
    return query.entry is not None and query.entry.type == "metric" and not _BILLING.search(_key_and_label(query))


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
        return Finding(rule=rule, severity="ok", text=found, location=location_of(query))
    if not complete:
        return Finding(rule=rule, severity="unknown", text=f"{what}: {UNKNOWN}", location=location_of(query))
    return Finding(rule=rule, severity="warn", text=missing, location=location_of(query))


# How the plan is written.


def _check_quality(plan: LoadedPlan) -> Iterator[Finding]:
    """Every rule on how the plan is written; a rule that finds nothing says so once."""
    yield from _or_ok("labels", "every label describes its entry", _labels(plan))
    yield from _or_ok("lists", "", _lists(plan))
    yield from _or_ok("forms", "entries have the values that Halo documents for their types", check_forms(plan))
    yield from _or_ok("row-limits", "no query cuts its rows short", _row_limits(plan))
    yield from _or_ok("shared-keys", "", _shared_keys(plan))
    yield from _or_ok("stale", "an entry without rows is sent as empty", _stale(plan))
    yield from _definitions(plan)
    yield from _unsent(plan)
    yield from _or_ok("all-columns", "every query names its columns", _all_columns(plan))
    yield from _or_ok("templates", "", _templates(plan))
    yield from _needs_ledger(plan)
    yield from _questions(plan)


def _or_ok(rule: str, text: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    reported = list(findings)
    if reported:
        yield from reported
    elif text:
        yield Finding(rule=rule, severity="ok", text=text)


def _labels(plan: LoadedPlan) -> Iterator[Finding]:
    first: dict[tuple[str, str], str] = {}
    for query, entry in entries_of(plan):
        label = entry.label
        same = first.setdefault((query.scope, label.lower()), query.name)
        if label.strip().lower() in _VAGUE or len(label.strip()) == 1:
            problem = "tells the AI nothing: describe the entry, for example Connected Integrations"
        elif "_" in label and " " not in label:
            problem = "looks like a column: write it as a heading, for example Connected Integrations"
        elif same != query.name:
            problem = f"is that of {same} too, and the AI can't tell them apart: change one of them"
        else:
            continue
        text = f"{query.name}: the label {label} {problem}"
        yield Finding(rule="labels", severity="warn", text=text, location=location_of(query))


def _lists(plan: LoadedPlan) -> Iterator[Finding]:
    for query, entry in entries_of(plan):
        if entry.type != "list" or query.shape != "array":
            continue
        fields, complete = fields_of(query)
        lacking = [] if not fields.isdisjoint(LIST_TITLES) else ["a label, name or title"]
        lacking += [] if any(name in _IDS or name.endswith("_id") for name in fields) else ["an id"]
        if not lacking:
            text = f"{query.name}: its items have an id and a name"
            yield Finding(rule="lists", severity="ok", text=text, location=location_of(query))
        elif complete:
            text = (
                f"{query.name}: its items lack {' and '.join(lacking)}, needed to refer to them: select what is missing"
            )
            yield Finding(rule="lists", severity="warn", text=text, location=location_of(query))
        else:
            text = f"{query.name}: id and name of its items: {UNKNOWN}"
            yield Finding(rule="lists", severity="unknown", text=text, location=location_of(query))


def _shared_keys(plan: LoadedPlan) -> Iterator[Finding]:
    """Entries of users whose key one of companies has, too: which of the two the AI reads isn't documented."""
    keys_of_companies = {query.entry_key for query, _ in entries_of(plan) if query.scope == "companies"}
    for query, _ in entries_of(plan):
        if query.scope == "users" and query.entry_key in keys_of_companies:
            text = (
                f"{query.name}: companies have an entry {query.entry_key} too, and Halo doesn't document which of the two the "
                "AI reads: give one of them another key"
            )
            yield Finding(rule="shared-keys", severity="warn", text=text, location=location_of(query))


def _stale(plan: LoadedPlan) -> Iterator[Finding]:
    for query, entry in entries_of(plan):
        if not query.sends_empty and entry.type in _CURRENT:
            text = f"{query.name}: with `empty: omit`, the AI keeps the old value when the last row is gone: remove it"
            yield Finding(rule="stale", severity="warn", text=text, location=location_of(query))


def _row_limits(plan: LoadedPlan) -> Iterator[Finding]:
    for query in plan.queries:
        word = row_limit(query.statement)
        if word is None:
            continue
        harm = "counts the rows of all records together, so that most of them lose theirs"
        if query.entry is None:
            harm = f"leaves {query.scope} out, and perhaps others in each batch"
            way_out = "remove it; for a trial, name a few companies by `halo sync --company`"
        elif query.shape == "array":
            way_out = "use the entry's `limit:` and `order_by:`, which hold for each record"
        else:
            way_out = "choose each record's row in the SQL, by GROUP BY or row_number()"
        text = f"{query.name}: {word} {harm}: {way_out}"
        yield Finding(rule="row-limits", severity="error", text=text, location=location_of(query))


def _all_columns(plan: LoadedPlan) -> Iterator[Finding]:
    for query in plan.queries:
        if selects_everything(query.statement):
            text = f"{query.name}: `SELECT *` also sends every column added to the table later: name the columns that support needs"
            yield Finding(rule="all-columns", severity="warn", text=text, location=location_of(query))


def _definitions(plan: LoadedPlan) -> Iterator[Finding]:
    for definition in plan.definitions:
        if not definition.is_used:
            text = f"define.{definition.name}: no query uses it: remove it, or read it by FROM {definition.name}"
            place = f"{definition.file}, line {definition.line}"
            yield Finding(rule="definitions", severity="warn", text=text, location=place)


def _unsent(plan: LoadedPlan) -> Iterator[Finding]:
    """Which columns aren't sent, since they only serve to pick a user's row."""
    users = plan.traits("users")
    if users is None or not users.prefer:
        return
    unsent = sorted(users.unsent)
    text = f"users.prefer ({', '.join(users.prefer)}) picks the row of a user who has several"
    if unsent:
        text += f"; {join_names(unsent)} {'is' if len(unsent) == 1 else 'are'} only for that, and not sent"
    yield Finding(rule="prefer", severity="ok", text=text, location=location_of(users))


def _templates(plan: LoadedPlan) -> Iterator[Finding]:
    for query in plan.queries:
        for template in quoted_templates(query.statement):
            text = f"{query.name}: {template} in quotes goes to the database as it is, because templates aren't filled in: remove it"
            yield Finding(rule="templates", severity="warn", text=text, location=location_of(query))


def _needs_ledger(plan: LoadedPlan) -> Iterator[Finding]:
    for name in needs_ledger(plan):
        text = f"{name} has no effect without a ledger ([halo] ledger_conn_id), which alone knows who has left"
        yield Finding(rule="ledger", severity="unknown", text=text, location=plan.path)


def _questions(plan: LoadedPlan) -> Iterator[Finding]:
    questions = plan.plan.questions
    if not questions:
        text = "no questions: list what support is asked most, and the keys that answer it"
        yield Finding(rule="questions", severity="warn", text=text, location=plan.path)
        return
    sent = [query.name for query in plan.queries]
    for question in questions:
        not_sent = [answer for answer in question.answered_by if query_of(answer, sent)[0] is None]
        if len(not_sent) == len(question.answered_by):
            text = (
                f'"{question.ask}" is answered only by {not_sent[0]}, '
                "which isn't sent because of `send_context: false`: remove that line"
            )
            yield Finding(rule="questions", severity="warn", text=text, location=plan.path)
        else:
            yield Finding(
                rule="questions", severity="ok", text=f"{question.ask} Answered by {', '.join(question.answered_by)}"
            )
