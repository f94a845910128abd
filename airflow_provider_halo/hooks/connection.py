"""An Airflow connection of type ``halo``, read into `HaloSettings`; every field is checked and named when it's wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_halo.contract import DEFAULT_BASE_URL
from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.settings import HaloSettings

if TYPE_CHECKING:
    from airflow.sdk import Connection

__all__ = ["settings_of"]

log = logging.getLogger(__name__)

_NUMBERS = ("timeout", "requests_per_second", "max_retry_seconds")
_EXTRAS = frozenset({"identity_secret", "verify_identity", "max_in_flight", *_NUMBERS})
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def settings_of(connection: Connection, conn_id: str) -> HaloSettings:
    """Read a connection.

    Extras may be numbers or texts of them, as forms and URIs give them; null and the empty text mean "not set".

    :param conn_id: the id it was asked for by.
    :raises SetupError: naming the field that can't be used.
    """
    where = f"Halo connection {conn_id!r}"
    if connection.port or connection.schema or connection.login:
        raise SetupError(
            f"{where}: only its host (the whole base URL, such as {DEFAULT_BASE_URL}) and its password (the widget key) "
            "are used; leave port, schema and login empty."
        )
    extras = _extras(connection, where)
    fields: dict[str, Any] = {}
    if "identity_secret" in extras:
        fields["identity_secret"] = _text(extras["identity_secret"], where, "identity_secret")
    if "verify_identity" in extras:
        fields["verify_identity"] = _boolean(extras["verify_identity"], where, "verify_identity")
    for name in _NUMBERS:
        if name in extras:
            fields[name] = _number(extras[name], where, name)
    if "max_in_flight" in extras:
        fields["max_in_flight"] = _whole(extras["max_in_flight"], where, "max_in_flight")
    return HaloSettings(
        widget_key=(connection.password or "").strip(), base_url=_base_url(connection.host), conn_id=conn_id, **fields
    )


def _base_url(host: str | None) -> str:
    url = (host or "").strip().rstrip("/") or DEFAULT_BASE_URL
    return url if "://" in url else f"https://{url}"


def _extras(connection: Connection, where: str) -> dict[str, Any]:
    try:
        extras = connection.extra_dejson
    except ValueError:  # the parser's own text would show the extras, secret included
        raise SetupError(f"{where}: its extras are no JSON object.") from None
    if not isinstance(extras, Mapping):
        raise SetupError(f"{where}: its extras are no JSON object.")
    unknown = sorted(set(extras) - _EXTRAS)
    if unknown:
        log.warning(
            "%s: extras that nothing reads: %s; known are %s.", where, ", ".join(unknown), ", ".join(sorted(_EXTRAS))
        )
    return {name: value for name, value in extras.items() if name in _EXTRAS and value not in (None, "")}


def _text(value: Any, where: str, name: str) -> str:
    if not isinstance(value, str):
        raise SetupError(f"{where}: {name} must be a text.")
    return value.strip()


def _boolean(value: Any, where: str, name: str) -> bool:
    if isinstance(value, bool):
        return value
    boolean = _BOOLEANS.get(str(value).strip().lower())
    if boolean is None:
        raise SetupError(f"{where}: {name} must be true or false, or left empty.")
    return boolean


def _number(value: Any, where: str, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # float(True) is 1.0, which nobody meant
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SetupError(f"{where}: {name} must be a number, or left empty.")
    return number


def _whole(value: Any, where: str, name: str) -> int:
    number = _number(value, where, name)
    if not number.is_integer():
        raise SetupError(f"{where}: {name} must be a whole number, or left empty.")
    return int(number)
