"""BayBE behind the same interface: `pip install 'labd[bo]'`.

BayBE is given points to choose from (the pool, all there are, or many by chance) and what is wanted as numbers to
maximise; a law is not told to it. Its generators are seeded from the call's, so that the same arguments give the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pandas as pd
from baybe import Campaign
from baybe.objectives import ParetoObjective, SingleTargetObjective
from baybe.parameters import CategoricalParameter, CustomDiscreteParameter, NumericalDiscreteParameter
from baybe.searchspace import SearchSpace
from baybe.settings import Settings
from baybe.targets import NumericalTarget

from labd.campaign import goals, points
from labd.campaign.problem import Choice, Observation, Point, Problem, Proposal, Space


@dataclass(frozen=True, slots=True)
class BayBE:
    """BayBE's own recommender over candidates.

    Args:
        candidates: points by chance that it may choose from, where the space has no end.
    """

    candidates: int = 500

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        """Gives what BayBE recommends; failures only keep their points from being tried again."""
        space = problem.space
        lab = [one for one in told if one.fidelity == "lab"]
        done = [one.point for one in lab] + list(pending)
        taken = [points.key(space, point) for point in done]
        free = points.candidates(space, self.candidates, Random(f"baybe:{seed}:{len(done)}"), taken, self.candidates)
        if not free:
            return []
        distinct = list({points.key(space, point): point for point in done}.values())
        everything = _frame(space, [*free, *distinct])
        with warnings.catch_warnings(), Settings(random_seed=(seed + 7919 * len(done)) % 2**31):
            warnings.simplefilter("ignore")  # of torch and BayBE about their own insides
            searched = SearchSpace.from_dataframe(everything, _parameters(space, everything))
            campaign = Campaign(
                searched,
                _objective(problem),
                allow_recommending_already_measured=False,
                allow_recommending_already_recommended=True,
            )
            measured = _measured(problem, lab)
            if len(measured):
                campaign.add_measurements(measured)
            failed = [one.point for one in lab if one.failed]
            if failed:
                campaign.toggle_discrete_candidates(_frame(space, failed), exclude=True)
            waiting = _frame(space, pending) if pending else None
            found = campaign.recommend(min(count, len(free)), pending_experiments=waiting)
        return [
            Proposal({name: _plain(row[name]) for name in points.names(space)}, why="recommended by BayBE")
            for _, row in found.iterrows()
        ]


def _plain(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value)


def _frame(space: Space, some: Sequence[Point]) -> pd.DataFrame:
    return pd.DataFrame([{name: point[name] for name in points.names(space)} for point in some])


def _parameters(space: Space, everything: pd.DataFrame) -> list[Any]:
    """One a name; what never changes has no say, and BayBE takes no parameter of a single value."""
    choices = {dimension.name: dimension for dimension in space.dimensions if isinstance(dimension, Choice)}
    found: list[Any] = []
    for name in points.names(space):
        if everything[name].nunique() < 2:
            everything.drop(columns=name, inplace=True)  # noqa: PD002
        elif name not in choices:
            found.append(NumericalDiscreteParameter(name, tuple(sorted(everything[name].unique()))))
        elif all(level in choices[name].descriptors for level in choices[name].levels):
            rows = pd.DataFrame.from_dict(dict(choices[name].descriptors), orient="index").astype(float)
            found.append(CustomDiscreteParameter(name, rows))
        else:
            found.append(CategoricalParameter(name, choices[name].levels))
    return found


def _objective(problem: Problem) -> Any:
    if len(problem.objectives) > 1 and problem.combine == "pareto":
        return ParetoObjective([NumericalTarget(one.name) for one in problem.objectives])
    return SingleTargetObjective(NumericalTarget("score"))


def _measured(problem: Problem, lab: Sequence[Observation]) -> pd.DataFrame:
    """What was found, as numbers that are the better the greater."""
    rows = []
    for one in lab:
        score = goals.score(problem, one, lab)
        if score is not None:
            gains = {goal.name: goals.gain(goal, one.values[goal.name]) for goal in problem.objectives}  # noqa: PD011
            rows.append({**{name: one.point[name] for name in points.names(problem.space)}, **gains, "score": score})
    return pd.DataFrame(rows)
