"""The mt_sics driver against the simulated balance; and a pipetting robot that doses onto it."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.mt_sics import DRIVER
from drivers.opentrons import DRIVER as ROBOT_DRIVER
from labd import clock
from labd.sdk import Call, Driver, Labware, OutcomeUnknown, Rejected, Setup
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import Cell, Part, World
from simulators.mt_sics import SIMULATOR
from simulators.opentrons import SIMULATOR as ROBOT_SIMULATOR

WATER = {"A1": {"material": "water", "volume": "12 mL", "dead": "1 mL"}}
DECK: tuple[dict[str, Any], ...] = (
    {"place": "ot2/1", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "ot2/4", "labware": "opentrons_96_tiprack_300ul"},
    {"place": "ot2/2", "labware": "vials_8x20ml", "contents": WATER},
    {"place": "ot2/6", "labware": "vials_8x20ml"},
)


@contextlib.asynccontextmanager
async def balance(
    address: str = "tcp://127.0.0.1:0",
    directory: Path = Path(),
    world: World | None = None,
    settings: Any = None,
    **faults: Any,
) -> AsyncIterator[tuple[Any, Simulator]]:
    said = {"address": address, **(settings or {})}
    simulator = SIMULATOR(Bench("balance", world or World(3), said, {"faults": faults}, directory=directory))
    found = await simulator.start()
    driver = DRIVER(Setup("balance", {**said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@contextlib.asynccontextmanager
async def robot(world: World, **options: Any) -> AsyncIterator[Driver]:
    world.furnish(DECK)
    settings = {"address": "http://127.0.0.1:0", "pipettes": {"left": "p20_single_gen2", "right": "p300_single_gen2"}}
    simulator = ROBOT_SIMULATOR(Bench("ot2", world, settings, options, deck=DECK))
    found = await simulator.start()
    deck = tuple(Labware(entry["place"], entry["labware"], entry.get("contents", {})) for entry in DECK)
    driver = ROBOT_DRIVER(Setup("ot2", {**settings, **found}, deck=deck))
    try:
        await driver.connect()
        yield driver
    finally:
        await driver.close()
        await simulator.stop()


async def act(driver: Driver, name: str, **values: Any) -> Any:
    action = driver.actions[name]
    return await driver.invoke(action, action.parameters.model_validate(values), Call(f"a-{name}"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/balance", "serial://ports/balance?baudrate=9600"])
async def test_a_cell_is_weighed_on_every_wire(address: str, tmp_path: Path) -> None:
    async with balance(address, tmp_path) as (driver, simulator):
        about = await driver.connect()
        assert about.model.startswith("MS204TS")
        assert about.serial.startswith("B")
        simulator.world.put("balance/pan", Cell(id="c1", electrolyte={"LP57": 40.0}))
        result = await act(driver, "weigh")
        assert result.stable
        assert 1.0 < result.mass < 1.15


async def test_the_vial_is_tared_and_what_comes_into_it_is_weighed() -> None:
    async with balance() as (driver, simulator):
        simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
        await act(driver, "tare")
        simulator.world.pour("balance/pan", {"LP57": 35.0}, 0.0)
        assert (await act(driver, "weigh")).mass == pytest.approx(0.042, abs=6e-4)
        state = await driver.read_state()
        assert (state.stable, state.mass) == (True, pytest.approx(0.042, abs=6e-4))


async def test_in_a_draught_the_weight_is_told_as_unstable_and_taring_is_refused() -> None:
    async with balance(unstable=True) as (driver, simulator):
        simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
        began = clock.monotonic()
        result = await act(driver, "weigh", settle="10 s")
        assert clock.monotonic() - began == pytest.approx(10, abs=0.5)
        assert not result.stable
        assert result.mass == pytest.approx(13.1, rel=0.02)
        with pytest.raises(Rejected, match=r"rest|busy"):
            await act(driver, "tare")


@pytest.mark.parametrize(("fault", "words"), [("overload", "overloaded"), ("underload", "pan on it"), ("busy", "busy")])
async def test_what_it_cannot_weigh_is_rejected(fault: str, words: str) -> None:
    async with balance(**{fault: True}) as (driver, _):
        with pytest.raises(Rejected, match=words):
            await act(driver, "weigh")
        assert (await driver.read_state()).mass is None


async def test_silence_and_late_answers_are_unknown_and_nobodys_next_weight() -> None:
    async with balance() as (driver, simulator):
        for fault in ({"silent": True}, {"delay": 4.0}):
            simulator.faults.update(fault)
            with pytest.raises(OutcomeUnknown):
                await act(driver, "weigh", settle="0 s")
            simulator.faults.clear()
            simulator.world.put("balance/pan", Part(id="vial:1", name="vial"))
            assert (await act(driver, "weigh")).mass > 12
            simulator.world.take("balance/pan")
            assert (await act(driver, "weigh")).mass < 0.01


async def test_a_damaged_command_is_unknown_and_goes_well_the_next_time() -> None:
    async with balance() as (driver, simulator):
        simulator.faults["damaged"] = 1
        with pytest.raises(OutcomeUnknown, match="damaged"):
            await act(driver, "zero")
        await act(driver, "zero")


# ── under a robot's deck ─────────────────────────────────────────────────────────────────────────────────────────
async def test_what_a_robot_gives_into_a_vial_on_the_balance_is_weighed() -> None:
    world = World(3)
    async with robot(world, precision=0.0) as ot2, balance(world=world, settings={"pan": "ot2/6"}) as (scales, _):
        await act(scales, "tare")
        await act(ot2, "transfer", source="ot2/2/A1", destination="ot2/6/A1", volume="100 µL")
        assert (await act(scales, "weigh")).mass == pytest.approx(0.0998, abs=5e-4)
        await act(ot2, "transfer", source="ot2/6/A1", destination="ot2/2/B1", volume="50 µL")
        assert (await act(scales, "weigh")).mass == pytest.approx(0.0499, abs=5e-4)


async def test_a_gravimetric_calibration_finds_a_pipettes_error() -> None:
    world = World(3)
    wrong = {"left": 0.0, "right": -0.05}
    async with (
        robot(world, pipette_error=wrong, precision=0.002) as ot2,
        balance(world=world, settings={"pan": "ot2/6"}) as (scales, _),
    ):
        given = []
        for number in range(8):
            await act(scales, "tare")
            well = f"ot2/6/{'AB'[number % 2]}{number // 2 + 1}"
            await act(ot2, "transfer", source="ot2/2/A1", destination=well, volume="200 µL")
            given.append((await act(scales, "weigh")).mass / 0.998e-3)
        assert statistics.mean(given) == pytest.approx(190, abs=1)
        assert 0 < statistics.stdev(given) < 1.5


async def test_each_pipette_has_an_error_of_its_own_by_the_seed() -> None:
    settings = {"pipettes": {"left": "p20_single_gen2", "right": "p300_single_gen2"}}

    def errors(seed: int, **options: Any) -> dict[str, float]:
        found: dict[str, float] = ROBOT_SIMULATOR(Bench("ot2", World(seed), settings, options)).robot.errors
        return found

    assert errors(1) == {"left": 0.0, "right": 0.0}
    drawn = errors(1, pipette_error=0.02)
    assert drawn == errors(1, pipette_error=0.02)
    assert drawn != errors(2, pipette_error=0.02)
    assert drawn["left"] != drawn["right"]
    assert all(0 < abs(error) < 0.1 for error in drawn.values())
