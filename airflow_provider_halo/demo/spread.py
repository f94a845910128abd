"""How many users each team of the demo has: skewed as in life, and the same for the same numbers on any machine."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

EXAMPLE_TEAM: Final = 1
EXAMPLE_SIZE: Final = 18
DELETED_TEAM: Final = 7  # its row is gone, its users are still there
USERS_PER_COMPANY: Final = 25


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many users stand where.

    :param teams: ``{team id: its users}`` in the order of the ids, the deleted team included.
    :param without_team: users that belong to no team.
    """

    teams: dict[int, int]
    without_team: int


def sizes(companies: int, users: int, seed: int) -> Sizes:
    """Spread users over teams, skewed as in life: one team has about a quarter, most have a handful.

    :param companies: teams with a row of their own, at least 1.
    :param users: users in all, at least 1.
    """
    random = Random(f"{seed} sizes")
    ids = [number for number in range(1, companies + 2) if number != DELETED_TEAM][:companies]
    without_team = users * 2 // 100
    deleted = users // 200
    left = users - without_team - deleted
    counts = dict.fromkeys([*ids, DELETED_TEAM], 0)
    counts[DELETED_TEAM] = deleted
    counts[EXAMPLE_TEAM] = left if companies == 1 else min(left, EXAMPLE_SIZE)
    left -= counts[EXAMPLE_TEAM]
    others = [number for number in ids if number != EXAMPLE_TEAM]
    if companies >= 8:  # below that a quarter is nothing special
        whale = others.pop(len(others) // 3)
        counts[whale] = min(left, users // 4)
        left -= counts[whale]
    # Cumulative rounding: the parts always add up to the whole, and need nothing but +, * and / (the same everywhere).
    weights = [1 / (random.random() + 0.02) for _ in others]
    total = sum(weights)
    before = reached = 0.0
    for number, weight in zip(others, weights, strict=True):
        reached = before + weight
        counts[number] = int(left * reached / total) - int(left * before / total)
        before = reached
    if others:
        counts[others[-1]] += left - sum(counts[number] for number in others)
    return Sizes(teams=dict(sorted(counts.items())), without_team=without_team)
