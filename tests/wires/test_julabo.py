"""The julabo driver against the simulated thermostat: two readings of the same manual, on a pty and on TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.julabo import DRIVER
from labd.sdk import Call, Driver, Fault, OutcomeUnknown, Rejected, Setup
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World
from simulators.julabo import SIMULATOR


@contextlib.asynccontextmanager
async def bath(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), settings: Any = None, **faults: Any
) -> AsyncIterator[tuple[Any, Simulator]]:
    said = {"address": address, **(settings or {})}
    simulator = SIMULATOR(Bench("bath", World(3), said, {"faults": faults}, directory=directory))
    found = await simulator.start()
    driver = DRIVER(Setup("bath", {**said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def set_temperature(driver: Driver, temperature: str) -> None:
    action = driver.actions["set_temperature"]
    await driver.invoke(action, action.parameters.model_validate({"temperature": temperature}), Call("a1"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/bath", "serial://ports/bath?baudrate=4800"])
async def test_a_bath_is_set_and_gets_there_on_every_wire(address: str, tmp_path: Path) -> None:
    async with bath(address, tmp_path) as (driver, _):
        about = await driver.connect()
        assert (about.model, about.firmware) == ("JULABO CORIO CP", "1.3")
        await set_temperature(driver, "40 degC")
        soon = await driver.read_state()
        assert (soon.setpoint, soon.running, soon.status) == (40.0, True, "03 REMOTE START")
        assert soon.temperature < 24
        await asyncio.sleep(1800)
        assert (await driver.read_state()).temperature == pytest.approx(40, abs=0.05)


async def test_a_low_level_is_a_fault_at_once_and_a_signal_after() -> None:
    async with bath() as (driver, simulator):
        await set_temperature(driver, "40 degC")
        simulator.faults["low_level"] = True
        state = await driver.read_state()
        assert (state.status, state.running) == ("-01 LOW LEVEL ALARM", False)
        with pytest.raises(Fault, match="-01 LOW LEVEL ALARM"):
            await set_temperature(driver, "41 degC")
        await driver.safe_state()  # it is off already


async def test_a_lost_setpoint_is_sent_again() -> None:
    async with bath(lost_setpoint=1) as (driver, _):
        with pytest.raises(OutcomeUnknown, match="read back as 20 °C"):
            await set_temperature(driver, "40 degC")
        assert (await driver.read_state()).running is False
        await set_temperature(driver, "40 degC")


async def test_the_devices_own_limits_are_told_in_its_words() -> None:
    async with bath(settings={"max_temperature": "200 degC"}) as (driver, _):
        with pytest.raises(Rejected, match="-11 VALUE TOO LARGE"):
            await set_temperature(driver, "160 degC")


async def test_a_bath_in_somebodys_hands_is_left_to_them() -> None:
    async with bath(by_hand=True) as (driver, _):
        with pytest.raises(Rejected, match="by hand"):
            await set_temperature(driver, "40 degC")


async def test_a_power_dip_shows_in_the_signals() -> None:
    async with bath() as (driver, simulator):
        await set_temperature(driver, "40 degC")
        simulator.faults["power_dip"] = True
        state = await driver.read_state()
        assert (state.setpoint, state.running) == (20.0, False)


async def test_silence_and_late_answers_cost_a_poll_and_no_more() -> None:
    async with bath() as (driver, simulator):
        await set_temperature(driver, "40 degC")
        for fault in ({"silent": True}, {"delay": 3.0}):
            simulator.faults.update(fault)
            with pytest.raises(OutcomeUnknown):
                await driver.read_state()
            simulator.faults.clear()
            assert (await driver.read_state()).setpoint == 40.0


async def test_made_safe_it_is_off() -> None:
    async with bath() as (driver, simulator):
        await set_temperature(driver, "40 degC")
        await driver.safe_state()
        await driver.safe_state()
        assert (await driver.read_state()).running is False
        assert simulator.running is False  # type: ignore[attr-defined]
