"""What a simulated lab would give for any point if nothing ever varied: the truth that a campaign looks for.

A lab of glass has no such thing; that is what the demo is for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import median

from labd.campaign.goals import score
from labd.campaign.optimisers import optimiser
from labd.campaign.plan import Plan
from labd.campaign.problem import Observation, Point
from simulators._kit.world import FAILED_CELLS
from simulators.cells.virtual import outcome

STOCKS = {
    "rich": "2M LiPF6 in EC:EMC 3:7",
    "lp30": "LP30",
    "pc": "1M LiPF6 in PC",
    "thin": "DMC",
    "slow": "DEC",
    "coat": "10% VC in EMC",
}
CYCLES = 10
DRAWS = 600
TRIES = 200
SIZES = (8, 16, 24, 32, 40, 60, 80, 120, 160, 240, 320)


def truth(point: Point) -> dict[str, float]:
    """The objectives of the demo's campaign at a point, of a cell without luck, in %."""
    return _measured(point, None)


def _measured(point: Point, seed: str | None) -> dict[str, float]:
    mixed = {STOCKS[name]: float(share) for name, share in point.items() if float(share) > 0}
    failures = 0.0 if seed is None else FAILED_CELLS
    figures = outcome(mixed, cycles=CYCLES, rate=2.0, hold=False, seed=seed, failures=failures)
    if f"ce_{CYCLES}" not in figures:
        return {}
    names = {"lasts": "ce", "conducts": "energy_efficiency"}
    return {name: 100.0 * figures[f"{figure}_{CYCLES}"] for name, figure in names.items()}


def worth(plan: Plan, point: Point, seed: str | None = None) -> float:
    """How good a point really is, from 0 to 1; with a seed, how good a cell of it is measured to be."""
    values = _measured(point, seed)
    return (score(plan.problem(), Observation(point, values)) if values else None) or 0.0


@dataclass(frozen=True, slots=True)
class Chance:
    """What blind choice would need.

    Args:
        cells: how many cells made at random until the one that is measured to be the best is as good, in the median of
            TRIES searches; None: not even with the last of SIZES.
        share: of all mixtures, those that really are as good.
    """

    cells: int | None
    share: float


def by_chance(plan: Plan, least: float, seed: int) -> Chance:
    """How long a blind search takes, with cells as lucky as the lab's, to find what is really worth `least`.

    From DRAWS points drawn at random, each measured once.
    """
    drawn = [one.point for one in optimiser("random").ask(plan.problem(), [], [], DRAWS, seed)]
    real = [worth(plan, point) for point in drawn]
    seen = [worth(plan, point, f"chance/{seed}/{number}") for number, point in enumerate(drawn)]
    dice = random.Random(seed)
    share = sum(one >= least for one in real) / len(real)
    for size in SIZES:
        found = (max(dice.choices(range(len(drawn)), k=size), key=seen.__getitem__) for _ in range(TRIES))
        if median(real[one] for one in found) >= least:
            return Chance(size, share)
    return Chance(None, share)
