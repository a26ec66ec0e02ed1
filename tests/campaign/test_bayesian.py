"""The embedded optimiser: what it finds, what it makes of laws, failures, pending points and several objectives."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from labd.campaign import acquisition, goals, points
from labd.campaign.bayesian import Bayesian
from labd.campaign.encoding import Encoder
from labd.campaign.models import Settings, believe, success
from labd.campaign.problem import Mixture, Objective, Observation, Point, Problem, Range, Space

PLANE = Space((Range("x", 0, 1, step=0.05), Range("y", 0, 1, step=0.05)))
HIGH = (Objective("v", "maximise"),)


def hill(point: Point) -> float:
    return math.exp(-20 * ((float(point["x"]) - 0.8) ** 2 + (float(point["y"]) - 0.25) ** 2)) * 5


def upside_down(point: Point) -> float:
    return 5 - hill(point)


def told_at(*places: tuple[float, float], law: Callable[[Point], float] = hill) -> list[Observation]:
    return [Observation({"x": x, "y": y}, {"v": law({"x": x, "y": y})}) for x, y in places]


def needed(problem: Problem, seed: int, most: int = 40) -> int:
    """Experiments, one at a time with a little noise, until the hill's top is nearly reached."""
    dice, told = Random(seed), []
    asker = Bayesian(samples=128)
    while len(told) < most:
        point = asker.ask(problem, told, [], 1, seed)[0].point
        told.append(Observation(point, {"v": hill(point) + dice.gauss(0, 0.05)}))
        if hill(point) > 4.5:
            break
    return len(told)


def test_the_top_is_found_soon_and_a_law_finds_it_at_once() -> None:
    assert needed(Problem(PLANE, HIGH), 1) <= 25
    assert needed(Problem(PLANE, HIGH, {"v": lambda point: 0.7 * hill(point) + 1}), 1) <= 2


def test_a_law_that_is_upside_down_costs_few_experiments_and_loses_its_weight() -> None:
    wrong = Problem(PLANE, HIGH, {"v": upside_down})
    assert needed(wrong, 2) <= needed(Problem(PLANE, HIGH), 2) + 8
    told = told_at((0.1, 0.1), (0.8, 0.3), (0.5, 0.5), (0.9, 0.9), (0.7, 0.2), (0.2, 0.8))
    belief = believe(wrong, "v", told, Settings(), points.candidates(PLANE, 100, Random(0)))
    assert belief.weights.get("law", 0.0) < 0.2


def test_a_law_that_holds_gains_weight() -> None:
    right = Problem(PLANE, HIGH, {"v": lambda point: 0.8 * hill(point)})
    told = told_at((0.1, 0.1), (0.8, 0.3), (0.5, 0.5), (0.9, 0.9), (0.7, 0.2), (0.2, 0.8))
    belief = believe(right, "v", told, Settings(trust=0.5), points.candidates(PLANE, 100, Random(0)))
    assert belief.weights["law"] > 0.9


def test_virtual_cells_teach_where_to_look() -> None:
    virtual = [
        Observation(point, {"v": 1.5 + 0.6 * hill(point)}, fidelity="light")
        for point in points.candidates(PLANE, 60, Random(4))[::8]
    ]
    proposal = Bayesian().ask(Problem(PLANE, HIGH), virtual, [], 1, 0)[0]
    assert hill(proposal.point) > 3
    assert "light" in proposal.why


def test_the_same_arguments_give_the_same_and_nothing_twice() -> None:
    told = told_at((0.1, 0.1), (0.8, 0.3), (0.5, 0.5), (0.9, 0.9), (0.7, 0.2))
    pending = [{"x": 0.8, "y": 0.25}]
    one, other = (Bayesian().ask(Problem(PLANE, HIGH), told, pending, 8, 3) for _ in range(2))
    assert one == other
    keys = {points.key(PLANE, proposal.point) for proposal in one}
    assert len(keys) == 8
    assert not keys & {points.key(PLANE, point) for point in (*pending, *(seen.point for seen in told))}


def test_a_batch_of_eight_is_spread_more_than_the_best_eight() -> None:
    told = told_at((0.1, 0.1), (0.8, 0.4), (0.5, 0.5), (0.9, 0.9), (0.3, 0.2))
    batch = [proposal.point for proposal in Bayesian().ask(Problem(PLANE, HIGH), told, [], 8, 3)]
    apart = [points.distance(PLANE, one, other) for one in batch for other in batch if one is not other]
    assert np.mean(apart) > 0.25


def test_a_small_space_is_tried_to_its_end() -> None:
    space = Space((Range("x", 0, 1, step=0.25), Range("y", 0, 0)))
    told = [Observation({"x": x, "y": 0.0}, {"v": x}) for x in (0.0, 0.25, 0.5)]
    found = Bayesian().ask(Problem(space, HIGH), told, [{"x": 1.0, "y": 0.0}], 8, 0)
    assert [proposal.point["x"] for proposal in found] == [0.75]


