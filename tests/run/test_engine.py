"""Many runs of one lab: none harms another, and what has ended is not kept for ever."""

from __future__ import annotations

import asyncio

import pytest

from labd.run.engine import EngineError
from labd.run.lifecycle import Command, CommandRefusedError
from tests.run.conftest import ASSEMBLE, BenchMaker
from tests.run.waiting import until, until_busy

IDLE = """\
labd: 1
protocol: idle
version: 1.0.0
summary: Wait.
start: rest
states:
  rest:
    summary: Wait.
    steps:
      - wait: 1 h
    next: done
  done: {end: complete}
"""

TWO = """\
labd: 1
protocol: two
version: 1.0.0
summary: Two channels at once.
roles: {a: potentiostat, b: potentiostat}
start: both
states:
  both:
    summary: Both off.
    steps:
      - do: a.cell_off
      - do: b.cell_off
    next: done
  done: {end: complete}
"""


async def test_an_error_of_labds_own_holds_its_run_and_no_other(bench: BenchMaker) -> None:
    async with bench() as lab:
        broken = await lab.engine.start(ASSEMBLE, "a.yaml", {}, position="tray/cells/A1", by="test")
        sound = await lab.start(position="tray/cells/B1")

        def fails(_: object) -> None:
            raise ZeroDivisionError("oh")

        broken.machine.feed = fails  # type: ignore[method-assign,assignment]
        await until(lab, broken.id, "Held")
        assert "ZeroDivisionError" in str((await lab.engine.state(broken.id)).cause)
        with pytest.raises(CommandRefusedError, match="stop or abort"):
            await lab.engine.command(broken.id, Command.UNHOLD, by="eva")
        await lab.engine.command(broken.id, Command.STOP, by="eva")
        assert (await lab.engine.wait(broken.id)).outcome == "stopped"
        assert (await lab.engine.wait(sound)).outcome == "complete"


async def test_ended_runs_are_told_but_not_kept(bench: BenchMaker) -> None:
    async with bench() as lab:
        runs = [await lab.start(IDLE, position=f"tray/cells/A{number}") for number in range(1, 6)]
        await lab.engine.command(runs[3], Command.STOP, by="eva")
        for run in runs:
            await lab.engine.wait(run)
        assert [state.run for state in lab.engine.known()] == runs
        assert lab.engine.working == ()
        assert (await lab.engine.wait(runs[0])).outcome == "complete"
        with pytest.raises(CommandRefusedError, match="has ended"):
            await lab.engine.command(runs[0], Command.HOLD, by="eva")


async def test_what_wait_tells_is_durable(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(IDLE)
        seen: list[str] = []
        lab.journal.on_commit(lambda events: seen.extend(event.kind for event in events))
        await lab.engine.wait(run)
        assert "run.ended" in seen


async def test_a_sample_that_a_run_works_on_cannot_be_cleared_through_an_older_run(bench: BenchMaker) -> None:
    async with bench() as lab:
        old = await lab.start(IDLE)
        await lab.engine.wait(old)
        new = await lab.engine.start(IDLE, "idle.yaml", {}, sample="cell-0001", by="eva")
        with pytest.raises(CommandRefusedError, match=new.id):
            await lab.engine.command(old, Command.CLEAR, by="eva")
        assert lab.lab.places.place_of("cell-0001") == "tray/cells/A1"


async def test_a_run_that_is_just_being_started_ends_with_the_others(bench: BenchMaker) -> None:
    async with bench() as lab:
        starting = asyncio.create_task(lab.start(IDLE))
        while not lab.engine.working:
            await asyncio.sleep(0)
        await lab.engine.stop_all("test", "the end")
        run = await starting
        assert (await lab.engine.wait(run)).outcome == "stopped"
        with pytest.raises(EngineError, match="stopping"):
            await lab.start(IDLE)


async def test_a_start_whose_caller_has_gone_is_a_run_all_the_same(bench: BenchMaker) -> None:
    async with bench() as lab:
        starting = asyncio.create_task(lab.start(IDLE))
        while not lab.engine.working:
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert (await lab.engine.wait("run-0001")).outcome == "complete"


async def test_two_roles_of_a_kind_get_two_units(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TWO, position="stat1/cell")
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert [lab.toy(stat).happened for stat in ("stat1", "stat2")] == [["cell_off"], ["cell_off"]]


async def test_a_run_that_is_stopped_while_it_waits_for_a_device_leaves_no_trace(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [15.0]
        first = await lab.start(position="tray/cells/A1")
        await until_busy(lab, "press")
        second = await lab.start(position="tray/cells/B1")
        await asyncio.sleep(1)
        assert "works for run-0001" in str((await lab.engine.state(second)).cause)
        await lab.engine.command(second, Command.STOP, by="eva")
        assert (await lab.engine.wait(second)).outcome == "stopped"
        assert (await lab.engine.wait(first)).outcome == "complete"
        third = await lab.start(position="tray/cells/A2")
        assert (await lab.engine.wait(third)).outcome == "complete"


async def test_runs_that_do_not_stop_in_time_can_be_aborted_in_order(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [1e6]
        run = await lab.start(ASSEMBLE.replace("within: 60 s", "within: 10 h"))
        await until_busy(lab, "press", 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await lab.engine.stop_all("labd", "the end")
        await lab.engine.abort_all("labd", "the end")
        state = await lab.engine.state(run)
        assert (state.state, state.outcome) == ("Aborted", "aborted")
        assert lab.toy("press").safe
        (unknown,) = await lab.events(run, "action.unknown")
        assert unknown.data["message"] == "the run was aborted"


async def test_a_position_that_the_lab_does_not_have_is_refused_before_anything_starts(bench: BenchMaker) -> None:
    async with bench() as lab:
        with pytest.raises(EngineError, match=r"the lab has no place 'press/nst'; .*press/nest"):
            await lab.start(position="press/nst")
        assert await lab.engine.states() == []
