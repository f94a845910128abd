"""Who may call: the API by widget key and signed token, the page and the admin calls from this machine alone.

Tokens are checked by hand, so that no library's leniency is inherited.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Container
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_halo.sandbox.config import is_loopback
from airflow_provider_halo.sandbox.rules import Refusal

__all__ = ["Endpoint", "check_bulk_token", "check_user_token", "check_widget_key", "local_only"]

Endpoint = Callable[[Request], Awaitable[Response]]

BULK_SCOPE: Final = "users.update"  # documented: the claim `scope` of a users/update token
BULK_SECONDS: Final = 60 * 60  # documented: `exp` of a users/update token is at most 1 hour ahead


def check_widget_key(authorization: str | None, widget_key: str) -> None:
    """Hold the ``Authorization`` header against the widget key.

    :raises Refusal: 401 when the header is missing, of another scheme, or carries another key (401 is assumed).
    """
    if authorization is None:
        raise Refusal(401, "Authorization header is missing; send 'Authorization: Bearer <widget key>'")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401, "Authorization must be 'Bearer <widget key>'")
    if not hmac.compare_digest(key.strip().encode(), widget_key.encode()):
        raise Refusal(401, "Widget key is unknown")


def check_user_token(token: object, user_id: str, *, secret: str, now: float, expired: Container[str] = ()) -> None:
    """Hold a ``user_token`` against the user whom the body names: ``user_id``, else ``sub``, must be equal.

    :param now: seconds since the epoch.
    :param expired: tokens that have expired before their time.
    :raises Refusal: 403 when the token is missing, malformed, wrongly signed, expired, or somebody else's.
    """
    claims = _claims(token, secret, now, expired)
    if "exp" in claims:  # documented: `exp` is recommended, so not required
        _expiry(claims["exp"], now)
    named = claims["user_id"] if "user_id" in claims else claims.get("sub")
    if named != user_id:
        raise Refusal(403, "user_token is not for this user_id", documented="yes")


def check_bulk_token(token: object, *, secret: str, now: float, expired: Container[str] = ()) -> None:
    """Hold the ``user_token`` of a ``users/update`` against its own rules.

    :param now: seconds since the epoch.
    :param expired: tokens that have expired before their time.
    :raises Refusal: 403 when the token is missing, wrongly signed, expired, without the scope, longer than an hour,
        or names a user.
    """
    claims = _claims(token, secret, now, expired)
    if claims.get("scope") != BULK_SCOPE:
        raise Refusal(403, f"user_token needs the claim scope '{BULK_SCOPE}'", documented="yes")
    if "user_id" in claims:  # documented: it carries none; whether one is refused isn't
        raise Refusal(403, "user_token of users/update must not carry user_id", documented="rule")
    if "exp" not in claims:
        raise Refusal(403, "user_token needs the claim exp", documented="yes")
    expires = _expiry(claims["exp"], now)
    if expires > now + BULK_SECONDS:
        raise Refusal(403, "user_token may expire at most 1 hour ahead", documented="yes")


def local_only(endpoint: Endpoint, *, open_admin: bool) -> Endpoint:
    """The endpoint for callers on this machine alone; the page and the admin calls have no key.

    :param open_admin: whether other machines may call it, too.
    """

    async def checked(request: Request) -> Response:
        _check_local(request, open_admin=open_admin)
        return await endpoint(request)

    return checked


def _check_local(request: Request, *, open_admin: bool) -> None:
    """Let a request through to the page or an admin call.

    :raises Refusal: 403 for another machine, for a name that merely leads here (DNS rebinding), and for a form or
        script of a foreign web page.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refusal(403, "The sandbox answers no requests of other web pages")
    if open_admin:
        return
    if request.client is None or not is_loopback(request.client.host):
        raise Refusal(403, "The page and /_sandbox are for this machine only; --open-admin opens them to others")
    if not is_loopback(request.url.hostname or ""):
        raise Refusal(403, "Use the sandbox by 127.0.0.1 or localhost; --open-admin allows other names")


def _check_begun(claims: dict[str, Any], now: float) -> None:
    """Refuse a token whose time has not come (RFC 7519): by ``nbf``, and by ``iat`` as many libraries do (assumed)."""
    for name in ("nbf", "iat"):
        begins = claims.get(name, now)
        if isinstance(begins, bool) or not isinstance(begins, int | float):
            raise Refusal(403, f"user_token has an {name} that is no number")
        if begins > now:
            raise Refusal(403, f"user_token is not valid yet: its {name} is ahead")


def _expiry(expires: object, now: float) -> float:
    """When a token expires, refused where that has passed."""
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise Refusal(403, "user_token has an exp that is no number")
    if expires <= now:
        raise Refusal(403, "user_token has expired", documented="yes")
    return expires


def _claims(token: object, secret: str, now: float, expired: Container[str]) -> dict[str, Any]:
    """Claims of a JWT (RFC 7519) in compact form whose HS256 signature is right and whose time has come."""
    if token is None:
        raise Refusal(403, "user_token is missing", documented="yes")
    if not isinstance(token, str):
        raise Refusal(403, "user_token must be a string", documented="yes")
    try:
        head, payload, signature = token.encode("ascii").split(b".")
        header = msgspec.json.decode(_unpadded(head), type=dict[str, Any])
        claims = msgspec.json.decode(_unpadded(payload), type=dict[str, Any])
        sent_signature = _unpadded(signature)
    except (msgspec.DecodeError, ValueError):  # ValueError: not three parts, no ASCII, no base64
        raise Refusal(403, "user_token is no JWT", documented="yes") from None
    if header.get("alg") != "HS256":
        raise Refusal(403, "user_token must be signed with HS256", documented="yes")
    if not hmac.compare_digest(sent_signature, hmac.digest(secret.encode(), head + b"." + payload, hashlib.sha256)):
        raise Refusal(403, "user_token has a wrong signature", documented="yes")
    if token in expired:
        raise Refusal(403, "user_token has expired", documented="yes")
    _check_begun(claims, now)
    return claims


def _unpadded(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
