"""Examples are real, and proofs hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.expr import (
    Choices,
    Env,
    Expression,
    Interval,
    Range,
    as_values,
    compile_expression,
    impossible,
    possible,
    search,
    within,
    witness,
)
from labd.sdk import Bounds
from tests.expr.generated import expressions, situations, value
from tests.expr.names import TYPES

ENV: Env = {
    "volume": Interval(10, 100),
    "force": Interval(5, 10),
    "peak": Interval(0, 20),
    "ratio": Interval(0, 1),
    "visits": Interval(1, 500),
    "pressed.peak_force": Interval(0, 12),
}
Situation = tuple[dict[str, Range], list[dict[str, Any]]]


def compiled(text: str) -> Expression:
    return compile_expression(text, TYPES)


@pytest.mark.parametrize(
    ("text", "bounds", "example"),
    [
        ("2 * volume", Bounds(max=150), {"volume": 100.0}),
        ("volume - 20 µL", Bounds(min=0), {"volume": 10.0}),
        ("visits * 2 - 1", Bounds(0, 998), {"visits": 500}),
        ("1.5 * pressed.peak_force", Bounds(max=17), {"pressed.peak_force": 12.0}),
        ("5", Bounds(max=4), {}),
        ("1 mL if tip == 'never' else volume", Bounds(max=200), {"tip": "never", "volume": 55.0}),
    ],
)
def test_values_that_break_the_bounds_are_found(text: str, bounds: Bounds, example: dict[str, Any]) -> None:
    assert witness(compiled(text), ENV, bounds) == example


def test_values_that_break_the_bounds_meet_the_conditions_too() -> None:
    given = [(compiled("volume < 60 µL"), True), (compiled("volume * ratio > 40 µL"), True)]
    found = witness(compiled("volume"), ENV, Bounds(max=55), given)
    assert found is not None
    assert 55 < found["volume"] < 60
    assert float(found["volume"]) * float(found["ratio"]) > 40


@pytest.mark.parametrize(
    ("text", "bounds", "given"),
    [
        ("2 * volume", Bounds(20, 200), []),
        ("volume", Bounds(max=50), ["volume <= 50 µL"]),
        ("volume if volume < 50 µL else 50 µL", Bounds(max=50), []),
        ("volume * ratio", Bounds(max=50), ["volume < 60 µL", "ratio < 0.8"]),
        ("volume - volume * ratio", Bounds(min=-5), []),
        ("force - peak", Bounds(min=0), ["peak < 0.95 * force"]),
        ("volume", Bounds(max=0), ["volume > 100 µL"]),
    ],
)
def test_bounds_that_cannot_be_broken_are_proven(text: str, bounds: Bounds, given: list[str]) -> None:
    truths = [(compiled(each), True) for each in given]
    assert witness(compiled(text), ENV, bounds, truths) is None
    assert within(compiled(text), ENV, bounds, truths)


def test_without_a_range_for_each_name_there_is_no_example_and_still_a_proof() -> None:
    assert witness(compiled("warm - 20 degC"), ENV, Bounds(max=5)) is None
    assert not within(compiled("warm - 20 degC"), ENV, Bounds(max=5))
    assert within(compiled("min(volume, time * 1 µL/s)"), ENV, Bounds(max=100))
    assert within(compiled("time"), {}, Bounds(max=5), [(compiled("time < 5 s"), True)])


def test_a_branch_that_is_never_taken_is_proven() -> None:
    low = [(compiled("peak < 0.95 * force"), True)]
    assert impossible(compiled("peak > force"), True, ENV, low)
    assert possible(compiled("peak > force"), True, ENV, low) is None
    assert impossible(compiled("sound"), True, {"sound": Choices(frozenset({False}))})


def test_a_branch_that_may_be_taken_has_an_example() -> None:
    found = possible(compiled("pressed.peak_force < 0.95 * force and tip == 'once'"), True, ENV)
    assert found is not None
    assert compiled("pressed.peak_force < 0.95 * force and tip == 'once'")(as_values(found)) is True
    assert possible(compiled("volume > 10 µL"), False, ENV) == {"volume": 10.0}


def test_an_example_has_round_numbers_where_it_can() -> None:
    assert possible(compiled("volume > 20 µL and volume < 21 µL"), True, ENV) == {"volume": 20.999}
    assert possible(compiled("volume > 20 µL and 1 / (volume - 20.999 µL) < 0 / 1 µL"), True, ENV) == {"volume": 20.1}


def test_a_rare_value_among_many_is_found() -> None:
    assert possible(compiled("visits == 377"), True, ENV) == {"visits": 377}
    found = possible(compiled("volume * volume > 2500 µL * 1 µL and volume * volume < 2520 µL * 1 µL"), True, ENV)
    assert found is not None


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    real = Expression.__call__

    def counted(self: Expression, values: Any) -> Any:
        nonlocal ran
        ran += 1
        return real(self, values)

    monkeypatch.setattr(Expression, "__call__", counted)
    hard = compiled("volume * force * peak * ratio * visits == 7 µL * 1 kN * 1 kN")
    assert possible(hard, True, ENV) is None
    assert not impossible(hard, True, ENV)
    assert 0 < ran <= 2 * search.WORK + 2


@settings(deadline=None)
@given(st.sampled_from(["number", "whole", "volume"]).flatmap(expressions), expressions("condition"), situations())
def test_an_example_breaks_the_bounds_and_a_proof_is_never_broken(
    expression: Expression, condition: Expression, situation: Situation
) -> None:
    env, several = situation
    bounds = Bounds(-20, 30)
    found = witness(expression, env, bounds, [(condition, True)])
    if found is not None:
        values = as_values(found)
        assert bounds.problem(expression(values))
        assert condition(values) is True
        for name, given_value in found.items():
            known = env[name]
            assert given_value in (known.values if isinstance(known, Choices) else known)
            assert isinstance(given_value, int) == (name in ("visits", "sound"))
    if within(expression, env, bounds, [(condition, True)]):
        assert found is None
        for values in several:
            real = value(expression, values)
            assert real is None or value(condition, values) is not True or not bounds.problem(real)


@settings(deadline=None)
@given(expressions("condition"), st.booleans(), situations())
def test_what_is_impossible_never_happens_and_what_is_possible_does(
    condition: Expression, truth: bool, situation: Situation
) -> None:
    env, several = situation
    found = possible(condition, truth, env)
    assert found is None or condition(as_values(found)) is truth
    if impossible(condition, truth, env):
        assert found is None
        assert all(value(condition, values) in (not truth, None) for values in several)
