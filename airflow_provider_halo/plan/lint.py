"""What a plan that loads still lacks or gets wrong, held against the guide's checklist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_provider_halo.plan.checks import query_of
from airflow_provider_halo.plan.model import LoadedPlan, Query
from airflow_provider_halo.plan.sql_text import quoted_templates, selects_everything

Severity = Literal["ok", "warn", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One point of the checklist.

    :param rule: id of the rule, for example ``user-basics``.
    :param severity: ``ok``; ``warn``: worth mending, the plan works without; ``unknown``: the text doesn't tell.
    :param text: what was found, and of a warning what to do.
    :param place: file and line, where there is one.
    """

    rule: str
    severity: Severity
    text: str
    place: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to mend; what can't be told is nothing to mend."""
        return self.severity != "warn"


def place_of(query: Query) -> str:
    """Where the SQL of a query stands, in words."""
    return f"{query.file}, line {query.line}"


def fields_of(query: Query) -> tuple[frozenset[str], bool]:
    """The columns that the text of a query tells, without those that name the record; and whether these are all."""
    names = frozenset(name for name in query.statement.columns if name is not None)
    return names - {query.key, query.company}, query.statement.known_columns is not None


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


_VAGUE = frozenset(
    {
        *("data", "info", "information", "details", "misc", "miscellaneous", "other", "stuff", "things", "general"),
        *("context", "custom", "values", "value", "fields", "attributes", "properties", "entry", "object", "list"),
        *("test", "todo", "label", "untitled", "metadata"),
    }
)
_TITLES = frozenset({"label", "name", "title"})  # documented: what a list's line shows in quotes
_IDS = frozenset({"id", "uuid", "slug", "key", "code"})
_CURRENT = frozenset({"integration", "error", "list", "status"})  # types whose old value misleads most


def check_quality(plan: LoadedPlan) -> Iterator[Finding]:
    """Every rule on how the plan is written; a rule that finds nothing says so once."""
    yield from _or_ok("labels", "every label says what it heads", _labels(plan))
    yield from _or_ok("lists", "", _lists(plan))
    yield from _or_ok("stale", "an entry is sent empty when its rows are gone", _stale(plan))
    yield from _or_ok("all-columns", "every query names its columns", _all_columns(plan))
    yield from _or_ok("templates", "", _templates(plan))
    yield from _questions(plan)


def _or_ok(rule: str, text: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    found = list(findings)
    if found:
        yield from found
    elif text:
        yield Finding(rule=rule, severity="ok", text=text)


def _entries(plan: LoadedPlan) -> Iterator[tuple[Query, str, str]]:
    """The context queries, each with its label and type."""
    for query in plan.queries:
        if query.entry is not None:
            yield query, query.entry.label, query.entry.type or ""


def _labels(plan: LoadedPlan) -> Iterator[Finding]:
    first: dict[tuple[str, str], str] = {}
    for query, label, _ in _entries(plan):
        text = ""
        if label.strip().lower() in _VAGUE or len(label.strip()) == 1:
            text = "tells the AI nothing: say what it heads, for example Connected Integrations"
        elif "_" in label and " " not in label:
            text = "reads like a column: write it as a heading, for example Connected Integrations"
        elif (query.scope, label.lower()) in first:
            text = f"heads {first[query.scope, label.lower()]} too: the AI can't tell them apart"
        first.setdefault((query.scope, label.lower()), query.name)
        if text:
            yield Finding(
                rule="labels", severity="warn", text=f"{query.name}: the label {label} {text}", place=place_of(query)
            )


def _lists(plan: LoadedPlan) -> Iterator[Finding]:
    for query, _, kind in _entries(plan):
        if kind != "list" or query.shape != "array":
            continue
        fields, complete = fields_of(query)
        lacking = [] if fields & _TITLES else ["a label, name or title"]
        lacking += [] if any(name in _IDS or name.endswith("_id") for name in fields) else ["an id"]
        if not lacking:
            text = f"{query.name}: its items carry an id and a name"
            yield Finding(rule="lists", severity="ok", text=text, place=place_of(query))
        elif complete:
            text = f"{query.name}: its items lack {' and '.join(lacking)}, by which the AI and the customer name them"
            yield Finding(rule="lists", severity="warn", text=text, place=place_of(query))
        else:
            text = f"{query.name}: whether its items carry an id and a name can't be told from the SQL"
            yield Finding(rule="lists", severity="unknown", text=text, place=place_of(query))


def _stale(plan: LoadedPlan) -> Iterator[Finding]:
    for query, _, kind in _entries(plan):
        if not query.sends_empty and kind in _CURRENT:
            text = f"{query.name}: `empty: omit` leaves the old value with the AI when the last row is gone: drop it"
            yield Finding(rule="stale", severity="warn", text=text, place=place_of(query))


def _all_columns(plan: LoadedPlan) -> Iterator[Finding]:
    for query in plan.queries:
        if selects_everything(query.statement):
            text = f"{query.name}: `SELECT *` sends whatever a table gets next: name the columns that support needs"
            yield Finding(rule="all-columns", severity="warn", text=text, place=place_of(query))


def _templates(plan: LoadedPlan) -> Iterator[Finding]:
    for query in plan.queries:
        for template in quoted_templates(query.statement):
            text = f"{query.name}: {template} in quotes goes to the database as these characters: templates aren't filled in"
            yield Finding(rule="templates", severity="warn", text=text, place=place_of(query))


def _questions(plan: LoadedPlan) -> Iterator[Finding]:
    questions = plan.plan.questions
    if not questions:
        text = "no questions: list what support is asked most and the keys that answer it"
        yield Finding(rule="questions", severity="warn", text=text, place=plan.path)
        return
    sent = [query.name for query in plan.queries]
    for question in questions:
        kept_back = [answer for answer in question.answered_by if query_of(answer, sent)[0] is None]
        if len(kept_back) == len(question.answered_by):
            text = (
                f"{question.ask} is answered by nothing that is sent: `send_context: false` keeps {kept_back[0]} back"
            )
            yield Finding(rule="questions", severity="warn", text=text, place=plan.path)
        else:
            yield Finding(
                rule="questions", severity="ok", text=f"{question.ask} Answered by {', '.join(question.answered_by)}"
            )


__all__ = ["Finding", "lint", "render_findings"]

_SIGNS = {"ok": "✓", "warn": "✗", "unknown": "?"}


def lint(plan: LoadedPlan) -> list[Finding]:
    """Hold a plan against the checklist, by its text alone: no database is asked.

    :return: a finding for every point, met ones included, in the order of the guide.
    """
    return [*check_guide(plan), *check_quality(plan)]


def render_findings(findings: Sequence[Finding]) -> str:
    """The checklist as text: ✓ met, ✗ to be mended, ? not told by the text; each with its rule, and a summary line."""
    lines = []
    for finding in findings:
        place = f" ({finding.place})" if finding.place and finding.severity != "ok" else ""
        rule = "" if finding.severity == "ok" else f" [{finding.rule}]"
        lines.append(f"{_SIGNS[finding.severity]} {finding.text}{place}{rule}")
    count = {severity: sum(finding.severity == severity for finding in findings) for severity in _SIGNS}
    summary = f"{count['ok']} of {len(findings)} points met"
    if count["warn"]:
        summary += f", {count['warn']} to mend"
    if count["unknown"]:
        summary += f", {count['unknown']} can't be told from the text"
    return "\n".join([*lines, "", f"{summary}."])
