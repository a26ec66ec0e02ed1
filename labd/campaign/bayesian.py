"""The embedded optimiser: Gaussian processes over candidates, refined near the best, and a batch chosen together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labd.campaign import acquisition, designs, goals, points
from labd.campaign.encoding import Encoder
from labd.campaign.models import Belief, Settings, believe, success
from labd.campaign.problem import (
    Choice,
    Mixture,
    Observation,
    Point,
    Problem,
    Proposal,
    Range,
    Space,
)

Array = NDArray[np.float64]
Made = dict[str, float | str]

_FEW = 500  # points up to which all are drawn together
_TOLD = 24  # of the told points, those that may be the best and are drawn with the candidates


@dataclass(frozen=True, slots=True)
class Bayesian:
    """Expected improvement under a Gaussian process whose mean is the prior law, where there is one.

    Args:
        candidates: points by chance of which the best are drawn together.
        samples: functions that are drawn.
        start: points by a design before the first model, where nothing is known beforehand.
        design: of these, `latin` or `random`.
        trust: probability before the first result that the law is worth more than none.
        noise: of a measurement, as a part of the objective's spread; learnt, and told ones hold.
    """

    candidates: int = 1000
    samples: int = 256
    start: int = 5
    design: Literal["latin", "random"] = "latin"
    trust: float = 0.8
    noise: float = 0.05

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        """Gives the points that promise most together; before the first results without a law, a spread design."""
        space = problem.space
        lab = [one for one in told if one.fidelity == "lab"]
        taken = {points.key(space, point) for point in (*(one.point for one in lab), *pending)}
        blind = not problem.prior and all(one.fidelity == "lab" for one in told)
        first = min(count, self.start - len(taken)) if blind else 0
        design = designs.Latin(max(self.start, count)) if self.design == "latin" else designs.Random()
        proposals = design.ask(problem, told, pending, first, seed) if first > 0 else []
        if blind and not any(not one.failed for one in lab):
            first = count - len(proposals)
            return proposals + designs.Random().ask(
                problem, told, [*pending, *(one.point for one in proposals)], first, seed
            )
        waiting = [*pending, *(one.point for one in proposals)]
        if count > len(proposals):
            proposals += self._chosen(problem, told, waiting, count - len(proposals), seed)
        return proposals

    def _chosen(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        space = problem.space
        lab = [one for one in told if one.fidelity == "lab"]
        done = [points.key(space, one) for one in (*(one.point for one in lab), *pending)]
        dice, chance = np.random.default_rng([seed, len(done)]), Random(f"gp:{seed}:{len(done)}")
        free: list[Made] = points.candidates(space, self.candidates, chance, done)
        if not free:
            return []
        beliefs = beliefs_of(problem, told, Settings(self.trust, self.noise), free)
        spans = goals.spans(problem, told) if lab else _expected_spans(problem, beliefs, free)
        free = _nearer(problem, beliefs, spans, free, lab, done, chance)
        known = _likely(problem, beliefs, spans, _distinct(space, [one.point for one in lab if not one.failed]))
        drawn = [*free, *known, *pending]
        samples = {name: belief.sample(drawn, self.samples, dice) for name, belief in beliefs.items()}
        batch = acquisition.utilities(problem, spans, count, dice)
        worth = success(Encoder(space), told, free)
        found = acquisition.choose(samples, len(free), batch, worth)
        return [_proposal(problem, beliefs, free[at], chance_, worth[at]) for at, _, chance_ in found]


def beliefs_of(
    problem: Problem, told: Sequence[Observation], settings: Settings, around: Sequence[Point]
) -> dict[str, Belief]:
    """What is believed of each objective, by name."""
    return {one.name: believe(problem, one.name, told, settings, around) for one in problem.objectives}


def _expected_spans(
    problem: Problem, beliefs: Mapping[str, Belief], free: Sequence[Point]
) -> dict[str, tuple[float, float]]:
    """Before the first result: what the laws expect."""
    means = {name: belief.predict(free)[0] for name, belief in beliefs.items()}
    expected = [
        Observation(point, {name: float(values[at]) for name, values in means.items()}) for at, point in enumerate(free)
    ]
    return goals.spans(problem, expected)


def _promise(
    problem: Problem, beliefs: Mapping[str, Belief], spans: Mapping[str, tuple[float, float]], some: Sequence[Point]
) -> Array:
    """How good points may be: the best of what is expected, one and two standard deviations either way."""
    either = {name: belief.predict(some) for name, belief in beliefs.items()}
    utility = acquisition.utilities(
        problem if problem.combine == "desirability" else _combined(problem), spans, 1, np.random.default_rng(0)
    )[0]
    tries = [
        utility({name: mean + shift * sign[name] * std for name, (mean, std) in either.items()})
        for shift in (0.0, 1.0, 2.0)
        for sign in _signs(problem)
    ]
    return np.asarray(np.max(np.stack([np.broadcast_to(one, len(some)) for one in tries]), axis=0))


def _combined(problem: Problem) -> Problem:
    return Problem(problem.space, problem.objectives, problem.prior, "desirability")


def _signs(problem: Problem) -> list[dict[str, float]]:
    """Which way is better for each objective; both for targets and windows."""
    up = {one.name: -1.0 if one.goal == "minimise" else 1.0 for one in problem.objectives}
    down = {one.name: up[one.name] if one.goal in ("maximise", "minimise") else -1.0 for one in problem.objectives}
    return [up] if up == down else [up, down]


def _distinct(space: Space, some: Iterable[Point]) -> list[Point]:
    return list({points.key(space, point): point for point in some}.values())


def _likely(
    problem: Problem, beliefs: Mapping[str, Belief], spans: Mapping[str, tuple[float, float]], some: list[Point]
) -> list[Point]:
    """Those of the told points that may be the best."""
    if len(some) <= _TOLD:
        return some
    order = np.argsort(-_promise(problem, beliefs, spans, some), kind="stable")
    return [some[at] for at in order[:_TOLD]]


def _nearer(
    problem: Problem,
    beliefs: Mapping[str, Belief],
    spans: Mapping[str, tuple[float, float]],
    free: list[Made],
    lab: Sequence[Observation],
    done: Sequence[points.Key],
    chance: Random,
) -> list[Made]:
    """Of many candidates the most promising; where the space has no list of its points, refined around the best."""
    space = problem.space
    if len(free) <= _FEW and points.every(space, _FEW) is not None:
        return free
    seen = {*done, *(points.key(space, point) for point in free)}
    for width in (0.1, 0.03):
        order = np.argsort(-_promise(problem, beliefs, spans, free), kind="stable")
        centres: list[Point] = [free[at] for at in order[:6]]
        best = goals.best(problem, lab)
        for centre in centres + ([best.point] if best else []):
            for _ in range(12):
                moved = near(space, centre, width, chance)
                if moved is not None and (name := points.key(space, moved)) not in seen and points.valid(space, moved):
                    seen.add(name)
                    free.append(moved)
    order = np.argsort(-_promise(problem, beliefs, spans, free), kind="stable")
    return [free[at] for at in order[: _FEW // 2]]


def near(space: Space, point: Point, width: float, chance: Random) -> Made | None:
    """A point near another: a step by chance, in shares of each dimension's span."""
    moved: Made = dict(point)
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            if chance.random() < width:
                moved[dimension.name] = chance.choice(dimension.levels)
        elif isinstance(dimension, Range):
            if chance.random() < 0.7:
                span = dimension.high - dimension.low
                moved[dimension.name] = float(point[dimension.name]) + chance.gauss(0, width) * span
        else:
            _exchange(dimension, point, moved, width, chance)
    return points.snap(space, moved)


