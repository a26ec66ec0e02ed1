"""A plan timed anew: its order stays, its times are those of now, and what cannot be kept is planned anew."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from labd.run.planning import Bench, Plan, Work, greedy, problems_of, retimed
from tests.run.planning.shops import BENCH, benches, cells, later, works


def order(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Who works with each unit, one after the other."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in sorted(plan.rows, key=lambda row: (row.start, row.end)):
        for units in row.units.values():
            for unit in units:
                found.setdefault(unit, []).append((row.work, row.state))
    return found


@given(works(), benches(), st.integers(0, 60), st.floats(0.5, 1.5))
def test_what_is_timed_anew_can_be_carried_out(jobs: list[Work], bench: Bench, after: int, factor: float) -> None:
    plan = greedy(jobs, bench, 0.0)
    slower = [
        replace(work, tasks=tuple(replace(task, duration=task.duration * factor) for task in work.tasks))
        for work in later(plan, jobs, float(after))
    ]
    found = retimed(plan, slower, bench, float(after))
    if found is None:
        return
    assert problems_of(found, slower, bench) == []
    under_way = {work.id: len(work.begun) for work in slower}
    assert all(one.window.begin[0] < under_way[one.work] for one in found.broken)


@given(works(), benches())
def test_at_once_nothing_is_later_than_it_was(jobs: list[Work], bench: Bench) -> None:
    plan = greedy(jobs, bench, 0.0)
    found = retimed(plan, jobs, bench, 0.0)
    assert found is not None
    assert not found.broken
    assert found.makespan <= plan.makespan + 1e-6


def test_a_shift_that_goes_faster_than_expected_keeps_its_order_and_its_ratio() -> None:
    jobs = cells(12)
    plan = greedy(jobs, BENCH, 0.0)
    faster = [
        replace(work, tasks=tuple(replace(task, duration=task.duration * 0.6) for task in work.tasks)) for work in jobs
    ]
    found = retimed(plan, faster, BENCH, 0.0)
    assert found is not None
    assert problems_of(found, faster, BENCH) == []
    assert order(found) == order(plan)
    assert found.makespan < 0.7 * plan.makespan


def test_a_window_that_this_order_cannot_keep_has_all_planned_anew() -> None:
    jobs = cells(4)
    plan = greedy(jobs, BENCH, 0.0)
    slow = [
        replace(work, tasks=tuple(replace(task, duration=task.duration * 20) for task in work.tasks)) for work in jobs
    ]
    assert retimed(plan, slow, BENCH, 0.0) is None


def test_a_unit_that_is_closed_and_a_work_that_is_new_have_all_planned_anew() -> None:
    jobs = cells(2)
    plan = greedy(jobs[:1], BENCH, 0.0)
    assert retimed(plan, jobs, BENCH, 0.0) is None
    assert retimed(plan, jobs[:1], replace(BENCH, closed={"press": math.inf}), 0.0) is None
    assert retimed(plan, [], BENCH, 0.0) is not None
