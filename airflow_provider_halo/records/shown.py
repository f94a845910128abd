"""How keys are shown to people: what can't be seen is escaped, so that a key can't break a line or hide in one."""

from __future__ import annotations

__all__ = ["shown_key"]


def shown_key(key: object) -> str:
    """A key as it is printed in logs, reports and labels: characters that can't be seen are escaped.

    A key with blanks around it is quoted, so that they are seen, too.
    """
    text = str(key)
    if text.isprintable() and text == text.strip():
        return text
    escaped = "".join(map(_shown, text))
    return escaped if escaped == escaped.strip() else f"'{escaped}'"


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
