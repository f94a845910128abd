"""Identity tokens: HS256 JWTs that say whom a call speaks for. The secret that signs them is never sent."""

from __future__ import annotations

from typing import Any, Final, final

import jwt
from jwt.algorithms import HMACAlgorithm

from airflow_provider_halo.contract import BULK_TOKEN_SCOPE, BULK_TOKEN_SECONDS
from airflow_provider_halo.encoding import to_json

__all__ = ["IdentityTokens", "bulk_token", "user_token"]

_BULK_SECONDS: Final = BULK_TOKEN_SECONDS - 300  # documented: at most 1 hour ahead; 5 minutes for clocks that differ
_USER_SECONDS: Final = 600  # documented: `exp` recommended; long enough for one request and clocks that differ
_CAUTIOUS_SECONDS: Final = 600  # of a bulk token after a 403: passes even where this machine's clock is 50 minutes fast
_RENEW_SECONDS: Final = 300  # a bulk token is renewed when this much of its life is left


class _AnyLengthHmac(HMACAlgorithm):
    """HMAC without PyJWT's warning about short secrets on each signature: Halo chooses the length, not the caller."""

    def check_key_length(self, key: Any) -> None:
        """Accept any length."""


_JWS = jwt.PyJWS(algorithms=["HS256"])
_JWS.unregister_algorithm("HS256")
_JWS.register_algorithm("HS256", _AnyLengthHmac(HMACAlgorithm.SHA256))


def bulk_token(secret: str, now: float, *, seconds: int = _BULK_SECONDS) -> str:
    """Make the token of users/update: claim ``scope``, ``exp``, and no ``user_id`` (documented).

    :param now: seconds since 1970.
    :param seconds: how long it holds; Halo takes at most 3,600.
    """
    return _signed({"scope": BULK_TOKEN_SCOPE, "exp": int(now) + seconds}, secret)


def user_token(secret: str, user_id: str, now: float) -> str:
    """Make the token of one user: claim ``user_id`` equal to the body's, and ``exp`` (documented)."""
    return _signed({"user_id": user_id, "exp": int(now) + _USER_SECONDS}, secret)


def _signed(claims: dict[str, Any], secret: str) -> str:
    return _JWS.encode(to_json(claims), secret, algorithm="HS256")


@final
class IdentityTokens:
    """The tokens of one identity secret. The bulk token is kept, and renewed before it expires or when it was refused.

    Of one event loop: not for several threads.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._token = ""
        self._expires = 0.0
        self._seconds = _BULK_SECONDS

    def bulk(self, now: float) -> str:
        """The token to send now."""
        if now >= self._expires - _RENEW_SECONDS:
            self._token = bulk_token(self._secret, now, seconds=self._seconds)
            self._expires = now + self._seconds
        return self._token

    def discard(self, token: str) -> None:
        """Drop a token that Halo answered with 403, so that the next `bulk` is another one.

        Does nothing when it has been renewed meanwhile. The next ones hold for a shorter time: where this machine's clock
        is fast, what Halo refuses is an ``exp`` more than an hour ahead of its own clock.
        """
        if token == self._token:
            self._expires = 0.0
            self._seconds = _CAUTIOUS_SECONDS

    def for_user(self, user_id: str, now: float) -> str:
        """The token of one user, made for this one call."""
        return user_token(self._secret, user_id, now)
