"""Fingerprints: by what a record that is read today is known to be the one that Halo has acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from airflow_provider_halo.contract import COMPANIES_IDENTIFY
from airflow_provider_halo.records.payload import Payload

__all__ = [
    "CONTEXT",
    "TRAITS",
    "Fingerprinter",
    "covers",
    "drop_part",
    "keep_parts",
    "link_fingerprint",
    "merge_parts",
]

TRAITS: Final = "traits"
CONTEXT: Final = "context."
_WHOLE: Final = 16  # bytes of a record's fingerprint
_NAME: Final = 4  # bytes that stand for a part's name, in `parts`
_PART: Final = 8  # bytes of a part's fingerprint
_ENTRIES = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Fingerprinter:
    """Makes the fingerprints of one scope's records, of the parts that a run sends.

    A fingerprint covers the endpoint, the bytes that leave, and how the plan shaped them. The parts of a record (its
    traits, and each context entry) have fingerprints of their own besides, so that a run of some parts and a run of all
    know of each other what Halo has.

    :param endpoint: path of the call that the records are sent by.
    :param mappings: digest of what the plan says of each part, by its name: ``traits``, ``context.integrations``.
    """

    def __init__(self, endpoint: str, mappings: Mapping[str, bytes]) -> None:
        seeds = {
            name: b"\0".join((endpoint.encode(), name.encode(), digest)) for name, digest in sorted(mappings.items())
        }
        self._whole = blake2b(b"\1".join(seeds.values()), digest_size=_WHOLE)
        self._parts = {name: blake2b(seed, digest_size=_PART) for name, seed in seeds.items()}
        self._names = {name: blake2b(name.encode(), digest_size=_NAME).digest() for name in seeds}

    def whole(self, payload: Payload) -> bytes:
        """The fingerprint of a record as it is sent: 16 bytes."""
        hasher = self._whole.copy()
        hasher.update(b"%d:" % len(payload.traits))
        hasher.update(payload.traits)
        hasher.update(payload.context)
        return hasher.digest()

    def parts(self, payload: Payload) -> bytes:
        """The fingerprints of what a record holds: 4 bytes for a part's name and 8 of its content, one after another."""
        content_by_name = {}
        if TRAITS in self._parts:
            content_by_name[self._names[TRAITS]] = self._part(TRAITS, payload.traits)
        if payload.context:
            for key, raw in _ENTRIES.decode(payload.context).items():
                name = CONTEXT + key
                if name in self._parts:
                    content_by_name[self._names[name]] = self._part(name, bytes(raw))
        return _join(content_by_name)

    def _part(self, name: str, content: bytes) -> bytes:
        hasher = self._parts[name].copy()
        hasher.update(content)
        return hasher.digest()


def link_fingerprint(company_id: str) -> bytes:
    """The fingerprint of a user's link to a company: 16 bytes."""
    return blake2b(f"{COMPANIES_IDENTIFY}\0link\0{company_id}".encode(), digest_size=_WHOLE).digest()


def covers(known: bytes, parts: bytes) -> bool:
    """Whether all of these parts are among those that are known, as they are."""
    known_content = dict(_split(known))
    return all(known_content.get(name) == content for name, content in _split(parts))


def merge_parts(known: bytes, parts: bytes) -> bytes:
    """The parts that are known, with these in place of what they were."""
    return _join({**dict(_split(known)), **dict(_split(parts))})


def keep_parts(known: bytes, names: Iterable[str]) -> bytes:
    """The parts that are known, without those of other names: of entries that the plan has no longer."""
    kept = {blake2b(name.encode(), digest_size=_NAME).digest() for name in names}
    return _join({part: content for part, content in _split(known) if part in kept})


def drop_part(known: bytes, name: str) -> bytes:
    """The parts that are known, without the one of a name."""
    dropped = blake2b(name.encode(), digest_size=_NAME).digest()
    return _join({part: content for part, content in _split(known) if part != dropped})


def _split(parts: bytes) -> Iterator[tuple[bytes, bytes]]:
    for at in range(0, len(parts), _NAME + _PART):
        yield parts[at : at + _NAME], parts[at + _NAME : at + _NAME + _PART]


def _join(parts: Mapping[bytes, bytes]) -> bytes:
    return b"".join(name + content for name, content in sorted(parts.items()))
