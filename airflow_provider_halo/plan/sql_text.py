"""A query's text, read without a database: its tokens, its columns, and whether it is one SELECT."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_provider_halo.plan.model import Statement

Kind = Literal[
    "blank", "comment", "hash", "string", "quoted", "word", "number", "batch", "template", "unclosed", "sign"
]

# In MySQL and BigQuery a backslash in a literal escapes the next character; in standard SQL it is a character.
_STANDARD = {"string": r"'[^']*(?:''[^']*)*'", "quoted": r'"[^"]*(?:""[^"]*)*"'}
_ESCAPING = {
    "string": r"'[^'\\]*(?:(?:\\[\s\S]|'')[^'\\]*)*'",
    "quoted": r'"[^"\\]*(?:(?:\\[\s\S]|"")[^"\\]*)*"',
}


def _expression(literals: dict[str, str]) -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?P<blank>\s+)
        |(?P<comment>--[^\n]*|/\*[\s\S]*?\*/|(?m:^)[ \t]*\#(?![>=-])[^\n]*)
        |(?P<hash>\#(?=\s)[^\n]*)
        |(?P<string>[eE]{_ESCAPING["string"]}|{literals["string"]}|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$[\s\S]*?\$(?P=tag)\$)
        |(?P<quoted>{literals["quoted"]}|`[^`]*(?:``[^`]*)*`|(?<![\w\])"`])\[[^\W\d][\w\ $.-]*\])
        |(?P<batch>\{{\{{\s*batch\s*\(\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*\)\s*\}}\}})
        |(?P<template>\{{[{{%\#])
        |(?P<word>[^\W\d][\w$]*)
        |(?P<number>\d[\w.]*)
        |(?P<unclosed>['"`]|/\*|(?<![\w$])\$(?:[^\W\d]\w*)?\$)
        |(?P<sign>[\s\S])
        """,
        re.VERBOSE,
    )


_READINGS = (_expression(_STANDARD), _expression(_ESCAPING))


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL.

    :param kind: ``hash`` is what follows ``# `` in a line: a comment in MySQL, an operator in PostgreSQL.
    :param start: where it begins in the text.
    :param value: of a string or a quoted name what it says; of a placement its expression; else its text.
    """

    kind: Kind
    text: str
    start: int
    value: str

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords; a quoted name never is."""
        return self.kind == "word" and self.text.lower() in words

    @property
    def is_name(self) -> bool:
        """Whether it can name a column or a table."""
        return self.kind in {"word", "quoted"}


def tokens_of(sql: str) -> list[Token]:
    """Cut a text into tokens; joined they give the text again. An unclosed literal or comment ends the list early."""
    tokens, clean = _read(sql, _READINGS[0])
    if not clean and "\\" in sql:
        others, clean = _read(sql, _READINGS[1])
        if clean:
            return others
    return tokens


def _read(sql: str, expression: re.Pattern[str]) -> tuple[list[Token], bool]:
    tokens: list[Token] = []
    clean = True
    for match in expression.finditer(sql):
        kind: Kind = match.lastgroup or "sign"  # type: ignore[assignment]  # the groups are named after the kinds
        if kind == "sign" and match.group() == "\\":
            clean = False  # no dialect has a backslash outside of literals: this reading took a wrong turn
        tokens.append(Token(kind, match.group(), match.start(), _value(kind, match)))
        if kind == "unclosed":
            return tokens, False
    return tokens, clean


def _value(kind: Kind, match: re.Match[str]) -> str:
    text = match.group()
    if kind == "batch":
        return (match["double"] or match["single"] or "").strip()
    if kind == "quoted":
        closing = text[-1]
        return text[1:-1].replace(closing * 2, closing)
    if kind == "string" and text[0] == "'":
        return text[1:-1].replace("''", "'")
    return text


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


_NAME = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+"|`(?:[^`]|``)+`|\[[^\[\]]+\])'
_COLUMN = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,4}}")
_QUOTED_TEMPLATE = re.compile(r"\{\{ ?[\w.()\"'\[\], ]{1,60} ?\}\}")
_ONLY_BATCH = 'only {{ batch("column") }} is known here'


@dataclass(frozen=True, slots=True)
class SqlFlaw:
    """Something wrong in an SQL text. ``line`` counts from 0, the first line of the text."""

    line: int
    message: str


