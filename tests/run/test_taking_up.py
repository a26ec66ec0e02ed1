"""A run that is taken up again, or let go on: what is asked, what is on the wire, and when it is held."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event
from labd.run.history import fold
from labd.run.lifecycle import Command
from labd.sdk import Call, Intent, OutcomeUnknown, Unreachable
from tests.run.conftest import DEVICES, Bench, BenchMaker, at_work
from tests.run.test_recovery import WAITS, end_of, once_effects
from tests.run.waiting import until, until_asked, until_busy
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
MOVE = """\
labd: 1
protocol: move
version: 1.0.0
summary: Move an arm.
roles: {arm: arm}
start: move
states:
  move: {do: arm.move, with: {position: tray/cells/A1}, next: done}
  done: {end: complete}
"""


@pytest.fixture
def world() -> World:
    return fresh()


REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Rest on a potentiostat.
roles: {stat: potentiostat}
start: rest
states:
  rest: {do: stat.open_circuit, with: {duration: 1 h}, next: done}
  done: {end: complete}
"""


class OverABrokenLink(REAL["stat"]):  # type: ignore[misc]
    """Its link breaks ten minutes after an action was taken up, as often as `breaks` says."""

    breaks = 0
    taken_up = 0

    async def attach(self, intent: Intent, call: Call) -> Any:
        OverABrokenLink.taken_up += 1
        if OverABrokenLink.breaks:
            OverABrokenLink.breaks -= 1
            await asyncio.sleep(600)
            raise OutcomeUnknown("the link broke")
        return await super().attach(intent, call)


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


async def resting_over(tmp_path: Path, breaks: int) -> str:
    """Begins a rest of an hour, and ends its daemon; what takes it up afterwards finds a link that breaks."""
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(REST)
        await until_busy(lab, "stat1")
    OverABrokenLink.breaks, OverABrokenLink.taken_up = breaks, 0
    return run


async def test_what_is_still_running_is_taken_up_however_often_its_link_breaks(tmp_path: Path, world: World) -> None:
    run = await resting_over(tmp_path, breaks=3)
    async with at_work(tmp_path, DEVICES, {**REAL, "stat": OverABrokenLink}) as lab:
        assert (await end_of(lab, run)).outcome == "complete"
        assert OverABrokenLink.taken_up == 4
        assert world.effects["stat.open_circuit"] == 1
        assert not await lab.events(run, "question.asked")


async def test_what_ended_while_its_link_was_broken_is_settled_by_its_device(tmp_path: Path, world: World) -> None:
    run = await resting_over(tmp_path, breaks=7)  # more than its hour has
    async with at_work(tmp_path, DEVICES, {**REAL, "stat": OverABrokenLink}) as lab:
        assert (await end_of(lab, run)).outcome == "complete"
        assert OverABrokenLink.breaks > 0
        assert not await lab.events(run, "question.asked")


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


async def test_where_a_run_that_cannot_go_on_may_still_act_nobody_else_does(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        async with asyncio.timeout(7200):
            while not world.effects["arm.pick tray/cells/A1"]:
                await asyncio.sleep(0.1)
    without = {name: kind for name, kind in DEVICES.items() if name != "press"}
    async with at_work(tmp_path, without, REAL) as lab:
        other = await lab.start(MOVE, position="tray/cells/A2")
        await asyncio.sleep(600)
        assert (await lab.engine.state(other)).cause == f"waits for a arm: arm works for {run}"
        await lab.engine.command(run, Command.ABORT, by="eva")
        assert (await end_of(lab, other)).outcome == "complete"


async def test_what_was_cut_by_an_abort_is_named_at_its_end(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await crimping(lab, world)
        await lab.engine.command(run, Command.ABORT, by="eva")
        cause = (await end_of(lab, run)).cause
        assert cause == "aborted by eva; nobody knows whether press.crimp happened: look at cell-0001"


async def test_what_was_still_asked_about_when_it_was_aborted_is_named_too(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await crimping(lab, world)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await asyncio.sleep(1)  # the press is at it still
        await lab.engine.command(run, Command.ABORT, by="eva")
        cause = (await end_of(lab, run)).cause
        assert cause == "aborted by eva; nobody knows whether press.crimp happened: look at cell-0001"


def test_one_of_two_open_questions_is_left_when_the_other_is_closed() -> None:
    started = {"protocol": "p", "version": "1.0.0", "sample": "cell-1"}
    asked = {"text": "?", "choices": [], "input": None}
    kinds: list[tuple[str, dict[str, object]]] = [
        ("run.started", started),
        ("question.asked", {**asked, "question_id": "q1", "kind": "protocol"}),
        ("question.asked", {**asked, "question_id": "q2", "kind": "outcome"}),
        ("question.answered", {"question_id": "q2"}),
        ("question.expired", {"question_id": "q1"}),
    ]
    events = [Event(seq, "", "run-1", kind, data, "") for seq, (kind, data) in enumerate(kinds, 1)]
    shown = [fold(events[:count]).runs["run-1"].question for count in range(1, 6)]
    assert [question and question["id"] for question in shown] == [None, "q1", "q2", "q1", None]