def _exchange(mixture: Mixture, point: Point, moved: Made, width: float, chance: Random) -> None:
    """Some of one part in place of another."""
    if len(mixture.parts) > 1:
        more, less = chance.sample(mixture.parts, 2)
        amount = abs(chance.gauss(0, width)) * mixture.total
        amount = min(amount, float(point[less]))
        moved[more], moved[less] = float(point[more]) + amount, float(point[less]) - amount


def _proposal(problem: Problem, beliefs: Mapping[str, Belief], point: Made, chance: float, worth: float) -> Proposal:
    predicted = {name: belief.prediction(point) for name, belief in beliefs.items()}
    told = ", ".join(
        f"{one.name} {predicted[one.name].mean:.3g} ± {predicted[one.name].std:.2g} {one.unit}".rstrip()
        for one in problem.objectives
    )
    why = f"expected {told}; better than all before it with {chance:.0%}"
    if worth < 0.94:
        why += f"; gives a value with {worth:.0%}"
    for one in problem.objectives:
        for value, expected in beliefs[one.name].wrong:
            doubted = f"a result of {value:.3g} {one.unit}".rstrip()
            why += f"; {doubted} counts for little, the others speak for {expected:.3g}"
    weights = {name: weight for belief in beliefs.values() for name, weight in belief.weights.items()}
    if len(weights) > 1 or "constant" not in weights:
        why += "; believed: " + ", ".join(f"{_told(name)} {weight:.0%}" for name, weight in weights.items())
    return Proposal(point, predicted, why)


def _told(name: str) -> str:
    return {"constant": "no law", "law": "the law"}.get(name, name)
