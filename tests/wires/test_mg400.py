"""The arm's driver against the simulated MG400, over its three TCP ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.mg400 import DRIVER
from labd import clock
from labd.sdk import Call, DeviceError, Driver, Fault, Intent, OutcomeUnknown, Position, Rejected, Setup, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part, World
from simulators.mg400 import SIMULATOR, Mg400Simulator

POSES: dict[str, tuple[float, float, float, float, float, float]] = {
    "home": (250, 0, 100, 0, 0, 0),
    "tray/A1": (250, -80, 20, 0, 0, 0),
    "tray/lids/A1": (220, 120, 20, 0, 0, 0),
    "press/nest": (280, 60, 30, 0, 0, 45),
}


@contextlib.asynccontextmanager
async def arm(*, sensor: bool = True, **faults: Any) -> AsyncIterator[tuple[Driver, Mg400Simulator]]:
    world = World(seed=3)
    world.put("tray/A1", Cell(id="c1"))
    world.put("tray/lids/A1", Part(id="lid1", name="lid"))
    raw = {name: {"pose": list(pose)} for name, pose in POSES.items()}
    settings: dict[str, Any] = {"address": "127.0.0.1:0", **({"held_input": 3} if sensor else {})}
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


async def act(driver: Driver, name: str, id_: str = "", **values: Any) -> Any:
    action = driver.actions[name]
    return await driver.invoke(action, action.parameters.model_validate(values), Call(id_ or f"a-{name}"))


async def intent(driver: Driver, name: str, place: str, id_: str = "a9") -> Intent:
    parameters = driver.actions[name].parameters.model_validate({"place": place})
    return Intent(id_, name, "", parameters, await driver.baseline(name, ""), clock.now())


@pytest.mark.parametrize("sensor", [True, False])
async def test_it_carries_a_cell_and_closes_it_with_a_lid(sensor: bool) -> None:
    async with arm(sensor=sensor) as (driver, simulator):
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
        assert clock.monotonic() - start > 8


async def test_where_it_stands_is_told_as_positions_are_taught() -> None:
    async with arm() as (driver, _):
        await act(driver, "move", position="press/nest")
        assert await driver.pose() == pytest.approx(POSES["press/nest"], abs=0.5)


async def test_signals_tell_what_is_held_and_the_mode() -> None:
    async with arm() as (driver, _):
        await act(driver, "pick", place="tray/A1")
        reading: Any = await driver.read_state()
        assert (reading.gripped, reading.moving, reading.error, reading.mode) == (True, False, False, "enabled")


async def test_without_a_sensor_what_is_held_is_not_known() -> None:
    async with arm(sensor=False) as (driver, _):
        assert (await driver.read_state()).gripped is None  # type: ignore[union-attr]


async def test_a_missed_grip_is_a_result() -> None:
    async with arm(miss_on=[1]) as (driver, simulator):
        assert not (await act(driver, "pick", place="tray/A1")).gripped
        assert simulator.world.cell("tray/A1") is not None
        assert (await act(driver, "pick", place="tray/A1")).gripped


async def test_a_part_that_is_lost_on_the_way_is_a_result_and_nothing_moves_for_it() -> None:
    async with arm(drop_on=[1]) as (driver, simulator):
        assert not (await act(driver, "pick", place="tray/A1")).gripped
        at = simulator.arm.pose
        assert not (await act(driver, "place", place="press/nest")).released
        assert simulator.arm.pose == at
        assert simulator.world.cell("arm/fallen/1") is not None


@pytest.mark.parametrize("sensor", [True, False])
async def test_who_holds_a_part_picks_no_other(sensor: bool) -> None:
    async with arm(sensor=sensor) as (driver, _):
        await act(driver, "pick", place="tray/A1")
        with pytest.raises(Rejected, match="already holds a part"):
            await act(driver, "pick", place="tray/lids/A1")


async def test_after_standing_low_at_a_place_it_goes_straight_up_first() -> None:
    async with arm() as (driver, simulator):
        await act(driver, "move", position="press/nest")
        moves = simulator.world.memory("arm")["moves"]
        await act(driver, "move", position="home")
        assert simulator.world.memory("arm")["moves"] == moves + 2


async def test_a_collision_is_a_fault_with_its_alarm_in_words_and_home_clears_it() -> None:
    async with arm(error_on=[3]) as (driver, _):
        with pytest.raises(Fault, match=r"112 \(a collision was detected\)"):
            await act(driver, "pick", place="tray/A1")
        assert (await driver.read_state()).error  # type: ignore[union-attr]
        with pytest.raises(Fault, match="in error"):
            await act(driver, "move", position="home")
        await act(driver, "home")
        assert (await act(driver, "pick", place="tray/A1")).gripped


async def test_the_estop_is_a_fault_until_it_is_released() -> None:
    async with arm(estop_on=[2]) as (driver, simulator):
        with pytest.raises(Fault, match="85 \\(E-stop\\)"):
            await act(driver, "pick", place="tray/A1")
        with pytest.raises(Fault, match="E-stop"):
            await act(driver, "home")
        simulator.release_estop()
        await act(driver, "home")
        await act(driver, "move", position="home")


async def test_safe_state_stops_a_motion_and_switches_the_drives_off_twice() -> None:
    async with arm(slow=20) as (driver, simulator):

        async def stopped_pick() -> None:
            with pytest.raises(Fault, match="switched off in mid-motion"):
                await act(driver, "pick", place="tray/A1")

        async with asyncio.TaskGroup() as group:
            group.create_task(stopped_pick())
            await asyncio.sleep(2)
            await driver.safe_state()
            await driver.safe_state()
        at = simulator.arm.pose
        await asyncio.sleep(60)
        assert simulator.arm.pose == at
        with pytest.raises(Rejected, match="run `home` first"):
            await act(driver, "move", position="home")


async def test_cut_frames_cost_connections_and_no_motion() -> None:
    async with arm() as (driver, simulator):
        for _ in range(3):
            simulator.faults["cut_frames"] = 1
            await act(driver, "move", position="press/nest")
        simulator.faults["cut_frames"] = 2
        assert (await act(driver, "pick", place="tray/A1")).gripped


async def test_a_feedback_that_falls_silent_leaves_the_outcome_unknown_and_then_tells_it() -> None:
    async with arm(slow=5) as (driver, simulator):
        asked = await intent(driver, "pick", "tray/A1")
        asyncio.get_running_loop().call_later(1.5, simulator.faults.update, {"no_frames": True})
        with pytest.raises(OutcomeUnknown, match="the motion may go on"):
            await act(driver, "pick", "a9", place="tray/A1")
        simulator.faults["no_frames"] = False
        outcome = await driver.outcome(asked)
        assert outcome.verdict is Verdict.NOT_DONE
        assert (await act(driver, "pick", place="tray/A1")).gripped


async def test_a_lost_reply_of_a_motion_is_unknown_and_is_not_sent_again() -> None:
    async with arm() as (driver, simulator):
        moves = simulator.world.memory("arm")["moves"]
        asyncio.get_running_loop().call_later(0.9, simulator.faults.update, {"silent": True})
        with pytest.raises(OutcomeUnknown):
            await act(driver, "pick", place="tray/A1")
        simulator.faults["silent"] = False
        assert simulator.world.memory("arm")["moves"] <= moves + 3
        assert (await driver.read_state()).mode in {"enabled", "running"}  # type: ignore[union-attr]


async def test_an_output_that_does_not_switch_is_a_fault() -> None:
    async with arm(stuck_output=True) as (driver, _):
        with pytest.raises(Fault, match="output 1 does not go on"):
            await act(driver, "pick", place="tray/A1")


async def test_a_position_out_of_reach_is_a_fault_that_says_so() -> None:
    async with arm() as (driver, simulator):
        other = DRIVER(Setup("arm", driver.setup.settings, {"far/away": Position((600, 0, 0, 0, 0, 0))}))
        try:
            await other.connect()
            with pytest.raises(Fault, match="17 \\(the position is out of reach; teach it again\\)"):
                await act(other, "move", position="far/away")
        finally:
            await other.close()
        assert simulator.arm.mode == 9


@pytest.mark.parametrize("cut_after", [0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("name", ["pick", "place"])
async def test_what_was_cut_is_called_not_done_only_where_that_is_true(name: str, cut_after: float) -> None:
    async with arm() as (driver, simulator):
        if name == "place":
            await act(driver, "pick", place="tray/A1")
        spot = "tray/A1" if name == "pick" else "press/nest"
        asked = await intent(driver, name, spot)
        task = asyncio.ensure_future(act(driver, name, "a9", place=spot))
        await asyncio.sleep(cut_after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()
        again = DRIVER(driver.setup)  # as after a kill: it has ordered nothing
        try:
            await again.connect()
            outcome = await again.outcome(asked)
            done = (simulator.world.item("arm/gripper") is not None) is (name == "pick")
            assert outcome.verdict in ((Verdict.UNKNOWN,) if done else (Verdict.NOT_DONE, Verdict.UNKNOWN))
            if outcome.verdict is Verdict.NOT_DONE:
                await act(again, name, "a10", place=spot)
                assert (simulator.world.item("arm/gripper") is not None) is (name == "pick")
        finally:
            await again.close()


async def test_a_lost_link_after_the_grip_is_found_done_by_who_ordered_it() -> None:
    async with arm(slow=8) as (driver, simulator):
        asked = await intent(driver, "pick", "tray/A1")
        task = asyncio.ensure_future(act(driver, "pick", "a9", place="tray/A1"))
        while simulator.world.item("arm/gripper") is None:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        simulator.faults["no_frames"] = True
        with contextlib.suppress(DeviceError):
            await task
        simulator.faults["no_frames"] = False
        outcome = await driver.outcome(asked)
        assert outcome.verdict is Verdict.DONE
        assert outcome.result is not None
        assert outcome.result.model_dump() == {"gripped": True, "width": None}
