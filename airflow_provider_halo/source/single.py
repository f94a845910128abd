"""The batch of one company, of one user, or of both, by the keys that somebody gave."""

from __future__ import annotations

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.plan.query import LoadedPlan, Query, QueryScope
from airflow_provider_halo.source.batch import Batch, KeyType
from airflow_provider_halo.source.database import Sources, engine_of
from airflow_provider_halo.source.keys import coerce_key, key_type_of


def batch_for(
    plan: LoadedPlan, sources: Sources, *, company_id: str | int | None = None, user_id: str | int | None = None
) -> Batch:
    """Make the batch of a company's own record (its users stay out), of a user and its link, or of both.

    :param company_id: key of the company; a text is read as the database's type of key.
    :param user_id: key of the user; likewise.
    :raises SetupError: when neither is given, when the plan has no such records, or when a key can't be one.
    :raises SourceError: when a database can't be reached or refuses a query.
    """
    if company_id is None and user_id is None:
        raise SetupError("Give company_id, user_id, or both.")
    company, company_type = _key(plan, sources, "companies", company_id)
    user, user_type = _key(plan, sources, "users", user_id)
    return Batch(
        key_type=company_type,
        companies=None if company is None else (company,),
        users_too=user is not None,
        user=user,
        user_key_type=user_type,
    )


def _key(
    plan: LoadedPlan, sources: Sources, scope: QueryScope, key: str | int | None
) -> tuple[str | int | None, KeyType]:
    if key is None:
        return None, "text"
    query: Query | None = plan.traits(scope)
    if query is None:
        word = "company_id" if scope == "companies" else "user_id"
        raise SetupError(f"The plan has no {scope}, so {word} names nothing in it.")
    # Without a single row there is no type to tell, and no record to find either.
    key_type = key_type_of(engine_of(query, sources), query, query.key) or "text"
    return coerce_key(key, key_type), key_type
