"""What is believed of one objective: a mixture of processes, each with a mean of its own, weighted by its evidence.

Means: a constant; the prior law; what virtual cells of one fidelity teach. Each law and each learnt mean comes with a
factor near 1, an offset near 0 and small changes of its constants, all learnt. A mean that the lab's results contradict
loses its weight to the constant, and does no more harm; a value that is much worse than all others say counts
for little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from labd.campaign import goals
from labd.campaign.encoding import Encoder
from labd.campaign.gp import Basis, Priors, Process, fit
from labd.campaign.laws import Law
from labd.campaign.outliers import fit_most
from labd.campaign.problem import Observation, Point, Prediction, Problem

Array = NDArray[np.float64]

_FACTOR = 0.3  # how far a mean's factor may be from 1, as a standard deviation
_OFFSET = 0.3  # and its offset from 0, over the scale
_LEAST = 1e-3  # of the weight, below which a mean is left out
RESIDUAL = Priors(size=(float(np.log(0.35)), 0.7))  # what a law leaves to be learnt is smaller than what it says


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is believed before the first result.

    Args:
        trust: probability that the law is worth more than no law; virtual cells share it where there is no law.
        noise: of a measurement, over the objective's spread; where observations tell their own, theirs holds.
    """

    trust: float = 0.8
    noise: float = 0.05


Mean = Callable[[Sequence[Point]], Array]  # rows × (its value, then changes by its constants)


@dataclass(frozen=True, slots=True)
class _Member:
    """One process of the mixture."""

    name: str
    process: Process
    mean: Mean | None
    weight: float
    wrong: tuple[tuple[float, float], ...] = ()  # as of `Belief.wrong`

    def basis(self, points: Sequence[Point]) -> Array:
        ones = np.ones((len(points), 1))
        return ones if self.mean is None else np.hstack([ones, self.mean(points)])


