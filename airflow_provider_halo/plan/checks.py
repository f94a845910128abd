"""What is wrong in a plan beyond the types of its keys: in its entries, its columns, its questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from airflow_provider_halo.contract import COMPANY_RESERVED, CONTEXT_TYPES, ENUMERATIONS, USER_RESERVED
from airflow_provider_halo.exceptions import PlanProblem
from airflow_provider_halo.plan.messages import Problems, did_you_mean, format_value, join_names
from airflow_provider_halo.plan.model import QUERY_SCOPES, Entry, Query, Shape, Traits, ordering
from airflow_provider_halo.plan.yaml_text import KeyPath
from airflow_provider_halo.records.values import Json

__all__ = [
    "check_columns",
    "check_entry",
    "check_marked_columns",
    "check_name",
    "check_questions",
    "empty_of",
    "query_of",
    "shape_of",
]

_LIST_TYPES = frozenset({"list", "error"})
_NAMED_TYPES = frozenset({"integration", "relationship"})
_SHAPE_NAMES: dict[Shape, str] = {
    "object": "an object",
    "array": "a list",
    "map": "a mapping by name",
    "scalar": "a single value",
}
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


def check_name(value: str, path: KeyPath, problems: Problems, advice: str) -> bool:
    """Check a name that people write: it isn't blank, has nothing unprintable and no spaces around it.

    :param advice: a sentence that says what to write.
    :return: whether it is a usable name.
    """
    if not value.strip():
        problems.at(path, f"blank. {advice}")
    elif not value.isprintable():
        problems.at(path, f"contains control characters or line breaks. {advice}")
    elif value != value.strip():
        problems.at(path, f"begins or ends with a space. {advice}")
    else:
        return True
    return False


# Entries: their options against each other.


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


def check_entry(entry: Entry, path: KeyPath, problems: Problems, names: Collection[str]) -> None:
    """Check an entry's options against each other and against the API's context types.

    :param names: the columns that identify the record and its company.
    """
    shape = shape_of(entry)
    check_name(str(path[-1]), path, problems, "A context key is a name such as product_metrics.")
    check_name(entry.label, (*path, "label"), problems, "Say in a few words what the AI is shown.")
    _check_type(entry, shape, path, problems)
    for option, column in (("name", entry.name), ("value", entry.value)):
        if column is None:
            continue
        check_name(column, (*path, option), problems, "Name a column of the query.")
        if column and column in names:
            message = f"{column} identifies the record and isn't part of the entry. Name another column."
            problems.at((*path, option), message)
    for option_path, message in (*_contradictions(entry), *_list_option_problems(entry, shape)):
        problems.at((*path, *option_path), message)
    _check_empty(entry, shape, path, problems)
    check_marked_columns(entry, path, problems)


def _check_type(entry: Entry, shape: Shape, path: KeyPath, problems: Problems) -> None:
    if entry.type is None:
        return
    if entry.type not in CONTEXT_TYPES:
        near = did_you_mean(entry.type, CONTEXT_TYPES)
        message = f"{format_value(entry.type)} isn't a context type.{near} Known types: {', '.join(CONTEXT_TYPES)}."
        problems.at((*path, "type"), message)
    elif entry.type in _NAMED_TYPES and shape == "object" and entry.rows is None:
        problems.at(
            (*path, "type"),
            f"{entry.type} needs `name:`, the column that names each row, so that rows become {{hubspot: {{…}}}}. "
            "For another shape, add `value:` or `rows:`.",
        )


def _contradictions(entry: Entry) -> Iterator[tuple[KeyPath, str]]:
    """Options that exclude each other, by the one that is to go."""
    if entry.duplicates is not None and entry.name is None:
        yield (
            ("duplicates",),
            "is for entries with `name:`. It numbers rows of one name: add name, or remove duplicates.",
        )
    if entry.type == "integration" and "connected" in entry.timestamps:
        yield ("timestamps",), "connected of an integration is a boolean, as Halo documents it. Remove it here."
    if entry.name is not None:
        yield from _contradictions_of_name(entry)
    elif entry.value is not None:
        yield from _contradictions_of_value(entry)


def _contradictions_of_name(entry: Entry) -> Iterator[tuple[KeyPath, str]]:
    if entry.value is not None:
        yield ("value",), "can't be combined with name. `value:` makes a single value, `name:` a mapping: keep one."
    elif entry.rows is not None:
        yield ("rows",), "can't be combined with name. A mapping by name takes any number of rows: remove rows."


def _contradictions_of_value(entry: Entry) -> Iterator[tuple[KeyPath, str]]:
    if entry.rows == "many":
        yield ("rows",), "many can't be combined with value. `value:` is a column of a single row: keep one of them."
    if entry.nulls == "omit":
        yield ("nulls",), "omit can't be combined with value. A null is the value there, and is sent: remove nulls."


def _list_option_problems(entry: Entry, shape: Shape) -> Iterator[tuple[KeyPath, str]]:
    if entry.name is not None and entry.value is not None:
        return  # which of the two shapes it is to have isn't known
    for option in _options_of_lists(entry, shape) if shape != "array" else ():
        message = f"is for lists only, and this entry is {_SHAPE_NAMES[shape]}. Add `rows: many`, or remove {option}."
        yield (option,), message
    if entry.limit is not None and entry.limit < 1:
        yield ("limit",), f"is {entry.limit}, but must be at least 1."
    for index, item in enumerate(entry.order_by):
        if not ordering(item)[0]:
            yield ("order_by", index), "blank. Write a column, followed by `desc` for descending order."


def _options_of_lists(entry: Entry, shape: Shape) -> Iterator[str]:
    """The options of an entry that mean something for lists only."""
    is_numbered = shape == "map" and entry.duplicates == "number"  # order_by: how rows of one name are numbered
    if entry.order_by and not is_numbered:
        yield "order_by"
    if entry.limit is not None:
        yield "limit"


def _check_empty(entry: Entry, shape: Shape, path: KeyPath, problems: Problems) -> None:
    problems.at_misread((*path, "empty"))
    value, is_sent = empty_of(entry, shape)
    fits = {"object": isinstance(value, dict), "map": isinstance(value, dict), "array": isinstance(value, list)}
    if not is_sent or fits.get(shape, not isinstance(value, (dict, list))):
        return
    wanted = {"object": "a mapping such as {}", "map": "a mapping such as {}", "array": "a list such as []"}
    problems.at(
        (*path, "empty"),
        f"is {'null' if value is None else format_value(value)}, but this entry is {_SHAPE_NAMES[shape]}. "
        f"Write {wanted.get(shape, 'a single value')}, or `omit`.",
    )


def check_marked_columns(block: Entry | Traits, path: KeyPath, problems: Problems) -> None:
    """Check the columns marked as booleans and moments against each other."""
    for option, column in _marked_columns(block):
        check_name(column, (*path, *option), problems, "Name a column of the query.")
    moments: dict[str, Iterable[str]] = {"timestamps": block.timestamps, "epochs": block.epochs}
    for word, columns in moments.items():
        for column in sorted(set(block.booleans).intersection(columns)):
            problems.at((*path, word), f"{column} is listed under booleans too. Keep it in one of them.")


def _marked_columns(block: Entry | Traits) -> Iterator[tuple[KeyPath, str]]:
    for column in block.epochs:
        yield ("epochs", column), column
    for option, columns in (("booleans", block.booleans), ("timestamps", block.timestamps)):
        for index, column in enumerate(columns):
            yield (option, index), column


# Columns: the names that the plan uses against those of the SQL.


def check_columns(
    query: Query, block: Entry | Traits, path: KeyPath, problems: Problems, line_at: Callable[[int], int]
) -> None:
    """Check the names that the plan uses against the columns of the SQL, where the text names all of them.

    :param block: the part of the plan that the query is of.
    :param line_at: line in the file of a line in the SQL, which counts from 0.
    """
    if query.key and query.company:  # else it is reported already that they are missing
        _check_column_names(query, problems, line_at)
        _check_record_columns(query, problems)
        _check_returned(query, path, _entry_columns(query.entry), problems)
    _check_returned(query, path, _marked_columns(block), problems)
    _check_prefer(query, problems)


def _check_prefer(query: Query, problems: Problems) -> None:
    """Check the columns whose order picks a user's row."""
    for index, item in enumerate(query.prefer):
        path: KeyPath = (query.scope, "prefer", index)
        column = ordering(item)[0]
        if not column:
            problems.at(path, "blank. Write a column, followed by `desc` for descending order.")
        elif column == query.key:
            problems.at(path, f"{column} is the same in all rows of a user. Name a column that tells them apart.")
        _check_returned(query, path, [((), column)], problems)


