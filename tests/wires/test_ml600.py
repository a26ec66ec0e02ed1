"""The ml600 driver against the simulated instrument, with one syringe and with two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.ml600 import DRIVER
from labd.lab.bus import Bus
from labd.lab.device import Device
from labd.sdk import Call, Fault, Rejected, Setup, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, World
from simulators.ml600 import SIMULATOR, Ml600Simulator
from tests.wires.acting import act, carried_out, intended

TWO = {"right": "250 µL"}


@contextlib.asynccontextmanager
async def pump(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), settings: Any = None, **options: Any
) -> AsyncIterator[tuple[Any, Ml600Simulator]]:
    said = {"address": address, "syringe": "1 mL", **(settings or {})}
    simulator = SIMULATOR(Bench("pump", World(3), said, options, directory=directory))
    found = await simulator.start()
    driver = DRIVER(Setup("pump", {**said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


def given(simulator: Ml600Simulator, place: str = "pump/outlet") -> float:
    well = simulator.world.well(place)
    return well.volume if well is not None else 0.0


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/pump", "serial://ports/pump?baudrate=9600"])
async def test_what_is_ordered_is_drawn_in_and_given_on_every_wire(address: str, tmp_path: Path) -> None:
    async with pump(address, tmp_path) as (driver, simulator):
        assert (await act(driver, "aspirate", volume="600 µL")).volume == 600
        state = await driver.read_state()
        assert (state.position, state.valve, state.busy, state.error) == (600, "in", False, None)
        simulator.world.put("pump/outlet", Cell(id="c1"))
        assert (await act(driver, "dispense", volume="250 µL")).volume == 250
        assert (await act(driver, "dispense", volume="1.5 mL", rate="400 µL/s")).volume == 1500
        assert simulator.world.cell("pump/outlet").volume == pytest.approx(1750, abs=1)  # type: ignore[union-attr]


async def test_two_syringes_work_at_the_same_time() -> None:
    async with pump(settings=TWO) as (driver, simulator):
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(act(driver, "dispense", "left", volume="800 µL", rate="20 µL/s"))
            await asyncio.sleep(5)
            assert (await act(driver, "dispense", "right", volume="100 µL")).volume == 100
            assert not slow.done()
            reading = await driver.read_state()
            assert (reading["left"].busy, reading["right"].busy) == (True, False)
            with pytest.raises(Rejected, match="initialising moves both"):
                await driver.initialise(Call("a9", "right"))
        assert slow.result().volume == 800
        assert given(simulator, "pump/left") == pytest.approx(800, abs=0.5)
        assert given(simulator, "pump/right") == pytest.approx(100, abs=0.5)


async def test_one_that_is_made_safe_or_cancelled_leaves_the_other_at_work() -> None:
    async with pump(settings=TWO) as (driver, _):
        async with asyncio.TaskGroup() as group:
            left = group.create_task(act(driver, "aspirate", "left", volume="800 µL", rate="20 µL/s"))
            right = group.create_task(act(driver, "aspirate", "right", volume="200 µL", rate="5 µL/s"))
            await asyncio.sleep(15)
            await driver.cancel("a1right")
            assert 0 < (await right).volume < 100
            assert not left.done()
        assert left.result().volume == 800
        await driver.safe_state()
        await driver.safe_state("left")


async def test_priming_initialises_an_instrument_that_was_just_switched_on() -> None:
    async with pump(initialised=False) as (driver, simulator):
        with pytest.raises(Rejected, match="give it `prime` or `initialise`"):
            await act(driver, "aspirate", volume="10 µL")
        assert (await act(driver, "prime")).volume == 1000
        assert given(simulator) == pytest.approx(1000, abs=1)


async def test_a_cancelled_dose_gives_what_was_really_given() -> None:
    async with pump() as (driver, simulator):
        task = asyncio.create_task(act(driver, "dispense", volume="2.5 mL"))
        await asyncio.sleep(28)
        await driver.cancel("a1")
        assert 0 < (await task).volume < 2500
        assert given(simulator) == pytest.approx(task.result().volume, abs=1)


@pytest.mark.parametrize("name", ["aspirate", "dispense", "prime"])
@pytest.mark.parametrize("unit", ["", "right"])
async def test_the_plungers_place_proves_what_was_done(name: str, unit: str) -> None:
    async with pump(settings=TWO if unit else None) as (driver, _):
        intent = await intended(driver, name, unit, volume="100 µL")
        assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE
        await carried_out(driver, intent)
        outcome = await driver.outcome(intent)
        assert (outcome.verdict, outcome.result.volume) == (Verdict.DONE, 100)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fault", "words"), [("overload", "is overloaded"), ("busy_stuck", "still busy"), ("nak", "does not take")]
)
async def test_what_keeps_it_from_moving(fault: str, words: str) -> None:
    async with pump() as (driver, simulator):
        intent = await intended(driver, "aspirate", volume="100 µL")
        loop = asyncio.get_running_loop()
        loop.call_later(0.5 if fault == "busy_stuck" else 0, simulator.faults.update, {fault: 1})
        with pytest.raises((Fault, Rejected), match=words):
            await carried_out(driver, intent)
        if fault == "overload":
            assert (await driver.outcome(intent)).verdict is Verdict.UNKNOWN


async def test_an_instrument_that_lost_its_power_is_called_up_again(tmp_path: Path) -> None:
    simulator = SIMULATOR(Bench("pump", World(3), {"address": "pump"}, directory=tmp_path))
    found = await simulator.start()
    device = Device("pump", "ml600", DRIVER(Setup("pump", {"syringe": "1 mL", **found})), Bus())
    supervision = asyncio.create_task(device.run())
    await asyncio.sleep(30)
    assert (device.health, device.live("")["position"]) == ("ok", 0.0)
    simulator.faults["power_cycle"] = True
    await asyncio.sleep(120)
    assert (device.health, device.live("")["initialised"]) == ("ok", False)
    supervision.cancel()
    await asyncio.gather(supervision, return_exceptions=True)
    await simulator.stop()
