"""The names of a SELECT's columns, as far as the text tells them. In doubt a column has no name: never a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_halo.plan.sql_text import Token


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a select list.

    :param name: None where the text doesn't tell it: ``*``, an expression without an alias.
    :param start: where in the text its last word stands: the alias, or the name.
    :param literal: the text that it always holds, of ``'annual' AS contract_term``.
    """

    name: str | None
    start: int
    literal: str | None = None


_ENDS = ("from", "where", "group", "having", "order", "limit", "union", "intersect", "except", "into")
# Words that stand as a value or end an expression, so that they are no alias and no column.
_NO_NAMES = frozenset(
    {
        *("null", "true", "false", "unknown", "end"),
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
        *("current_user", "session_user", "user"),
        *("isnull", "notnull"),
        *("year", "month", "day", "hour", "minute", "second"),  # INTERVAL '1' DAY
    }
)

_PREFIXES = frozenset({"not", "binary", "interval", "date", "time", "timestamp"})  # NOT active is no column `active`


def read_columns(code: Sequence[Token]) -> tuple[Column, ...]:
    """Read the select list of the outermost SELECT; of a UNION the first one's, after a WITH the final one's.

    :param code: the statement's tokens, without blanks and comments.
    :return: every item of the list; empty when there is no list that can be read.
    """
    columns: list[Column] = []
    for item in _items(code):
        name, expression = _named(item)
        literal = None
        if name is not None and len(expression) == 1 and expression[0].text[0] == "'":
            literal = expression[0].value
        columns.append(Column(name, item[-1].start if item else 0, literal))
    return tuple(columns)


def has_star(code: Sequence[Token]) -> bool:
    """Whether the outermost select list takes all columns of a table: ``*``, ``t.*``."""
    return any(item and item[-1].text == "*" for item in _items(code))


def _items(code: Sequence[Token]) -> list[list[Token]]:
    """The tokens of each item of the outermost select list; nothing when there is no such list."""
    depth = next((index for index, token in enumerate(code) if token.text != "("), len(code))
    start = _list_start(code, depth)
    items: list[list[Token]] = [[]] if start < len(code) else []
    inner = 0
    for index in range(start, len(code)):
        token = code[index]
        if inner == 0:
            if token.text == ")" or (token.is_word(*_ENDS) and not _is_inner(code, index)):
                break
            if token.text == ",":
                items.append([])
                continue
        inner += _step(token)
        items[-1].append(token)
    return items


def _list_start(code: Sequence[Token], depth: int) -> int:
    """Index of the first item of the select list; past the end when no SELECT stands outside of parentheses."""
    inner = 0
    for index in range(depth, len(code)):
        if inner == 0 and code[index].is_word("select"):
            break
        inner += _step(code[index])
    else:
        return len(code)
    index += 1
    while index < len(code) and code[index].is_word("distinct", "all"):
        index += 1
    if code[index - 1].is_word("distinct") and index < len(code) and code[index].is_word("on"):  # PostgreSQL's
        inner = 0
        for index in range(index + 1, len(code)):  # noqa: B020 (goes on from there on purpose)
            inner += _step(code[index])
            if inner == 0:
                return index + 1
    return index


def _step(token: Token) -> int:
    if token.kind != "sign":
        return 0
    return (token.text in {"(", "["}) - (token.text in {")", "]"})


def _is_inner(code: Sequence[Token], index: int) -> bool:
    """Whether a word that could end the list is a part of it: a name after AS or a dot, or IS [NOT] DISTINCT FROM."""
    before = code[index - 1]
    if before.text == "." or before.is_word("as"):
        return True
    return before.is_word("distinct") and index > 1 and code[index - 2].is_word("is", "not")


def _named(item: Sequence[Token]) -> tuple[str | None, Sequence[Token]]:
    """Name of one item of the list, and the expression that it names."""
    if not item or item[0].text == "*" or item[-1].text == "*":
        return None, item
    last = item[-1]
    if len(item) > 2 and item[-2].is_word("as") and (last.is_name or last.kind == "string"):
        return last.value, item[:-2]
    if not last.is_name or (last.kind == "word" and last.text.lower() in _NO_NAMES):
        return None, item
    if _is_path(item):
        return last.value, item
    head = item[:-1]
    if (
        _is_path(head)
        or head[-1].text == ")"
        or head[-1].is_word("end")
        or (len(head) == 1 and head[0].kind in {"string", "number"})
    ):
        return last.value, head
    return None, item


def _is_path(item: Sequence[Token]) -> bool:
    """Whether tokens are a column, with or without its table: ``id``, ``t.id``, ``"t"."id"``."""
    if len(item) % 2 == 0 or (len(item) == 1 and item[0].is_word(*_NO_NAMES, *_PREFIXES)):
        return False
    return all(token.text == "." if index % 2 else token.is_name for index, token in enumerate(item))
