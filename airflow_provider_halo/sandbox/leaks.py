"""Whether a request holds a secret where none may be: what a client must never do, told by where it did."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_halo.sandbox.config import SandboxConfig


def leaks_of(config: SandboxConfig, url: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> tuple[str, ...]:
    """The secrets that a request holds in a wrong place.

    The identity secret is never sent (documented: it signs tokens); the widget key in ``Authorization`` alone
    (documented).

    :param url: path and query, as they came.
    :param headers: names in lower case.
    :return: such as ``widget key in the body``; empty where all is well.
    """
    places = [("the URL", url), ("the body", body)]
    places += [(f"the header {name.decode('latin-1')}", value) for name, value in headers]
    secret, key = config.identity_secret.encode(), config.widget_key.encode()
    found = [f"identity secret in {place}" for place, text in places if secret in text]
    found += [f"widget key in {place}" for place, text in places if key in text and place != "the header authorization"]
    return tuple(found)
