"""Ranges of expressions: never narrower than what running gives, and as narrow as a checker needs."""

from __future__ import annotations

import math
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
    compile_expression,
    decide,
    interval,
    intervals,
    narrowed,
)
from labd.expr.nodes import Node, parts_of
from labd.expr.ranges import Reach
from tests.expr.generated import expressions, situations, value
from tests.expr.names import TYPES

ENV: Env = {
    "volume": Interval(10, 100),
    "force": Interval(5, 10),
    "peak": Interval(0, 20),
    "time": Interval(1, 10),
    "visits": Interval(1, 500),
    "pressed.peak_force": Interval(0, 12),
}
Situation = tuple[dict[str, Range], list[dict[str, Any]]]


def compiled(text: str) -> Expression:
    return compile_expression(text, TYPES)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("3 mL", 3000, 3000),
        ("volume", 10, 100),
        ("-volume", -100, -10),
        ("2 * volume - 5 µL", 15, 195),
        ("volume / time", 1, 100),
        ("10 mL/min * time", 10_000 / 60, 100_000 / 60),
        ("0.95 * pressed.peak_force", 0, 11.4),
        ("min(volume, 50 µL)", 10, 50),
        ("max([volume, 50 µL])", 50, 100),
        ("abs(force - 8 kN)", 0, 3),
        ("round(volume / 3 µL)", 3, 33),
        ("round(volume / 3 µL, 1)", 3.3, 33.3),
        ("mean([volume, 30 µL])", 20, 65),
        ("len([1, 2, 3])", 3, 3),
        ("len(formed.capacities)", 0, math.inf),
        ("len(tip)", 4, 6),
        ("volume if volume < 50 µL else 50 µL", 10, 50),
        ("volume if force > 1 kN else 1 mL", 10, 100),
        ("volume if sound else 1 mL", 10, 1000),
        ("1 / (visits - 3)", -math.inf, math.inf),
        ("volume + 1 µL if ratio > 0 else ratio * 1 µL", -math.inf, 101),
        ("warm - 20 degC", -math.inf, math.inf),
        ("abs(ratio)", 0, math.inf),
        ("max(abs(ratio), 1) * 2", 2, math.inf),
        ("1e300 * volume / 1 µL * 1e300", -math.inf, math.inf),
    ],
)
def test_a_number_lies_between(text: str, low: float, high: float) -> None:
    found = interval(compiled(text), ENV)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("text", ["tip", "sound", "volume < 3 µL", "[1, 2]", "'a'"])
def test_what_is_no_number_has_no_interval(text: str) -> None:
    assert interval(compiled(text), ENV) is None


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("volume <= 100 µL", True),
        ("volume > 0.1 mL", False),
        ("volume > 99 µL", None),
        ("visits > 0 and force >= 5 kN", True),
        ("visits > 500 or force < 5 kN", False),
        ("peak < 0.95 * force", None),
        ("sound or volume > 1 µL", True),
        ("not (sound and volume > 1 mL)", True),
        ("visits in [0, 501]", False),
        ("visits in [1, 2]", None),
        ("volume / 1 µL in []", False),
        ("tip in ['once', 'never', 'always']", None),
        ("tip != 'once'", None),
        ("'once' == 'once'", True),
        ("true", True),
        ("ratio > 0", None),
        ("pressed.peak_force <= 12 kN if sound else force > 1 kN", True),
        ("1e300 * 1e300 > ratio", None),
    ],
)
def test_a_condition_is_decided_where_every_value_agrees(text: str, truth: bool | None) -> None:
    assert decide(compiled(text), ENV) is truth


def test_texts_and_truths_have_choices() -> None:
    env: Env = {"tip": Choices(frozenset({"once", "never"})), "sound": Choices(frozenset({False}))}
    assert decide(compiled("tip == 'always'"), env) is False
    assert decide(compiled("tip in ['once', 'never']"), env) is None
    assert decide(compiled("sound"), env) is False


