"""The daemon ends at any moment, and the next one goes on: nothing twice, nothing lost, nothing decided anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pytest

from labd import clock
from labd.journal import Event, NewEvent
from labd.lab.background import background
from labd.lab.bus import RunState
from labd.run.engine import EngineError
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.past import LostActionError, Tried
from labd.run.safe_mode import units_going_on
from labd.sdk import Bounds, Call, Driver, Duration, Force, Setup
from labd.sdk.roles import CrimpResult
from tests.run.conftest import DEVICES, Bench, at_work
from tests.run.waiting import until, until_asked, until_busy
from tests.run.world import REAL, RealPress, World, fresh
from tests.toys import TOYS, ToyPress
from tests.whole import some

ONCE = {
    "arm.pick tray/cells/A1": 1,
    "arm.place press/nest": 1,
    "press.crimp": 1,
    "arm.pick press/nest": 1,
    "arm.place stat1/cell": 1,
    "stat.open_circuit": 1,
}


@pytest.fixture
def world() -> World:
    return fresh()


async def crash_after(lab: Bench, events: int) -> None:
    """Waits until the journal holds so many events."""
    enough = asyncio.Event()

    def heard(written: Sequence[Event]) -> None:
        if written[-1].seq >= events:
            enough.set()

    lab.journal.on_commit(heard)
    await enough.wait()


def once_effects(world: World) -> dict[str, int]:
    return {what: times for what, times in world.effects.items() if what != "press.open"}


async def end_of(lab: Bench, run: str) -> RunState:
    """The end of a run; one that never comes is a failure."""
    async with asyncio.timeout(50_000):
        return await lab.engine.wait(run)


async def length(path: Path) -> int:
    """How many events a run that nothing cuts has."""
    async with at_work(path, DEVICES, REAL) as lab:
        run = await lab.start()
        assert (await end_of(lab, run)).outcome == "complete"
        return len(await lab.journal.events())


async def test_a_run_that_is_cut_at_any_event_goes_on_and_does_nothing_twice(tmp_path: Path, world: World) -> None:
    whole = await length(tmp_path / "whole")
    assert whole > 40
    for cut in range(1, whole, some(3, 1)):
        world = fresh()
        path = tmp_path / f"cut{cut}"
        async with at_work(path, DEVICES, REAL) as lab:
            starts = asyncio.ensure_future(lab.start())
            await crash_after(lab, cut)
            starts.cancel()
        async with at_work(path, DEVICES, REAL) as lab:
            (state,) = lab.engine.known()
            ended = await end_of(lab, state.run)
            assert ended.outcome == "complete", f"cut after event {cut}: {ended}"
            assert once_effects(world) == ONCE, f"cut after event {cut}"
            assert await lab.states(state.run) == ["to_press", "crimp", "to_stat", "rest", "done"], f"event {cut}"
            assert await lab.journal.kept("run/") == {}


async def test_a_run_that_is_cut_again_and_again_ends_all_the_same(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await asyncio.sleep(2)
    for restart in range(200):
        async with at_work(tmp_path, DEVICES, REAL) as lab:
            await asyncio.sleep(0.5 + restart % 7)
            if (await lab.engine.state(run)).ended:
                break
            if (await lab.engine.state(run)).protocol_state == "rest":
                await asyncio.sleep(600)
    assert restart > 5
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await lab.engine.state(run)).outcome == "complete"
    assert once_effects(world) == ONCE


async def test_what_no_device_knows_is_asked_about(tmp_path: Path, world: World) -> None:
    world.mute.add("press")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        question = await until_asked(lab, run)
        assert "the daemon ended while it was under way" in str(question["text"])
        await until(lab, run, "Held")
        kinds = [(e.kind, e.data.get("device")) for e in await lab.journal.events(run=run)]
        made_safe = kinds.index(("device.safe_state", "press"))  # whatever it still does, before anybody is asked
        assert kinds.index(("action.unknown", None)) < made_safe < kinds.index(("question.asked", None))
    async with at_work(tmp_path, DEVICES, REAL) as lab:  # and once more while the question is open
        state = await lab.engine.state(run)
        assert (state.state, state.question and state.question["id"]) == ("Held", question["id"])
        await lab.engine.answer(run, "done", by="eva")
    async with at_work(tmp_path, DEVICES, REAL) as lab:  # and once more after the answer
        (answered,) = await lab.events(run, "question.answered")
        assert answered.data["by"] == "eva"
        assert "the outcome of press.crimp is unknown" in str((await lab.engine.state(run)).cause)
        await lab.engine.command(run, Command.UNHOLD, at="to_stat", by="eva")
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world) == ONCE


GRIPPED = """\
labd: 1
protocol: gripped
version: 1.0.0
summary: Carry a part, look whether it was gripped, and ask.
roles: {arm: arm}
start: take
states:
  take:
    steps:
      - {do: arm.pick, with: {place: =sample.position}, as: picked}
      - {do: arm.place, with: {place: tray/cells/B1}, as: put}
    next:
      - {if: not picked.gripped, go: lost}
      - {if: not put.released, go: lost}
      - {go: ask}
  ask:
    ask: Is it there?
    choices: {"yes": done, "no": lost}
    within: 2 h
    otherwise: lost
  done: {end: complete}
  lost: {end: scrapped}