class Belief:
    """Of one objective: predictions and samples at any points, from all that was told."""

    def __init__(self, encoder: Encoder, members: Sequence[_Member], scale: float) -> None:
        self._encoder = encoder
        self._members = members
        self.scale = scale

    @property
    def weights(self) -> dict[str, float]:
        """How much each mean is believed."""
        return {member.name: member.weight for member in self._members}

    @property
    def wrong(self) -> tuple[tuple[float, float], ...]:
        """Values that count for little, each with what all others say in its place, in the objective's unit."""
        return max(self._members, key=lambda member: member.weight).wrong

    @property
    def noise(self) -> float:
        """Standard deviation of a measurement, in the objective's unit."""
        return float(np.sqrt(sum(member.weight * member.process.noise**2 for member in self._members)))

    def predict(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """Means and standard deviations, without noise."""
        rows = self._encoder(points)
        each = [(member.weight, *member.process.predict(rows, member.basis(points))) for member in self._members]
        mean = np.asarray(sum(weight * one for weight, one, _ in each))
        spread = np.asarray(sum(weight * (std**2 + (one - mean) ** 2) for weight, one, std in each))
        return mean, np.sqrt(spread)

    def prediction(self, point: Point) -> Prediction:
        mean, std = self.predict([point])
        return Prediction(float(mean[0]), float(std[0]))

    def sample(self, points: Sequence[Point], count: int, dice: np.random.Generator) -> Array:
        """Functions at points, one a row: as many of each mean as its weight says."""
        rows = self._encoder(points)
        shares = _shares([member.weight for member in self._members], count)
        parts = [
            member.process.sample(rows, member.basis(points), dice.standard_normal((share, len(rows))))
            for member, share in zip(self._members, shares, strict=True)
            if share
        ]
        return np.vstack(parts)


def _shares(weights: Sequence[float], count: int) -> list[int]:
    """Whole numbers that sum to `count`, by weight; the largest remainders are rounded up."""
    exact = [weight * count for weight in weights]
    found = [int(one) for one in exact]
    for at in sorted(range(len(exact)), key=lambda i: found[i] - exact[i])[: count - sum(found)]:
        found[at] += 1
    return found


def believe(
    problem: Problem, objective: str, told: Sequence[Observation], settings: Settings, around: Sequence[Point]
) -> Belief:
    """What the told observations and the prior make of one objective.

    Args:
        problem: the space and the prior laws.
        objective: its name.
        told: all observations of all fidelities.
        settings: how much is believed before the first result.
        around: points of the space, from which the law's spread is known before the first result.
    """
    encoder = Encoder(problem.space)
    measured = [one for one in told if objective in one.values and not one.failed]
    lab = [one for one in measured if one.fidelity == "lab"]
    law = problem.prior.get(objective)
    law_mean = None if law is None else _of_law(law, around)
    scale, middle = _scale([one.values[objective] for one in lab], law_mean, around)
    means: dict[str, Mean | None] = {"constant": None}
    if law_mean is not None:
        means["law"] = law_mean
    for fidelity in sorted({one.fidelity for one in measured} - {"lab"}):
        virtual = [one for one in measured if one.fidelity == fidelity]
        means[fidelity] = _learnt(encoder, objective, virtual, law_mean)
    sought = next(one for one in problem.objectives if one.name == objective)
    return _mixture(encoder, objective, lab, means, scale, middle, settings, partial(goals.gain, sought))


def _scale(values: Sequence[float], mean: Mean | None, around: Sequence[Point]) -> tuple[float, float]:
    """What a large difference is, and where the middle is: of what was measured, and of the law."""
    said = mean(around)[:, 0] if mean is not None and len(around) else np.zeros(0)
    if len(said) and float(np.std(said)) > 0:
        return float(np.std(said)), float(np.mean(values)) if values else float(np.mean(said))
    if not values:
        return 1.0, 0.0
    spread = float(np.std(values)) if len(values) > 1 else 0.0
    return (spread or 0.1 * abs(values[0]) or 1.0), float(np.mean(values))


def _mixture(
    encoder: Encoder,
    objective: str,
    lab: Sequence[Observation],
    means: Mapping[str, Mean | None],
    scale: float,
    middle: float,
    settings: Settings,
    gain: Callable[[float], float],
) -> Belief:
    points = [one.point for one in lab]
    rows = encoder(points)
    values = np.array([one.values[objective] for one in lab], dtype=float)
    noise = np.array([one.noise.get(objective, 0.0) for one in lab], dtype=float)
    found: list[tuple[_Member, float]] = []
    for name, mean in means.items():
        basis = _basis(mean, points, scale, middle)
        spread = Priors() if mean is None else RESIDUAL
        priors = Priors(size=spread.size, noise=(float(np.log(settings.noise)), 1.0))
        process, odd = fit_most(rows, values, basis, scale, noise, priors, gain)
        wrong = tuple((float(values[at]), expected) for at, expected in sorted(odd.items()))
        trust = (1 - settings.trust) if mean is None else settings.trust / (len(means) - 1)
        member = _Member(name, process, mean, 0.0, wrong)
        found.append((member, process.evidence + float(np.log(1.0 if len(means) == 1 else trust))))
    most = max(evidence for _, evidence in found)
    odds = np.exp([evidence - most for _, evidence in found])
    odds = np.where(odds / odds.sum() < _LEAST, 0.0, odds)
    weights = odds / odds.sum()
    members = [
        replace(member, weight=float(weight)) for (member, _), weight in zip(found, weights, strict=True) if weight > 0
    ]
    return Belief(encoder, members, scale)


def _basis(mean: Mean | None, points: Sequence[Point], scale: float, middle: float) -> Basis:
    ones = np.ones((len(points), 1))
    if mean is None:
        return Basis(ones, np.array([middle]), np.array([scale]))
    values = np.hstack([ones, mean(points)])
    more = values.shape[1] - 2
    return Basis(values, np.array([0.0, 1.0, *[0.0] * more]), np.array([_OFFSET * scale, _FACTOR, *[1.0] * more]))


def _of_law(law: Callable[[Point], float], around: Sequence[Point]) -> Mean:
    """A law as a mean: its value, and what a standard deviation of each of its doubts changes."""
    doubts = law.doubts if isinstance(law, Law) else {}
    known: dict[tuple[tuple[str, float | str], ...], tuple[float, ...]] = {}

    def row(point: Point) -> tuple[float, ...]:
        name = tuple(point.items())
        if name not in known:
            value = law(point)
            known[name] = (value, *(law(point, **{one: std}) - value for one, std in doubts.items()))
        return known[name]

    def mean(points: Sequence[Point]) -> Array:
        return np.array([row(point) for point in points], dtype=float).reshape(len(points), 1 + len(doubts))

    mean(around)
    return mean


def _learnt(encoder: Encoder, objective: str, virtual: Sequence[Observation], law: Mean | None) -> Mean:
    """What virtual cells say, as a mean: a process of its own, around the law where there is one."""
    points = [one.point for one in virtual]
    values = np.array([one.values[objective] for one in virtual], dtype=float)
    scale, middle = _scale(list(values), law, points)
    basis = _basis(law, points, scale, middle)
    process = fit(encoder(points), values, basis, scale, None, Priors(noise=(float(np.log(0.01)), 1.0)))
    member = _Member("", process, law, 1.0)

    def mean(asked: Sequence[Point]) -> Array:
        return process.predict(encoder(asked), member.basis(asked))[0][:, None]

    return mean


def success(encoder: Encoder, told: Sequence[Observation], points: Sequence[Point]) -> Array:
    """The probability that a point gives a value at all: from failures near it, and one in twenty anywhere."""
    lab = [one for one in told if one.fidelity == "lab"]
    good, bad = 1.9, 0.1  # before the first: as if two had been made, of which a twentieth of all had failed
    if not any(one.failed for one in lab):
        return np.ones(len(points))
    rows, seen = encoder(points), encoder([one.point for one in lab])
    square = np.sum((rows[:, None, :] - seen[None, :, :]) ** 2, axis=2)
    near = np.exp(-0.5 * square / 0.15**2)
    failed = np.array([one.failed for one in lab], dtype=float)
    return np.asarray((good + near @ (1 - failed)) / (good + bad + near.sum(axis=1)))
