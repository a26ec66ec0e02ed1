"""The simulated MG400 over its three ports, by plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from labd import clock
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, World
from simulators.mg400 import SIMULATOR, Mg400Simulator
from simulators.mg400.kinematics import OutOfReach, joints_for, pose

POSITIONS: dict[str, dict[str, Any]] = {
    "tray/A1": {"pose": [250, -80, 20, 0, 0, 0]},
    "press/nest": {"pose": [280, 60, 30, 0, 0, 45]},
}


class Wire:
    """Both command ports as a stranger has them, and the feedback."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    async def open(self) -> None:
        self.dashboard = await asyncio.open_connection(*self._found["dashboard"].split(":"))
        self.motion = await asyncio.open_connection(*self._found["motion"].split(":"))

    async def close(self) -> None:
        for _, writer in (self.dashboard, self.motion):
            writer.close()
            await writer.wait_closed()

    async def ask(self, command: str, port: str = "dashboard", within: float = 60.0) -> str:
        reader, writer = self.dashboard if port == "dashboard" else self.motion
        writer.write(command.encode())
        async with asyncio.timeout(within):
            return (await reader.readuntil(b";")).decode()

    async def go(self, command: str) -> str:
        return await self.ask(command, "motion")

    async def frame(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self._found["feedback"].split(":"))
        async with asyncio.timeout(5):
            data = await reader.readexactly(1440)
        writer.close()
        await writer.wait_closed()
        return data


Stand = tuple[Mg400Simulator, Wire, World]


@contextlib.asynccontextmanager
async def stand(*, enabled: bool = True, **faults: Any) -> AsyncIterator[Stand]:
    world = World(1)
    world.put("tray/A1", Cell(id="c1"))
    settings = {"address": "127.0.0.1:0", "held_input": 3}
    arm = SIMULATOR(Bench("arm", world, settings, {"faults": faults}, POSITIONS))
    wire = Wire(await arm.start())
    await wire.open()
    try:
        if enabled:
            await wire.ask("EnableRobot()")
        yield arm, wire, world
    finally:
        await wire.close()
        await arm.stop()


def test_the_kinematics_are_each_others_reverse() -> None:
    for joints in ((0, 0, 0, 0), (30, 40, 20, -15), (-100, 10, 80, 170), (150, 60, -10, 0)):
        assert joints_for(pose(joints)) == pytest.approx(joints, abs=1e-6)
    with pytest.raises(OutOfReach, match="17"):
        joints_for((460, 0, 0, 0))
    with pytest.raises(OutOfReach, match="18"):
        joints_for((-300, 1, 50, 0))


async def test_a_frame_has_its_length_test_value_mode_and_pose() -> None:
    async with stand() as (_, wire, _world):
        await wire.go("MovJ(250,-80,50,10)")
        await wire.go("Sync()")
        data = await wire.frame()
        assert struct.unpack_from("<H", data) == (1440,)
        assert data[48:56] == bytes.fromhex("efcdab8967452301")
        assert struct.unpack_from("<Q", data, 24) == (5,)
        assert struct.unpack_from("<4d", data, 624) == pytest.approx((250, -80, 50, 10), abs=1e-6)
        assert data[1014] == 1  # the queue is open


async def test_frames_come_five_times_a_second() -> None:
    async with stand() as (_, wire, _world):
        start = clock.monotonic()
        await wire.frame()
        assert clock.monotonic() - start == pytest.approx(0.2, abs=0.01)


async def test_commands_are_taken_in_any_case_and_answered_with_their_own_text() -> None:
    async with stand(enabled=False) as (_, wire, _world):
        assert await wire.ask("RobotMode()") == "0,{4},RobotMode();"
        assert await wire.ask("eNabLErobOt()") == "0,{},eNabLErobOt();"
        assert await wire.ask("RobotMode()") == "0,{5},RobotMode();"
        assert await wire.ask("Dance(1)") == "-10000,{},Dance(1);"
        assert await wire.go("MovJ(1,2)") == "-20000,{},MovJ(1,2);"
        assert await wire.go("MovJ(1,2,x,0)") == "-30003,{},MovJ(1,2,x,0);"
        assert await wire.ask("SpeedFactor(0)") == "-40001,{},SpeedFactor(0);"
        assert await wire.go("MovL(250,0,50,0,SpeedL=20)") == "0,{},MovL(250,0,50,0,SpeedL=20);"


async def test_an_arm_that_is_not_enabled_moves_nothing() -> None:
    async with stand(enabled=False) as (_, wire, _world):
        assert (await wire.go("MovJ(250,-80,50,0)")).startswith("-1,")
        assert await wire.ask("RobotMode()") == "0,{4},RobotMode();"


