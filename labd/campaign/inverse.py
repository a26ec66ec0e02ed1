"""Inverse design: which points have the properties that are wished for, how likely, and why; or why none has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from labd.campaign import points
from labd.campaign.bayesian import beliefs_of, near
from labd.campaign.models import Belief, Settings
from labd.campaign.problem import (
    CampaignError,
    Choice,
    Dimension,
    Mixture,
    Observation,
    Point,
    Prediction,
    Problem,
    Range,
)
from labd.campaign.wishes import Wish, parse

Array = NDArray[np.float64]
Made = dict[str, float | str]

NEVER = 0.02  # a chance below which a wish is said to be out of reach
_APART = 0.05  # how far candidates are from each other, in shares of the space's spans
_STEP = 0.1  # of a dimension's span, for sensitivities


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point with what is expected of it.

    Args:
        point: its settings.
        predicted: what is expected, in the objectives' units, without the measurement's noise.
        chance: that all wishes are met.
        why: what moves its properties, in sentences, the strongest first.
    """

    point: Point
    predicted: Mapping[str, Prediction]
    chance: float
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates, the likeliest first, and a verdict for people. `possible`: whether they may meet all wishes."""

    wishes: tuple[Wish, ...]
    possible: bool
    verdict: str
    candidates: tuple[Candidate, ...]


def propose(
    problem: Problem,
    told: Sequence[Observation],
    want: str,
    count: int = 5,
    seed: int = 0,
    *,
    trust: float = 0.8,
    noise: float = 0.05,
) -> Answer:
    """Looks for points with the properties that are wished for.

    Args:
        problem: the campaign's space, objectives and priors.
        told: all results so far, of all fidelities.
        want: wishes, `conductivity >= 10 mS/cm, viscosity <= 3 mPa*s`; a dimension may be limited as well.
        count: how many candidates at most.
        seed: of the search; the same gives the same.
        trust: probability before the first result that a prior law is worth more than none.
        noise: of a measurement, as a part of the objective's spread.

    Raises:
        CampaignError: a wish cannot be read, nothing is known of a property yet, or no point is allowed.
    """
    wishes = parse(want, problem)
    search = _Search(problem, told, wishes, Random(f"wish:{seed}"), Settings(trust, noise))
    found = search.best(count)
    chance = found[0][1]
    candidates = tuple(
        Candidate(
            point, {name: one.prediction(point) for name, one in search.beliefs.items()}, likely, search.why(point)
        )
        for point, likely in found
    )
    possible = chance >= NEVER
    verdict = search.reached(candidates[0]) if possible else search.out_of_reach(candidates[0])
    return Answer(wishes, possible, verdict, candidates)


class _Search:
    """Candidates of one space, and what the beliefs say of the wishes there."""

    def __init__(
        self, problem: Problem, told: Sequence[Observation], wishes: tuple[Wish, ...], dice: Random, settings: Settings
    ) -> None:
        self.problem, self.dice = problem, dice
        objectives = {one.name for one in problem.objectives}
        self.wishes = [one for one in wishes if one.name in objectives]
        self.limits = [one for one in wishes if one.name not in objectives]
        if not self.wishes:
            raise CampaignError(f"wish for one of the properties that are measured: {', '.join(sorted(objectives))}")
        for wish in self.wishes:
            if wish.name not in problem.prior and not any(wish.name in one.values for one in told):
                raise CampaignError(f"nothing is known of {wish.name} yet: tell a result, or name a law under `prior`")
        self.free: list[Made] = self._within(points.candidates(problem.space, 1500, dice))
        if not self.free:
            raise CampaignError(f"no point of the space has {' and '.join(map(str, self.limits))}")
        known = [
            one
            for one in problem.objectives
            if one.name in problem.prior or any(one.name in some.values for some in told)
        ]
        self.beliefs: dict[str, Belief] = beliefs_of(
            Problem(problem.space, tuple(known), problem.prior), told, settings, self.free
        )

    def _within(self, some: list[Made]) -> list[Made]:
        def fits(point: Made) -> bool:
            values = [(float(point[one.name]), one) for one in self.limits]
            return all(value >= one.limit if one.at_least else value <= one.limit for value, one in values)

        return [point for point in some if fits(point)]

    def chances(self, some: Sequence[Point], wishes: Sequence[Wish]) -> Array:
        """The logarithm of the probability that all of these wishes are met."""
        total: Array = np.zeros(len(some))
        for name in dict.fromkeys(one.name for one in wishes):
            mean, std = self.beliefs[name].predict(some)
            lows = [one.limit for one in wishes if one.name == name and one.at_least]
            highs = [one.limit for one in wishes if one.name == name and not one.at_least]
            if lows and highs:
                inside = ndtr((min(highs) - mean) / std) - ndtr((max(lows) - mean) / std)
                away = np.maximum(np.maximum(max(lows) - mean, mean - min(highs)), 0.0) / std
                total = total + np.where(inside > 1e-12, np.log(np.maximum(inside, 1e-12)), -27.0 - away)
            elif lows:
                total = total + log_ndtr((mean - max(lows)) / std)
            else:
                total = total + log_ndtr((min(highs) - mean) / std)
        return np.asarray(total)

    def shortfall(self, some: Sequence[Point], wishes: Sequence[Wish]) -> Array:
        """How much is missing of these wishes by what is expected, over the properties' spreads; below 0 to spare."""
        missing: list[Array] = []
        for wish in wishes:
            belief = self.beliefs[wish.name]
            mean, _ = belief.predict(some)
            missing.append((wish.limit - mean if wish.at_least else mean - wish.limit) / belief.scale)
        return np.asarray(np.max(np.stack(missing), axis=0))

    def refined(self, score: Callable[[Sequence[Point]], Array]) -> list[Made]:
        """All candidates, and more around the best of them, the best first."""
        found = list(self.free)
        if self.problem.space.pool is None:
            for width in (0.1, 0.04, 0.015):
                order = np.argsort(-score(found), kind="stable")[:8]
                moved = (near(self.problem.space, found[at], width, self.dice) for at in order for _ in range(20))
                found += self._within([one for one in moved if one and points.valid(self.problem.space, one)])
        return [found[at] for at in np.argsort(-score(found), kind="stable")]

    def best(self, count: int) -> list[tuple[Made, float]]:
        """The likeliest points that are not nearly the same; where none is likely, those that fall short least."""
        ranked = self.refined(lambda some: self.chances(some, self.wishes))
        if float(np.exp(self.chances(ranked[:1], self.wishes)[0])) < NEVER:
            ranked = self.refined(lambda some: -self.shortfall(some, self.wishes))
        chosen: list[Made] = []
        for point in ranked:
            if len(chosen) == count:
                break
            if all(points.distance(self.problem.space, point, one) >= _APART for one in chosen):
                chosen.append(point)
        return list(zip(chosen, np.exp(self.chances(chosen, self.wishes)).tolist(), strict=True))

    def reached(self, first: Candidate) -> str:
        wished = " and ".join(map(str, self.wishes))
        if first.chance >= 0.5:
            return f"{wished}: the first candidate meets it with {first.chance:.0%}"
        return f"{wished}: no point meets it more likely than not; the likeliest has {first.chance:.0%}"

    def out_of_reach(self, first: Candidate) -> str:
        """Which wishes nothing meets, or which do not go together; and what is nearest."""
        alone = {wish: self.refined(lambda some, wish=wish: self.chances(some, [wish]))[0] for wish in self.wishes}  # type: ignore[misc]
        told = []
        for wish, point in alone.items():
            if float(np.exp(self.chances([point], [wish])[0])) < NEVER:
                most = self._value(wish.name, self.refined(lambda some, wish=wish: -self.shortfall(some, [wish]))[0])  # type: ignore[misc]
                told.append(f"nothing in the space has {wish}: the {'most' if wish.at_least else 'least'} is {most}")
        if not told:
            told.append(f"nothing in the space has {' and '.join(map(str, self.wishes))} together, though each alone")
            for wish, point in alone.items():
                others = ", ".join(
                    self._told(one, point) for one in dict.fromkeys(w.name for w in self.wishes) if one != wish.name
                )
                told.append(f"where {wish} is likeliest: {others}")
        if len(self.wishes) > 1:
            nearest = ", ".join(self._told(one, first.point) for one in dict.fromkeys(w.name for w in self.wishes))
            told.append(f"the nearest has {nearest}")
        return "; ".join(told)

    def _told(self, name: str, point: Point) -> str:
        return f"{name} {self._value(name, point)}"

    def _value(self, name: str, point: Point) -> str:
        unit = next(one.unit for one in self.problem.objectives if one.name == name)
        found = self.beliefs[name].prediction(point)
        return f"{found.mean:.3g} ± {found.std:.2g} {unit}".rstrip()

    def why(self, point: Made, most: int = 4) -> tuple[str, ...]:
        """What changes the wished properties most, from this point on."""
        told: list[tuple[float, str]] = []
        for change, moved in _changes(self.problem.space.dimensions, point):
            for name in dict.fromkeys(one.name for one in self.wishes):
                belief = self.beliefs[name]
                mean, _ = belief.predict([point, moved])
                moves = float(mean[1] - mean[0])
                unit = next(one.unit for one in self.problem.objectives if one.name == name)
                way = "rises" if moves > 0 else "falls"
                told.append(
                    (abs(moves) / belief.scale, f"{name} {way} by {abs(moves):.2g} {unit}".rstrip() + f" {change}")
                )
        told.sort(key=lambda one: -one[0])
        return tuple(text for size, text in told[:most] if size > 0.01)