def read_statement(sql: str) -> Statement | tuple[SqlFlaw, ...]:
    """Read the SQL of one query.

    :param sql: any text.
    :return: the statement, or everything that is wrong with it.
    """
    tokens = tokens_of(sql)
    flaws: list[SqlFlaw] = []

    breaks = [found.start() for found in re.finditer("\n", sql)]

    def flaw(token: Token, message: str) -> None:
        flaws.append(SqlFlaw(bisect_left(breaks, token.start), message))

    code = [token for token in tokens if token.kind not in {"blank", "comment", "hash"}]
    end = next((index for index, token in enumerate(code) if token.text == ";"), len(code))
    rest = next((token for token in code[end:] if token.text != ";"), None)
    if rest is not None:
        flaw(rest, "a second statement begins: a query is one SELECT")
    body = code[:end]
    if not body:
        flaws.append(SqlFlaw(0, "the SQL is empty: write a SELECT"))
        return tuple(flaws)
    for token in body:
        if token.kind == "unclosed":
            flaw(token, f"the literal, name or comment that {token.text} opens is never closed")
        elif token.kind == "template":
            flaw(token, f"templates aren't filled in: {_ONLY_BATCH}")
        elif token.kind == "batch" and not _COLUMN.fullmatch(token.value):
            flaw(token, 'batch takes the name of one column, such as {{ batch("f.team_id") }}')
    for token, message in _writes(body):
        flaw(token, message)
    if flaws:
        return tuple(sorted(flaws, key=lambda found: found.line))
    columns = read_columns(body)
    last = body[-1].start + len(body[-1].text)
    hashes = [token for token in tokens if token.kind == "hash" and (end == len(code) or token.start < code[end].start)]
    if hashes:  # a comment or an operator: the text stays whole, and what it gives isn't known
        columns = ()
        last = max(last, hashes[-1].start + len(hashes[-1].text))
    pieces, placements = _cut(sql[:last], body)
    return Statement(
        pieces=pieces,
        placements=placements,
        columns=tuple(column.name for column in columns) or (None,),
        literals=tuple(
            (column.name, column.literal) for column in columns if column.name and column.literal is not None
        ),
        lines=tuple(bisect_left(breaks, column.start) for column in columns) or (0,),
    )


def selects_everything(statement: Statement) -> bool:
    """Whether the outermost select list holds a ``*`` of a table."""
    code = [token for token in tokens_of("".join(statement.pieces)) if token.kind not in {"blank", "comment", "hash"}]
    return has_star(code)


def quoted_templates(statement: Statement) -> list[str]:
    """What looks like a template inside of literals, where it is taken for plain text: ``'{{ ds }}'``."""
    literals = [token.text for piece in statement.pieces for token in tokens_of(piece) if token.kind == "string"]
    return [template for text in literals for template in _QUOTED_TEMPLATE.findall(text)]


def _cut(sql: str, body: Sequence[Token]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    pieces: list[str] = []
    placements: list[str] = []
    position = 0
    for token in body:
        if token.kind == "batch":
            pieces.append(sql[position : token.start])
            placements.append(token.value)
            position = token.start + len(token.text)
    pieces.append(sql[position:])
    return tuple(pieces), tuple(placements)


def _writes(body: Sequence[Token]) -> list[tuple[Token, str]]:
    """What in a statement isn't reading. The session is read-only besides; this says it before anything runs."""
    first = next((token for token in body if token.text != "("), body[0])
    if not first.is_word("select", "with"):
        return [(first, f"begins with {_shown(first)}: a query is one SELECT (or WITH … SELECT)")]
    found: list[tuple[Token, str]] = []
    depth = 0
    selects = False
    for index, token in enumerate(body):
        depth += (token.text in {"(", "["}) - (token.text in {")", "]"})
        before = body[index - 1] if index else None
        after = body[index + 1] if index + 1 < len(body) else None
        selects = selects or token.is_word("select")
        if (
            before is not None
            and before.text in {"(", ")"}
            and after is not None
            and _is_change(token, after, body[index : index + 8])
        ):
            found.append((token, f"{token.text.upper()} changes data: a query only reads"))
        elif before is not None and before.is_word("for") and _is_lock(body[index : index + 3]):
            found.append((token, "FOR UPDATE and FOR SHARE lock rows of the product: a query only reads, leave it out"))
        elif token.is_word("into") and depth == 0 and not found and not (before and before.is_word("as")):
            # Not after another finding: the INTO of an INSERT or MERGE is told already.
            found.append((token, "SELECT … INTO writes a table: a query only reads, leave INTO out"))
    if not selects and not found:
        found.append((first, "holds no SELECT: a query is one SELECT (or WITH … SELECT)"))
    return found


def _is_change(token: Token, after: Token, rest: Sequence[Token]) -> bool:
    if token.is_word("insert", "merge", "replace"):
        return after.is_word("into")
    if token.is_word("delete"):
        return after.is_word("from")
    return token.is_word("update") and after.is_name and any(near.is_word("set") for near in rest[2:8])


def _is_lock(rest: Sequence[Token]) -> bool:
    words = [token.text.lower() for token in rest if token.kind == "word"]
    return words[:1] in (["update"], ["share"]) or words[:2] == ["key", "share"] or words == ["no", "key", "update"]


def _shown(token: Token) -> str:
    return token.text.upper() if token.kind == "word" and len(token.text) <= 20 else "something else"
