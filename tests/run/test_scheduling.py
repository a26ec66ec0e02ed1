"""Runs and jobs that follow a plan: windows are opened when they can be kept, turns are kept, surprises are planned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.run.lifecycle import Command
from labd.run.queue import Submission, rows_of
from labd.run.scheduling import scheduler
from labd.run.scheduling.visits import MOST
from tests.run.conftest import DEVICES, Bench, BenchMaker, at_work
from tests.run.test_deadlock import PRESSED
from tests.run.waiting import until, until_busy

WETTED = """\
labd: 1
protocol: wetted
version: 1.0.0
summary: Press a cell soon after the arm has touched it.
roles: {arm: arm, press: crimper}
windows:
  - {from: touch.end, to: crimp.start, within: 20 s, otherwise: scrap}
start: touch
states:
  touch:
    summary: Touch it.
    do: arm.home
    next: crimp
  crimp:
    summary: Press it shut.
    do: press.crimp
    with: {force: 5 kN}
    next: done
  done: {end: complete}
  scrap: {end: scrapped}
"""
CRIMP = 30.0  # s, here


async def submit(lab: Bench, count: int, source: str = WETTED, **more: Any) -> list[str]:
    """Queues cells; gives their jobs."""
    cells = [{"position": f"tray/cells/{row}{column}"} for column in range(1, 7) for row in "ABCDEF"][:count]
    rows = rows_of(cells, range(1, count + 1))
    found = await lab.engine.queue.submit(
        Submission(source, rows=rows, table="cells.csv", name="cells.yaml", by="eva", **more)
    )
    return [job.id for job in found.jobs]


async def ended(lab: Bench) -> Mapping[str, str | None]:
    """Waits until all jobs are over; gives the outcomes by run."""
    async with asyncio.timeout(100_000):
        while lab.engine.queue.jobs():
            await asyncio.sleep(1)
    return {state.run: state.outcome for state in lab.engine.known()}


@pytest.fixture
def slow_press(tmp_path: Path) -> AbstractAsyncContextManager[Bench]:
    return at_work(tmp_path, {"arm": "arm", "press": "press"})


@pytest.mark.parametrize("cells", [2, 6])
async def test_no_window_breaks_where_cells_wait_for_a_slow_press(
    slow_press: AbstractAsyncContextManager[Bench], cells: int
) -> None:
    """The checker expects 12 s of a crimp: what it really takes is learnt from the first ones."""
    async with slow_press as lab:
        lab.toy("press").script["crimp"] = [CRIMP] * cells
        for _ in range(3):
            lab.engine.scheduler.durations.learn("wetted", "crimp", CRIMP)
        await submit(lab, cells)
        assert set((await ended(lab)).values()) == {"complete"}
        assert lab.toy("press").happened.count("crimp") == cells


async def test_without_a_plan_the_same_cells_break_their_windows(tmp_path: Path) -> None:
    async with at_work(tmp_path, {"arm": "arm", "press": "press"}, lab_yaml={"queue": {"plan": False}}) as lab:
        lab.toy("press").script["crimp"] = [CRIMP] * 4
        await submit(lab, 4)
        assert "scrapped" in (await ended(lab)).values()


async def test_a_job_says_when_its_turn_comes_and_the_plan_has_it_too(
    slow_press: AbstractAsyncContextManager[Bench],
) -> None:
    async with slow_press as lab:
        lab.toy("press").script["crimp"] = [CRIMP] * 2
        for _ in range(3):
            lab.engine.scheduler.durations.learn("wetted", "crimp", CRIMP)
        jobs = await submit(lab, 2)
        await asyncio.sleep(5)
        assert str(lab.engine.queue.job(jobs[1]).why).startswith("its turn comes at ")
        plan, works = await lab.engine.scheduler.as_of_now()
        assert {work.id for work in works} == set(jobs)
        assert [row.begun for row in plan.of(jobs[0])][:1] == [True]
        assert plan.broken == ()
        await ended(lab)


async def test_a_press_that_stays_busy_moves_those_that_come_after(
    slow_press: AbstractAsyncContextManager[Bench],
) -> None:
    async with slow_press as lab:
        lab.toy("press").script["crimp"] = [50.0, CRIMP, CRIMP]  # the first takes longer than anybody expects
        await submit(lab, 3)
        found = await ended(lab)
        assert found["run-0001"] == "complete"
        assert found["run-0003"] == "complete"  # it was put off, and only the one that was touched already is lost


async def test_who_is_held_keeps_others_only_from_what_he_has(bench: BenchMaker) -> None:
    async with bench() as lab:
        first = await lab.start(PRESSED, "tray/cells/A1")
        await until_busy(lab, "arm")
        await lab.engine.command(first, Command.HOLD, by="eva")
        await until(lab, first, "Held")
        other = await lab.start(PRESSED.replace("pressed", "other"), "tray/cells/B1")
        await asyncio.sleep(600)
        assert "arm" in str((await lab.engine.state(other)).cause)
        await lab.engine.command(first, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(first)).outcome == "complete"
        assert (await lab.engine.wait(other)).outcome == "complete"


async def test_a_job_whose_device_is_gone_waits_and_says_so_until_it_is_back(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, missing=("press",)) as lab:
        jobs = await submit(lab, 2)
        await asyncio.sleep(60)
        assert "press is down: nobody answers" in str(lab.engine.queue.job(jobs[0]).why)
        lab.toy("press").refuse_connect = None
        assert set((await ended(lab)).values()) == {"complete"}


async def test_a_restart_goes_on_with_the_plan(tmp_path: Path) -> None:
    async with at_work(tmp_path, {"arm": "arm", "press": "press"}) as lab:
        await submit(lab, 5)
        await until_busy(lab, "press")
        await lab.engine.leave_all()
    async with at_work(tmp_path, {"arm": "arm", "press": "press"}) as lab:
        assert lab.engine.scheduler.visits.of("run-0001") != ()
        assert set((await ended(lab)).values()) == {"complete"}
        assert len(await ended(lab)) == 5


async def test_a_higher_priority_goes_first_in_the_plan(slow_press: AbstractAsyncContextManager[Bench]) -> None:
    async with slow_press as lab:
        await lab.engine.queue.pause(by="eva")
        late = await submit(lab, 3)
        urgent = await lab.engine.queue.submit(
            Submission(WETTED, rows=rows_of([{"position": "tray/cells/F6"}], [1]), name="u.yaml", by="eva", priority=5)
        )
        await lab.engine.queue.resume(by="eva")
        await ended(lab)
        runs = {job.id: job.run for job in lab.engine.queue.jobs(ended=True)}
        assert runs[urgent.jobs[0].id] == "run-0001"
        assert [runs[job] for job in late] == ["run-0002", "run-0003", "run-0004"]


async def test_what_a_person_moves_or_raises_goes_first_in_the_plan_too(
    slow_press: AbstractAsyncContextManager[Bench],
) -> None:
    async with slow_press as lab:
        await lab.engine.queue.pause(by="eva")
        first, second, third, fourth = await submit(lab, 4)
        await asyncio.sleep(1)
        await lab.engine.queue.move(third, first=True, by="eva")
        await lab.engine.queue.prioritise(fourth, 3, by="eva")
        await lab.engine.queue.resume(by="eva")
        await ended(lab)
        runs = {job.id: job.run for job in lab.engine.queue.jobs(ended=True)}
        assert sorted(runs, key=lambda job: str(runs[job])) == [fourth, third, first, second]


async def test_a_planner_that_fails_ends_no_lab(
    slow_press: AbstractAsyncContextManager[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(scheduler, "greedy", fails)
    async with slow_press as lab:
        await submit(lab, 2)
        await asyncio.sleep(1)
        assert any("planning failed" in alarm.text for alarm in lab.lab.alarms.active)
        await ended(lab)
        assert lab.toy("press").happened == ["crimp", "crimp"]


async def test_jobs_that_may_not_start_keep_nobody_waiting(slow_press: AbstractAsyncContextManager[Bench]) -> None:
    async with slow_press as lab:
        await lab.engine.queue.pause(by="eva")
        await submit(lab, 5)
        began = clock.monotonic()
        runs = [await lab.start(PRESSED, f"tray/cells/F{number}") for number in (1, 2, 3)]
        await asyncio.gather(*(lab.engine.wait(run) for run in runs))
        assert clock.monotonic() - began < 20


async def test_one_job_waits_for_its_device_too(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, missing=("press",)) as lab:
        (job,) = await submit(lab, 1)
        await asyncio.sleep(60)
        assert "press is down: nobody answers" in str(lab.engine.queue.job(job).why)
        lab.toy("press").refuse_connect = None
        assert set((await ended(lab)).values()) == {"complete"}


async def test_a_job_whose_window_cannot_be_kept_is_not_begun(slow_press: AbstractAsyncContextManager[Bench]) -> None:
    async with slow_press as lab:
        (job,) = await submit(lab, 1, WETTED.replace("touch.end, to: crimp.start", "touch.start, to: crimp.end"))
        await lab.engine.queue.cancel(job, by="eva")
        for _ in range(3):
            lab.engine.scheduler.durations.learn("wetted", "crimp", 50.0)
        text = WETTED.replace("touch.end, to: crimp.start", "touch.start, to: crimp.end")
        found = await lab.engine.queue.submit(Submission(text, rows=rows_of([{}], [1]), name="w.yaml", by="eva"))
        await asyncio.sleep(60)
        assert "its time window cannot be kept" in str(lab.engine.queue.job(found.jobs[0].id).why)
        assert lab.toy("arm").happened in ([], ["home"])


async def test_a_run_that_goes_round_and_round_is_remembered_in_part(tmp_path: Path) -> None:
    loop = """\
labd: 1
protocol: round
version: 1.0.0
summary: Round and round.
roles: {arm: arm}
start: one
states:
  one: {do: arm.home, max_visits: {times: 300, otherwise: done}, next: two}
  two: {do: arm.home, max_visits: {times: 300, otherwise: done}, next: one}
  done: {end: complete}
"""
    async with at_work(tmp_path, {"arm": "arm"}) as lab:
        run = await lab.start(loop)
        while lab.toy("arm").happened.count("home") < 200:
            await asyncio.sleep(1)
        assert 20 < len(lab.engine.scheduler.visits.of(run)) <= MOST
        assert (await lab.engine.wait(run)).outcome == "complete"
