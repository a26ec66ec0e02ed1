"""The pipetting robot's driver against the simulated robot-server, over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.opentrons import DRIVER
from labd import clock
from labd.sdk import Call, Driver, Intent, Labware, Rejected, Setup, Verdict
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World
from simulators.opentrons import SIMULATOR

VIALS = {"A1": {"material": "LP57", "volume": "2 mL", "dead": "100 µL"}}
DECK: tuple[dict[str, Any], ...] = (
    {"place": "ot2/1", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "ot2/4", "labware": "opentrons_96_tiprack_300ul"},
    {"place": "ot2/2", "labware": "vials_8x20ml", "contents": VIALS},
    {"place": "ot2/3", "labware": "cell_tray_8", "fill": "half_cell"},
)


@contextlib.asynccontextmanager
async def robot(**options: Any) -> AsyncIterator[tuple[Driver, Simulator]]:
    world = World(seed=3)
    world.furnish(DECK)
    settings = {
        "address": "http://127.0.0.1:0",
        "pipettes": {"left": "p20_single_gen2", "right": "p300_single_gen2"},
    }
    simulator = SIMULATOR(Bench("ot2", world, settings, options=options, deck=DECK))
    found = await simulator.start()
    deck = tuple(Labware(entry["place"], entry["labware"], entry.get("contents", {})) for entry in DECK)
    driver = DRIVER(Setup("ot2", {**settings, **found}, deck=deck))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def transfer(driver: Driver, action_id: str = "a1", **values: Any) -> tuple[Intent, Any]:
    action = driver.actions["transfer"]
    values = {"source": "ot2/2/A1", "destination": "ot2/3/A1", "volume": "35 µL", **values}
    parameters = action.parameters.model_validate(values)
    baseline = await driver.baseline("transfer", "")
    intent = Intent(action_id, "transfer", "", parameters, baseline, clock.now())
    return intent, await driver.invoke(action, parameters, Call(action_id, baseline=baseline))


async def test_a_dose_reaches_the_very_cell() -> None:
    async with robot() as (driver, simulator):
        start = clock.monotonic()
        intent, result = await transfer(driver)
        assert result.volume == 35.0
        cell = simulator.world.cell("ot2/3/A1")
        assert cell is not None
        assert cell.volume == pytest.approx(35, rel=0.1)
        assert clock.monotonic() - start > 5
        assert (await driver.outcome(intent)).verdict is Verdict.DONE


async def test_the_small_pipette_takes_the_small_volume() -> None:
    async with robot() as (driver, simulator):
        await transfer(driver, volume="10 µL")
        cell = simulator.world.cell("ot2/3/A1")
        assert cell is not None
        assert cell.volume == pytest.approx(10, rel=0.1)


async def test_a_volume_that_no_pipette_takes_is_refused_before_sending() -> None:
    async with robot() as (driver, simulator):
        with pytest.raises(Rejected, match=r"0\.5"):
            await transfer(driver, volume="0.5 µL")
        cell = simulator.world.cell("ot2/3/A1")
        assert cell is not None
        assert cell.volume == 0


async def test_many_doses_take_a_tip_each() -> None:
    async with robot() as (driver, simulator):
        wells = ("A1", "B1", "A2", "B2", "A3", "B3", "A4", "B4")
        for number, well in enumerate(wells):
            _, result = await transfer(driver, f"a{number}", destination=f"ot2/3/{well}", volume="25 µL")
            assert result.destination == f"ot2/3/{well}"
        cells = [simulator.world.cell(f"ot2/3/{well}") for well in wells]
        assert all(cell is not None and cell.volume > 20 for cell in cells)


async def test_a_flex_is_spoken_to_as_well() -> None:
    async with robot(model="flex") as (driver, _):
        reading = await driver.read_state()
        assert reading.door_closed is True  # type: ignore[union-attr]


async def test_home_and_safe_state() -> None:
    async with robot() as (driver, _):
        action = driver.actions["home"]
        await driver.invoke(action, action.parameters(), Call("a"))
        await driver.safe_state()
        await driver.safe_state()
        await transfer(driver, "after")


@pytest.mark.parametrize(("model", "felt"), [("flex", True), ("ot2", False)])
async def test_a_flex_feels_a_tip_of_which_it_has_no_command_and_an_ot2_does_not(model: str, felt: bool) -> None:
    async with robot(model=model) as (driver, simulator):
        before = await driver.read_state()
        assert before.tip_attached is False  # type: ignore[union-attr]
        tips: Any = simulator.robot.memory.setdefault("tips_on", {})  # type: ignore[attr-defined]
        tips["left"] = {"liquid": {}, "air": 0.0}
        assert (await driver.read_state()).tip_attached is felt  # type: ignore[union-attr]
