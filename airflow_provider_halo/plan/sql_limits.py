"""Finds what cuts the rows of a whole query short: LIMIT, TOP, FETCH FIRST, OFFSET where they aren't in a subquery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from airflow_provider_halo.plan.model import Statement
from airflow_provider_halo.plan.sql_tokens import Token, tokens_of

__all__ = ["row_limit"]

# After these a parenthesis holds a part of the outermost query itself: (SELECT …) UNION ALL (SELECT …).
_SET_WORDS = ("union", "all", "distinct", "intersect", "except", "minus")

_NONE = Token("blank", "", 0, "")


def row_limit(statement: Statement) -> str | None:
    """What cuts a query's rows short, in capitals as in SQL; None for nothing.

    That of a subquery or of a WITH is part of what the query means. One outside of them holds for all records together.
    """
    code = [token for token in tokens_of("".join(statement.pieces)) if token.is_code]
    return next((word for words in _outermost(code) if (word := _limit_at(*words)) is not None), None)


def _limit_at(before: Token, token: Token, after: Token) -> str | None:
    """What begins at a token, where it cuts rows short."""
    if before.text == "." or before.is_word("as"):
        return None  # a name
    return next((cut(before, after) for word, cut in _CUTS.items() if token.is_word(word)), None)


def _limit(_: Token, after: Token) -> str | None:
    return None if after.is_word("all", "null") else "LIMIT"


def _top(before: Token, after: Token) -> str | None:
    return "TOP" if before.is_word("select", "distinct", "all") and _is_number(after) else None


def _fetch(_: Token, after: Token) -> str | None:
    return f"FETCH {after.text.upper()}" if after.is_word("first", "next") else None


def _offset(_: Token, after: Token) -> str | None:
    return "OFFSET" if _is_number(after) else None


# What a word cuts short, by the tokens before and after it; None where it doesn't.
_CUTS: Final[Mapping[str, Callable[[Token, Token], str | None]]] = {
    "limit": _limit,
    "top": _top,
    "fetch": _fetch,
    "offset": _offset,
}


def _outermost(code: Sequence[Token]) -> Iterator[tuple[Token, Token, Token]]:
    """The tokens outside of subqueries, each with the one before it and the one after it (blanks where there is none)."""
    inside: list[bool] = []  # of each open parenthesis, whether what it holds is a part of something
    for index, token in enumerate(code):
        before = code[index - 1] if index else _NONE
        if token.nesting > 0:
            inside.append(not _opens_query(before, code[index + 1 : index + 2]))
        elif token.nesting < 0:
            if inside:
                inside.pop()
        elif not any(inside):
            yield before, token, code[index + 1] if index + 1 < len(code) else _NONE


def _opens_query(before: Token, after: Sequence[Token]) -> bool:
    """Whether a parenthesis holds the outermost query, or one of those that a UNION joins."""
    starts = before is _NONE or before.text == "(" or before.is_word(*_SET_WORDS)
    return starts and bool(after) and (after[0].text == "(" or after[0].is_word("select", "with"))


def _is_number(token: Token) -> bool:
    return token.kind == "number" or token.text == "("
