"""The sbi driver against the simulated balance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.sbi import DRIVER
from labd import clock
from labd.sdk import Call, Driver, OutcomeUnknown, Rejected, Setup
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part, World
from simulators.sbi import SIMULATOR, SbiSimulator


@contextlib.asynccontextmanager
async def balance(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), settings: Any = None, **options: Any
) -> AsyncIterator[tuple[Any, SbiSimulator]]:
    said = {"address": address, **(settings or {})}
    simulator = SIMULATOR(Bench("balance", World(3), said, options, directory=directory))
    found = await simulator.start()
    driver = DRIVER(Setup("balance", {**said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def act(driver: Driver, name: str, **values: Any) -> Any:
    action = driver.actions[name]
    return await driver.invoke(action, action.parameters.model_validate(values), Call(f"a-{name}"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/balance", "serial://ports/balance?baudrate=1200"])
@pytest.mark.parametrize("characters", [16, 22])
async def test_a_cell_is_weighed_on_every_wire(address: str, characters: int, tmp_path: Path) -> None:
    async with balance(address, tmp_path, characters=characters) as (driver, simulator):
        assert (await driver.connect()).model == "ENTRIS224-1S"
        simulator.world.put("balance/pan", Cell(id="c1", electrolyte={"LP57": 40.0}))
        result = await act(driver, "weigh")
        assert result.stable
        assert 1.0 < result.mass < 1.15


@pytest.mark.parametrize("unit", ["g", "mg", "kg"])
async def test_the_vial_is_tared_and_what_comes_into_it_is_weighed(unit: str) -> None:
    async with balance(settings={"unit": unit}, tells=False) as (driver, simulator):
        simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
        await act(driver, "tare")
        simulator.world.pour("balance/pan", {"LP57": 35.0}, 0.0)
        assert (await act(driver, "weigh")).mass == pytest.approx(0.042, abs=6e-4)
        assert (await driver.read_state()).stable is True


async def test_in_a_draught_the_weight_is_told_as_unstable_and_taring_is_refused() -> None:
    async with balance(faults={"unstable": True}) as (driver, simulator):
        simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
        began = clock.monotonic()
        result = await act(driver, "weigh", settle="10 s")
        assert clock.monotonic() - began == pytest.approx(10, abs=0.5)
        assert not result.stable
        assert result.mass == pytest.approx(13.1, rel=0.02)
        with pytest.raises(Rejected, match="rest"):
            await act(driver, "tare")


@pytest.mark.parametrize(
    ("fault", "words"), [("overload", "overloaded"), ("underload", "pan on it"), ("busy", "adjusts"), ("standby", "on")]
)
async def test_what_it_cannot_weigh_is_rejected(fault: str, words: str) -> None:
    async with balance(faults={fault: True}) as (driver, _):
        with pytest.raises(Rejected, match=words):
            await act(driver, "weigh")
        assert (await driver.read_state()).mass is None


async def test_an_order_that_it_did_not_hear_is_unknown_and_goes_well_the_next_time() -> None:
    async with balance() as (driver, simulator):
        simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
        simulator.faults["deaf"] = 1
        with pytest.raises(OutcomeUnknown, match="ESC T was sent"):
            await act(driver, "tare")
        await act(driver, "tare")
        assert abs((await driver.read_state()).mass) < 1e-3


async def test_silence_and_late_answers_are_unknown_and_nobodys_next_weight() -> None:
    async with balance() as (driver, simulator):
        for fault in ({"silent": True}, {"delay": 2.5}):
            simulator.faults.update(fault)
            with pytest.raises(OutcomeUnknown):
                await act(driver, "weigh", settle="0 s")
            simulator.faults.clear()
            simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
            assert (await act(driver, "weigh")).mass > 12
            simulator.world.take("balance/pan")
            assert (await act(driver, "weigh")).mass < 0.01
