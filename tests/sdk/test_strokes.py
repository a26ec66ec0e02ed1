"""Strokes of a syringe: what was ordered is given, and where the plunger rests tells how much of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.sdk.strokes import Stroke, aspiration, delivery

FULL, MARK = 3000, 12
STEPS = st.integers(1, 4 * FULL)
START = st.integers(0, FULL)


@given(START, STEPS)
def test_all_that_was_ordered_is_given_and_no_stroke_leaves_the_barrel(start: int, steps: int) -> None:
    plan = delivery(start, steps, FULL, MARK)
    assert plan.total == steps
    at = start
    for stroke in plan.strokes:
        assert stroke.begin == at
        assert (stroke.end > at) == (stroke.way == "in")
        assert 0 <= stroke.end <= FULL
        at = stroke.end


@given(START, STEPS, st.sampled_from(["in", "out", None]))
def test_the_last_position_proves_that_all_was_given(start: int, steps: int, valve_before: object) -> None:
    plan = delivery(start, steps, FULL, MARK)
    assert plan.possible(plan.strokes[-1].end, "out", valve_before) == {steps}  # type: ignore[arg-type]


@given(START, STEPS, st.sampled_from(["in", "out"]))
def test_the_truth_is_always_among_what_is_possible(start: int, steps: int, valve: str) -> None:
    plan = delivery(start, steps, FULL, MARK)
    assert 0 in plan.possible(start, valve, valve)  # type: ignore[arg-type]
    for number, stroke in enumerate(plan.strokes):
        middle = (stroke.begin + stroke.end) // 2
        assert plan.moved(number, middle) in plan.possible(middle, stroke.way, valve)  # type: ignore[arg-type]


def test_what_it_holds_goes_out_in_one_stroke_of_which_every_position_tells_how_much() -> None:
    plan = delivery(2000, 1500, FULL, MARK)
    assert plan.strokes == (Stroke("out", 2000, 500),)
    assert plan.possible(2000, "out", "in") == {0}
    assert plan.possible(2000, "in", "in") == {0}
    assert plan.possible(1200, "out", "in") == {800}
    assert plan.possible(2100, "out", "in") == frozenset()


def test_an_empty_syringe_that_fills_itself_does_not_end_where_it_began() -> None:
    plan = delivery(0, 1500, FULL, MARK)
    assert plan.strokes == (Stroke("in", 0, 1512), Stroke("out", 1512, 12))
    assert plan.possible(0, "out", "out") == {0}
    assert plan.possible(0, "in", "out") == {0}
    assert plan.possible(12, "out", "out") == {1500}
    assert plan.possible(12, "in", "out") == {0}


def test_a_position_that_it_comes_by_twice_proves_nothing() -> None:
    plan = delivery(500, 1500, FULL, MARK)
    assert plan.possible(500, "out", "out") == {0, 1000}


def test_drawing_in_is_one_stroke() -> None:
    plan = aspiration(100, 900)
    assert plan.total == 900
    assert plan.possible(100, "out", "out") == {0}
    assert plan.possible(400, "in", "out") == {300}


@pytest.mark.parametrize(("whole", "position", "moved"), [(0, 700, 0), (1, 800, 712), (2, 12, 1500)])
def test_who_has_watched_knows_how_much_went(whole: int, position: int, moved: int) -> None:
    assert delivery(0, 1500, FULL, MARK).moved(whole, position) == moved
