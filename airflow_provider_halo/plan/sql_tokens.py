"""Cuts SQL of any dialect into tokens, without a database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Token", "tokens_of"]

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


_STANDARD_TOKENS = _expression(_STANDARD)
_ESCAPING_TOKENS = _expression(_ESCAPING)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL.

    :param kind: ``hash`` is what follows ``# `` in a line: a comment in MySQL, an operator in PostgreSQL.
    :param start: where it begins in the text.
    :param value: the content of a string or a quoted name; the expression in a ``{{ batch(…) }}``; else its text.
    """

    kind: Kind
    text: str
    start: int
    value: str

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords; a quoted name never is."""
        return self.kind == "word" and self.text.lower() in words

    @property
    def is_code(self) -> bool:
        """Whether it is more than a blank or a comment; ``hash`` may be one, and counts as one."""
        return self.kind not in {"blank", "comment", "hash"}

    @property
    def nesting(self) -> int:
        """1 for an opening parenthesis or bracket, -1 for a closing one, else 0."""
        if self.kind != "sign":
            return 0
        return (self.text in {"(", "["}) - (self.text in {")", "]"})

    @property
    def end(self) -> int:
        """Where the text goes on after it."""
        return self.start + len(self.text)

    @property
    def is_name(self) -> bool:
        """Whether it can name a column or a table."""
        return self.kind in {"word", "quoted"}


def tokens_of(sql: str) -> list[Token]:
    """Cut a text into tokens; joined they give the text again. An unclosed literal or comment ends the list early."""
    tokens, plausible = _tokens(sql, _STANDARD_TOKENS)
    if not plausible and "\\" in sql:
        escaping, plausible = _tokens(sql, _ESCAPING_TOKENS)
        if plausible:
            return escaping
    return tokens


def _tokens(sql: str, expression: re.Pattern[str]) -> tuple[list[Token], bool]:
    """The tokens, and whether the text can be meant that way."""
    tokens: list[Token] = []
    plausible = True
    for match in expression.finditer(sql):
        kind: Kind = match.lastgroup or "sign"  # type: ignore[assignment]  # the groups are named after the kinds
        if kind == "sign" and match.group() == "\\":
            plausible = False  # no dialect has a backslash outside of literals
        tokens.append(Token(kind, match.group(), match.start(), _value(kind, match)))
        if kind == "unclosed":
            return tokens, False
    return tokens, plausible


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
