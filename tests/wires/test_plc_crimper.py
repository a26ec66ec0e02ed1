"""The crimper's driver against the simulated PLC, over real Modbus."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.plc_crimper import DRIVER
from labd import clock
from labd.sdk import Call, Driver, Fault, Intent, OutcomeUnknown, Setup, Verdict
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import LID, Cell, World
from simulators.plc_crimper import SIMULATOR


@contextlib.asynccontextmanager
async def press(
    profile: str = "handshake", address: str = "modbus://127.0.0.1:0", **faults: Any
) -> AsyncIterator[tuple[Driver, Simulator]]:
    world = World(seed=3)
    world.put("press/nest", Cell(id="c1", parts=["half_cell", LID], electrolyte={"LP57": 40.0}, wetted_at=0.0))
    settings = {"address": address, "profile": profile}
    simulator = SIMULATOR(Bench("press", world, settings, options={"faults": faults}))
    found = await simulator.start()
    driver = DRIVER(Setup("press", {**settings, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def crimp(driver: Driver) -> tuple[Intent, Any]:
    action = driver.actions["crimp"]
    parameters = action.parameters.model_validate({"force": "7.8 kN", "dwell": "2 s"})
    baseline = await driver.baseline("crimp", "")
    intent = Intent("a1", "crimp", "", parameters, baseline, clock.now())
    try:
        return intent, await driver.invoke(action, parameters, Call("a1", baseline=baseline))
    except (OutcomeUnknown, Fault) as error:
        return intent, error


async def test_a_crimp_reaches_its_force_and_is_counted() -> None:
    async with press() as (driver, simulator):
        intent, result = await crimp(driver)
        assert result.peak_force == pytest.approx(7.8, rel=0.05)
        cell = simulator.world.cell("press/nest")
        assert cell is not None
        assert cell.crimp_force == pytest.approx(result.peak_force, abs=0.01)
        assert (await driver.outcome(intent)).verdict is Verdict.DONE


async def test_a_force_that_falls_short_is_a_result() -> None:
    async with press(force_short={"cycle": 1, "fraction": 0.8}) as (driver, _):
        _, result = await crimp(driver)
        assert result.peak_force == pytest.approx(6.24, rel=0.05)


async def test_the_signals_tell_guard_and_stop() -> None:
    async with press() as (driver, _):
        reading = await driver.read_state()
        assert reading.guard_closed is True  # type: ignore[union-attr]
        assert reading.estop is False  # type: ignore[union-attr]
        assert reading.force == pytest.approx(0, abs=0.05)  # type: ignore[union-attr]


async def test_the_relay_profile_waits_for_busy_to_rise_and_fall() -> None:
    async with press("relay") as (driver, simulator):
        _, result = await crimp(driver)
        assert result.peak_force is None
        cell = simulator.world.cell("press/nest")
        assert cell is not None
        assert cell.crimped_at is not None


async def test_the_same_press_works_on_a_serial_line_with_modbus_rtu(tmp_path: Path) -> None:
    async with press(address=f"serial://{tmp_path}/press") as (driver, _):
        _, result = await crimp(driver)
        assert result.peak_force == pytest.approx(7.8, rel=0.05)


async def test_the_ram_opens_and_closes() -> None:
    async with press() as (driver, _):
        for name in ("open", "close", "open"):
            action = driver.actions[name]
            await driver.invoke(action, action.parameters(), Call("a"))
        await driver.safe_state()
        await driver.safe_state()
