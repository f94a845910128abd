"""Which queries of a plan a run needs, by the names that `only` gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.messages import did_you_mean, join_names
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, Query, QueryScope

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a run sends. Made by `select`.

    :param companies: whether companies are sent at all.
    :param users: whether users are sent at all.
    :param links: whether users may be linked to their companies; whether they are is up to the run.
    """

    companies: bool
    users: bool
    links: bool
    traits_of: frozenset[QueryScope]
    context: tuple[Query, ...]

    def sends(self, scope: QueryScope) -> bool:
        """Whether records of a scope are sent."""
        return self.companies if scope == "companies" else self.users

    def reads(self, scope: QueryScope) -> bool:
        """Whether the traits query of a scope runs: it drives the reading also when only context or links are sent."""
        return self.sends(scope) or (scope == "users" and self.links)

    def traits(self, scope: QueryScope) -> bool:
        """Whether the traits of a scope are sent."""
        return scope in self.traits_of

    def entries(self, scope: QueryScope) -> tuple[Query, ...]:
        """The context queries of a scope that run."""
        return tuple(query for query in self.context if query.scope == scope)


def select(plan: LoadedPlan, only: Sequence[str] = ()) -> Selection:
    """Choose what a run sends.

    :param only: any of ``companies``, ``users``, ``links``, ``companies.traits``, ``companies.context``,
        ``companies.context.KEY``, and the same for users. Empty: everything, links included.
    :raises PlanError: for a name that the plan doesn't have; lists those that it has.
    """
    scopes = [scope for scope in QUERY_SCOPES if plan.traits(scope) is not None]
    if only:
        _refuse_unknown(plan, only)
    wanted = set(only or (*QUERY_SCOPES, "links"))
    traits_of = frozenset(scope for scope in scopes if wanted & {scope, f"{scope}.traits"})
    context = _wanted_entries(plan, wanted)
    sent = traits_of | {query.scope for query in context}
    return Selection(
        companies="companies" in sent,
        users="users" in sent,
        links="links" in wanted and "users" in scopes,
        traits_of=traits_of,
        context=context,
    )


def _wanted_entries(plan: LoadedPlan, wanted: set[str]) -> tuple[Query, ...]:
    return tuple(
        query
        for query in plan.queries
        if query.entry is not None and wanted & {query.scope, f"{query.scope}.context", query.name}
    )


def _refuse_unknown(plan: LoadedPlan, only: Sequence[str]) -> None:
    known = list(_known_names(plan))
    problems = [
        PlanProblem(plan.path, 0, "only", _unknown_name(name, known, plan))
        for name in dict.fromkeys(only)
        if name not in known
    ]
    if problems:
        raise PlanError(problems)


def _known_names(plan: LoadedPlan) -> Iterator[str]:
    """Every name that `only` may give for a plan."""
    for scope in QUERY_SCOPES:
        if plan.traits(scope) is None:
            continue
        yield scope
        yield f"{scope}.traits"
        entries = plan.entries(scope)
        if entries:
            yield f"{scope}.context"
        yield from (query.name for query in entries)
    if plan.traits("users") is not None:
        yield "links"


def _unknown_name(name: str, known: Sequence[str], plan: LoadedPlan) -> str:
    users = plan.plan.users
    if name.startswith("users.context") and users is not None and not users.send_context:
        return f"{name} can't be sent: the plan has `send_context: false` for its users. Remove that line to send it."
    shown = name or "a blank name"
    return f"{shown} isn't in the plan.{did_you_mean(name, known)} Known names: {join_names(known)}."
