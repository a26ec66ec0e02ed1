"""A race of optimisers over a pool: how many experiments each needs until one of the best formulations is measured."""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks._pool import Pool, part, random_median
from labd.campaign.laws.conductivity import Conductivity
from labd.campaign.optimisers import optimiser
from labd.campaign.problem import Objective, Observation, Optimiser, Point, Problem, Proposal

NOISE = 0.03  # of a measurement, relative
OFF = 0.3  # of a law that is made wrong, relative
LONGEST = 160  # experiments, after which a race is given up and counted as this long
WATCHED = 24  # experiments that are made in any case, for the enhancement factor
MIXING, MEASURING = 1 / 3, 1.0  # h a formulation to dose and fill, one after the other; h a round for 25 °C and EIS
OBJECTIVE = (Objective("conductivity", "maximise", "mS/cm"),)

_Name = tuple[tuple[str, float | str], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """An optimiser, and which law it is told: none, the published one, or one that is made wrong.

    `shuffled`: its values are dealt out anew; `off`: each is off by a factor of its own, 30 % as a standard deviation.
    """

    name: str
    optimiser: str
    law: str = ""
    design: str = ""
    watched: int = WATCHED  # experiments that are made in any case
    longest: int = LONGEST


METHODS = {
    method.name: method
    for method in (
        Method("grid", "grid"),
        Method("latin", "latin"),
        Method("one_factor", "ofat"),
        Method("gp", "gp"),
        Method("gp_by_chance", "gp", design="random"),  # its first five points by chance, not by a Latin hypercube
        Method("physics", "gp", "law"),
        Method("physics_shuffled", "gp", "shuffled"),
        Method("physics_off", "gp", "off"),
        Method("law_alone", "ranked", "law"),
        Method("law_off_alone", "ranked", "off"),
        Method("baybe", "baybe", watched=0, longest=80),  # each question takes seconds
    )
}


@dataclass(frozen=True, slots=True)
class Table:
    """A law's values in a pool, worked out once; dealt to other formulations where it is shuffled."""

    rows: Mapping[_Name, tuple[float, ...]]
    stds: Mapping[str, float]

    @property
    def doubts(self) -> Mapping[str, float]:
        return self.stds

    def __call__(self, point: Point, **changed: float) -> float:
        row = self.rows[tuple(point.items())]
        at = {name: place for place, name in enumerate(self.stds, 1)}
        return row[0] + sum(row[at[name]] * share / self.stds[name] for name, share in changed.items())

    def shuffled(self, seed: int) -> Table:
        values = list(self.rows.values())
        random.Random(f"shuffled:{seed}").shuffle(values)
        return Table(dict(zip(self.rows, values, strict=True)), self.stds)

    def off(self, seed: int) -> Table:
        dice = random.Random(f"off:{seed}")
        factors = [math.exp(dice.gauss(0, OFF)) for _ in self.rows]
        rows = {
            name: tuple(factor * one for one in row)
            for (name, row), factor in zip(self.rows.items(), factors, strict=True)
        }
        return Table(rows, self.stds)


@functools.lru_cache(maxsize=4)
def table(pool: Pool) -> Table:
    law = Conductivity(temperature="temperature")
    rows = {}
    for point in pool.points:
        value = law(point)
        changes = (law(point, **{name: std}) - value for name, std in law.doubts.items())
        rows[tuple(point.items())] = (value, *changes)
    return Table(rows, law.doubts)


@dataclass(slots=True)
class Run:
    """One race: when the first of the best was measured, and what else was found on the way."""

    hit: int = LONGEST  # experiments, in the order in which they were proposed
    made: int = LONGEST  # experiments, until the end of the round that had it
    rounds: int = LONGEST
    found: int = 0  # of the best hundredth, after WATCHED experiments

    @property
    def hours(self) -> float:
        return self.made * MIXING + self.rounds * MEASURING


def race(method: Method, pool: Pool, batch: int, seed: int) -> Run:
    """One campaign with one seed."""
    dice = random.Random(f"noise:{seed}")
    noises = [dice.gauss(0, NOISE) for _ in pool.points]
    number = {tuple(point.items()): at for at, point in enumerate(pool.points)}
    true = table(pool)
    prior = {"": None, "law": true, "shuffled": true.shuffled(seed), "off": true.off(seed)}[method.law]
    problem = Problem(pool.space(), OBJECTIVE, {} if prior is None else {"conductivity": prior})
    asker = _asker(method)
    told: list[Observation] = []
    run = Run(method.longest, method.longest, -(-method.longest // batch))
    while len(told) < (method.watched if run.hit < method.longest else method.longest):
        proposals = asker.ask(problem, told, [], batch, seed)
        if not proposals:
            break
        for proposal in proposals:
            at = number[tuple(proposal.point.items())]
            value = pool.values[at] * (1 + noises[at])
            told.append(Observation(proposal.point, {"conductivity": value}))
            run.found += at in pool.top and len(told) <= WATCHED
            if at in pool.top and run.hit == method.longest:
                run.hit = len(told)
        if run.hit < method.longest and run.made == method.longest:
            run.made, run.rounds = len(told), -(-len(told) // batch)
    return run


def _asker(method: Method) -> Optimiser:
    if method.optimiser == "ranked":
        return Ranked()
    return optimiser(method.optimiser, **({"design": method.design} if method.design else {}))


class Ranked:
    """What the law alone says, without learning: the best first."""

    def ask(
        self,
        problem: Problem,
        told: Sequence[Observation],
        pending: Sequence[Point],  # noqa: ARG002 - of the interface
        count: int,
        seed: int,  # noqa: ARG002
    ) -> list[Proposal]:
        law = problem.prior["conductivity"]
        ranked = sorted(problem.space.pool or (), key=law, reverse=True)
        return [Proposal(point) for point in ranked[len(told) : len(told) + count]]


def halved(pool: Pool, seed: int) -> Pool:
    """Half of a pool by chance, with its own best hundredth."""
    dice = random.Random(f"half:{seed}")
    return part(pool, sorted(dice.sample(range(len(pool.points)), len(pool.points) // 2)))


def bootstrap(values: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    """The interval that holds 95 % of a statistic over resampled values."""
    dice = random.Random("bootstrap")
    found = sorted(statistic(dice.choices(values, k=len(values))) for _ in range(2000))
    return found[50], found[1949]


def acceleration(runs: Sequence[Run], pool: Pool, *, whole: bool) -> tuple[float, float, float]:
    """The exact random median over the method's median, with its interval; in whole rounds or up to the hit."""
    by_chance = random_median(len(pool.points), len(pool.top))
    values = [float(run.made if whole else run.hit) for run in runs]

    def factor(some: Sequence[float]) -> float:
        return by_chance / statistics.median(some)

    return factor(values), *bootstrap(values, factor)


def enhancement(runs: Sequence[Run], pool: Pool) -> float:
    """How many of the best are found after WATCHED experiments, over what as many by chance find."""
    return statistics.mean(run.found for run in runs) / (WATCHED * len(pool.top) / len(pool.points))
