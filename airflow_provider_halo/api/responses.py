"""Reads Halo's answers: what was stored, what was refused and why, with secrets and personal data removed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from airflow_provider_halo.api.redaction import SentValues, clean
from airflow_provider_halo.contract import USERS_UPDATE
from airflow_provider_halo.exceptions import (
    ApiError,
    PayloadTooLarge,
    RequestBlocked,
    RequestRefused,
    TokenRefused,
    TransientError,
    UnexpectedAnswer,
    UnreadableAnswer,
    WidgetKeyRefused,
)

__all__ = ["Answer", "read_response", "read_retry_after"]

_RETRY_AFTER_CAP: Final = 86_400.0  # seconds; no run waits longer
_TRANSIENT: Final = frozenset({408, 421, 425, 429})
_WRONG_ADDRESS: Final = frozenset({404, 405, 407, 410})
_RESERVED_SHOWN: Final = 50
_KEY_CHARACTERS: Final = 64
_ID_NAMES: Final = ("user_id", "id", "external_id", "company_id")
_ERROR_LISTS: Final = ("errors", "user_errors", "failed", "rejected")
_TEXT_NAMES: Final = ("error", "message", "detail", "reason", "title", "msg")
_NO_REASON: Final = "refused without a reason"
_JSON_ERROR: Final = "a JSON error"
_REFUSALS: Final[dict[int, tuple[type[ApiError], str]]] = {  # the error and, where there is one, the way out
    401: (WidgetKeyRefused, "Halo doesn't know the widget key: check the connection's password"),
    403: (TokenRefused, ""),
    413: (PayloadTooLarge, ""),
}
_CODE: Final = re.compile(r"[a-z]{2,32}(?:_[a-z]{2,32}){1,5}")  # of a machine, for machines: ``token_expired``
_BEFORE_HALO: Final = (  # what the `Server` header of firewalls and proxies begins with, and whose they are
    ("cloudflare", "Cloudflare"),
    ("awselb", "AWS"),
    ("cloudfront", "AWS CloudFront"),
    ("akamai", "Akamai"),
    ("sucuri", "Sucuri"),
    ("imperva", "Imperva"),
    ("big-ip", "F5"),
    ("volt-adc", "F5"),
    ("vercel", "Vercel"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Halo's yes.

    The exact answer of users/update is unknown; assumed are integer counts and perhaps a list of errors by user. What
    an answer doesn't say is None, and taken as "all stored" where it names no error.

    :param status: HTTP status, 200 to 299.
    :param empty: whether there was nothing to read in it: no body, or JSON that is no object. 204 isn't meant by that.
    :param skipped: users that were skipped, without saying which.
    :param created: users that are new to Halo; None where the answer doesn't say.
    :param updated: users that Halo knew; None where the answer doesn't say.
    :param user_errors: users that were not stored, each with Halo's reason.
    :param unnamed_errors: how many more were not stored without being named.
    """

    status: int
    empty: bool = False
    skipped: int = 0
    created: int | None = None
    updated: int | None = None
    user_errors: Mapping[str, str] = field(default_factory=dict)
    unnamed_errors: int = 0


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, *, path: str, now: float, sent: bytes = b""
) -> Answer:
    """Read one answer. Any body is accepted: what can't be read is described in the error.

    A 2xx with an empty body, or with JSON that is no object, is a yes whose counts are unknown (the exact answer isn't
    documented); the client decides whether to believe it. A 2xx with anything else that isn't JSON (a proxy's page, half
    an answer) is an `UnreadableAnswer`: the writes are upserts, so sending again is safe.

    An error tells a server's own words only where they say what is wrong with a record, and then without the text values
    that were sent; else it tells a code.

    :param now: seconds since 1970, for a ``Retry-After`` that is a date.
    :param sent: body of the request.
    :raises RequestRefused: 400 (documented), any 4xx that isn't named here, and a 2xx of users/update whose object says
        that it failed.
    :raises RequestBlocked: 403 without a JSON error, and those other 4xx likewise: that isn't Halo's voice (assumed).
    :raises WidgetKeyRefused: 401 (assumed).
    :raises TokenRefused: 403 (documented) with a JSON error (assumed).
    :raises PayloadTooLarge: 413 (assumed).
    :raises TransientError: 408, 421, 425, 429, 5xx (assumed).
    :raises UnreadableAnswer: a 2xx that can't be read.
    :raises UnexpectedAnswer: redirects, 404, 405, 407, 410: the base URL is likely wrong.
    """
    value, readable = _json(body)
    values = SentValues(sent)
    if not 200 <= status < 300:
        raise _error_of(status, headers, body, value, values, path=path, now=now)
    if not readable:
        raise UnreadableAnswer(f"the answer is {_describe(body, headers)}, not JSON", status=status, path=path)
    if not isinstance(value, dict):
        return Answer(status=status, empty=status != 204)
    # Only a bulk answer counts. The others are the stored record, whose traits may be called anything.
    return _bulk_answer(status, value, path, values) if path == USERS_UPDATE else Answer(status=status)


def read_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """How many seconds a server asks to wait: ``Retry-After`` as seconds or as an HTTP date; None where it says nothing.

    A past date or a negative number is 0, a huge one is cut to a day, garbage is None. A date is held against the
    answer's own ``Date`` where there is one, so that this machine's clock doesn't matter.
    """
    text = _header(headers, "retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        moment = _moment(text)
        if moment is None:
            return None
        sent = _moment(_header(headers, "date") or "")
        seconds = moment - (now if sent is None else sent)
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _RETRY_AFTER_CAP)


def _json(body: bytes) -> tuple[Any, bool]:
    """The body's value, and whether it could be read. An empty body is readable, and None."""
    if not body.strip():
        return None, True
    try:
        return msgspec.json.decode(body), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, False


