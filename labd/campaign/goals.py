"""How good a result is: one number a result, greater is better, whatever its objectives want."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from labd.campaign.problem import CampaignError, Objective, Observation, Problem


def gain(objective: Objective, value: float) -> float:
    """A value as something to maximise, in the objective's unit: 0 is reached for targets and windows."""
    if objective.goal == "maximise":
        return value
    if objective.goal == "minimise":
        return -value
    if objective.goal == "target":
        return -abs(value - _target(objective))
    low = -math.inf if objective.low is None else objective.low
    high = math.inf if objective.high is None else objective.high
    return -max(0.0, low - value, value - high)


def _target(objective: Objective) -> float:
    if objective.target is None:
        raise CampaignError(f"objective {objective.name}: a target needs its value, `target: 3.0 {objective.unit}`")
    return objective.target


def spans(problem: Problem, told: Sequence[Observation]) -> dict[str, tuple[float, float]]:
    """For each objective the gains between which desirability runs from 0 to 1: its bounds, or what was seen."""
    found: dict[str, tuple[float, float]] = {}
    for objective in problem.objectives:
        seen = [
            gain(objective, one.values[objective.name])
            for one in told
            if one.fidelity == "lab" and objective.name in one.values
        ]
        low, high = min(seen, default=0.0), max(seen, default=1.0)
        if objective.goal in ("maximise", "minimise"):
            bounds = sorted(gain(objective, bound) for bound in (objective.low, objective.high) if bound is not None)
            if len(bounds) == 2:
                low, high = bounds
            else:
                low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)  # the best so far is not yet all
        else:
            low, high = min(low, -1e-9 * max(1.0, abs(objective.target or 0.0))), 0.0
        found[objective.name] = (low, high if high > low else low + 1.0)
    return found


def desirability(problem: Problem, gains: Mapping[str, float], between: Mapping[str, tuple[float, float]]) -> float:
    """The weighted geometric mean of all objectives' desirabilities, each from 0 to 1."""
    total = sum(objective.weight for objective in problem.objectives) or 1.0
    product = 1.0
    for objective in problem.objectives:
        low, high = between[objective.name]
        share = min(1.0, max(0.0, (gains[objective.name] - low) / (high - low)))
        product *= share ** (objective.weight / total)
    return product


def score(problem: Problem, observation: Observation, told: Sequence[Observation] = ()) -> float | None:
    """How good an observation is; None when it failed or lacks a value. One objective: its gain, in its unit."""
    if observation.failed or any(objective.name not in observation.values for objective in problem.objectives):
        return None
    gains = {one.name: gain(one, observation.values[one.name]) for one in problem.objectives}
    if len(problem.objectives) == 1:
        return next(iter(gains.values()))
    return desirability(problem, gains, spans(problem, told or [observation]))


def front(problem: Problem, told: Sequence[Observation]) -> list[Observation]:
    """The observations that no other one beats in all objectives."""
    good = [one for one in told if one.fidelity == "lab" and score(problem, one) is not None]
    gains = [[gain(objective, one.values[objective.name]) for objective in problem.objectives] for one in good]
    return [one for one, mine in zip(good, gains, strict=True) if not any(_beats(other, mine) for other in gains)]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


def best(problem: Problem, told: Sequence[Observation]) -> Observation | None:
    """The best observation of the lab so far; None before the first."""
    known = [(value, one) for one in told if one.fidelity == "lab" and (value := score(problem, one, told)) is not None]
    return max(known, key=lambda pair: pair[0], default=(0.0, None))[1]
