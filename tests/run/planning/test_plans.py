"""Plans that can be carried out, whatever there is to do; and good ones."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labd.run.planning import (
    Begun,
    Bench,
    Plan,
    Task,
    Window,
    Work,
    available,
    greedy,
    lower_bound,
    problems_of,
    retimed,
    solve,
)
from tests.run.planning.brute import best_makespan, conflicts
from tests.run.planning.shops import BENCH, CELL, ROLES, WETTED, benches, cells, later, task, works

needs_solver = pytest.mark.skipif(not available(), reason="needs OR-tools: pip install 'labd[plan]'")
SINGLE = Bench({role: (role,) for role in ROLES})


@given(works(), benches(), st.integers(0, 1000))
def test_greedy_plans_can_be_carried_out(jobs: list[Work], bench: Bench, now: int) -> None:
    plan = greedy(jobs, bench, float(now))
    assert problems_of(plan, jobs, bench) == []
    assert not plan.unplanned
    assert not plan.broken  # each of these windows can be kept
    assert plan.makespan >= plan.bound - 1e-6


@given(works(), benches(), st.integers(1, 60), st.floats(0.5, 2.0))
def test_a_plan_is_made_anew_in_the_middle(jobs: list[Work], bench: Bench, after: int, factor: float) -> None:
    first = greedy(jobs, bench, 0.0)
    under_way = [
        Work(one.id, tuple(Task(t.state, t.duration * factor, t.roles, t.keeps, t.frees) for t in one.tasks),
             one.priority, one.windows, one.ready, one.begun)
        for one in later(first, jobs, float(after))
    ]  # fmt: skip
    plan = greedy(under_way, bench, float(after))
    assert problems_of(plan, under_way, bench) == []
    if plan.unplanned:  # two that change places step by step: the order of before knows how
        kept = retimed(first, under_way, bench, float(after))
        assert kept is not None
        assert problems_of(kept, under_way, bench) == []


@needs_solver
@settings(max_examples=15)
@given(works(most=5), benches(), st.integers(0, 25))
def test_solved_plans_can_be_carried_out_and_are_no_worse(jobs: list[Work], bench: Bench, after: int) -> None:
    under_way = later(greedy(jobs, bench, 0.0), jobs, float(after))
    hint = greedy(under_way, bench, float(after))
    plan = solve(under_way, bench, float(after), limit=0.5, hint=hint, workers=1)
    assert problems_of(plan, under_way, bench) == []
    assert (len(plan.broken), round(plan.makespan, 3)) <= (len(hint.broken), round(hint.makespan, 3))


@needs_solver
@settings(max_examples=25)
@given(works(most=3, longest=3))
def test_small_plans_are_the_best_there_are(jobs: list[Work]) -> None:
    jobs = [Work(one.id, one.tasks, 0, one.windows, one.ready) for one in jobs]
    assume(len(conflicts(jobs)) <= 8)  # so many orders are tried: two to that
    best = best_makespan(jobs)
    plan = solve(jobs, SINGLE, 0.0, limit=5, margin=0.0, workers=1)
    assert plan.makespan == pytest.approx(best)
    assert plan.bound <= best + 1e-6


@given(works(most=3, longest=3))
def test_the_bound_is_one(jobs: list[Work]) -> None:
    assume(len(conflicts(jobs)) <= 8)
    assert lower_bound(jobs, SINGLE) <= best_makespan(jobs) + 1e-6


@pytest.mark.parametrize("crimp", [12, 60, 200])
def test_a_shift_of_cells_takes_hardly_longer_than_the_busiest_device_works(crimp: int) -> None:
    longer = tuple(task("crimp", crimp, "press", keeps=["press"]) if one.state == "crimp" else one for one in CELL)
    jobs = cells(36, longer)
    for plan in (greedy(jobs, BENCH, 0.0), solve(jobs, BENCH, 0.0, limit=1.0)):
        assert problems_of(plan, jobs, BENCH) == []
        assert plan.broken == ()
        assert plan.ratio <= 1.10
        assert plan.makespan >= 36 * 703
        longest = max(row.start - plan.of(row.work)[2].start for row in plan.rows if row.state == "crimp")
        assert longest <= 0.85 * 742 + 1e-6  # what goes on longer than expected breaks none


def test_identical_cells_begin_in_the_order_of_the_queue() -> None:
    plan = greedy(cells(12), BENCH, 0.0)
    assert plan.order() == tuple(f"job-{number:04d}" for number in range(1, 13))


def test_the_higher_priority_goes_first() -> None:
    jobs = cells(5)
    urgent = Work("urgent", CELL, priority=10, windows=(WETTED,))
    plan = greedy([*jobs, urgent], BENCH, 0.0)
    assert plan.order()[0] == "urgent"
    assert plan.ends()["urgent"] == min(plan.ends().values())


def test_what_cannot_be_planned_is_told_in_words() -> None:
    jobs = [*cells(2), Work("x", (task("weigh", 10, "balance"),)), Work("y", (Task("mix", 5.0, {"robot": 2}),))]
    plan = greedy(jobs, BENCH, 0.0)
    assert plan.unplanned == {"x": "there is no balance", "y": "it needs 2 of robot, and there are 1"}
    assert problems_of(plan, jobs, BENCH) == []


def test_a_window_that_is_shorter_than_what_lies_between_is_told_as_broken() -> None:
    jobs = cells(1, window=Window((2, "start"), (5, "start"), within=300, name="too short"))
    plan = greedy(jobs, BENCH, 0.0)
    assert [str(one) for one in plan.broken] == ["job-0001: too short by 170.0 s"]
    assert problems_of(plan, jobs, BENCH) == []


def test_a_closed_unit_is_not_used_before_it_opens() -> None:
    bench = Bench({"press": ("p1", "p2")}, {"p1": float("inf"), "p2": 50.0})
    jobs = [Work("a", (task("crimp", 10, "press"),)), Work("b", (task("crimp", 10, "press"),))]
    plan = greedy(jobs, bench, 20.0)
    assert [(row.units["press"], row.start) for row in plan.rows] == [(("p2",), 50.0), (("p2",), 60.0)]


def test_a_sample_that_lies_in_a_channel_keeps_it_until_the_arm_has_taken_it_out() -> None:
    bench = Bench({"cycler": ("c.1", "c.2"), "arm": ("arm",)})
    stays = Work("old", (task("store", 5, "arm", frees=["cycler"]),), at={"cycler": "c.1"}, ready=100.0)
    form = tuple(task("form", 50, "cycler", keeps=["cycler"]) for _ in range(1))
    jobs = [stays, Work("a", form), Work("b", form), Work("c", form)]
    plan = greedy(jobs, bench, 0.0)
    assert problems_of(plan, jobs, bench) == []
    assert [row.units.get("cycler") for row in plan.rows if row.state == "form"] == [("c.2",)] * 3


def test_the_same_question_has_the_same_answer() -> None:
    jobs = cells(10)
    assert greedy(jobs, BENCH, 5.0) == greedy(jobs, BENCH, 5.0)


def test_a_wrong_plan_is_found_out() -> None:
    jobs = cells(2)
    plan = greedy(jobs, BENCH, 0.0)
    moved = tuple(
        type(row)(row.work, row.task, row.state, row.units, row.start - 900, row.end - 900, row.begun)
        if row.work == "job-0002"
        else row
        for row in plan.rows
    )
    wrong = Plan(moved, plan.now, plan.makespan, plan.bound, plan.solver)
    told = problems_of(wrong, jobs, BENCH)
    assert any("begins too early" in problem for problem in told)
    assert any("arm is with job-0001 and job-0002" in problem for problem in told)


def test_of_two_open_windows_the_one_that_is_shut_first_goes_first() -> None:
    """Two runs whose windows are open need the same unit: the one with less time left goes first."""
    bench = Bench({"arm": ("arm",), "robot": ("robot.1", "robot.2")})
    chain = (task("wet", 10, "robot"), task("carry", 30, "arm"), task("crimp", 1, "arm"))
    tight, loose = (Window((0, "start"), (2, "start"), within=seconds) for seconds in (50, 200))
    jobs = [
        Work("loose", chain, windows=(loose,), begun=(Begun(0.0, {"robot": ("robot.1",)}),)),
        Work("tight", chain, windows=(tight,), begun=(Begun(0.0, {"robot": ("robot.2",)}),)),
    ]
    for plan in (greedy(jobs, bench, 5.0), solve(jobs, bench, 5.0, limit=5.0)):
        assert problems_of(plan, jobs, bench) == []
        assert plan.broken == ()
        assert plan.of("tight")[1].start < plan.of("loose")[1].start
