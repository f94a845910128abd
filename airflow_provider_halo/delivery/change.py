"""A change: a record and why it is sent. It is what delivery takes, as an outcome is what it gives."""

from __future__ import annotations

import msgspec

from airflow_provider_halo.records.payload import Payload

__all__ = ["Change", "Mark"]


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What was known of a record when it was read, by which its row is found untouched when the answer is written down.

    :param fingerprint: of what is sent now.
    :param token: the ledger's row as it was; 0 where it had none.
    :param parts: fingerprints of the parts that Halo has of it, where not all of them are sent now; empty bytes where they
        are, or where that isn't known.
    """

    fingerprint: bytes
    token: int = 0
    parts: bytes = b""


# Made once per record: without the garbage collector's header (nothing in it can refer back to it), and by positional
# arguments, so that `map(Change, payloads)` makes a block of them without running Python code for each.
class Change(msgspec.Struct, frozen=True, gc=False):
    """A record and why it is sent. Of its payload alone: all of it, whatever Halo has.

    :param payload: the record.
    :param mark: what the ledger had of the record; None where nothing is remembered.
    :param link: of a user: what the ledger had of its link to its company; None where nothing is remembered.
    :param sends_record: False where Halo has the record as it is. Of a user its link may be due all the same.
    :param sends_link: of a user: False where Halo has its link as it is.
    """

    payload: Payload
    mark: Mark | None = None
    link: Mark | None = None
    sends_record: bool = True
    sends_link: bool = True
