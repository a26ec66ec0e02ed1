"""Wishes are read with their units, met where that can be, and refused with the reason where it cannot."""

from __future__ import annotations

from random import Random

import pytest

from labd.campaign import points
from labd.campaign.inverse import propose
from labd.campaign.problem import CampaignError, Mixture, Objective, Observation, Point, Problem, Range, Space
from labd.campaign.wishes import parse

SPACE = Space((Mixture("solvents", ("EC", "DMC"), (0, 0), (1, 1)), Range("molality", 0.5, 2.0, "mol/kg")))
PROBLEM = Problem(SPACE, (Objective("conductivity", "maximise", "mS/cm"), Objective("viscosity", "minimise", "mPa*s")))


def made(point: Point) -> dict[str, float]:
    ec, salt = float(point["EC"]), float(point["molality"])
    return {"conductivity": 4 + 10 * ec * (1 - (salt - 1) ** 2), "viscosity": 0.6 + 2.5 * ec + salt}


@pytest.fixture(scope="module")
def told() -> list[Observation]:
    return [Observation(point, made(point)) for point in points.candidates(SPACE, 30, Random(1))]


def test_wishes_come_in_the_campaigns_units() -> None:
    found = parse("conductivity >= 1 S/m and 3 cP >= viscosity, molality <= 1.2 mol/kg, EC > 0.1", PROBLEM)
    assert [str(one) for one in found] == [
        "conductivity >= 10 mS/cm",
        "viscosity <= 3 mPa*s",
        "molality <= 1.2 mol/kg",
        "EC >= 0.1",
    ]


@pytest.mark.parametrize(
    ("want", "said"),
    [
        ("conductivty >= 3 mS/cm", "did you mean `conductivity`"),
        ("conductivity >= 3 V", "cannot be compared"),
        ("conductivity == 3 mS/cm", "for a window, both"),
        ("conductivity >= viscosity", "cannot be compared"),
        ("EC >= molality", "."),
        ("EC <= 0.5", "wish for one of the properties"),
        ("conductivity >= 3 mS/cm, molality >= 5 mol/kg", "no point of the space has molality >= 5 mol/kg"),
    ],
)
def test_what_is_wrong_with_a_wish_is_said(want: str, said: str, told: list[Observation]) -> None:
    with pytest.raises(CampaignError, match=said):
        propose(PROBLEM, told, want)


def test_nothing_known_is_said() -> None:
    with pytest.raises(CampaignError, match="nothing is known of viscosity yet"):
        propose(PROBLEM, [], "viscosity <= 3 mPa*s")


def test_candidates_have_what_is_wished_for_and_say_why(told: list[Observation]) -> None:
    answer = propose(PROBLEM, told, "conductivity >= 9 mS/cm, viscosity <= 3.5 mPa*s", 3)
    assert answer.possible
    assert len(answer.candidates) == 3
    first = answer.candidates[0]
    truth = made(first.point)
    assert truth["conductivity"] >= 8.8
    assert truth["viscosity"] <= 3.6
    assert first.predicted["viscosity"].mean == pytest.approx(truth["viscosity"], abs=0.2)
    assert first.chance >= answer.candidates[1].chance > 0.5
    assert any("conductivity falls" in why and "more DMC in place of EC" in why for why in first.why)


def test_a_window_and_a_limited_dimension_hold(told: list[Observation]) -> None:
    wish = "conductivity >= 6 mS/cm and conductivity <= 6.5 mS/cm, molality <= 0.8 mol/kg"
    found = propose(PROBLEM, told, wish, 1).candidates[0]
    assert 5.8 <= made(found.point)["conductivity"] <= 6.7
    assert float(found.point["molality"]) <= 0.8


def test_a_value_beyond_the_space_is_said_with_the_most_there_is(told: list[Observation]) -> None:
    answer = propose(PROBLEM, told, "conductivity >= 30 mS/cm")
    assert not answer.possible
    assert answer.verdict.startswith("nothing in the space has conductivity >= 30 mS/cm: the most is 1")


def test_wishes_that_conflict_are_said_with_what_each_costs(told: list[Observation]) -> None:
    answer = propose(PROBLEM, told, "conductivity >= 13 mS/cm, viscosity <= 1.6 mPa*s")
    assert not answer.possible
    assert "together, though each alone" in answer.verdict
    assert "where conductivity >= 13 mS/cm is likeliest: viscosity" in answer.verdict
    assert "the nearest has conductivity" in answer.verdict
