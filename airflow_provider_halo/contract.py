"""The HaloAgents API as data: paths, limits, reserved names, enumerations. Each fact says documented or assumed.

The source is HaloAgents' public documentation (API reference, Contacts, Advanced), as of mid-2026.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = [
    "BULK_TOKEN_SCOPE",
    "BULK_TOKEN_SECONDS",
    "COMPANIES_IDENTIFY",
    "COMPANY_BYTES",
    "COMPANY_COLUMNS",
    "COMPANY_RESERVED",
    "CONTEXT_TYPES",
    "CUSTOM_FIELDS_CHARACTERS",
    "DEFAULT_BASE_URL",
    "DOCUMENTED_BOOLEANS",
    "ENTRY_FORMS",
    "ENUMERATIONS",
    "LIST_TITLES",
    "MOMENT_TRAITS",
    "TRAIT_TYPES",
    "USERS_IDENTIFY",
    "USERS_PER_UPDATE",
    "USERS_UPDATE",
    "USER_BYTES",
    "USER_COLUMNS",
    "USER_RESERVED",
    "USER_TRAITS",
    "TraitType",
]

DEFAULT_BASE_URL: Final = "https://api.haloagents.ai/api/sdk"  # documented

USERS_IDENTIFY: Final = "users/identify"  # documented: an activity signal, sets last_seen
USERS_UPDATE: Final = "users/update"  # documented: never touches first_seen or last_seen
COMPANIES_IDENTIFY: Final = (
    "companies/identify"  # documented: links a user when given user_id; activity or not: unknown
)

USER_BYTES: Final = 20_000  # documented for users/identify; assumed for each user of users/update
COMPANY_BYTES: Final = 50_000  # documented: traits + context of one companies/identify call
CUSTOM_FIELDS_CHARACTERS: Final = 10_000  # documented: the number; assumed: for the traits that aren't columns, as JSON
USERS_PER_UPDATE: Final = 1_000  # documented

BULK_TOKEN_SCOPE: Final = "users.update"  # documented: claim `scope` of a users/update token  # noqa: S105 (no secret)
BULK_TOKEN_SECONDS: Final = 3_600  # documented: `exp` at most 1 hour ahead

USER_COLUMNS: Final = frozenset(  # documented: stored in columns, all else lands in custom_fields
    {
        "name",
        "email",
        "signed_up_at",
        "renewal_date",
        "renewal_status",
        "contract_term",
        "payment_terms",
        "on_contract",
        "mrr",
        "arr",
    }
)
USER_TRAITS: Final = USER_COLUMNS | {
    "avatar",
    "role",
    "plan",
    "monthly_spend",
}  # documented: traits that have a meaning
COMPANY_COLUMNS: Final = frozenset(  # documented
    {
        "name",
        "domain",
        "industry",
        "plan",
        "employee_count",
        "signed_up_at",
        "renewal_date",
        "renewal_status",
        "contract_term",
        "payment_terms",
        "on_contract",
        "mrr",
        "arr",
    }
)
USER_RESERVED: Final = frozenset(  # documented: 400 when in `traits` of users/identify; assumed for users/update
    {
        "id",
        "external_id",
        "org_id",
        "company_id",
        "created_at",
        "updated_at",
        "first_seen",
        "last_seen",
        "last_contacted_at",
    }
)
COMPANY_RESERVED: Final = frozenset(  # documented
    {
        "id",
        "external_id",
        "org_id",
        "created_at",
        "updated_at",
        "health_score",
        "team_size",
        "last_contacted_at",
    }
)

_TERMS: Final = ("monthly", "quarterly", "annual", "bi_annual")
ENUMERATIONS: Final[dict[str, tuple[str, ...]]] = {  # documented; what becomes of other values is unknown
    "renewal_status": (
        "up_for_renewal",
        "in_progress",
        "likely_to_renew",
        "expansion_opportunity",
        "set_to_cancel",
        "set_to_cancel_trial",
        "at_risk",
        "renewed",
        "lost",
    ),
    "contract_term": _TERMS,
    "payment_terms": _TERMS,
}

CONTEXT_TYPES: Final = (  # documented; left out, the server picks a rendering from the value
    "list",
    "integration",
    "error",
    "status",
    "config",
    "feature",
    "metric",
    "relationship",
    "custom",
)

LIST_TITLES: Final = ("label", "name", "title")  # documented: one of them is shown for a list's item; which wins, isn't


class EntryForm(NamedTuple):
    """The value that is documented for a context type. What isn't so may be shown otherwise, or not at all.

    :param shape: ``object``, ``array`` of objects, or ``map``: an object of objects by name.
    :param needed: what each of the documented objects holds.
    :param optional: what else the documented text has a place for; None where others may be shown, too.
    """

    shape: Literal["object", "array", "map"]
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] | None = None


ENTRY_FORMS: Final[dict[str, EntryForm]] = {  # documented; of the other types no value is
    "list": EntryForm("array"),
    "integration": EntryForm("map", ("connected",), ("status", "error")),
    "error": EntryForm("array", ("area", "message")),
    "metric": EntryForm("object"),
}
# Documented: `connected: bool`. How an item without it is shown, isn't; it may be "not connected".
DOCUMENTED_BOOLEANS: Final[dict[str, frozenset[str]]] = {"integration": frozenset({"connected"})}

MOMENT_TRAITS: Final = ("signed_up_at", "renewal_date")  # documented: ISO 8601

TraitType = Literal["string", "number", "boolean", "moment", "enumeration"]
_SHARED_TYPES: Final[dict[str, TraitType]] = {  # documented, but for mrr and arr, which are assumed to be numbers
    "name": "string",
    "plan": "string",
    "mrr": "number",
    "arr": "number",
    "monthly_spend": "number",
    "on_contract": "boolean",
    **dict.fromkeys(MOMENT_TRAITS, "moment"),
    **dict.fromkeys(ENUMERATIONS, "enumeration"),
}
TRAIT_TYPES: Final[dict[str, dict[str, TraitType]]] = {  # by scope; any other trait may have any type
    "users": {**_SHARED_TYPES, "email": "string", "avatar": "string", "role": "string"},
    "companies": {**_SHARED_TYPES, "domain": "string", "industry": "string", "employee_count": "number"},
}
