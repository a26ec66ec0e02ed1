"""What a simulated lab would give for any point if nothing ever varied: the truth that a campaign looks for.

A lab of glass has no such thing; that is what the demo is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labd.campaign.goals import score
from labd.campaign.optimisers import optimiser
from labd.campaign.plan import Plan
from labd.campaign.problem import Observation, Point
from simulators.cells.virtual import outcome

STOCKS = {"rich": "2M LiPF6 in EC:EMC 3:7", "lp30": "LP30", "thin": "DMC", "coat": "10% VC in EMC"}
CYCLES = 10
DRAWS = 1000


def truth(point: Point) -> dict[str, float]:
    """The objectives of the demo's campaign at a point, of a cell without luck, in %."""
    mixed = {STOCKS[name]: float(share) for name, share in point.items() if float(share) > 0}
    figures = outcome(mixed, cycles=CYCLES, rate=2.0, hold=False)
    if f"ce_{CYCLES}" not in figures:
        return {}
    names = {"lasts": "ce", "conducts": "energy_efficiency"}
    return {name: 100.0 * figures[f"{figure}_{CYCLES}"] for name, figure in names.items()}


def worth(plan: Plan, point: Point) -> float:
    """How good a point really is, from 0 to 1."""
    values = truth(point)
    return (score(plan.problem(), Observation(point, values)) if values else None) or 0.0


@dataclass(frozen=True, slots=True)
class Chance:
    """What blind choice would need.

    Args:
        share: of all points of the space, those that are as good.
        median: experiments after which one of two blind searches has found one that is as good.
    """

    share: float
    median: float


def by_chance(plan: Plan, least: float, seed: int) -> Chance:
    """How long a blind search takes to find a point that is really worth `least`.

    From DRAWS points drawn at random; where none of them is as good, one in so many is taken to be.
    """
    drawn = optimiser("random").ask(plan.problem(), [], [], DRAWS, seed)
    found = sum(worth(plan, one.point) >= least for one in drawn)
    share = max(found, 1) / len(drawn)
    return Chance(share, math.log(0.5) / math.log1p(-share) if share < 1 else 1.0)