async def test_outputs_wait_in_the_queue_behind_the_motion_before_them() -> None:
    async with stand() as (_, wire, world):
        await wire.go("MovJ(250,-80,20,0)")
        await wire.ask("DO(1,1)")
        assert world.item("tray/A1") is not None
        assert (await wire.ask("RobotMode()")) == "0,{7},RobotMode();"
        await wire.go("Sync()")
        await asyncio.sleep(0.3)
        assert world.item("arm/gripper") is not None
        assert await wire.ask("DI(3)") == "0,{1},DI(3);"
        assert struct.unpack_from("<2Q", await wire.frame(), 8) == (0b100, 0b1)


async def test_a_part_is_set_down_where_the_arm_stands_or_falls() -> None:
    async with stand() as (_, wire, world):
        await wire.go("MovJ(250,-80,20,0)")
        await wire.ask("DO(1,1)")
        await wire.go("Sync()")
        await asyncio.sleep(0.3)
        await wire.go("MovJ(280,60,30,45)")
        await wire.ask("DO(1,0)")
        await wire.go("Sync()")
        await asyncio.sleep(0.3)
        assert world.cell("press/nest") is not None
        await wire.ask("DO(1,1)")
        await asyncio.sleep(0.3)
        await wire.go("MovL(280,60,90,45)")
        await wire.ask("DO(1,0)")
        await wire.go("Sync()")
        await asyncio.sleep(0.3)
        fallen = world.cell("arm/fallen/1")
        assert fallen is not None
        assert fallen.damage == ["dropped"]


async def test_a_position_out_of_reach_is_taken_and_alarms() -> None:
    async with stand() as (_, wire, _world):
        assert (await wire.go("MovJ(600,0,0,0)")).startswith("0,")
        assert await wire.ask("RobotMode()") == "0,{9},RobotMode();"
        assert await wire.ask("GetErrorID()") == "0,{[[17],[],[],[],[]]},GetErrorID();"
        assert (await wire.go("MovJ(250,0,50,0)")).startswith("-2,")
        await wire.ask("ClearError()")
        assert await wire.ask("RobotMode()") == "0,{5},RobotMode();"
        assert (await wire.go("MovJ(250,0,50,0)")).startswith("0,")  # the queue is closed: it is taken, and waits
        at = await wire.ask("GetPose()")
        await asyncio.sleep(10)
        assert await wire.ask("GetPose()") == at
        await wire.ask("Continue()")
        await wire.go("Sync()")
        assert await wire.ask("GetPose()") != at


async def test_a_straight_way_that_leaves_the_working_area_alarms() -> None:
    async with stand() as (_, wire, _world):
        await wire.go("MovJ(0,250,50,0)")
        await wire.go("Sync()")
        await wire.go("MovL(0,-250,50,0)")
        assert await wire.ask("GetErrorID()") == "0,{[[23],[],[],[],[]]},GetErrorID();"


async def test_the_estop_stays_until_it_is_released_and_cleared() -> None:
    async with stand(estop_on=[1]) as (arm, wire, _world):
        await wire.go("MovJ(250,-80,50,0)")
        await asyncio.sleep(2)
        assert await wire.ask("GetErrorID()") == "0,{[[85],[],[],[],[]]},GetErrorID();"
        assert (await wire.go("MovJ(250,0,50,0)")).startswith("-3,")
        await wire.ask("ClearError()")
        assert await wire.ask("RobotMode()") == "0,{9},RobotMode();"
        arm.release_estop()
        await wire.ask("ClearError()")
        assert await wire.ask("RobotMode()") == "0,{4},RobotMode();"


async def test_a_way_takes_as_long_as_its_speed_says() -> None:
    async with stand() as (_, wire, _world):
        await wire.go("MovJ(250,-80,80,0)")
        await wire.go("Sync()")
        for percent, seconds in ((100, 0.06 * 2), (10, 0.06 * 20)):
            await wire.ask(f"SpeedFactor({percent})")
            start = clock.monotonic()
            await wire.go(f"MovL(250,-80,{80 - 50 if percent == 100 else 80},0)")
            await wire.go("Sync()")
            assert clock.monotonic() - start == pytest.approx(50 / (5 * percent) + 0.1, abs=seconds)


async def test_reset_stops_and_forgets_the_queue() -> None:
    async with stand() as (arm, wire, _world):
        await wire.ask("SpeedFactor(5)")
        await wire.go("MovJ(250,-80,80,0)")
        await wire.go("MovJ(250,80,80,0)")
        await asyncio.sleep(0.5)
        await wire.ask("ResetRobot()")
        at = arm.arm.pose
        await asyncio.sleep(60)
        assert arm.arm.pose == at
        assert await wire.ask("RobotMode()") == "0,{5},RobotMode();"


async def test_frames_are_cut_as_often_as_told() -> None:
    async with stand(cut_frames=1) as (_, wire, _world):
        data = await wire.frame()
        assert data[48:56] == data[748:756]  # a whole frame begins after 700 bytes
        assert (await wire.frame())[48:56] == bytes.fromhex("efcdab8967452301")
