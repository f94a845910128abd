"""SQLite keeps any bytes as a text: of those that are no Unicode the record is rejected, not the reading ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc

__all__ = ["broken_texts", "is_broken_text"]

_DECODE: Final = methodcaller("decode", "utf-8", "surrogateescape")  # broken bytes become lone surrogates


def is_broken_text(error: exc.OperationalError) -> bool:
    """Whether a row couldn't be read for a text that is no Unicode."""
    return str(error.orig).startswith("Could not decode to UTF-8")


@contextmanager
def broken_texts(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite's driver give such texts too, with lone surrogates in them. It takes twice as long for each text."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    before = driver.text_factory
    driver.text_factory = _DECODE
    try:
        yield
    finally:
        driver.text_factory = before
