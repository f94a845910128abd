"""How many users each team of the sample has: skewed as in life, and the same for the same numbers on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = [
    "DEFAULT_SEED",
    "DELETED_TEAM",
    "EXAMPLE_TEAM",
    "MAX_COMPANIES",
    "USERS_PER_COMPANY",
    "TeamSizes",
    "spread_users",
]

DEFAULT_SEED: Final = 2026
MAX_COMPANIES: Final = 100_000
USERS_PER_COMPANY: Final = 25
EXAMPLE_TEAM: Final = 1  # the company that the guide's five questions are about
EXAMPLE_SIZE: Final = 18
DELETED_TEAM: Final = 7  # its row is gone, its users are still there
_SMALLEST_WITH_LARGE_TEAM: Final = 8  # companies; with fewer of them a quarter of the users is nothing special


@dataclass(frozen=True, slots=True)
class TeamSizes:
    """How many users belong where.

    :param teams: ``{team id: number of its users}`` in the order of the ids, the deleted team included.
    :param without_team: users that belong to no team.
    """

    teams: dict[int, int]
    without_team: int


def spread_users(companies: int, users: int, seed: int) -> TeamSizes:
    """Spread users over teams, skewed as in life: one team has about a quarter, most have a handful.

    :param companies: teams with a row of their own, at least 1.
    :param users: users in all, at least 1.
    """
    random = Random(f"{seed} sizes")
    team_ids = [number for number in range(1, companies + 2) if number != DELETED_TEAM][:companies]
    without_team = users * 2 // 100
    counts = dict.fromkeys(team_ids, 0)
    counts[DELETED_TEAM] = users // 200
    remaining = users - without_team - counts[DELETED_TEAM]
    counts[EXAMPLE_TEAM] = remaining if companies == 1 else min(remaining, EXAMPLE_SIZE)
    remaining -= counts[EXAMPLE_TEAM]
    others = [number for number in team_ids if number != EXAMPLE_TEAM]
    if companies >= _SMALLEST_WITH_LARGE_TEAM:
        large_team = others.pop(len(others) // 3)
        counts[large_team] = min(remaining, users // 4)
        remaining -= counts[large_team]
    counts.update(_weighted_shares(random, others, remaining))
    return TeamSizes(teams=dict(sorted(counts.items())), without_team=without_team)


def _weighted_shares(random: Random, team_ids: Sequence[int], users: int) -> dict[int, int]:
    """Share users among teams by random weights, a few of which are large."""
    # Cumulative rounding: the parts always add up to the whole, and need nothing but +, * and / (the same everywhere).
    weights = [1 / (random.random() + 0.02) for _ in team_ids]
    total = sum(weights)
    shares: dict[int, int] = {}
    before = 0.0
    for number, weight in zip(team_ids, weights, strict=True):
        reached = before + weight
        shares[number] = int(users * reached / total) - int(users * before / total)
        before = reached
    if team_ids:
        shares[team_ids[-1]] += users - sum(shares.values())
    return shares
