"""The one JSON encoder: compact, UTF-8, keys sorted. What it returns is measured, hashed and sent, never encoded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["many_to_json", "to_json"]

# Sorted keys make the bytes canonical: two equal values give equal bytes, whatever order a database gave its columns in.
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")


def to_json(value: Any) -> bytes:
    """Encode a plain JSON value.

    :param value: None, bool, int, float, str, Decimal, lists and dicts of these, or msgspec structs.
    :return: UTF-8 bytes without blanks.
    :raises UnicodeEncodeError: for text that is no Unicode (a lone surrogate).
    """
    return _ENCODER.encode(value)


def many_to_json(values: Iterable[Any]) -> list[bytes]:
    """Encode values one by one, each as `to_json` does."""
    return list(map(_ENCODER.encode, values))


def is_broken(value: Any) -> bool:
    """Whether a value holds text that is no Unicode (a lone surrogate), so that it can't be encoded."""
    try:
        to_json(value)
    except UnicodeEncodeError:
        return True
    return False
