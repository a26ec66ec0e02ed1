"""Designs that look at no model: by chance, Latin hypercube, full grid, and one factor at a time.

They are what a campaign is compared with, and its first points where nothing is known. In a pool each takes the point
that is nearest to the one that it would like.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random as Dice

from labd.campaign import goals, points
from labd.campaign.problem import (
    CampaignError,
    Choice,
    Dimension,
    Mixture,
    Observation,
    Point,
    Problem,
    Proposal,
    Range,
    Space,
)

Made = dict[str, float | str]
_SPREAD = 200  # points by chance of which the nearest is taken where the one that is wanted is not allowed


def _taken(space: Space, told: Sequence[Observation], pending: Sequence[Point]) -> set[points.Key]:
    """What is tried or under way; virtual cells take nothing from the lab."""
    tried = [observation.point for observation in told if observation.fidelity == "lab"]
    return {points.key(space, point) for point in (*tried, *pending)}


class _Free:
    """What may still be chosen: the untaken points nearest to wanted ones."""

    def __init__(self, space: Space, taken: Iterable[points.Key], seed: object) -> None:
        self.space = space
        self.taken = set(taken)
        self._dice = Dice(f"free:{seed}")
        self._rest: list[Made] = []
        self._near: Callable[[Point], Iterable[int]] | None = None

    def take(self, wanted: Made | None) -> Made | None:
        """The wanted point, or the nearest that is free; None when none is left."""
        if wanted is not None and self.space.pool is None and points.key(self.space, wanted) not in self.taken:
            return self._keep(wanted)
        if self._near is None:
            self._rest = points.candidates(self.space, _SPREAD, self._dice, self.taken)
            self._near = _nearest(self.space, self._rest)
        order = self._near(wanted) if wanted is not None else self._dice.sample(range(len(self._rest)), len(self._rest))
        for at in order:
            if points.key(self.space, self._rest[at]) not in self.taken:
                return self._keep(self._rest[at])
        return None

    def _keep(self, point: Made) -> Made:
        self.taken.add(points.key(self.space, point))
        return point


def _nearest(space: Space, some: Sequence[Point]) -> Callable[[Point], Iterable[int]]:
    """The places of these points, the nearest to a wanted one first."""
    import numpy as np

    from labd.campaign.encoding import Encoder

    encode = Encoder(space)
    rows = encode(some)
    return lambda wanted: map(int, np.argsort(((rows - encode([wanted])) ** 2).sum(axis=1), kind="stable"))


@dataclass(frozen=True, slots=True)
class Random:
    """Points by chance, each as likely as any other."""

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        taken = _taken(problem.space, told, pending)
        dice = Dice(f"random:{seed}:{len(taken)}")
        found = points.candidates(problem.space, count, dice, taken)
        return [Proposal(point, why="by chance") for point in dice.sample(found, min(count, len(found)))]


@dataclass(frozen=True, slots=True)
class Latin:
    """Latin hypercubes of `size` points, one after the other: in each, every dimension's range is covered evenly."""

    size: int = 24

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        space = problem.space
        taken = _taken(space, told, pending)
        free = _Free(space, taken, seed)
        found: list[Proposal] = []
        for number in range(len(taken), len(taken) + count):
            cube, place = divmod(number, self.size)
            point = free.take(points.from_unit(space, self._cube(points.units(space), f"{seed}:{cube}")[place]))
            if point is not None:
                found.append(Proposal(point, why=f"Latin hypercube {cube + 1}, point {place + 1} of {self.size}"))
        return found

    def _cube(self, dimensions: int, seed: str) -> list[tuple[float, ...]]:
        dice = Dice(f"latin:{seed}")
        columns = [dice.sample(range(self.size), self.size) for _ in range(dimensions)]
        return [tuple((place + dice.random()) / self.size for place in row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of so many levels of each dimension, in an order by chance; finer when all are tried."""

    levels: int = 3

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        space = problem.space
        taken = _taken(space, told, pending)
        free = _Free(space, taken, seed)
        found: list[Proposal] = []
        nodes = itertools.islice(self._nodes(space, seed), len(taken) if space.pool is not None else 0, None)
        while len(found) < count:
            wanted = next(nodes, None)
            if wanted is not None and space.pool is None and points.key(space, wanted) in free.taken:
                continue
            point = free.take(wanted)
            if point is None:
                break
            found.append(Proposal(point, why="a node of the grid" if wanted else "by chance: the grid is tried"))
        return found

    def _nodes(self, space: Space, seed: int) -> Iterator[Made]:
        for finer in range(3):
            each = [_levels(dimension, self.levels * 2**finer - (finer > 0)) for dimension in space.dimensions]
            total = 1
            for one in each:
                total *= len(one)
            dice = Dice(f"grid:{seed}:{finer}")
            order = dice.sample(range(total), min(total, 2000))
            for number in order:
                wanted: Made = {}
                for one in each:
                    number, place = divmod(number, len(one))  # noqa: PLW2901 - its digits, one dimension after the other
                    wanted |= one[place]
                made = points.snap(space, wanted)
                if made is not None:
                    yield made


@dataclass(frozen=True, slots=True)
class OneFactor:
    """One dimension after the other is varied in so many levels, with the others as in the best that was found."""

    levels: int = 5

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        space = problem.space
        scores = {
            points.key(space, one.point): goals.score(problem, one, told) for one in told if one.fidelity == "lab"
        }
        waiting = {points.key(space, point) for point in pending}
        walk = _Free(space, (), 0)  # what this design chose itself, in its order: the same each time
        free = _Free(space, scores.keys() | waiting, seed)
        found: list[Proposal] = []
        base = points.centre(space)
        for name, levels in itertools.islice(self._factors(space), 40 * len(points.names(space))):
            chosen = [walk.take(base) or base] if not walk.taken else []
            for wanted in (_varied(space, base, name, value) for value in levels):
                fresh = wanted is not None and points.key(space, wanted) not in walk.taken
                if fresh and (one := walk.take(wanted)) is not None:
                    chosen.append(one)
            for one in chosen:
                if points.key(space, one) not in free.taken and len(found) < count:
                    free.taken.add(points.key(space, one))
                    found.append(Proposal(one, why=f"{name} varied alone"))
            if len(found) == count:
                return found
            known = [one for one in (base, *chosen) if scores.get(points.key(space, one)) is not None]
            base = max(known, key=lambda one: scores[points.key(space, one)] or 0.0, default=base)
        while len(found) < count and (one := free.take(None)) is not None:
            found.append(Proposal(one, why="by chance: every factor is tried"))
        return found

    def _factors(self, space: Space) -> Iterator[tuple[str, list[float | str]]]:
        for finer in itertools.count():
            for dimension in space.dimensions:
                for part in dimension.parts if isinstance(dimension, Mixture) else (dimension.name,):
                    yield part, _values(dimension, part, self.levels * 2**finer - (finer > 0))
            if finer == 3:
                return


def _values(dimension: Dimension, part: str, count: int) -> list[float | str]:
    """Levels of one factor, evenly from its lowest to its highest."""
    if isinstance(dimension, Choice):
        return list(dimension.levels)
    if isinstance(dimension, Range):
        low, high = dimension.low, dimension.high
    else:
        at = dimension.parts.index(part)
        low, high = dimension.low[at], min(dimension.high[at], dimension.total)
    return [low + (high - low) * i / max(1, count - 1) for i in range(count)]


def _varied(space: Space, base: Point, name: str, value: float | str) -> Made | None:
    """The base with one factor changed; the other parts of a mixture keep their ratios."""
    wanted = {**base, name: value}
    for dimension in space.dimensions:
        if isinstance(dimension, Mixture) and name in dimension.parts:
            others = [part for part in dimension.parts if part != name]
            now = sum(float(base[part]) for part in others)
            left = dimension.total - float(value)
            for part in others:
                wanted[part] = float(base[part]) * left / now if now > 0 else left / len(others)
    return wanted if space.pool is not None else points.snap(space, wanted)


def _levels(dimension: Dimension, count: int) -> list[Made]:
    """Levels of a dimension for a grid; of a mixture the lattice of its simplex within its bounds."""
    if not isinstance(dimension, Mixture):
        return [{dimension.name: value} for value in _values(dimension, dimension.name, count)]
    share = dimension.total / max(1, count - 1)
    found = []
    for cuts in itertools.combinations_with_replacement(range(len(dimension.parts)), max(1, count - 1)):
        made = points.snap_shares(dimension, [share * cuts.count(at) for at in range(len(dimension.parts))])
        if made is not None and made not in found:
            found.append(made)
    if not found:
        raise CampaignError(f"mixture {dimension.name}: no shares within its bounds sum to {dimension.total:g}")
    return [dict(zip(dimension.parts, made, strict=True)) for made in found]
