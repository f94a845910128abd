"""How well a plan says what it says: labels, lists, stale entries, SQL that takes more than it needs, questions."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_halo.plan.finding import Finding, fields_of, place_of
from airflow_provider_halo.plan.query import LoadedPlan, Query
from airflow_provider_halo.plan.questions import query_of
from airflow_provider_halo.plan.statements import quoted_templates, selects_everything

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
