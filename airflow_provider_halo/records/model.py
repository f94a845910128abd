"""The records: what the plan made of the rows of one user or one company."""

from __future__ import annotations

import msgspec

from airflow_provider_halo.records.values import Json


class ContextEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One context entry, as the API takes it (documented).

    :param label: heads the section in the AI's prompt.
    :param value: any JSON value, or one that is encoded already.
    :param type: one of `contract.CONTEXT_TYPES`; None lets Halo pick a rendering.
    """

    label: str
    value: Json | msgspec.Raw
    type: str | None = None


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """One company: its key, traits by name and context entries by key."""

    company_id: str
    traits: dict[str, Json] = {}
    context: dict[str, ContextEntry] = {}


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user: its key, its company's key (None: belongs to none), traits by name and context entries by key."""

    user_id: str
    company_id: str | None = None
    traits: dict[str, Json] = {}
    context: dict[str, ContextEntry] = {}
