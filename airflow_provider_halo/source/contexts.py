"""The contexts of many records as they are sent: each entry's values framed by what is the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.query import Query
from airflow_provider_halo.records.model import ContextEntry
from airflow_provider_halo.source.entries import LEFT_OUT, Found, LeftOut


def contexts_of(keys: Sequence[str], entries: Sequence[tuple[Query, dict[str, Found]]]) -> list[bytes] | None:
    """The bytes that encoding each record's entries would give; empty ones for a record without any.

    :param entries: what the encoding readers found of each entry, by key.
    :return: in the order of the keys; None where one of the records can't be sent.
    """
    frames: list[bytes] = []
    columns: list[list[bytes | LeftOut]] = []
    kinds: set[type] = {bytes}
    # In the order of their keys, as they are encoded.
    for query, found in sorted(entries, key=lambda entry: entry[0].entry_key or ""):
        empty = to_json(query.empty) if query.sends_empty else LEFT_OUT
        values: list[bytes | LeftOut] = list(map(found.get, keys, repeat(empty)))  # type: ignore[arg-type]  # told below
        kinds.update(map(type, values))
        frames.append(_frame(query))
        columns.append(values)
    if kinds == {bytes}:
        if not columns:
            return [b""] * len(keys)
        whole = b"{" + b",".join(frames) + b"}"
        return list(map(whole.__mod__, zip(*columns, strict=True)))
    if kinds != {bytes, LeftOut}:
        return None
    contexts = []
    for values_of_one in zip(*columns, strict=True):
        sent = [frame % value for frame, value in zip(frames, values_of_one, strict=True) if isinstance(value, bytes)]
        contexts.append(b"{" + b",".join(sent) + b"}" if sent else b"")
    return contexts


def _frame(query: Query) -> bytes:
    """An entry with its key, and a place for its value, which is the last of an entry's members."""
    assert query.entry is not None  # noqa: S101 (for mypy: the queries of entries have one)
    entry = to_json({query.entry_key: ContextEntry(query.entry.label, None, query.entry.type)})
    return entry[1:-1].removesuffix(b"null}").replace(b"%", b"%%") + b"%b}"
