"""What is wrong in a plan beyond the shape of its keys: entries, columns, questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from airflow_provider_halo.contract import COMPANY_RESERVED, CONTEXT_TYPES, ENUMERATIONS, USER_RESERVED
from airflow_provider_halo.exceptions import PlanProblem
from airflow_provider_halo.plan.messages import Problems, did_you_mean, listed, shown
from airflow_provider_halo.plan.model import QUERY_SCOPES, Entry, Query, Shape, Traits, ordering
from airflow_provider_halo.plan.yaml_text import KeyPath
from airflow_provider_halo.records.values import Json

_LIST_TYPES = frozenset({"list", "error"})
_NAMED_TYPES = frozenset({"integration", "relationship"})

_RENAMED = {  # what a reserved name of the database can be called instead
    "id": "record_id",
    "external_id": "external_ref",
    "org_id": "organisation_ref",
    "company_id": "company_ref",
    "created_at": "signed_up_at",
    "updated_at": "changed_at",
    "first_seen": "first_active_at",
    "last_seen": "last_active_at",
    "last_contacted_at": "last_contact_at",
    "health_score": "product_health",
    "team_size": "members",
}


def shape_of(entry: Entry) -> Shape:
    """What the rows of an entry become."""
    if entry.value is not None:
        return "scalar"
    if entry.name is not None:
        return "map"
    if entry.rows is not None:
        return "array" if entry.rows == "many" else "object"
    return "array" if entry.type in _LIST_TYPES else "object"


def empty_of(entry: Entry, shape: Shape) -> tuple[Json, bool]:
    """What is sent for a record without rows, and whether anything is sent."""
    default: Json = {"object": {}, "map": {}, "array": [], "scalar": None}[shape]
    if "empty" not in entry.model_fields_set:
        return default, True
    return (default, False) if entry.empty == "omit" else (entry.empty, True)


def check_text(value: str, path: KeyPath, problems: Problems, what: str) -> bool:
    """A name that people write must be one: not blank, nothing unprintable, no blanks around it."""
    if not value.strip():
        problems.at(path, f"is blank: {what}")
    elif not value.isprintable():
        problems.at(path, f"holds control characters or line breaks: {what}")
    elif value != value.strip():
        problems.at(path, f"begins or ends with a blank: {what}")
    else:
        return True
    return False


def check_entry(entry: Entry, path: KeyPath, problems: Problems, names: Collection[str]) -> None:
    """Hold an entry's options against each other and against the API's context types.

    :param names: the columns that name the record and its company.
    """
    check_text(str(path[-1]), path, problems, "a context key is a name such as product_metrics")
    check_text(entry.label, (*path, "label"), problems, "say in a few words what the AI is shown")
    if entry.type is not None and entry.type not in CONTEXT_TYPES:
        message = f"{shown(entry.type)} is no context type.{did_you_mean(entry.type, CONTEXT_TYPES)}"
        problems.at((*path, "type"), f"{message} Known: {', '.join(CONTEXT_TYPES)}.")
    for option, column in (("name", entry.name), ("value", entry.value)):
        if column is not None:
            check_text(column, (*path, option), problems, "name a column of the SQL")
            if column and column in names:
                problems.at((*path, option), f"{column} names the record, and is no part of the entry: name another")
    shape = shape_of(entry)
    if entry.type in _NAMED_TYPES and shape == "object" and entry.rows is None:
        problems.at(
            (*path, "type"),
            f"{entry.type} needs `name:`, the column that names each row, so that rows become {{hubspot: {{…}}}}"
            " (or `value:`, or `rows:`, for another shape)",
        )
    _check_contradictions(entry, shape, path, problems)
    _check_empty(entry, shape, path, problems)
    check_listed(entry, path, problems)


def check_listed(block: Entry | Traits, path: KeyPath, problems: Problems) -> None:
    """Hold the columns marked as booleans and moments against each other."""
    for option, columns in (("booleans", block.booleans), ("timestamps", block.timestamps)):
        for index, column in enumerate(columns):
            check_text(column, (*path, option, index), problems, "name a column of the SQL")
    for column in sorted(set(block.booleans) & set(block.timestamps)):
        problems.at((*path, "timestamps"), f"{column} stands under booleans too: keep it in one of them")


def _check_contradictions(entry: Entry, shape: Shape, path: KeyPath, problems: Problems) -> None:
    if entry.name is not None and entry.value is not None:
        problems.at((*path, "value"), "doesn't go with name: `value:` gives one value, `name:` a mapping; keep one")
        return
    if entry.name is not None and entry.rows is not None:
        problems.at(
            (*path, "rows"), "doesn't go with name: a mapping by name takes as many rows as there are; take rows out"
        )
    if entry.value is not None and entry.rows == "many":
        problems.at((*path, "rows"), "many doesn't go with value: `value:` is the column of one row; keep one of them")
    if entry.value is not None and entry.nulls == "omit":
        problems.at(
            (*path, "nulls"), "omit doesn't go with value: a null there is the value, and is sent; take nulls out"
        )
    for option, given in (("order_by", bool(entry.order_by)), ("limit", entry.limit is not None)):
        if given and shape != "array":
            problems.at(
                (*path, option),
                f"is for lists only, and this entry is {_SHAPES[shape]}: add `rows: many` or take it out",
            )
    if entry.limit is not None and entry.limit < 1:
        problems.at((*path, "limit"), f"is {entry.limit}, but must be at least 1")
    for index, item in enumerate(entry.order_by):
        if not ordering(item)[0]:
            problems.at((*path, "order_by", index), "is blank: write a column, with `desc` after it to sort downwards")


def _check_empty(entry: Entry, shape: Shape, path: KeyPath, problems: Problems) -> None:
    value, sent = empty_of(entry, shape)
    fits = {"object": isinstance(value, dict), "map": isinstance(value, dict), "array": isinstance(value, list)}
    if sent and not fits.get(shape, not isinstance(value, (dict, list))):
        wanted = {"object": "a mapping such as {}", "map": "a mapping such as {}", "array": "a list such as []"}
        message = f"is {'null' if value is None else shown(value)}, but this entry is {_SHAPES[shape]}: write {wanted.get(shape, 'a single value')} or omit"
        problems.at((*path, "empty"), message)


def check_columns(query: Query, path: KeyPath, problems: Problems, line_at: Callable[[int], int]) -> None:
    """Hold the names that the plan uses against the columns of the SQL, where the text tells all of them.

    :param line_at: line in the file of a line in the SQL, which counts from 0.
    """
    known = query.statement.known_columns
    _check_each(query, problems, line_at)
    if known is None:
        return
    for column, key in {query.company: "company", query.key: "key"}.items():
        if not _has(known, column):
            noun = "record" if key == "key" else "company"
            message = f"gives no column {column}, which names the {noun} ({query.scope}.{key})."
            problems.add(query.problem(f"{message}{did_you_mean(column, known)} Add it to the SELECT list."))
    block = query.entry
    options: list[tuple[KeyPath, str]] = []
    if block is not None:
        options += [((*path, "name"), block.name)] if block.name is not None else []
        options += [((*path, "value"), block.value)] if block.value is not None else []
        options += [((*path, "order_by", index), ordering(item)[0]) for index, item in enumerate(block.order_by)]
    for option, column in options:
        _check_option(option, column, known, problems)


def check_marked(query: Query, block: Entry | Traits, path: KeyPath, problems: Problems) -> None:
    """Hold the columns listed under booleans and timestamps against those of the SQL."""
    known = query.statement.known_columns
    for option, columns in (("booleans", block.booleans), ("timestamps", block.timestamps)):
        for index, column in enumerate(columns):
            if known is not None:
                _check_option((*path, option, index), column, known, problems)


def _check_option(path: KeyPath, column: str, known: Iterable[str], problems: Problems) -> None:
    if column and not _has(known, column):
        near = did_you_mean(column, known)
        problems.at(path, f"the SQL gives no column {column}.{near} It gives {listed(sorted(known))}.")


def _check_each(query: Query, problems: Problems, line_at: Callable[[int], int]) -> None:
    """Look at every column whose name is known, whatever the others are."""
    reserved = COMPANY_RESERVED if query.scope == "companies" else USER_RESERVED
    literals = dict(query.statement.literals)
    seen: set[str] = set()
    for name, line in zip(query.statement.columns, query.statement.lines, strict=True):
        if name is None:
            continue
        message = ""
        if name in seen:
            message = f"gives two columns named {name}: rename one with AS"
        elif query.entry is None and name in reserved - {query.key, query.company}:
            message = (
                f"{name} is a name that Halo reserves: rename it in the SQL, for example `{name} AS {_RENAMED[name]}`"
            )
        elif query.entry is None and name in literals:
            message = _wrong_literal(name, literals[name])
        seen.add(name)
        if message:
            problems.add(PlanProblem(query.file, line_at(line), f"{query.name}.sql", message))


def _wrong_literal(column: str, text: str) -> str:
    allowed = ENUMERATIONS.get(column)
    if allowed is None or text in allowed:
        return ""
    return (
        f"{column} is {shown(text)}, which Halo doesn't know.{did_you_mean(text, allowed)} Known: {', '.join(allowed)}."
    )


def _has(known: Iterable[str], column: str) -> bool:
    # Databases fold the case of unquoted names, each in its own way; what really comes is checked when the query runs.
    return column.lower() in {name.lower() for name in known}


_SHAPES: dict[Shape, str] = {
    "object": "an object",
    "array": "a list",
    "map": "a mapping by name",
    "scalar": "a single value",
}


def check_questions(data: dict[str, Json], queries: Iterable[Query], problems: Problems) -> None:
    """Hold every ``answered_by`` against what the plan sends.

    :param data: the plan as read, right or not: a key whose entry is wrong is there all the same.
    :param queries: those that could be built; tell the columns.
    """
    known = answer_names(data)
    by_name = {query.name: query for query in queries}
    questions = data.get("questions")
    for index, question in enumerate(questions if isinstance(questions, list) else ()):
        if not isinstance(question, dict):
            continue
        ask, answers = question.get("ask"), question.get("answered_by")
        if isinstance(ask, str) and not ask.strip():
            problems.at(("questions", index, "ask"), "is blank: write the question, as customers ask it")
        if isinstance(answers, list) and not answers:
            problems.at(
                ("questions", index, "answered_by"), "is empty: list the keys that answer it, or take the question out"
            )
        for number, answer in enumerate(answers if isinstance(answers, list) else ()):
            if isinstance(answer, str):
                message = _unknown(answer, known, by_name)
                if message:
                    problems.at(("questions", index, "answered_by", number), message)


def answer_names(data: dict[str, Json]) -> list[str]:
    """Everything in a plan that can answer a question: ``users.traits``, ``companies.context.integrations``."""
    names: list[str] = []
    for scope in QUERY_SCOPES:
        block = data.get(scope)
        if isinstance(block, dict):
            names.append(f"{scope}.traits")
            context = block.get("context")
            names += [f"{scope}.context.{key}" for key in context] if isinstance(context, dict) else []
    return names


def query_of(answer: str, names: Iterable[str]) -> tuple[str | None, str]:
    """The thing of a plan that an answer names, and the field in it: ``users.traits.role`` → ``("users.traits", "role")``."""
    fits = [name for name in names if answer == name or answer.startswith(f"{name}.")]
    if not fits:
        return None, ""
    name = max(fits, key=len)  # context keys may hold dots: the longest is meant
    return name, answer[len(name) + 1 :]


def _unknown(answer: str, known: list[str], queries: dict[str, Query]) -> str:
    name, field = query_of(answer, known)
    if name is None:
        return f"{answer} isn't in the plan.{did_you_mean(answer, known)} Known: {listed(known)}."
    query = queries.get(name)
    columns = query.statement.known_columns if query is not None and query.shape == "object" else None
    if not field or query is None or columns is None:
        return ""
    given = sorted(column for column in columns if column not in {query.key, query.company})
    if field.split(".", 1)[0] in given:
        return ""
    return f"{name} gives no {field}.{did_you_mean(field, given)} It gives {listed(given)}."
