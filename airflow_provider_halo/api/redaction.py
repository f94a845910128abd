"""Takes out of texts what must not be shown: secrets, and whatever a server repeats of the people that it was sent.

Every pattern here takes time in proportion to the text, whatever stands in it: the texts are a server's.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, final
from urllib.parse import unquote

import msgspec

__all__ = ["SHOWN_CHARACTERS", "SentValues", "clean", "clean_local"]

SHOWN_CHARACTERS: Final = 200
_READ_CHARACTERS: Final = 2_000  # a body may be megabytes; of a text no more is shown than a tenth of this

_SECRETS: Final = re.compile(r"\b(?:ab_[a-z]+|ha_secret)_[\w-]+|\bBearer\s+\S+", re.IGNORECASE)
_UNQUOTED: Final = re.compile(r"[^\s\"'<>]+")
_QUOTED: Final = re.compile(
    r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|`[^`]*`|\u201c[^\u201c\u201d]*\u201d|\u2018[^\u2018\u2019]*\u2019"
)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)*")
_NUMBER: Final = re.compile(r"\+?\d[\d .()/:-]{5,}\d")
_NOT_SHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\s]+")
_JSON_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\([\"\\/])|\\[nrtbf]")
_WORD: Final = re.compile(r"\w+")
_SPLIT_CHARACTERS: Final = 200  # a longer value is prose, whose words say nothing of anybody
_ANYWHERE: Final = 4  # characters from which a value is also found inside a word
_HEAD: Final = 12  # characters by which the beginning of a value is known again


@final
class SentValues:
    """The text values in a request's body, read only when an answer has words that may repeat them.

    Those of traits and of the entries' values, at any depth. Keys of records, and the labels and types of entries, which
    stand in the plan, are none.

    :param body: as it was sent; anything that isn't such a body has no values.
    """

    def __init__(self, body: bytes = b"") -> None:
        self._body = body

    def all(self) -> frozenset[str]:
        """Those of every record in the body."""
        return self._every

    def of(self, user_id: str) -> frozenset[str]:
        """Those of one user of a users/update; of somebody who isn't in it, an answer may say what it will of the others."""
        values = self._users.get(user_id)
        return self.all() if values is None else frozenset(_texts(values))

    @cached_property
    def _every(self) -> frozenset[str]:
        users = [value for values in self._users.values() for value in values]
        return frozenset(_texts([*users, *_values_of(self._decoded)]))

    @cached_property
    def _users(self) -> dict[str, list[Any]]:
        users = self._decoded.get("users")
        listed = users if isinstance(users, list) else ()
        return {str(user.get("user_id")): _values_of(user) for user in listed if isinstance(user, dict)}

    @cached_property
    def _decoded(self) -> dict[str, Any]:
        try:
            decoded = msgspec.json.decode(self._body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return decoded if isinstance(decoded, dict) else {}


def clean(text: str, private: Collection[str] = ()) -> str:
    """Shorten a server's text to one line of at most 200 characters that holds nothing private.

    Masked are bearer keys, tokens, the secret, e-mail addresses, numbers of seven digits and more (phones, dates), and
    whatever stands in quotes, since a refusal often quotes the value it refuses; a quoted name in lower case such as
    ``'renewal_status'`` stays, because the reader needs it.

    :param private: texts that are masked wherever they stand, also as HTML, URLs and JSON write them, in any case; of
        short ones their words with a capital as well, since names are often told by half.
    """
    values = {_one_line(value[:_READ_CHARACTERS]) for value in private}
    shown = _without_values(_one_line(text[:_READ_CHARACTERS]), values)
    unescaped = _one_line(_unescaped(shown))
    if unescaped != shown:  # twice, since a value may itself look like an escape
        shown = _without_values(unescaped, values)
    # Parts of values last: they may be the beginnings of others.
    shown = _without_words(_without_beginnings(shown, values), values)
    if len(text) > _READ_CHARACTERS:
        shown = shown[:-_HEAD] + "…"  # the end may be the beginning of a value
    return _cut(_NUMBER.sub("…", _QUOTED.sub(_masked, _without_secrets(shown))))


def clean_local(text: str) -> str:
    """Shorten a text that comes from this machine, such as a connection's error: host and port stay, secrets don't."""
    return _cut(_without_secrets(_NOT_SHOWN.sub(" ", text[:_READ_CHARACTERS]).strip()))


def _unescaped(text: str) -> str:
    """A text as people read it, so that a value is found in it however the server wrote it."""
    if "&" in text:
        text = html.unescape(text)
    if "%" in text:
        text = unquote(text)
    if "\\" in text:
        text = _JSON_ESCAPE.sub(_unescape, text)
    # A pair of surrogates may have come out of it, or half a one.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2] or " "


def _one_line(text: str) -> str:
    return _NOT_SHOWN.sub(" ", text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _without_values(text: str, values: Collection[str]) -> str:
    lowered = text.lower()
    return _mask(text, {value for value in values if value.lower() in lowered and any(map(str.isalnum, value))})


def _without_beginnings(text: str, values: Collection[str]) -> str:
    lowered = text.lower()
    cut = [value for value in values if len(value) > _HEAD and value[:_HEAD].lower() in lowered]
    return _mask(text, {beginning for value in cut for beginning in _beginnings(text, lowered, value)})


def _without_words(text: str, values: Collection[str]) -> str:
    short = [value for value in values if len(value) <= _SPLIT_CHARACTERS]
    # The words of the text are few: by them most values needn't be split.
    shared = _shared_words(text, short)
    if not shared:
        return text
    holders = (value for value in short if any(map(value.lower().__contains__, shared)))
    telling = {word.lower() for value in holders for word in _telling_words(value)}
    return _WORD.sub(lambda word: "…" if word[0].lower() in telling else word[0], text)


def _shared_words(text: str, values: Iterable[str]) -> list[str]:
    """Words of a text that stand in any of the values, in lower case."""
    everything = "\n".join(values).lower()
    return [word for word in {word.lower() for word in _WORD.findall(text)} if word in everything]


def _mask(text: str, found: Collection[str]) -> str:
    if not found:
        return text
    longest_first = sorted(found, key=len, reverse=True)
    return re.sub("|".join(map(_pattern, longest_first)), "…", text, flags=re.IGNORECASE)


def _beginnings(text: str, lowered: str, value: str) -> Iterator[str]:
    """As much of a value as the text repeats of its beginning, where the text or its end has cut it."""
    same = value.lower()
    if len(lowered) != len(text) or len(same) != len(value):
        yield value[:_HEAD]  # letters that are longer in lower case: their places don't agree
        return
    at = lowered.find(same[:_HEAD])
    while at >= 0:
        end = _HEAD
        while end < len(same) and lowered[at + end : at + end + 1] == same[end]:
            end += 1
        yield value[:end]
        at = lowered.find(same[:_HEAD], at + end)


def _pattern(value: str) -> str:
    escaped = re.escape(value)
    return escaped if len(value) >= _ANYWHERE else rf"(?<!\w){escaped}(?!\w)"


def _telling_words(value: str) -> Iterator[str]:
    """Words by which a part of a value may be told: with a capital or more than ASCII, as names have; and of a mailbox."""
    mailbox, at, _ = value.partition("@")
    for word in _WORD.findall(value):
        if (
            len(word) > 1
            and (not word.islower() or not word.isascii() or (at and word in mailbox))
            and not word.isdigit()
        ):
            yield word


def _without_secrets(text: str) -> str:
    return _UNQUOTED.sub(_without_token, _SECRETS.sub("…", text))


def _without_token(part: re.Match[str]) -> str:
    """A part of a text without quotes or blanks in it, masked where it is an e-mail address or a JWT, whole or cut."""
    text = part.group()
    if "@" in text[1:-1]:
        return "…"
    start = text.find("eyJ")
    return text if start < 0 or "." not in text[start:] else text[:start] + "…"


def _masked(quoted: re.Match[str]) -> str:
    text = quoted.group()
    return text if _NAME.fullmatch(text[1:-1]) else f"{text[0]}…{text[-1]}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _values_of(record: Mapping[str, Any]) -> list[Any]:
    """What a record of a body says: its traits, and the values of its entries."""
    traits, context = record.get("traits"), record.get("context")
    values = list(traits.values()) if isinstance(traits, dict) else []
    entries = context.values() if isinstance(context, dict) else ()
    return values + [entry.get("value") for entry in entries if isinstance(entry, dict)]


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """The texts in values at any depth, and the keys of objects that are no names of fields, such as a person's."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            yield from (key for key in value if not _NAME.fullmatch(key))