def _check_record_columns(query: Query, problems: Problems) -> None:
    known = query.statement.known_columns
    if known is None:
        return
    columns = {query.company: "company", query.key: "key"}
    if query.scope == "users" and query.entry is not None and query.company != query.key:
        del columns[query.company]  # its rows belong to the user, whatever company they name
    for column, key in columns.items():
        if not _has(known, column):
            noun = "record" if key == "key" else "company"
            message = f"the query returns no column {column}, which identifies the {noun} ({query.scope}.{key})."
            problems.add(query.problem(f"{message}{did_you_mean(column, known)} Add it to the SELECT list."))


def _check_returned(query: Query, path: KeyPath, columns: Iterable[tuple[KeyPath, str]], problems: Problems) -> None:
    """Check that the query returns the columns that options name."""
    known = query.statement.known_columns
    if known is None:
        return
    for option, column in columns:
        if column and not _has(known, column):
            near = did_you_mean(column, known)
            message = f"the query returns no column {column}.{near} It returns {join_names(sorted(known))}."
            problems.at((*path, *option), message)


def _has(known: Iterable[str], column: str) -> bool:
    # Databases fold the case of unquoted names, each in its own way; what really comes is checked when the query runs.
    return column.lower() in {name.lower() for name in known}


def _entry_columns(entry: Entry | None) -> Iterator[tuple[KeyPath, str]]:
    """The columns that the options of an entry name."""
    if entry is None:
        return
    if entry.name is not None:
        yield ("name",), entry.name
    if entry.value is not None:
        yield ("value",), entry.value
    for index, item in enumerate(entry.order_by):
        yield ("order_by", index), ordering(item)[0]


