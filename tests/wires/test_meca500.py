"""The arm's driver against the simulated Meca500, over its two TCP ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.meca500 import DRIVER
from labd import clock
from labd.sdk import Call, DeviceError, Driver, Intent, Position, Rejected, Setup, Verdict
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import Cell, Part, World
from simulators.meca500 import SIMULATOR

POSES: dict[str, tuple[float, float, float, float, float, float]] = {
    "home": (190, 0, 180, 180, 0, 180),
    "tray/A1": (140, 0, 50, 180, 0, 180),
    "tray/lids/A1": (140, 55, 50, 180, 0, 180),
    "press/nest": (240, -50, 62, 180, 0, 180),
}


@contextlib.asynccontextmanager
async def arm(**faults: Any) -> AsyncIterator[tuple[Driver, Simulator]]:
    world = World(seed=3)
    world.put("tray/A1", Cell(id="c1"))
    world.put("tray/lids/A1", Part(id="lid1", name="lid"))
    raw = {name: {"pose": list(pose)} for name, pose in POSES.items()}
    settings = {"address": "127.0.0.1:0"}
    simulator = SIMULATOR(Bench("arm", world, settings, options={"faults": faults}, positions=raw))
    found = await simulator.start()
    driver = DRIVER(Setup("arm", {**settings, **found}, {name: Position(pose) for name, pose in POSES.items()}))
    try:
        await driver.connect()
        await act(driver, "home")
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def act(driver: Driver, name: str, **values: Any) -> Any:
    action = driver.actions[name]
    return await driver.invoke(action, action.parameters.model_validate(values), Call(f"a-{name}"))


async def test_it_carries_a_cell_and_closes_it_with_a_lid() -> None:
    async with arm() as (driver, simulator):
        start = clock.monotonic()
        assert (await act(driver, "pick", place="tray/lids/A1")).gripped
        assert (await act(driver, "place", place="tray/A1")).released
        assert (await act(driver, "pick", place="tray/A1")).gripped
        assert simulator.world.item("tray/A1") is None
        assert (await act(driver, "place", place="press/nest")).released
        cell = simulator.world.cell("press/nest")
        assert cell is not None
        assert cell.id == "c1"
        assert "lid" in cell.parts
        assert clock.monotonic() - start > 4


async def test_a_missed_grip_is_a_result() -> None:
    async with arm(miss_on=[1]) as (driver, simulator):
        assert not (await act(driver, "pick", place="tray/A1")).gripped
        assert simulator.world.cell("tray/A1") is not None
        assert (await act(driver, "pick", place="tray/A1")).gripped


async def test_an_empty_place_gives_nothing() -> None:
    async with arm() as (driver, _):
        assert not (await act(driver, "pick", place="press/nest")).gripped


async def test_an_unknown_place_is_refused_with_the_nearest_spelling() -> None:
    async with arm() as (driver, _):
        with pytest.raises(Rejected, match="press/nest"):
            await act(driver, "pick", place="press/nst")


async def test_it_moves_home_and_is_made_safe_twice() -> None:
    async with arm() as (driver, _):
        assert (await act(driver, "move", position="home")).position == "home"
        reading = await driver.read_state()
        assert reading.error is False  # type: ignore[union-attr]
        await driver.safe_state()
        await driver.safe_state()
        await act(driver, "pick", place="tray/A1")


@pytest.mark.parametrize("cut_after", [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5])
async def test_a_pick_that_was_cut_is_called_not_done_only_where_the_part_lies_still(cut_after: float) -> None:
    async with arm() as (driver, simulator):
        await act(driver, "pick", place="tray/lids/A1")
        await act(driver, "place", place="tray/A1")  # from now on the fingers are open
        action = driver.actions["pick"]
        parameters = action.parameters.model_validate({"place": "tray/A1"})
        intent = Intent("a9", "pick", "", parameters, await driver.baseline("pick", ""), clock.now())
        task = asyncio.ensure_future(driver.invoke(action, parameters, Call("a9")))
        await asyncio.sleep(cut_after)
        await driver.close()
        with contextlib.suppress(DeviceError):
            await task
        again = DRIVER(driver.setup)  # as after a kill: it has ordered nothing
        try:
            await again.connect()
            outcome = await again.outcome(intent)
            lies = simulator.world.item("tray/A1") is not None
            assert outcome.verdict in ((Verdict.NOT_DONE, Verdict.UNKNOWN) if lies else (Verdict.UNKNOWN,))
            if cut_after < 0.3:
                assert outcome.verdict is Verdict.NOT_DONE
            if outcome.verdict is Verdict.NOT_DONE:
                assert (await again.invoke(action, parameters, Call("a10"))).gripped  # type: ignore[attr-defined]
        finally:
            await again.close()
