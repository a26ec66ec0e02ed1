"""Designs and points: allowed, on the lab's steps, never twice, and the same for the same seed."""

from __future__ import annotations

from random import Random

import pytest

from labd.campaign import points
from labd.campaign.optimisers import optimiser
from labd.campaign.problem import (
    CampaignError,
    Choice,
    Mixture,
    Objective,
    Observation,
    Point,
    Problem,
    Range,
    Space,
)

SOLVENTS = Mixture("solvents", ("EC", "EMC", "DMC"), (0.1, 0.0, 0.0), (0.6, 0.9, 0.9), step=0.05, least=0.1)
SPACE = Space(
    (
        SOLVENTS,
        Range("molality", 0.5, 2.0, "mol/kg", step=0.1),
        Range("dose", 20, 60, "µL"),
        Choice("salt", ("A", "B")),
    ),
    allowed=lambda point: float(point["EC"]) + float(point["EMC"]) <= 0.9,
)
POOL = Space(
    (Range("x", 0, 10), Range("y", 0, 10)),
    pool=tuple({"x": float(x), "y": float(y)} for x in range(5) for y in range(4)),
)
GOAL = (Objective("conductivity", "maximise", "mS/cm"),)
PLAIN = ("random", "latin", "grid", "ofat")


def told(found: list[Point], value: float = 1.0) -> list[Observation]:
    return [Observation(point, {"conductivity": value}) for point in found]


@pytest.mark.parametrize("name", PLAIN)
def test_proposals_are_allowed_and_on_the_labs_steps(name: str) -> None:
    found = optimiser(name).ask(Problem(SPACE, GOAL), [], [], 12, 1)
    assert len(found) == 12
    assert all(points.valid(SPACE, proposal.point) for proposal in found)


@pytest.mark.parametrize("name", PLAIN)
def test_same_arguments_give_same_proposals(name: str) -> None:
    one, other = (optimiser(name).ask(Problem(SPACE, GOAL), [], [], 5, 7) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("name", PLAIN)
def test_a_pool_is_tried_to_its_end_and_nothing_twice(name: str) -> None:
    problem, seen = Problem(POOL, GOAL), []
    for _ in range(5):
        pending = [proposal.point for proposal in optimiser(name).ask(problem, told(seen), [], 3, 3)]
        more = [proposal.point for proposal in optimiser(name).ask(problem, told(seen), pending, 3, 3)]
        seen += pending + more
    assert len(seen) == len({points.key(POOL, point) for point in seen}) == 20


def test_one_factor_goes_on_from_the_best_level() -> None:
    problem, seen = Problem(Space((Range("x", 0, 1), Range("y", 0, 1))), GOAL), []
    for _ in range(14):
        point = optimiser("ofat").ask(problem, seen, [], 1, 0)[0].point
        seen.append(Observation(point, {"conductivity": -abs(float(point["x"]) - 1) - abs(float(point["y"]) - 0.25)}))
    assert [one.point["x"] for one in seen[5:9]] == [1.0] * 4
    assert max(seen, key=lambda one: one.values["conductivity"]).point == {"x": 1.0, "y": 0.25}


def test_a_latin_hypercube_covers_every_range() -> None:
    found = optimiser("latin", size=10).ask(Problem(Space((Range("x", 0, 10), Range("y", 0, 10))), GOAL), [], [], 10, 4)
    for name in ("x", "y"):
        assert sorted(int(proposal.point[name]) for proposal in found) == list(range(10))


def test_a_grid_tries_all_its_nodes_before_finer_ones() -> None:
    found = optimiser("grid", levels=3).ask(Problem(Space((Range("x", 0, 2), Range("y", 0, 2))), GOAL), [], [], 9, 4)
    assert {(proposal.point["x"], proposal.point["y"]) for proposal in found} == {
        (x, y) for x in range(3) for y in range(3)
    }


def test_snapped_shares_sum_and_leave_out_what_is_too_little() -> None:
    shares = points.snap_shares(SOLVENTS, [0.32, 0.03, 0.65])
    assert shares in ([0.35, 0.0, 0.65], [0.3, 0.0, 0.7])


@pytest.mark.parametrize("seed", range(20))
def test_any_shares_snap_to_valid_ones(seed: int) -> None:
    dice = Random(seed)
    for mixture in (SOLVENTS, Mixture("m", ("a", "b", "c"), (0, 0.2, 0), (1, 0.5, 0.4), total=1.0)):
        made = points.snap_shares(mixture, [dice.random() for _ in range(3)])
        assert made is not None
        assert points.valid(Space((mixture,)), dict(zip(mixture.parts, made, strict=True)))


def test_a_finite_space_is_listed_whole() -> None:
    space = Space((Mixture("m", ("a", "b"), (0, 0), (1, 1), step=0.25, least=0.5), Choice("salt", ("A", "B"))))
    whole = points.every(space, 100)
    assert whole is not None
    assert {point["a"] for point in whole} == {0.0, 0.5, 1.0}
    assert len(whole) == 6


def test_constraints_that_leave_nothing_are_said() -> None:
    space = Space((Range("x", 0, 1),), allowed=lambda _: False)
    with pytest.raises(CampaignError, match="constraints"):
        optimiser("random").ask(Problem(space, GOAL), [], [], 1, 0)


def test_unknown_names_and_settings_are_said() -> None:
    with pytest.raises(CampaignError, match="there are random, latin"):
        optimiser("magic")
    with pytest.raises(CampaignError, match="levls"):
        optimiser("grid", levls=3)