"""


async def test_a_person_s_done_means_that_it_was_gripped_and_no_question_is_taken_for_an_earlier_one(
    tmp_path: Path, world: World
) -> None:
    world.mute.add("arm")
    for effect in ("arm.pick tray/cells/A1", "arm.place tray/cells/B1"):
        async with at_work(tmp_path, DEVICES, REAL) as lab:
            run = (await lab.engine.states() or [None])[0]
            run_id = run.run if run is not None else await lab.start(GRIPPED)
            while not world.effects[effect]:
                state = await lab.engine.state(run_id)
                if state.question is not None and state.state == "Held":  # it was cut before it was sent
                    await lab.engine.answer(run_id, "not done", by="eva")
                    await lab.engine.command(run_id, Command.UNHOLD, by="eva")
                await asyncio.sleep(0.1)
        async with at_work(tmp_path, DEVICES, REAL) as lab:
            await until_asked(lab, run_id)
            await until(lab, run_id, "Held")
            await lab.engine.answer(run_id, "done", by="eva")
        async with at_work(tmp_path, DEVICES, REAL) as lab:
            await lab.engine.command(run_id, Command.UNHOLD, by="eva")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        question = await until_asked(lab, run_id)
        assert question["text"] == "Is it there?"
    async with at_work(tmp_path, DEVICES, REAL) as lab:  # the protocol's question is still open
        await asyncio.sleep(60)
        assert (await lab.engine.state(run_id)).question is not None
        ids = [event.data["question_id"] for event in await lab.events(run_id, "question.asked")]
        assert ids == [f"{run_id}-q{number}" for number in range(1, len(ids) + 1)]
        assert len(ids) >= 3
        await lab.engine.answer(run_id, "yes", by="eva")
        assert (await end_of(lab, run_id)).outcome == "complete"
    assert once_effects(world) == {"arm.pick tray/cells/A1": 1, "arm.place tray/cells/B1": 1}


WAITS = """\
labd: 1
protocol: waits
version: 1.0.0
summary: Wait, ask, wait for a signal, and keep a time window.
roles: {press: crimper}
start: rest
windows:
  - {from: rest.end, to: crimp.start, within: 30 min, otherwise: late}
states:
  rest:
    steps:
      - {do: press.open}
      - {wait: 10 min}
    next: ask
  ask:
    ask: Is it ready?
    choices: {go on: crimp}
    within: 2 h
    otherwise: nobody
  crimp: {do: press.crimp, with: {force: 5 kN}, next: done}
  done: {end: complete}
  late: {end: scrapped}
  nobody: {end: scrapped}
"""


REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Watch a voltage.
roles: {stat: potentiostat}
start: rest
states:
  rest: {do: stat.open_circuit, with: {duration: 1 h}, next: done}
  done: {end: complete}
"""


