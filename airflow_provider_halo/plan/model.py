"""The plan as frozen models: what the AI may know, and the SQL that gives it. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Nulls = Literal["send", "omit"]
Texts = Annotated[tuple[str, ...], Field(strict=False)]  # YAML gives lists, strict tuples would refuse them


def ordering(item: str) -> tuple[str, bool]:
    """One item of ``order_by`` as ``(column, whether it sorts downwards)``: ``opened_at desc`` is ``("opened_at", True)``."""
    words = item.split()
    if len(words) > 1 and words[-1].lower() in {"asc", "desc"}:
        return item.strip()[: -len(words[-1])].strip(), words[-1].lower() == "desc"
    return item.strip(), False


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Traits(_Model):
    """The query that defines the records of a scope; its columns are trait names."""

    sql: str
    source: str | None = None
    booleans: Texts = ()
    timestamps: Texts = ()
    nulls: Nulls | None = None


class Entry(_Model):
    """One context entry: how the AI is shown it, and the query that gives its value."""

    label: str
    sql: str
    type: str | None = None
    source: str | None = None
    rows: Literal["one", "many"] | None = None
    name: str | None = None
    value: str | None = None
    order_by: Texts = ()
    limit: int | None = None
    empty: JsonValue = None  # read through Query.empty; whether it was given is in `model_fields_set`
    nulls: Nulls | None = None
    booleans: Texts = ()
    timestamps: Texts = ()


class Companies(_Model):
    """The companies of the product, as `traits` gives them."""

    key: str
    traits: Traits
    context: dict[str, Entry] = Field(default_factory=dict)


class Users(_Model):
    """The users of the product, each with the company it belongs to."""

    key: str
    company: str
    traits: Traits
    context: dict[str, Entry] = Field(default_factory=dict)
    send_context: bool = True


class Question(_Model):
    """A question that support is asked, and the keys of the plan that answer it."""

    ask: str
    answered_by: Texts


class Plan(_Model):
    """One plan file."""

    version: Literal[1]
    name: str | None = None  # by which a ledger knows it; without one it is the file's name
    source: str | None = None
    nulls: Nulls = "send"
    companies: Companies | None = None
    users: Users | None = None
    questions: Annotated[tuple[Question, ...], Field(strict=False)] = ()
