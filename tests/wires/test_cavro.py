"""The cavro driver against simulated pumps, alone and with others on one line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.cavro import DRIVER
from labd import clock
from labd.lab.bus import Bus
from labd.lab.device import Device
from labd.sdk import Call, DeviceError, Driver, Fault, Intent, Outcome, OutcomeUnknown, Rejected, Setup, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, World
from simulators.cavro import SIMULATOR, CavroSimulator
from tests.wires.acting import act, carried_out, intended

Stand = tuple[Any, CavroSimulator]


@contextlib.asynccontextmanager
async def pump(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), settings: Any = None, **options: Any
) -> AsyncIterator[Stand]:
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


def given(simulator: CavroSimulator) -> float:
    well = simulator.world.well("pump/outlet")
    return well.volume if well is not None else 0.0


# ── moving ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/pump", "serial://ports/pump?baudrate=9600"])
async def test_what_is_ordered_is_drawn_in_and_given_on_every_wire(address: str, tmp_path: Path) -> None:
    async with pump(address, tmp_path) as (driver, simulator):
        assert (await act(driver, "aspirate", volume="600 µL")).volume == 600
        state = await driver.read_state()
        assert (state.position, state.valve, state.busy, state.initialised, state.error) == (
            600,
            "i",
            False,
            True,
            None,
        )
        assert (await act(driver, "dispense", volume="250 µL")).volume == 250
        assert given(simulator) == pytest.approx(250, abs=0.5)


async def test_a_dose_of_more_than_it_holds_is_drawn_in_on_the_way_and_all_of_it_reaches_the_cell() -> None:
    async with pump() as (driver, simulator):
        simulator.world.put("pump/outlet", Cell(id="c1"))
        assert (await act(driver, "dispense", volume="2.5 mL")).volume == 2500
        assert simulator.world.cell("pump/outlet").volume == pytest.approx(2500, abs=1)  # type: ignore[union-attr]
        assert (await act(driver, "dispense", volume="40 µL")).volume == 40


async def test_priming_initialises_a_pump_that_was_just_switched_on_and_nothing_else_does() -> None:
    async with pump(initialised=False) as (driver, simulator):
        state = await driver.read_state()
        assert (state.position, state.initialised, state.error) == (None, False, "it is not initialised")
        with pytest.raises(Rejected, match="give it `prime` or `initialise`"):
            await act(driver, "aspirate", volume="10 µL")
        assert (await act(driver, "prime")).volume == 1000
        assert given(simulator) == pytest.approx(1000, abs=1)


async def test_a_rate_is_kept_and_one_that_it_cannot_do_is_refused() -> None:
    async with pump(settings={"rate": "100 µL/s"}) as (driver, simulator):
        began = clock.monotonic()
        await act(driver, "aspirate", volume="1 mL")
        assert clock.monotonic() - began == pytest.approx(10, abs=1)
        await act(driver, "dispense", volume="1 mL", rate="500 µL/s")
        assert clock.monotonic() - began < 15
        with pytest.raises(Rejected, match=r"does 0\.833 to 967 µL/s"):
            await act(driver, "aspirate", volume="1 mL", rate="2000 µL/s")
        with pytest.raises(Rejected, match="20 min"):
            await act(driver, "aspirate", volume="1 mL", rate="0.834 µL/s")
        assert simulator.position == 0


async def test_other_ports_of_a_distribution_valve() -> None:
    settings = {"ports": 6, "inlet": 1, "outlet": 4, "waste": 6}
    async with pump(settings=settings, initialised=False) as (driver, simulator):
        await act(driver, "initialise")
        assert simulator.valve == "6"
        simulator.world.fill("pump/port3", {"EC": 500.0})
        await act(driver, "aspirate", volume="100 µL", port=3)
        await act(driver, "dispense", volume="100 µL")
        assert simulator.world.well("pump/outlet").contents == {"EC": pytest.approx(100)}  # type: ignore[union-attr]
        with pytest.raises(Rejected, match=r"no port 7: lab\.yaml says that its valve has 6 ports"):
            await act(driver, "aspirate", volume="100 µL", port=7)


async def test_there_is_no_more_room_than_the_syringe_has() -> None:
    async with pump() as (driver, _):
        await act(driver, "aspirate", volume="900 µL")
        with pytest.raises(Rejected, match="room for 100 µL more, and 101 µL are asked for"):
            await act(driver, "aspirate", volume="101 µL")
        with pytest.raises(Rejected, match="less than one step"):
            await act(driver, "dispense", volume="0.1 µL")


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("volume", "after"), [("900 µL", 2.0), ("2.5 mL", 8.0)])
async def test_a_cancelled_dose_gives_what_was_really_given(volume: str, after: float) -> None:
    async with pump() as (driver, simulator):
        if volume == "900 µL":
            await act(driver, "aspirate", volume="1 mL")
        task = asyncio.create_task(act(driver, "dispense", volume=volume))
        await asyncio.sleep(after)
        await driver.cancel("a1")
        result = await task
        assert 0 < result.volume < 2500
        assert given(simulator) == pytest.approx(result.volume, abs=1)
        assert (await driver.read_state()).busy is False
        await act(driver, "dispense", volume="10 µL")
        with pytest.raises(Rejected, match="not running"):
            await driver.cancel("a1")


async def test_made_safe_the_plunger_stands_and_the_rest_of_a_dose_is_not_given() -> None:
    async with pump() as (driver, simulator):
        await act(driver, "aspirate", volume="1 mL")
        intent = await intended(driver, "dispense", volume="900 µL")
        task = asyncio.create_task(carried_out(driver, intent))
        await asyncio.sleep(2)
        await driver.safe_state()
        await driver.safe_state()
        with pytest.raises(OutcomeUnknown, match="it was stopped"):
            await task
        outcome = await driver.outcome(intent)
        assert outcome.verdict is Verdict.PARTIAL
        assert outcome.result.volume == pytest.approx(given(simulator), abs=1)


# ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────
async def judged(driver: Driver, intent: Intent) -> Outcome:
    with contextlib.suppress(DeviceError):
        await carried_out(driver, intent)
    return await driver.outcome(intent)


@pytest.mark.parametrize(("name", "volume"), [("aspirate", "300 µL"), ("dispense", "300 µL"), ("prime", "300 µL")])
@pytest.mark.parametrize("held", ["0 µL", "500 µL"])
async def test_the_plungers_place_proves_what_was_done(name: str, volume: str, held: str) -> None:
    async with pump() as (driver, simulator):
        if held != "0 µL":
            await act(driver, "aspirate", volume=held)
        intent = await intended(driver, name, volume=volume)
        assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE
        outcome = await judged(driver, intent)
        assert (outcome.verdict, outcome.result.volume) == (Verdict.DONE, 300)  # type: ignore[union-attr]
        if name != "aspirate":
            assert given(simulator) == pytest.approx(300, abs=1)


async def test_a_stroke_under_way_is_taken_up_by_the_next_life() -> None:
    async with pump(settings={"rate": "50 µL/s"}) as (driver, simulator):
        await act(driver, "aspirate", volume="1 mL")
        intent = await intended(driver, "dispense", volume="800 µL")
        task = asyncio.create_task(carried_out(driver, intent))
        await asyncio.sleep(4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.connect()
        assert (await driver.outcome(intent)).verdict is Verdict.RUNNING
        assert (await driver.attach(intent, Call("a1"))).volume == 800
        assert given(simulator) == pytest.approx(800, abs=1)


async def test_an_overload_is_a_fault_after_which_nobody_knows() -> None:
    async with pump() as (driver, simulator):
        intent = await intended(driver, "dispense", volume="300 µL")
        simulator.faults["overload"] = 1
        with pytest.raises(Fault, match="plunger is overloaded"):
            await carried_out(driver, intent)
        assert (await driver.outcome(intent)).verdict is Verdict.UNKNOWN
        assert "overloaded" in (await driver.read_state()).error
        await driver.safe_state()
        with pytest.raises(Fault, match="overloaded"):
            await act(driver, "dispense", volume="300 µL")
        await act(driver, "initialise")
        await act(driver, "dispense", volume="300 µL")


async def test_a_pump_that_lost_its_power_proves_nothing() -> None:
    async with pump() as (driver, simulator):
        intent = await intended(driver, "dispense", volume="300 µL")
        simulator.faults["power_cycle"] = True
        assert (await driver.outcome(intent)).verdict is Verdict.UNKNOWN
        assert (await intended(driver, "dispense", volume="300 µL")).baseline == {}


async def test_a_pump_that_is_busy_for_ever_is_a_fault() -> None:
    async with pump() as (driver, simulator):
        loop = asyncio.get_running_loop()
        loop.call_later(1, simulator.faults.update, {"busy_stuck": True})
        with pytest.raises(Fault, match="still busy after"):
            await act(driver, "aspirate", volume="300 µL")


async def test_lost_and_late_answers_while_it_moves_cost_nothing() -> None:
    async with pump(settings={"rate": "50 µL/s"}) as (driver, simulator):
        loop = asyncio.get_running_loop()
        loop.call_later(2, simulator.faults.update, {"drop": 2})
        loop.call_later(8, simulator.faults.update, {"delay": 1.5})
        loop.call_later(9, simulator.faults.clear)
        assert (await act(driver, "aspirate", volume="1 mL")).volume == 1000


# ── several on a line ────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_silent_pump_is_down_and_the_others_on_its_line_work_on(tmp_path: Path) -> None:
    world = World(3)
    names = {"a": 1, "b": 2, "c": "A"}
    simulators, devices = {}, {}
    for name, number in names.items():
        settings = {"address": "bus", "pump": number, "syringe": "1 mL"}
        simulators[name] = SIMULATOR(Bench(name, world, settings, directory=tmp_path))
        found = await simulators[name].start()
        devices[name] = Device(name, "cavro", DRIVER(Setup(name, {**settings, **found})), Bus())
    supervision = [asyncio.create_task(device.run()) for device in devices.values()]
    await asyncio.sleep(60)
    assert [device.health for device in devices.values()] == ["ok", "ok", "ok"]
    simulators["b"].faults["silent"] = True
    await asyncio.sleep(120)
    assert [device.health for device in devices.values()] == ["ok", "down", "ok"]
    assert "pump 2 does not answer; is it on, does its address switch stand at 1" in str(devices["b"].problem)
    for name in ("a", "c"):
        assert (await act(devices[name].driver, "dispense", volume="40 µL")).volume == 40
        assert world.well(f"{name}/outlet").volume == pytest.approx(40, abs=0.5)  # type: ignore[union-attr]
    simulators["b"].faults.clear()
    await asyncio.sleep(120)
    assert [device.health for device in devices.values()] == ["ok", "ok", "ok"]
    for task in supervision:
        task.cancel()
    await asyncio.gather(*supervision, return_exceptions=True)
    for simulator in simulators.values():
        await simulator.stop()
