"""Which points to try together: those that improve most on the best, over functions drawn from what is believed.

Expected improvement of a whole batch, by Monte Carlo and greedily: each further point adds to what the ones before it
(and those under way) may give in the same functions. Measurements are noisy, so the best so far is drawn as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from labd.campaign.problem import Objective, Problem

Array = NDArray[np.float64]
Utility = Callable[[Mapping[str, Array]], Array]  # values by objective -> how good, elementwise


def gains(objective: Objective, values: Array) -> Array:
    """As `goals.gain`, for arrays."""
    if objective.goal == "maximise":
        return values
    if objective.goal == "minimise":
        return -values
    if objective.goal == "target":
        return -np.abs(values - float(objective.target or 0.0))
    low = -np.inf if objective.low is None else objective.low
    high = np.inf if objective.high is None else objective.high
    return np.asarray(-np.maximum(0.0, np.maximum(low - values, values - high)))


def utilities(
    problem: Problem, spans: Mapping[str, tuple[float, float]], count: int, dice: np.random.Generator
) -> list[Utility]:
    """One for each point of a batch: all the same, or along the Pareto front in different directions."""
    if len(problem.objectives) == 1:
        only = problem.objectives[0]
        return [lambda values: gains(only, values[only.name])] * count
    if problem.combine == "desirability":
        return [lambda values: _desirability(problem, spans, values)] * count
    weights = np.array([objective.weight for objective in problem.objectives])
    towards = dice.dirichlet(np.ones(len(weights)), size=count) * weights
    return [_chebyshev(problem, spans, one / one.sum()) for one in towards]


def _share(objective: Objective, spans: Mapping[str, tuple[float, float]], values: Mapping[str, Array]) -> Array:
    low, high = spans[objective.name]
    return np.asarray((gains(objective, values[objective.name]) - low) / (high - low))


def _desirability(problem: Problem, spans: Mapping[str, tuple[float, float]], values: Mapping[str, Array]) -> Array:
    total = sum(objective.weight for objective in problem.objectives)
    product: Array = np.ones(1)
    for objective in problem.objectives:
        share = np.clip(_share(objective, spans, values), 1e-3, 1.0)  # nothing is so bad that all else is alike
        product = product * share ** (objective.weight / total)
    return product


def _chebyshev(problem: Problem, spans: Mapping[str, tuple[float, float]], weights: Array) -> Utility:
    def utility(values: Mapping[str, Array]) -> Array:
        parts = np.stack(
            [weight * _share(one, spans, values) for weight, one in zip(weights, problem.objectives, strict=True)]
        )
        return np.asarray(parts.min(axis=0) + 0.05 * parts.sum(axis=0))

    return utility


def choose(
    samples: Mapping[str, Array], free: int, batch: Sequence[Utility], worth: Array
) -> list[tuple[int, float, float]]:
    """Chooses points greedily: column, expected improvement by it, and its chance to be better than all before it.

    Args:
        samples: drawn values by objective: a row each function; first the `free` columns, then told and pending ones.
        free: how many columns may be chosen.
        batch: what is wanted of each point.
        worth: factor of each free column's improvement, such as its chance not to fail.
    """
    chosen: list[tuple[int, float, float]] = []
    open_ = np.ones(free, dtype=bool)
    for utility in batch:
        if not open_.any():
            break
        good = utility(samples)
        taken = [*range(free, good.shape[1]), *(column for column, *_ in chosen)]
        # with nothing to compare with, the middle of what is expected is what has to be beaten
        best = good[:, taken].max(axis=1) if taken else np.full(len(good), np.median(good))
        better = np.maximum(good[:, :free] - best[:, None], 0.0)
        expected = better.mean(axis=0) * worth
        if expected[open_].max() > 1e-12:
            ranked = expected
        else:  # nothing is expected anywhere: where most is unknown
            ranked = (good[:, :free].mean(axis=0) + 2 * good[:, :free].std(axis=0)) * 1.0
        column = int(np.argmax(np.where(open_, ranked, -np.inf)))
        open_[column] = False
        chosen.append((column, float(expected[column]), float(np.mean(better[:, column] > 0))))
    return chosen
