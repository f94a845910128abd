"""The names of a SELECT's columns, as far as the text tells them. In doubt a column has no name: never a wrong one."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_halo.plan.tokens import Token

Columns = tuple["str | None", ...]
Literals = tuple[tuple[str, str], ...]

_ENDS = ("from", "where", "group", "having", "order", "limit", "union", "intersect", "except", "into")
_MODIFIERS = ("distinct", "all")
# Words that stand as a value or end an expression, so that they are no alias and no column.
_NO_NAMES = frozenset(
    "null true false unknown end current_date current_time current_timestamp localtime localtimestamp "
    "current_user session_user user day month year hour minute second".split()
)


def read_columns(code: Sequence[Token]) -> tuple[Columns, Literals]:
    """Read the select list of the outermost SELECT; of a UNION the first one's, after a WITH the final one's.

    :param code: the statement's tokens, without blanks and comments.
    :return: a name for each column, None where the text doesn't tell it (``*``, an expression without an alias); and
        ``(column, text)`` of the columns that are text literals.
    """
    columns: list[str | None] = []
    literals: list[tuple[str, str]] = []
    for item in _items(code):
        name, expression = _named(_without_distinct_on(item) if not columns else item)
        columns.append(name)
        if name is not None and len(expression) == 1 and expression[0].kind == "string":
            literals.append((name, expression[0].value))
    return tuple(columns) or (None,), tuple(literals)


def _items(code: Sequence[Token]) -> list[list[Token]]:
    base = next((index for index, token in enumerate(code) if token.text != "("), 0)
    depth = base
    items: list[list[Token]] = []
    inside = False
    for index in range(base, len(code)):
        token = code[index]
        before = code[index - 1] if index else token
        if depth == base:
            if not inside:
                if token.is_word("select"):
                    inside = True
                    items.append([])
                else:
                    depth += _step(token)
                continue
            if token.text == "," and token.kind == "sign":
                items.append([])
                continue
            if token.text == ")" or (token.is_word(*_ENDS) and not _is_inner(code, index)):
                break
        depth += _step(token)
        if not items[-1] and len(items) == 1 and token.is_word(*_MODIFIERS) and before.is_word("select", *_MODIFIERS):
            continue
        if inside:
            items[-1].append(token)
    return items


def _without_distinct_on(item: Sequence[Token]) -> Sequence[Token]:
    """The first item without PostgreSQL's ``ON (…)``, which belongs to the DISTINCT before it."""
    if len(item) < 2 or not item[0].is_word("on") or item[1].text != "(":  # noqa: PLR2004 (ON and its parenthesis)
        return item
    depth = 0
    for index, token in enumerate(item):
        depth += _step(token)
        if index and not depth:
            return item[index + 1 :]
    return item


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
    if len(item) > 2 and item[-2].is_word("as") and (last.is_name or last.kind == "string"):  # noqa: PLR2004 (x AS y)
        return last.value, item[:-2]
    if not last.is_name or (last.kind == "word" and last.text.lower() in _NO_NAMES):
        return None, item
    if _is_path(item):
        return last.value, item
    head = item[:-1]
    if _is_path(head) or head[-1].text == ")" or head[-1].is_word("end") or (len(head) == 1 and head[0].kind in {"string", "number"}):
        return last.value, head
    return None, item


def _is_path(item: Sequence[Token]) -> bool:
    """Whether tokens are a column, with or without its table: ``id``, ``t.id``, ``"t"."id"``."""
    if len(item) % 2 == 0 or (len(item) == 1 and item[0].kind == "word" and item[0].text.lower() in _NO_NAMES):
        return False
    return all(token.text == "." if index % 2 else token.is_name for index, token in enumerate(item))
