"""SQL text → `Statement`: one SELECT, its end comment and semicolon gone, cut at its placements, never rewritten."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_halo.plan.columns import has_star, read_columns
from airflow_provider_halo.plan.query import Statement
from airflow_provider_halo.plan.sql_text import Token, tokens_of

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
