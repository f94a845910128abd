r"""SQL text as tokens: what is a literal, a comment, a quoted name, a placement, and what is SQL.

Not sqlparse's lexer: it takes a backslash for an escape in every literal, which misreads ``'C:\'`` on PostgreSQL and
SQLite, and ``# `` for a comment. A plan doesn't say its database's dialect, so both readings are tried here. Each
alternative of the expression is unrolled, so that reading is linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

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