def _changes(dimensions: Sequence[Dimension], point: Made) -> list[tuple[str, Made]]:
    """One change of each dimension, upwards where there is room, in words and as a point."""
    found: list[tuple[str, Made]] = []
    for dimension in dimensions:
        if isinstance(dimension, Choice):
            others = [level for level in dimension.levels if level != point[dimension.name]]
            found += [(f"with {dimension.name} {level}", {**point, dimension.name: level}) for level in others]
        elif isinstance(dimension, Range):
            step = _STEP * (dimension.high - dimension.low)
            now = float(point[dimension.name])
            up = now + step <= dimension.high
            if step > 0:
                words = f"when {dimension.name} {'rises' if up else 'falls'} by {step:.2g} {dimension.unit}".rstrip()
                found.append((words, {**point, dimension.name: now + step if up else now - step}))
        else:
            found += _exchanges(dimension, point)
    return found


def _exchanges(mixture: Mixture, point: Made) -> list[tuple[str, Made]]:
    """Some of the largest part gives way to each other one."""
    largest = max(mixture.parts, key=lambda part: float(point[part]))
    found: list[tuple[str, Made]] = []
    for part, high in zip(mixture.parts, mixture.high, strict=True):
        amount = min(_STEP * mixture.total, high - float(point[part]), float(point[largest]))
        if part != largest and amount > 0:
            moved = {**point, part: float(point[part]) + amount, largest: float(point[largest]) - amount}
            found.append((f"with {amount:.2g} more {part} in place of {largest}", moved))
    return found
