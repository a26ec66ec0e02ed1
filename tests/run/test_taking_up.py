"""A run that is taken up again, or let go on: what is asked, what is on the wire, and when it is held."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.run.lifecycle import Command
from labd.sdk import Unreachable
from tests.run.conftest import DEVICES, Bench, BenchMaker, at_work
from tests.run.test_recovery import WAITS, end_of, once_effects
from tests.run.waiting import until, until_asked
from tests.run.world import REAL, World, fresh

QUESTIONS = """\
labd: 1
protocol: questions
version: 1.0.0
summary: Ask, crimp, and ask again.
roles: {press: crimper}
start: before
states:
  before: {ask: Is it there?, choices: {yes: crimp}}
  crimp: {do: press.crimp, with: {force: 5 kN}, next: after}
  after: {ask: Is it shut?, choices: {yes: done}}
  done: {end: complete}
"""


@pytest.fixture
def world() -> World:
    return fresh()


async def crimping(lab: Bench, world: World) -> None:
    async with asyncio.timeout(7200):
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)


async def test_a_question_after_a_restart_has_an_id_of_its_own(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(QUESTIONS)
        before = await until_asked(lab, run)
        await lab.engine.answer(run, "yes", by="eva")
        await crimping(lab, world)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        after = await until_asked(lab, run)
        assert (before["id"], after["id"]) == (f"{run}-q1", f"{run}-q2")
        await lab.engine.answer(run, "yes", by="eva")
        assert (await end_of(lab, run)).outcome == "complete"


async def test_a_question_is_taken_back_when_a_time_window_broke_meanwhile(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(WAITS)
        question = await until_asked(lab, run)
    await asyncio.sleep(31 * 60)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        state = await end_of(lab, run)
        assert (state.outcome, state.question) == ("scrapped", None)
        (withdrawn,) = await lab.events(run, "question.withdrawn")
        assert withdrawn.data["question_id"] == question["id"]


async def test_a_run_is_held_only_once_what_was_under_way_has_ended(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await crimping(lab, world)
        await lab.engine.command(run, Command.HOLD, by="eva")
        assert (await lab.engine.state(run)).state == "Holding"
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await asyncio.sleep(1)
        assert (await lab.engine.state(run)).state == "Holding"  # the press is at it still
        await until(lab, run, "Held")
        assert await lab.happened(run, "reconciled") == ["reconciled press.crimp"]
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"


async def test_a_run_is_held_when_its_device_says_that_nothing_happened(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await crimping(lab, world)
        (crimp,) = [event for event in await lab.events(run, "action.intended") if event.data["action"] == "crimp"]
    del world.ends[crimp.data["action_id"]]  # its order never arrived
    world.effects["press.crimp"] = 0
    world.down.add("press")
    async with at_work(tmp_path, DEVICES, REAL, wait=False) as lab:
        await asyncio.sleep(1)
        await lab.engine.command(run, Command.HOLD, by="eva")
        world.down.clear()
        await until(lab, run, "Held")
        await asyncio.sleep(600)
        assert world.effects["press.crimp"] == 0
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world)["press.crimp"] == 1


async def test_an_unhold_that_a_hold_follows_at_once_lets_nothing_begin(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [Unreachable("nobody answers"), 1.0]
        run = await lab.start()
        await asyncio.sleep(0.1)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await asyncio.sleep(60)  # the next attempt waits for the unhold
        performer = lab.engine._runs[run]._performer
        performer.unhold()
        performer.hold()
        await asyncio.sleep(60)
        assert (await lab.engine.state(run)).state == "Held"
        assert lab.toy("press").happened == []