def _check_column_names(query: Query, problems: Problems, line_at: Callable[[int], int]) -> None:
    """Look at every column whose name is known, whatever the others are."""
    literals = dict(query.statement.literals)
    seen: set[str] = set()
    for name, line in zip(query.statement.columns, query.statement.lines, strict=True):
        if name is None:
            continue
        if name in seen:
            message = f"the query returns two columns named {name}. Rename one with AS."
        else:
            message = _trait_problem(query, name, literals) if query.entry is None else ""
        seen.add(name)
        if message:
            problems.add(PlanProblem(query.file, line_at(line), f"{query.name}.sql", message))


def _trait_problem(query: Query, column: str, literals: Mapping[str, str]) -> str:
    """What is wrong with a column that becomes a trait; an empty text when nothing is known to be."""
    reserved = COMPANY_RESERVED if query.scope == "companies" else USER_RESERVED
    if column in reserved - {query.key, query.company}:
        return (
            f"{column} is a name that Halo reserves. "
            f"Rename it in the SQL, for example `{column} AS {_RENAMED[column]}`."
        )
    text = literals.get(column)
    allowed = ENUMERATIONS.get(column)
    if text is None or allowed is None or text in allowed:
        return ""
    near = did_you_mean(text, allowed)
    return f"{column} is {format_value(text)}, which Halo doesn't accept.{near} Allowed values: {', '.join(allowed)}."


# Questions: what answers them against what the plan sends.


def check_questions(data: dict[str, Json], queries: Iterable[Query], problems: Problems) -> None:
    """Check every ``answered_by`` against what the plan sends.

    :param data: the plan as read, right or not: a key whose entry is wrong is there all the same.
    :param queries: those that could be built; they tell the columns.
    """
    known = _answer_names(data)
    by_name = {query.name: query for query in queries}
    questions = data.get("questions")
    for index, question in enumerate(questions if isinstance(questions, list) else ()):
        if isinstance(question, dict):
            for option, message in _question_problems(question, known, by_name):
                problems.at(("questions", index, *option), message)


def query_of(answer: str, names: Iterable[str]) -> tuple[str | None, str]:
    """The part of a plan that an answer names, and the field in it.

    ``users.traits.role`` is ``("users.traits", "role")``; an unknown answer is ``(None, "")``.
    """
    matches = [name for name in names if answer == name or answer.startswith(f"{name}.")]
    if not matches:
        return None, ""
    name = max(matches, key=len)  # context keys may hold dots: the longest is meant
    return name, answer[len(name) + 1 :]


def _answer_names(data: dict[str, Json]) -> list[str]:
    """Everything in a plan that can answer a question: ``users.traits``, ``companies.context.integrations``."""
    names: list[str] = []
    for scope in QUERY_SCOPES:
        block = data.get(scope)
        if isinstance(block, dict):
            names.append(f"{scope}.traits")
            context = block.get("context")
            names += [f"{scope}.context.{key}" for key in context] if isinstance(context, dict) else []
    return names


def _question_problems(
    question: dict[str, Json], known: list[str], queries: dict[str, Query]
) -> Iterator[tuple[KeyPath, str]]:
    ask, answers = question.get("ask"), question.get("answered_by")
    if isinstance(ask, str) and not ask.strip():
        yield ("ask",), "blank. Write the question as customers ask it."
    if not isinstance(answers, list):
        return
    if not answers:
        yield ("answered_by",), "empty. List the keys that answer the question, or remove the question."
    for index, answer in enumerate(answers):
        if isinstance(answer, str) and (message := _answer_problem(answer, known, queries)):
            yield ("answered_by", index), message


def _answer_problem(answer: str, known: list[str], queries: dict[str, Query]) -> str:
    name, field = query_of(answer, known)
    if name is None:
        return f"{answer} isn't in the plan.{did_you_mean(answer, known)} Known keys: {join_names(known)}."
    query = queries.get(name)
    columns = query.statement.known_columns if query is not None and query.shape == "object" else None
    if not field or query is None or columns is None:
        return ""
    fields = sorted(set(columns) - {query.key, query.company} - query.unsent)
    if field.split(".", 1)[0] in fields:
        return ""
    return f"{name} has no column {field}.{did_you_mean(field, fields)} It has {join_names(fields)}."
