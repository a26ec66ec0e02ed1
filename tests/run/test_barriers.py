"""What keeps runs from going on: devices that are given to nobody, and runs that may not be unheld."""

from __future__ import annotations

import asyncio

import pytest

from labd.lab.barriers import Barriers
from labd.run.engine import CommandRefusedError, EngineError
from labd.run.lifecycle import Command
from tests.run.conftest import BenchMaker
from tests.run.waiting import until, until_busy


def test_a_barrier_is_about_its_devices_or_about_all() -> None:
    barriers = Barriers()
    changes: list[str | None] = []
    barriers.on_change(lambda: changes.append(barriers.reason_for({"press"})))
    barriers.set("seal", "press is in maintenance", {"press"})
    assert barriers.reason_for({"arm", "press"}) == "press is in maintenance"
    assert barriers.reason_for({"arm"}) is None
    assert barriers.reason_for() is None
    barriers.set("disk", "the disk is full")
    assert barriers.reason_for() == "the disk is full"
    assert barriers.reason_for({"press"}) == "press is in maintenance; the disk is full"
    barriers.set("disk", "the disk is full")  # nothing new
    barriers.lift("seal")
    barriers.lift("seal")
    assert changes == ["press is in maintenance", "press is in maintenance; the disk is full", "the disk is full"]


async def test_a_run_waits_for_a_barred_device_and_says_why(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.lab.barriers.set("seal", "press is in maintenance", {"press"})
        run = await lab.start()
        await asyncio.sleep(60)
        state = await lab.engine.state(run)
        assert state.cause == "waits for a crimper: press is in maintenance"
        assert lab.toy("press").happened == []
        lab.lab.barriers.lift("seal")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_a_held_run_goes_on_only_once_the_barrier_is_lifted(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        await lab.engine.command(run, Command.HOLD, by="test")
        await until(lab, run, "Held")
        lab.lab.barriers.set("estop", "press: estop", {"press"})
        with pytest.raises(CommandRefusedError, match=r"cannot go on: press: estop"):
            await lab.engine.command(run, Command.UNHOLD, by="test")
        lab.lab.barriers.lift("estop")
        await lab.engine.command(run, Command.UNHOLD, by="test")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_no_run_is_started_behind_a_barrier_about_the_whole_lab(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.lab.barriers.set("disk", "the disk is full; make room")
        with pytest.raises(EngineError, match=r"no run is started now: the disk is full; make room"):
            await lab.start()
        lab.lab.barriers.lift("disk")
        assert (await lab.engine.wait(await lab.start())).outcome == "complete"