def _error_of(
    status: int, headers: Mapping[str, str], body: bytes, value: Any, values: SentValues, *, path: str, now: float
) -> ApiError:
    error_type, advice = _refusal(status)
    said = _error_text(value, values.all)
    if error_type in {RequestRefused, TokenRefused} and status != 400 and not (said or isinstance(value, dict)):
        error_type = RequestBlocked
        advice = f"HTTP {status} without Halo's JSON error: a firewall or proxy in front of Halo refused this request"
    if error_type is RequestRefused:
        reason = said or (_NO_REASON if isinstance(value, dict) else f"HTTP {status}, {_describe(body, headers)}")
    else:
        reason = _code_of(value, values.all) or _describe(body, headers)
    details = value if isinstance(value, dict) else {}
    user_errors, _ = _user_errors(details, values)
    return error_type(
        f"{advice} ({reason})" if advice and reason != _JSON_ERROR else advice or reason,
        status=status,
        path=path,
        reserved_keys=_reserved_keys(details),
        user_errors=user_errors,
        retry_after=read_retry_after(headers, now=now),
    )


def _describe(body: bytes, headers: Mapping[str, str]) -> str:
    """What the body of an answer looks like, without its content, and who is known to stand in front of Halo."""
    head = body.lstrip()[:200]
    if not head:
        return "an empty answer"
    if head.startswith((b"{", b"[")):
        return _JSON_ERROR if _json(body)[1] else "broken JSON"
    what = "an HTML page" if head.startswith(b"<") else "plain text"
    server = (_header(headers, "server") or "").lower()
    sender = next((name for beginning, name in _BEFORE_HALO if server.startswith(beginning)), None)
    return f"{what} from {sender}" if sender else what


def _refusal(status: int) -> tuple[type[ApiError], str]:
    """The error that a status stands for, and the way out where there is one."""
    if status >= 500 or status in _TRANSIENT:
        return TransientError, ""
    if status < 400 or status in _WRONG_ADDRESS:
        return UnexpectedAnswer, "check the host of the Halo connection: it should be the API's base URL"
    return _REFUSALS.get(status, (RequestRefused, ""))


def _bulk_answer(status: int, value: dict[str, Any], path: str, values: SentValues) -> Answer:
    user_errors, unnamed = _user_errors(value, values)
    if not user_errors and not unnamed and _says_it_failed(value):
        raise RequestRefused(
            _error_text(value, values.all) or "the answer says that it failed",
            status=status,
            path=path,
            reserved_keys=_reserved_keys(value),
        )
    return Answer(
        status=status,
        skipped=_count(value.get("skipped")) or 0,
        created=_count(value.get("created")),
        updated=_count(value.get("updated")),
        user_errors=user_errors,
        unnamed_errors=unnamed,
    )


def _says_it_failed(value: dict[str, Any]) -> bool:
    """Whether a 2xx contradicts itself. Of one record or many, that is read as a refusal."""
    error = value.get("error")
    return (isinstance(error, str) and bool(error.strip())) or value.get("success") is False or value.get("ok") is False


def _user_errors(value: Mapping[str, Any], values: SentValues) -> tuple[dict[str, str], int]:
    """Errors by user, and how many more there are without a name, in whichever of the assumed shapes they come."""
    errors_by_user: dict[str, Any] = {}
    most = 0
    for name in _ERROR_LISTS:
        errors = value.get(name)
        most = max(most, _count(errors) or 0)
        if isinstance(errors, dict):
            errors_by_user.update((str(key), error) for key, error in errors.items())
        elif isinstance(errors, list):
            errors_by_user.update(_listed_errors(errors))
    texts = {
        key: _error_text(error, lambda key=key: values.of(key)) or _NO_REASON  # type: ignore[misc]  # mypy has no type for a lambda whose default binds the key
        for key, error in errors_by_user.items()
    }
    return texts, max(0, most - len(texts))


def _listed_errors(errors: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    for error in errors:
        if not isinstance(error, dict):
            continue
        key = next((error[name] for name in _ID_NAMES if isinstance(error.get(name), (str, int))), None)
        if key is not None:
            yield str(key), error


def _error_text(value: Any, private: Callable[[], Collection[str]], depth: int = 4) -> str:
    """The text of an error in any of the usual shapes; empty where there is none within a few levels.

    :param private: gives the texts that are masked in it.
    """
    if isinstance(value, str):
        return clean(value, private()) if value else ""
    if not depth:
        return ""
    if isinstance(value, dict):
        texts = (_error_text(value.get(name), private, depth - 1) for name in _TEXT_NAMES)
        return next(filter(None, texts), "")
    return _error_text(value[0], private, depth - 1) if isinstance(value, list) and value else ""


def _code_of(value: Any, private: Callable[[], Collection[str]]) -> str:
    """The code of an error, such as ``token_expired``; empty where there is none, or it is more than a code."""
    if not isinstance(value, dict):
        return ""
    codes = (value.get(name) for name in ("code", "error", "type"))
    code = next((code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)), "")
    return code if code and code not in private() else ""


def _count(value: Any) -> int | None:
    """A count, given as a number or as the list of what is counted."""
    if isinstance(value, (list, dict)):
        return len(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _reserved_keys(value: Mapping[str, Any]) -> tuple[str, ...]:
    keys = value.get("reserved_keys")
    if not isinstance(keys, list):
        return ()
    names = (clean(key) for key in keys[:_RESERVED_SHOWN] if isinstance(key, str))
    return tuple(name[:_KEY_CHARACTERS] for name in names)


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value.strip() for key, value in headers.items() if key.lower() == name), None)


def _moment(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000" is UTC that doesn't tell its place
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError):  # TypeError: Python 3.10 raises it for a text without any date
        return None