async def test_a_rest_that_was_four_minutes_old_has_six_left(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(WAITS)
        await asyncio.sleep(4 * 60)
    await asyncio.sleep(60)  # the daemon is away
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        began = clock.monotonic()
        while (await lab.engine.state(run)).protocol_state == "rest":
            await asyncio.sleep(1)
        assert 295 <= clock.monotonic() - began <= 305


async def test_a_time_window_that_broke_meanwhile_leads_to_its_otherwise(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(WAITS)
        await until_asked(lab, run)
    await asyncio.sleep(31 * 60)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await end_of(lab, run)).outcome == "scrapped"
        assert (await lab.states(run))[-1] == "late"
    assert world.effects["press.crimp"] == 0


async def test_a_question_keeps_its_id_and_what_is_left_of_its_time(tmp_path: Path, world: World) -> None:
    source = WAITS.replace("30 min", "30 h")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(source)
        question = await until_asked(lab, run)
        await asyncio.sleep(3600)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await asyncio.sleep(50 * 60)
        state = await lab.engine.state(run)
        assert state.question is not None
        assert state.question["id"] == question["id"]
        assert (await lab.states(run))[-1] == "ask"
        await asyncio.sleep(11 * 60)
        assert (await lab.states(run))[-1] == "nobody"


async def test_an_answer_that_nobody_acted_on_yet_is_not_lost(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(WAITS)
        await until_asked(lab, run)
        answers = asyncio.ensure_future(lab.engine.answer(run, "go on", by="eva"))
        await lab.journal.events()  # the answer is durable; the daemon ends before anything follows
        answers.cancel()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await end_of(lab, run)).outcome == "complete"
    assert world.effects["press.crimp"] == 1


async def test_a_held_run_stays_held(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await asyncio.sleep(2)
        await lab.engine.command(run, Command.HOLD, by="eva", cause="lunch")
        await until(lab, run, "Held")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await asyncio.sleep(3600)
        state = await lab.engine.state(run)
        assert (state.state, state.cause) == ("Held", "lunch")
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world) == ONCE


@pytest.mark.parametrize("command", [Command.STOP, Command.ABORT])
async def test_a_run_that_was_ending_ends_with_its_devices_safe(tmp_path: Path, world: World, command: Command) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        lab.toy("press").safe_takes = 3.0
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
        await lab.engine.command(run, command, by="eva", cause="smoke")
        assert (await lab.engine.state(run)).state in ("Stopping", "Aborting")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        state = await end_of(lab, run)
        assert state.outcome == ("stopped" if command is Command.STOP else "aborted")
        assert state.cause == "smoke"
        (told,) = await lab.events(run, "action.reconciled")
        assert (told.data["verdict"], told.data["by"]) == ("done", "device")
        assert lab.toy("press").safe == [None]
    assert world.effects["press.crimp"] == 1


@pytest.mark.parametrize("command", [Command.STOP, Command.ABORT])
async def test_a_device_that_is_late_is_made_safe_before_such_a_run_ends(
    tmp_path: Path, world: World, command: Command
) -> None:
    world.mute.add("press")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        lab.toy("press").safe_takes = 3.0
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
        await lab.engine.command(run, command, by="eva", cause="smoke")
    world.down.add("press")
    async with at_work(tmp_path, DEVICES, REAL, wait=False) as lab:
        await asyncio.sleep(30)
        assert (await lab.engine.state(run)).state in ("Stopping", "Aborting")
        world.down.clear()
        state = await end_of(lab, run)
        assert "smoke; nobody knows whether press.crimp happened" in str(state.cause)
        assert None in lab.toy("press").safe


async def test_a_device_that_comes_back_late_is_asked_and_its_question_taken_back(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    world.down.add("press")
    async with at_work(tmp_path, DEVICES, REAL, wait=False) as lab:
        question = await until_asked(lab, run)
        assert question["kind"] == "outcome"
        world.down.clear()
        async with asyncio.timeout(600):
            while (await lab.engine.state(run)).question is not None:
                await asyncio.sleep(1)
        state = await lab.engine.state(run)
        assert state.state == "Held"
        assert "the device has told since" in str(state.cause)
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world) == ONCE


async def test_a_lab_that_has_lost_a_device_is_told_so_and_nothing_is_forgotten(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await asyncio.sleep(2)
    without = {name: kind for name, kind in DEVICES.items() if name != "press"}
    async with at_work(tmp_path, without, REAL) as lab:
        state = await lab.engine.state(run)
        assert state.ended is None
        assert "it cannot go on" in str(state.cause)
        with pytest.raises(CommandRefusedError, match="cannot go on"):
            await lab.engine.command(run, Command.HOLD, by="eva")
        with pytest.raises(EngineError, match=run):
            await lab.engine.start(REST, "rest.yaml", {}, sample="cell-0001", by="eva")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world) == ONCE


async def test_a_run_that_cannot_go_on_can_be_aborted(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    without = {name: kind for name, kind in DEVICES.items() if name != "press"}
    async with at_work(tmp_path, without, REAL) as lab:
        state = await lab.engine.command(run, Command.ABORT, by="eva")
        assert (state.state, state.outcome) == ("Aborted", "aborted")
        assert "press.crimp" in str(state.cause)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await lab.engine.state(run)).outcome == "aborted"
        assert await lab.journal.kept("run/") == {}


async def test_a_stop_of_the_daemon_waits_for_what_acts_and_not_for_what_goes_on_without_it(
    tmp_path: Path, world: World
) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        crimping = await lab.start(position="tray/cells/A1")
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
        began = clock.monotonic()
        await lab.engine.leave_all()
        assert 5 <= clock.monotonic() - began <= 7  # the stroke is brought to its end
        assert await units_going_on(lab.journal) == set()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert not await lab.events(crimping, "action.unknown")
        while not world.effects["stat.open_circuit"]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(60)
        began = clock.monotonic()
        await lab.engine.leave_all()
        assert clock.monotonic() - began < 1
        assert await units_going_on(lab.journal) == {("stat1", "")}
        assert lab.toy("stat1").safe == []
    await asyncio.sleep(600)
    began = clock.monotonic()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await end_of(lab, crimping)).outcome == "complete"
        assert 3600 - 670 <= clock.monotonic() - began <= 3600 - 650  # it went on meanwhile
    assert once_effects(world) == ONCE


