"""A cycler works on while no daemon listens: what it recorded meanwhile is there afterwards, each row once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.keithley import DRIVER as KEITHLEY
from drivers.neware import DRIVER
from labd import clock
from labd.journal import SignalStore
from labd.run.lifecycle import Command
from simulators._kit.simulator import Bench as SimulatorBench
from simulators._kit.world import World
from simulators.keithley import SIMULATOR as SMU
from simulators.neware import SIMULATOR, NewareSimulator
from tests.run.conftest import at_work
from tests.run.test_recovery import end_of
from tests.run.waiting import until_asked, until_busy

REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Rest on a channel of a cycler.
roles: {cycler: potentiostat}
start: rest
states:
  rest: {do: cycler.open_circuit, with: {duration: 2 h, interval: 10 s}, as: ocv, next: done}
  done: {end: complete}
"""


@contextlib.asynccontextmanager
async def cycler(tmp_path: Path) -> AsyncIterator[tuple[NewareSimulator, dict[str, Any]]]:
    """A cycler with a cell, and the lab.yaml that it is in; started again it is at the same address."""
    world = World(seed=3, failed_cells=0.0)
    world.lay_cell("cycler/21-1-1", clock.now().timestamp())
    settings: dict[str, Any] = {"address": "127.0.0.1:0", "channels": ["21-1-1"], "directory": "steps"}
    simulator = SIMULATOR(SimulatorBench("cycler", world, settings, directory=tmp_path))
    settings |= await simulator.start() | {"max_current": "10 mA"}
    try:
        yield simulator, {"devices": {"cycler": {"driver": "neware", "settings": settings}}}
    finally:
        await simulator.stop()


async def times_of(tmp_path: Path, run: str) -> list[float]:
    signals = await SignalStore.open(tmp_path / "signals.sqlite")
    (series,) = await signals.series(run=run)
    found = await signals.read(series.id)
    await signals.close()
    return list(found["time"])


WHOLE = [10.0 * number for number in range(721)]


@pytest.mark.parametrize(("lost_after", "back_after"), [(1800, 1200), (1803, 3 * 3600), (7199, 60)])
async def test_rows_of_a_cycler_come_once_after_a_crash(tmp_path: Path, lost_after: float, back_after: float) -> None:
    async with cycler(tmp_path) as (simulator, lab_yaml):
        async with at_work(tmp_path, {}, {"neware": DRIVER}, lab_yaml=lab_yaml) as lab:
            run = await lab.start(REST)
            await until_busy(lab, "cycler")
            await asyncio.sleep(lost_after)
        await asyncio.sleep(back_after)
        async with at_work(tmp_path, {}, {"neware": DRIVER}, lab_yaml=lab_yaml) as lab:
            assert (await end_of(lab, run)).outcome == "complete"
            assert len(await lab.events(run, "action.intended")) == 1
        assert await times_of(tmp_path, run) == WHOLE
        assert simulator.channels["21-1-1"].memory["testid"] == 1


async def test_a_link_that_is_lost_for_a_while_holds_nobody_up(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (simulator, lab_yaml):
        async with at_work(tmp_path, {}, {"neware": DRIVER}, lab_yaml=lab_yaml) as lab:
            run = await lab.start(REST)
            await until_busy(lab, "cycler")
            await asyncio.sleep(1800)
            await simulator.stop()
            await asyncio.sleep(900)
            assert lab.lab.devices["cycler"].health == "down"
            await simulator.start()
            assert (await end_of(lab, run)).outcome == "complete"
            assert await lab.events(run, "action.unknown", "run.held") == []
        assert await times_of(tmp_path, run) == WHOLE


async def test_rows_come_with_a_late_word_too(tmp_path: Path) -> None:
    async with cycler(tmp_path) as (simulator, lab_yaml):
        async with at_work(tmp_path, {}, {"neware": DRIVER}, lab_yaml=lab_yaml) as lab:
            run = await lab.start(REST)
            await until_busy(lab, "cycler")
            await asyncio.sleep(6000)
            await simulator.stop()
            await until_asked(lab, run)  # its time is over, and nobody can tell
            await simulator.start()
            async with asyncio.timeout(3600):
                while (await lab.engine.state(run)).question is not None:
                    await asyncio.sleep(1)
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await end_of(lab, run)).outcome == "complete"
        assert await times_of(tmp_path, run) == WHOLE


CHARGE = """\
labd: 1
protocol: charge
version: 1.0.0
summary: Charge a cell.
roles: {smu: potentiostat}
start: charge
states:
  charge:
    summary: Charge.
    do: smu.constant_current
    with: {current: 0.5 mA, until_time: 12 h, until_voltage: 4.1 V, interval: 30 s}
    next: done
  done: {end: complete}
"""


async def test_a_sourcemeter_that_a_dead_daemon_left_on_is_switched_off_by_the_next_and_a_person_is_asked(
    tmp_path: Path,
) -> None:
    world = World(seed=3, failed_cells=0.0)
    world.lay_cell("smu/cell", clock.now().timestamp())
    settings: dict[str, Any] = {"address": "127.0.0.1:0"}
    simulator = SMU(SimulatorBench("smu", world, settings, directory=tmp_path))
    settings |= await simulator.start() | {"max_current": "10 mA"}
    lab_yaml = {"devices": {"smu": {"driver": "keithley", "settings": settings}}}
    try:
        async with at_work(tmp_path, {}, {"keithley": KEITHLEY}, lab_yaml=lab_yaml) as lab:
            run = await lab.start(CHARGE)
            await until_busy(lab, "smu")
            await asyncio.sleep(1800)
            await simulator.stop()  # its plug is out, so that nothing which this daemon still says arrives
        await simulator.start()
        assert simulator.source.on
        await asyncio.sleep(600)
        async with at_work(tmp_path, {}, {"keithley": KEITHLEY}, lab_yaml=lab_yaml) as lab:
            assert not simulator.source.on
            question = await until_asked(lab, run)
            assert "constant_current" in str(question)
            assert not simulator.source.on
    finally:
        await simulator.stop()