def test_mixtures_without_an_end_are_refined_and_stay_valid() -> None:
    mixture = Mixture("m", ("a", "b", "c"), (0.1, 0, 0), (0.8, 0.9, 0.9), least=0.05)
    space = Space((mixture,), allowed=lambda point: float(point["b"]) <= 0.6)
    dice = Random(0)
    told = []
    for _ in range(12):
        for proposal in Bayesian(candidates=150, samples=64).ask(Problem(space, HIGH), told, [], 1, 0):
            assert points.valid(space, proposal.point)
            worth = -((float(proposal.point["a"]) - 0.437) ** 2) - (float(proposal.point["b"]) - 0.281) ** 2
            told.append(Observation(proposal.point, {"v": 10 * worth + dice.gauss(0, 0.01)}))
    assert max(one.values["v"] for one in told) > -0.15


def test_failures_teach_where_not_to_go_and_are_no_values() -> None:
    told = told_at((0.1, 0.1), (0.4, 0.25), (0.5, 0.5), (0.9, 0.9), (0.7, 0.6))
    failed = [Observation({"x": x, "y": 0.25}, failed=True, cause="no seal") for x in (0.75, 0.8, 0.85)]
    chance = success(Encoder(PLANE), [*told, *failed], [{"x": 0.8, "y": 0.3}, {"x": 0.1, "y": 0.15}])
    assert chance[0] < 0.45
    assert chance[1] > 0.9
    found = Bayesian().ask(Problem(PLANE, HIGH), [*told, *failed], [], 3, 0)
    assert all(not 0.72 < float(one.point["x"]) < 0.88 or float(one.point["y"]) not in (0.2, 0.25) for one in found)


def test_all_failed_still_gives_proposals() -> None:
    failed = [Observation({"x": x / 10, "y": 0.5}, failed=True) for x in range(6)]
    assert len(Bayesian().ask(Problem(PLANE, HIGH), failed, [], 4, 0)) == 4


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (Objective("v", "target", target=2.0), (1.0, 3.0)),
        (Objective("v", "window", low=1.5, high=2.5), (1.0, 3.0)),
        (Objective("v", "minimise"), (-1.0, 1.0)),
    ],
)
def test_targets_windows_and_least_values_are_sought(objective: Objective, wanted: tuple[float, float]) -> None:
    space = Space((Range("x", 0, 4),))
    told = [Observation({"x": x}, {"v": x}) for x in (0.7, 1.2, 2.9, 3.4, 4.0)]
    point = Bayesian(candidates=200).ask(Problem(space, (objective,)), told, [], 1, 0)[0].point
    assert wanted[0] <= float(point["x"]) <= wanted[1]


def two(combine: str) -> tuple[Problem, list[Observation]]:
    space = Space((Range("x", 0, 1, step=0.02),))
    objectives = (Objective("fast", "maximise"), Objective("cheap", "maximise"))
    told = [
        Observation({"x": x}, {"fast": math.sqrt(x), "cheap": math.sqrt(1 - x)}) for x in (0.0, 0.04, 0.2, 0.96, 1.0)
    ]
    return Problem(space, objectives, combine=combine), told  # type: ignore[arg-type]


def test_desirability_seeks_the_compromise() -> None:
    problem, told = two("desirability")
    found = Bayesian().ask(problem, told, [], 1, 0)[0]
    assert 0.3 < float(found.point["x"]) < 0.7
    assert set(found.predicted) == {"fast", "cheap"}


def test_pareto_spreads_along_the_front() -> None:
    problem, told = two("pareto")
    found = [float(one.point["x"]) for one in Bayesian().ask(problem, told, [], 6, 0)]
    assert max(found) - min(found) > 0.4


def test_the_front_is_what_nothing_beats() -> None:
    problem, told = two("pareto")
    beaten = Observation({"x": 0.5}, {"fast": 0.1, "cheap": 0.1})
    assert goals.front(problem, [*told, beaten, Observation({"x": 0.3}, failed=True)]) == told


def test_a_batch_prefers_what_adds_to_what_it_has() -> None:
    # columns 0 and 1 are the same function, 2 is as good elsewhere
    samples = {"v": np.array([[2.0, 2.0, 0.0, 1.0], [0.0, 0.0, 1.9, 1.0]])}
    utility = acquisition.utilities(Problem(PLANE, HIGH), {}, 2, np.random.default_rng(0))
    assert [column for column, *_ in acquisition.choose(samples, 3, utility, np.ones(3))] == [0, 2]


def test_a_result_that_counts_for_little_is_named() -> None:
    dice = Random(4)
    told = []
    for number in range(18):
        point = {"x": round(0.05 * dice.randint(0, 20), 2), "y": round(0.05 * dice.randint(0, 20), 2)}
        value = 2 * float(point["x"]) + float(point["y"]) + dice.gauss(0, 0.02)
        told.append(Observation(point, {"v": 0.0 if number == 9 else value + 10}))
    problem = Problem(PLANE, (Objective("v", "maximise", "mS/cm"),))
    (proposal,) = Bayesian(samples=64).ask(problem, told, [], 1, 1)
    assert "; a result of 0 mS/cm counts for little, the others speak for 1" in proposal.why
    (other,) = Bayesian(samples=64).ask(problem, [one for one in told if one.values["v"]], [], 1, 1)
    assert "counts for little" not in other.why
