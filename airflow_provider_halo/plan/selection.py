"""Which queries of a plan a run needs, by the names that `only` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.messages import did_you_mean, listed
from airflow_provider_halo.plan.model import QUERY_SCOPES, LoadedPlan, Query, QueryScope


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
    scopes: tuple[QueryScope, ...] = tuple(scope for scope in QUERY_SCOPES if plan.traits(scope) is not None)
    if not only:
        return Selection(
            companies="companies" in scopes,
            users="users" in scopes,
            links="users" in scopes,
            traits_of=frozenset(scopes),
            context=tuple(query for query in plan.queries if query.entry is not None),
        )
    _refuse_unknown(plan, scopes, only)
    wanted = set(only)
    traits_of = frozenset(scope for scope in scopes if wanted & {scope, f"{scope}.traits"})
    context = tuple(
        query
        for query in plan.queries
        if query.entry is not None and wanted & {query.scope, f"{query.scope}.context", query.name}
    )
    sent = traits_of | {query.scope for query in context}
    return Selection(
        companies="companies" in sent,
        users="users" in sent,
        links="links" in wanted,
        traits_of=traits_of,
        context=context,
    )


def _refuse_unknown(plan: LoadedPlan, scopes: Sequence[QueryScope], only: Sequence[str]) -> None:
    known: list[str] = []
    for scope in scopes:
        entries = plan.entries(scope)
        known += [
            scope,
            f"{scope}.traits",
            *([f"{scope}.context"] if entries else []),
            *(query.name for query in entries),
        ]
    if "users" in scopes:
        known.append("links")
    problems = []
    for name in dict.fromkeys(only):
        if name in known:
            continue
        if name.startswith("users.context") and plan.plan.users is not None and not plan.plan.users.send_context:
            message = f"{name} can't be sent: the plan says `send_context: false` for its users"
        else:
            message = f"{name or 'a blank name'} isn't in the plan.{did_you_mean(name, known)} Known: {listed(known)}."
        problems.append(PlanProblem(plan.path, 0, "only", message))
    if problems:
        raise PlanError(problems)