@pytest.mark.parametrize(
    ("text", "truth", "name", "low", "high"),
    [
        ("volume <= 20 µL and volume > 15 µL", True, "volume", math.nextafter(15, 16), 20),
        ("volume > 20 µL", False, "volume", 10, 20),
        ("not volume > 20 µL or volume == 30 µL", True, "volume", 10, 30),
        ("volume < 20 µL or force < 1 kN", True, "volume", 10, math.nextafter(20, 0)),
        ("visits > 2 and visits < 6", True, "visits", 3, 5),
        ("visits >= 3", False, "visits", 1, 2),
        ("visits in [3, 7]", True, "visits", 3, 7),
        ("volume in [20 µL, 30 µL]", True, "volume", 20, 30),
        ("peak > force", True, "peak", math.nextafter(5, 6), 20),
        ("peak < force", True, "peak", 0, math.nextafter(10, 0)),
        ("2 * volume + 1 µL <= 41 µL", True, "volume", 10, 20),
        ("100 µL - volume > 70 µL", True, "volume", 10, 30),
        ("volume / 2 s < 10 µL/s", True, "volume", 10, 20),
        ("600 µL / volume > 30", True, "volume", 10, 20),
        ("volume / time >= 50 µL/s", True, "time", 1, 2),
        ("-volume > -20 µL", True, "volume", 10, 20),
        ("ratio >= 2", True, "ratio", 2, math.inf),
        ("pressed.peak_force < 0.5 * force", True, "pressed.peak_force", 0, 5),
    ],
)
def test_a_condition_that_is_known_narrows_its_names(
    text: str, truth: bool, name: str, low: float, high: float
) -> None:
    found = narrowed(ENV, [(compiled(text), truth)])
    assert found is not None
    left = found[name]
    assert isinstance(left, Interval)
    assert (left.low, left.high) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))


def test_a_strict_bound_is_left_out() -> None:
    found = narrowed(ENV, [(compiled("volume > 20 µL"), True)])
    assert found is not None
    assert decide(compiled("volume > 20 µL"), found) is True
    assert decide(compiled("volume >= 20.001 µL"), found) is None


@pytest.mark.parametrize(
    ("text", "truth", "left"),
    [
        ("tip == 'once'", True, {"once"}),
        ("tip == 'once'", False, {"always", "never"}),
        ("tip in ['once', 'never']", True, {"once", "never"}),
        ("tip not in ['once', 'never']", True, {"always"}),
        ("tip == 'once' or tip == 'never'", True, {"once", "never"}),
    ],
)
def test_a_condition_that_is_known_leaves_some_choices(text: str, truth: bool, left: set[str]) -> None:
    found = narrowed({}, [(compiled(text), truth)])
    assert found is not None
    assert found["tip"] == Choices(frozenset(left))


@pytest.mark.parametrize(
    "texts",
    [
        ["volume > 50 µL", "volume < 50 µL"],
        ["volume > 100 µL"],
        ["peak > force", "peak < 0.95 * force", "force > 9 kN", "peak < 9 kN"],
        ["sound", "not sound"],
        ["tip == 'once' and tip == 'never'"],
        ["visits > 2 and visits < 3"],
        ["false"],
    ],
)
def test_conditions_that_contradict_each_other_leave_nothing(texts: list[str]) -> None:
    assert narrowed(ENV, [(compiled(text), True) for text in texts]) is None


@settings(deadline=None)
@given(st.sampled_from(["number", "whole", "volume"]).flatmap(expressions), situations())
def test_the_value_is_within_the_interval(expression: Expression, situation: Situation) -> None:
    env, several = situation
    found = interval(expression, env)
    assert found is not None
    for values in several:
        real = value(expression, values)
        assert real is None or real in found
        assert real is None or not found.integer or real == int(real)


@settings(deadline=None)
@given(expressions("condition"), situations())
def test_what_is_decided_is_so(expression: Expression, situation: Situation) -> None:
    env, several = situation
    truth = decide(expression, env)
    assert truth is None or all(value(expression, values) in (truth, None) for values in several)


@settings(deadline=None)
@given(expressions("condition"), expressions("condition"), situations())
def test_values_that_meet_the_conditions_are_in_the_narrowed_ranges(
    first: Expression, second: Expression, situation: Situation
) -> None:
    env, several = situation
    for values in several:
        truths = value(first, values), value(second, values)
        if None in truths:
            continue
        left = narrowed(env, list(zip((first, second), truths, strict=True)))
        assert left is not None
        for name, found in left.items():
            assert values[name] in (found.values if isinstance(found, Choices) else found)


@pytest.mark.parametrize(
    "text",
    [
        "volume" + "".join(f" + {at} µL" for at in range(150)) + " == 7 µL",
        "(volume" + " if volume < 3 µL else volume" * 45 + ") == 7 µL",
        "(sound if " * 40 + "sound" + " else sound)" * 40,
        "(1 µL if (" * 20 + "volume" + ") < 7 µL else 3 µL)" * 20 + " < 2 µL",
        " or ".join(["(sound and (volume < 3 µL or not sound))"] * 45),
        "(2 * (" * 12 + "volume" + " + volume) - volume)" * 12 + " == 3 µL",
    ],
)
def test_reading_a_long_expression_is_a_walk_and_no_search(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    real = intervals._Reader.reach

    def counted(self: intervals._Reader, node: Node) -> Reach:
        nonlocal reads
        reads += 1
        return real(self, node)

    monkeypatch.setattr(intervals._Reader, "reach", counted)
    condition = compiled(text)
    parts = len(list(parts_of(condition.node)))
    decide(condition, ENV)
    assert reads <= 20 * parts
    narrowed(ENV, [(condition, True)])
    assert reads <= 100 * parts
