"""A query's text, read without a database: whether it is one SELECT, where its batch goes, and its columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_tokens import Token, tokens_of

__all__ = ["SqlProblem", "quoted_templates", "read_statement", "selects_everything"]

_NAME = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+"|`(?:[^`]|``)+`|\[[^\[\]]+\])'
_COLUMN = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,4}}")
_QUOTED_TEMPLATE = re.compile(r"\{\{ ?[\w.()\"'\[\], ]{1,60} ?\}\}")
_ONE_SELECT = "A query must be a single SELECT (or WITH … SELECT)."
_READS_ONLY = "A query may only read"

_LIST_ENDS = ("from", "where", "group", "having", "order", "limit", "union", "intersect", "except", "into")
# Words that stand as a value or end an expression, so that they are no alias and no column.
_NO_NAMES = frozenset(
    {
        *("null", "true", "false", "unknown", "end", "not"),
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
        *("current_user", "session_user", "user"),
        *("isnull", "notnull"),
        *("year", "month", "day", "hour", "minute", "second"),  # INTERVAL '1' DAY
    }
)
# A name after one of these isn't its alias: NOT active has no column `active`.
_PREFIXES = frozenset({"not", "binary", "interval", "date", "time", "timestamp"})


@dataclass(frozen=True, slots=True)
class SqlProblem:
    """Something wrong in an SQL text.

    :param line: counts from 0, the first line of the text.
    """

    line: int
    message: str


def read_statement(sql: str) -> Statement | tuple[SqlProblem, ...]:
    """Read the SQL of one query.

    :param sql: any text.
    :return: the statement, or everything that is wrong with it.
    """
    tokens = tokens_of(sql)
    code = [token for token in tokens if token.is_code]
    semicolon = next((index for index, token in enumerate(code) if token.text == ";"), len(code))
    body, rest = code[:semicolon], code[semicolon:]
    line_breaks = [line_break.start() for line_break in re.finditer("\n", sql)]

    def line_of(position: int) -> int:
        return bisect_left(line_breaks, position)

    problems = [
        SqlProblem(line_of(token.start), message)
        for token, message in (*_after_the_end(rest), *_unusable_tokens(body), *_writes(body))
    ]
    if not body:
        problems.append(SqlProblem(0, "the query is empty. Write a SELECT."))
    if problems:
        return tuple(sorted(problems, key=lambda problem: problem.line))
    return _statement(sql[: rest[0].start] if rest else sql, tokens, body, line_of)


def selects_everything(statement: Statement) -> bool:
    """Whether the outermost select list takes all columns of a table: ``*``, ``t.*``."""
    code = [token for token in tokens_of("".join(statement.pieces)) if token.is_code]
    return any(item and item[-1].text == "*" for item in _select_list(code))


def quoted_templates(statement: Statement) -> list[str]:
    """What looks like a template inside of literals, where it is plain text: ``'{{ ds }}'``."""
    literals = [token.text for piece in statement.pieces for token in tokens_of(piece) if token.kind == "string"]
    return [template for text in literals for template in _QUOTED_TEMPLATE.findall(text)]


def _statement(sql: str, tokens: Sequence[Token], body: Sequence[Token], line_of: Callable[[int], int]) -> Statement:
    """Put a statement together; ``sql`` ends before its semicolon."""
    columns = _read_columns(body)
    text_end = body[-1].end
    hash_end = max((token.end for token in tokens if token.kind == "hash" and token.start < len(sql)), default=0)
    if hash_end:  # a comment or an operator: the text stays whole, and what it returns isn't known
        columns = []
        text_end = max(text_end, hash_end)
    pieces, placements = _cut_at_placements(sql[:text_end], body)
    return Statement(
        pieces=pieces,
        placements=placements,
        columns=tuple(column.name for column in columns) or (None,),
        literals=_literals(columns),
        lines=tuple(line_of(column.start) for column in columns) or (0,),
    )


def _literals(columns: Sequence[_Column]) -> tuple[tuple[str, str], ...]:
    return tuple((column.name, column.literal) for column in columns if column.name and column.literal is not None)


def _cut_at_placements(sql: str, body: Sequence[Token]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The text around each ``{{ batch(…) }}``, and the expressions in them."""
    placements = [token for token in body if token.kind == "batch"]
    starts = [0, *(token.end for token in placements)]
    ends = [*(token.start for token in placements), len(sql)]
    pieces = tuple(sql[start:end] for start, end in zip(starts, ends, strict=True))
    return pieces, tuple(token.value for token in placements)


