"""What a server says, made fit for logs and reports: short, one line, without keys, tokens and personal data."""

from __future__ import annotations

import re
from typing import Final

SHOWN_CHARACTERS: Final = 200
_READ_CHARACTERS: Final = 4_000  # a body may be megabytes; the patterns need not walk through all of it

_SECRETS: Final = re.compile(
    r"eyJ[\w-]*(?:\.[\w-]*){1,2}"  # a JWT, whole or cut
    r"|\b(?:ab_[a-z]+|ha_secret)_[\w-]+"  # widget key, identity secret
    r"|\bBearer\s+\S+",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|`[^`]*`|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)*")
_NUMBER: Final = re.compile(r"\+?\d[\d .()/:-]{5,}\d")
_NOT_SHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\s]+")


def clean(text: str) -> str:
    """Shorten a server's text to one line of at most 200 characters that holds nothing private.

    Masked are bearer keys, tokens, the secret, e-mail addresses, numbers of seven digits and more (phones, dates), and
    whatever stands in quotes, since a refusal often quotes the value it refuses; a quoted name in lower case such as
    ``'renewal_status'`` stays, for that is what the reader needs. What was sent isn't known here, so a name that a
    server repeats without quotes can't be recognised.
    """
    return _cut(_NUMBER.sub("…", _QUOTED.sub(_masked, _without_secrets(text))))


def clean_local(text: str) -> str:
    """Shorten a text that this machine wrote, such as a connection's error: host and port stay, secrets don't."""
    return _cut(_without_secrets(text))


def _without_secrets(text: str) -> str:
    text = _NOT_SHOWN.sub(" ", text[:_READ_CHARACTERS]).strip()
    return _EMAIL.sub("…", _SECRETS.sub("…", text))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _masked(quoted: re.Match[str]) -> str:
    text = quoted.group()
    return text if _NAME.fullmatch(text[1:-1]) else f"{text[0]}…{text[-1]}"