async def test_a_run_of_a_restored_journal_waits_for_a_person(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await asyncio.sleep(2)
        await lab.journal.append(NewEvent("store.restored", {"backup_at": "2026-11-20T08:00:00Z"}))
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await until(lab, run, "Held")
        assert "restored from a backup of 2026-11-20" in str((await lab.engine.state(run)).cause)
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"


async def test_an_order_to_all_while_runs_are_taken_up_reaches_each_before_it_does_anything(
    tmp_path: Path, world: World
) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["arm.place press/nest"]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
    before = once_effects(world)
    async with contextlib.AsyncExitStack() as stack:
        lab = await stack.enter_async_context(at_work(tmp_path, DEVICES, REAL, begin=False))
        ordered = asyncio.ensure_future(lab.engine.command_all(Command.ABORT, by="eva", cause="smoke"))
        await stack.enter_async_context(background(lab.engine.run(), "engine"))
        async with asyncio.timeout(600):
            assert await ordered == [run]
        assert (await end_of(lab, run)).outcome == "aborted"
    assert once_effects(world) == before


async def test_an_order_to_all_ends_also_runs_that_were_not_taken_up(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        await asyncio.sleep(2)
    async with at_work(tmp_path, DEVICES, REAL, resume=False) as lab:
        assert (await lab.engine.state(run)).ended is None
        assert await lab.engine.command_all(Command.HOLD, by="eva") == []
        assert await lab.engine.command_all(Command.ABORT, by="eva", cause="smoke") == [run]
        assert (await lab.engine.state(run)).outcome == "aborted"
        assert await lab.engine.resume() == []


WATCHED = """\
labd: 1
protocol: watched
version: 1.0.0
summary: Crimp, unless the force shows that something is in the way.
roles: {press: crimper, arm: arm}
start: work
states:
  work:
    watch:
      - {if: arm.error, go: other}
    steps:
      - {do: press.crimp, with: {force: 5 kN}}
    next: done
  other:
    steps:
      - {do: press.open}
    next: done
  done: {end: complete}
"""


async def test_a_step_that_is_left_while_its_device_is_away_is_not_ordered_again(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start(WATCHED)
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.01)
    world.effects["press.crimp"] = 0  # the order never came to the press
    world.ends.clear()
    world.down.add("press")
    async with at_work(tmp_path, DEVICES, REAL, wait=False) as lab:
        await lab.lab.devices["arm"].wait_ready()
        await asyncio.sleep(10)
        assert "waits for press to tell what became of press.crimp" in str((await lab.engine.state(run)).cause)
        lab.toy("arm").reads = {"error": True}
        async with asyncio.timeout(60):
            while not await lab.events(run, "action.left", "action.cancelled"):
                await asyncio.sleep(1)
        world.down.clear()
        assert (await end_of(lab, run)).outcome == "complete"
        assert (await lab.states(run))[-2:] == ["other", "done"]
    assert world.effects["press.crimp"] == 0


async def test_a_stop_does_not_wait_for_a_device_that_is_away(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    world.down.add("press")
    async with at_work(tmp_path, DEVICES, REAL, wait=False) as lab:
        await asyncio.sleep(10)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await until(lab, run, "Held")
        began = clock.monotonic()
        await lab.engine.command(run, Command.STOP, by="eva")
        state = await end_of(lab, run)
        assert clock.monotonic() - began < 60
        assert "press.crimp" in str(state.cause)


async def test_an_answer_settles_the_question_that_it_names_and_no_other(tmp_path: Path, world: World) -> None:
    world.mute.add("press")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        question = await until_asked(lab, run)
        with pytest.raises(CommandRefusedError, match="is not asked now"):
            await lab.engine.answer(run, "not done", by="bob", which=f"{run}-q7")
        await lab.engine.answer(run, "done", by="eva", which=str(question["id"]))


async def test_nothing_begins_while_the_daemon_ends_whatever_a_person_says(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        acting = await lab.start(position="tray/cells/A1")
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
        held = await lab.start(position="tray/cells/B1")
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
        await lab.engine.command(held, Command.HOLD, by="eva")
        leaves = asyncio.ensure_future(lab.engine.leave_all())
        await asyncio.sleep(0.5)
        with pytest.raises(CommandRefusedError, match="the daemon is stopping"):
            await lab.engine.command(held, Command.UNHOLD, by="eva")
        await leaves
        assert not any("B1" in what for what in world.effects)
        assert not await lab.events(acting, "action.unknown")


# ── time limits, and drivers that have changed ───────────────────────────────────────────────────────────────────
class SlowPress(ToyPress):
    """Opens in 15 s."""

    async def open_ram(self, call: Call) -> None:
        self.script["open"] = [15.0]
        await super().open_ram(call)


SLOW: dict[str, type[Driver]] = {**TOYS, "press": SlowPress}


async def test_the_time_limit_of_an_action_goes_on_over_a_restart(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, SLOW) as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        await asyncio.sleep(12)  # of 20 s
    async with at_work(tmp_path, DEVICES, SLOW) as lab:
        began = clock.monotonic()
        while len(await lab.events(run, "action.failed")) < 2:
            await asyncio.sleep(0.5)
        assert clock.monotonic() - began < 9
        (cut, failed) = [event.data for event in await lab.events(run, "action.failed")]
        assert (cut["error"], failed["error"]) == ("cut", "timeout")
        assert "20 s" in failed["message"]


async def test_the_time_limit_of_an_action_stands_still_over_a_restart_while_the_run_is_held(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, SLOW) as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        await asyncio.sleep(2)
        await lab.engine.command(run, Command.HOLD, by="eva")
    await asyncio.sleep(600)
    async with at_work(tmp_path, DEVICES, SLOW) as lab:
        await until(lab, run, "Held")
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await end_of(lab, run)).outcome == "complete"


class ChangedPress(RealPress):
    """Its next version: it takes less force."""

    async def crimp(
        self, call: Call, force: Annotated[Force, Bounds(min=0.1, max=5)], dwell: Duration = 2.0
    ) -> CrimpResult:
        raise AssertionError("it is not ordered")


class LesserPress(RealPress):
    """Its next version: it crimps no more."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.actions = {name: one for name, one in self.actions.items() if name != "crimp"}  # type: ignore[misc]


@pytest.mark.parametrize("knows", [True, False])
async def test_parameters_that_a_driver_does_not_take_any_more_are_asked_about(
    tmp_path: Path, world: World, *, knows: bool
) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    if knows:
        world.ends.clear()  # it says for certain that it was not done
    else:
        world.mute.add("press")
    async with at_work(tmp_path, DEVICES, {**REAL, "press": ChangedPress}) as lab:
        question = await until_asked(lab, run)
        assert question["kind"] == "outcome"
        if knows:
            assert "it was not done, the device says, and its driver takes other parameters now" in str(
                question["text"]
            )
        await until(lab, run, "Held")
        assert not await lab.events(run, "run.failed")
        await lab.engine.answer(run, "done", by="eva")
        await lab.engine.command(run, Command.UNHOLD, at="to_stat", by="eva")
        assert (await end_of(lab, run)).outcome == "complete"


async def test_an_action_that_a_driver_has_no_more_leaves_its_run_to_a_person(tmp_path: Path, world: World) -> None:
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["press.crimp"]:
            await asyncio.sleep(0.1)
    async with at_work(tmp_path, DEVICES, {**REAL, "press": LesserPress}) as lab:
        state = await lab.engine.state(run)
        assert "it cannot go on" in str(state.cause)
        (intended,) = [one for one in await lab.events(run, "action.intended") if one.data["action"] == "crimp"]
        with pytest.raises(LostActionError, match="the driver of press has no action 'crimp' any more"):
            Tried(intended, intended).acts(lab.lab)
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await end_of(lab, run)).outcome == "complete"
    assert once_effects(world) == ONCE