# What makes a text something else than one SELECT. Each gives the tokens at fault, with what is wrong.


def _after_the_end(rest: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """The first token after the semicolon."""
    second = next((token for token in rest if token.text != ";"), None)
    if second is not None:
        yield second, f"a second statement begins here. {_ONE_SELECT}"


def _unusable_tokens(body: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    for token in body:
        if token.kind == "unclosed":
            yield token, f"the literal, name or comment that {token.text} opens is never closed. Close it."
        elif token.kind == "template":
            yield token, 'templates aren\'t supported in SQL. Only {{ batch("column") }} is filled in.'
        elif token.kind == "batch" and not _COLUMN.fullmatch(token.value):
            yield token, 'batch takes the name of one column, for example {{ batch("f.team_id") }}.'


def _writes(body: Sequence[Token]) -> list[tuple[Token, str]]:
    """What in a statement isn't reading. The session is read-only besides; this says it before anything runs."""
    if not body:
        return []
    first = next((token for token in body if token.text != "("), body[0])
    if not first.is_word("select", "with"):
        return [(first, f"{_beginning(first)}. {_ONE_SELECT}")]
    writes = _writing_clauses(body)
    if not writes and not any(token.is_word("select") for token in body):
        return [(first, f"the query contains no SELECT. {_ONE_SELECT}")]
    return writes


def _writing_clauses(body: Sequence[Token]) -> list[tuple[Token, str]]:
    writes: list[tuple[Token, str]] = []
    depth = 0
    for index, token in enumerate(body):
        depth += token.nesting
        message = _write_at(body, index)
        if not message and not depth and not writes:  # the INTO of an INSERT or MERGE is reported already
            message = _into_at(body, index)
        if message:
            writes.append((token, message))
    return writes


def _beginning(first: Token) -> str:
    if first.kind == "word" and len(first.text) <= 20:
        return f"the query begins with {first.text.upper()}"
    return "the query doesn't begin with SELECT or WITH"


def _write_at(body: Sequence[Token], index: int) -> str:
    """What is wrong when a clause that writes or locks begins at a token; else an empty text."""
    if not index:
        return ""
    before = body[index - 1]
    if before.text in {"(", ")"} and _is_change(body[index : index + 8]):
        return f"{body[index].text.upper()} changes data. {_READS_ONLY}."
    if before.is_word("for") and _is_lock(body[index : index + 3]):
        return f"FOR UPDATE and FOR SHARE lock rows of the product. {_READS_ONLY}: remove the clause."
    return ""


def _into_at(body: Sequence[Token], index: int) -> str:
    if body[index].is_word("into") and not body[index - 1].is_word("as"):
        return f"SELECT … INTO writes a table. {_READS_ONLY}: remove INTO."
    return ""


def _is_change(tokens: Sequence[Token]) -> bool:
    if len(tokens) < 2:
        return False
    verb, after = tokens[:2]
    if verb.is_word("insert", "merge", "replace"):
        return after.is_word("into")
    if verb.is_word("delete"):
        return after.is_word("from")
    return verb.is_word("update") and after.is_name and any(token.is_word("set") for token in tokens[2:])


def _is_lock(tokens: Sequence[Token]) -> bool:
    words = [token.text.lower() for token in tokens if token.kind == "word"]
    return words[:1] in (["update"], ["share"]) or words[:2] == ["key", "share"] or words == ["no", "key", "update"]


# The select list: which columns a query returns.


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a select list.

    :param name: None where the text doesn't tell it: ``*``, an expression without an alias.
    :param start: where in the text its last word stands: the alias, or the name.
    :param literal: the text that it always holds, of ``'annual' AS contract_term``.
    """

    name: str | None
    start: int
    literal: str | None = None


def _read_columns(code: Sequence[Token]) -> list[_Column]:
    """Read the select list of the outermost SELECT; of a UNION the first one's, after a WITH the final one's.

    :param code: the statement's tokens, without blanks and comments.
    :return: every item of the list; empty when there is no list that can be read.
    """
    columns: list[_Column] = []
    for item in _select_list(code):
        name, expression = _name_and_expression(item)
        is_text = name is not None and len(expression) == 1 and expression[0].text[0] == "'"
        columns.append(_Column(name, item[-1].start if item else 0, expression[0].value if is_text else None))
    return columns


def _select_list(code: Sequence[Token]) -> list[list[Token]]:
    """The tokens of each item of the outermost select list; nothing when there is no such list."""
    start = _list_start(code)
    items: list[list[Token]] = [[]] if start < len(code) else []
    depth = 0
    for index in range(start, len(code)):
        token = code[index]
        if depth == 0:
            if token.text == ")" or (token.is_word(*_LIST_ENDS) and not _belongs_to_item(code, index)):
                break
            if token.text == ",":
                items.append([])
                continue
        depth += token.nesting
        items[-1].append(token)
    return items


def _list_start(code: Sequence[Token]) -> int:
    """Index of the first item of the select list; past the end when no SELECT stands outside of parentheses."""
    opening = next((index for index, token in enumerate(code) if token.text != "("), len(code))
    depth = 0
    for index in range(opening, len(code)):
        if depth == 0 and code[index].is_word("select"):
            return _after_distinct(code, index + 1)
        depth += code[index].nesting
    return len(code)


def _after_distinct(code: Sequence[Token], index: int) -> int:
    """Index after ``DISTINCT``, ``ALL`` and PostgreSQL's ``DISTINCT ON (…)``, where they stand at an index."""
    while index < len(code) and code[index].is_word("distinct", "all"):
        index += 1
    if not (code[index - 1].is_word("distinct") and index < len(code) and code[index].is_word("on")):
        return index
    depth = 0
    for position in range(index + 1, len(code)):
        depth += code[position].nesting
        if depth == 0:
            return position + 1
    return len(code)


def _belongs_to_item(code: Sequence[Token], index: int) -> bool:
    """Whether a word that could end the list is a part of it: a name after AS or a dot, or IS [NOT] DISTINCT FROM."""
    before = code[index - 1]
    if before.text == "." or before.is_word("as"):
        return True
    return before.is_word("distinct") and index > 1 and code[index - 2].is_word("is", "not")


def _name_and_expression(item: Sequence[Token]) -> tuple[str | None, Sequence[Token]]:
    """Name of one item of the list, and the expression that it names."""
    if not item or "*" in {item[0].text, item[-1].text}:
        return None, item
    last = item[-1]
    if _has_as(item):
        return last.value, item[:-2]
    if not last.is_name or last.is_word(*_NO_NAMES):
        return None, item
    if _is_column(item):
        return last.value, item
    return (last.value, item[:-1]) if _takes_alias(item[:-1]) else (None, item)


def _has_as(item: Sequence[Token]) -> bool:
    """Whether an item ends with AS and its alias, which may be a literal, too."""
    return len(item) > 2 and item[-2].is_word("as") and (item[-1].is_name or item[-1].kind == "string")


def _takes_alias(expression: Sequence[Token]) -> bool:
    """Whether a name right after an expression, without AS, is its alias."""
    last = expression[-1]
    if last.text == ")" or last.is_word("end"):
        return True
    if len(expression) > 1:
        return _is_column(expression)
    return last.kind in {"string", "number"} or (last.is_name and not last.is_word(*_NO_NAMES, *_PREFIXES))


def _is_column(item: Sequence[Token]) -> bool:
    """Whether tokens are a column, with or without its table: ``id``, ``t.id``, ``"t"."id"``."""
    return len(item) % 2 == 1 and all(
        token.text == "." if index % 2 else token.is_name for index, token in enumerate(item)
    )
