from __future__ import annotations

import asyncio
import importlib.util
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.io.worker import Worker
from simulators._kit.simulator import Bench
from simulators._kit.world import HALF_CELL, LID, Cell, Part, World
from simulators.meca500 import SIMULATOR, MecaSimulator
from simulators.meca500.kinematics import LIMITS, angle_between, flange, frame, joints_for, pose_of
from tests.simulators.wires import Meca

POSITIONS: dict[str, dict[str, Any]] = {
    "home": {"pose": [190, 0, 220, 180, 0, 180]},
    "tray/cells/A1": {"pose": [140, 0, 50, 180, 0, 180]},
    "tray/lids/A1": {"pose": [140, 55, 50, 180, 0, 180]},
    "press/nest": {"pose": [240, -50, 62, 180, 0, 180]},
}
AT = {name: ",".join(str(value) for value in entry["pose"]) for name, entry in POSITIONS.items()}

Stand = tuple[MecaSimulator, Meca, World]
MakeStand = Callable[..., Awaitable[Stand]]


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    async with AsyncExitStack() as stack:

        async def make(world: World | None = None, *, ready: bool = True, **faults: Any) -> Stand:
            if world is None:
                world = World(1)
                world.put("tray/cells/A1", Cell(id="c1"))
                world.put("tray/lids/A1", Part(id="lid1", name=LID))
            settings = {"address": "127.0.0.1:0"}
            bench = Bench("arm", world, settings, {"faults": faults}, POSITIONS, directory=tmp_path)
            arm = SIMULATOR(bench)
            found = await arm.start()
            stack.push_async_callback(arm.stop)
            client = await Meca.connect(found["address"])
            stack.push_async_callback(client.close)
            assert (await client.hear())[0] == 3000
            if ready:
                await client.ask("ActivateRobot", 2000)
                await client.ask("Home", 2002)
                await client.ask("Delay(1)", 3012)
            return arm, client, world

        yield make


def above(name: str, height: float = 40.0) -> str:
    x, y, z, *angles = POSITIONS[name]["pose"]
    return ",".join(str(value) for value in (x, y, z + height, *angles))


async def reach(client: Meca, checkpoint: int, *commands: str) -> None:
    client.send(*commands, f"SetCheckpoint({checkpoint})")
    assert await client.until(3030, 3005, 1016) == (3030, str(checkpoint))


async def pick(client: Meca, name: str) -> list[int]:
    await reach(client, 1, f"MovePose({above(name)})", f"MoveLin({AT[name]})", "GripperClose", "Delay(1)")
    flags = list(await client.flags("GetStatusGripper", 2079))
    await reach(client, 2, f"MoveLin({above(name)})")
    return flags


async def put(client: Meca, name: str) -> None:
    await reach(client, 3, f"MovePose({above(name)})", f"MoveLin({AT[name]})", "GripperOpen", "Delay(1)")
    await reach(client, 4, f"MoveLin({above(name)})")


async def test_the_arm_carries_a_cell_with_its_identity(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    assert (await pick(client, "tray/cells/A1"))[:4] == [1, 1, 1, 0]
    held = world.item("arm/gripper")
    assert held is not None
    assert held.id == "c1"
    assert world.item("tray/cells/A1") is None
    await put(client, "press/nest")
    assert world.item("press/nest") is held
    assert world.item("arm/gripper") is None
    assert list(await client.flags("GetStatusGripper", 2079))[2:4] == [0, 1]


async def test_a_lid_set_on_a_cell_closes_its_stack(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    await pick(client, "tray/lids/A1")
    await put(client, "tray/cells/A1")
    cell = world.cell("tray/cells/A1")
    assert cell is not None
    assert cell.parts == [HALF_CELL, LID]


async def test_closing_beside_a_part_or_on_nothing_grips_nothing(make_stand: MakeStand) -> None:
    _, client, world = await make_stand(miss_on=[1])
    flags = await pick(client, "tray/cells/A1")
    assert flags[2:4] == [0, 1]
    assert world.item("tray/cells/A1") is not None
    await reach(client, 5, "GripperOpen", "Delay(1)", "MoveLinRelWRF(0,0,-37,0,0,0)", "GripperClose", "Delay(1)")
    assert list(await client.flags("GetStatusGripper", 2079))[2] == 0  # 3 mm too high
    await reach(client, 6, "GripperOpen", "Delay(1)", "MoveLinRelWRF(0,0,-3,0,0,0)", "GripperClose", "Delay(1)")
    assert list(await client.flags("GetStatusGripper", 2079))[2] == 1


async def test_the_fingers_close_while_the_queue_goes_on(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    await reach(client, 1, f"MovePose({AT['tray/cells/A1']})", "GripperClose")
    assert list(await client.flags("GetStatusGripper", 2079))[2] == 0
    await reach(client, 2, f"MoveLin({above('tray/cells/A1')})")  # too soon: it leaves without the cell
    await asyncio.sleep(1)
    assert world.item("tray/cells/A1") is not None


async def test_a_part_that_is_lost_on_the_way_is_told_by_the_gripper(make_stand: MakeStand) -> None:
    _, client, world = await make_stand(drop_on=[1])
    assert (await pick(client, "tray/cells/A1"))[2] == 1
    assert list(await client.flags("GetStatusGripper", 2079))[2] == 0
    fallen = world.cell("arm/fallen/1")
    assert fallen is not None
    assert fallen.id == "c1"
    assert fallen.damage == ["dropped"]


async def test_a_part_that_is_let_go_where_nothing_holds_it_falls(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    world.put("press/nest", Cell(id="c2"))
    await pick(client, "tray/cells/A1")
    await put(client, "press/nest")
    fallen = world.cell("arm/fallen/1")
    assert fallen is not None
    assert fallen.damage == ["dropped"]


async def test_a_way_takes_as_long_as_its_speed_says(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    await reach(client, 1, f"MovePose({above('tray/cells/A1', 60)})")
    times = []
    for speed in (100, 10):
        began = clock.monotonic()
        await reach(client, 2, f"SetCartLinVel({speed})", "MoveLinRelWRF(0,0,-50,0,0,0)")
        times.append(clock.monotonic() - began)
        await reach(client, 3, "MoveLinRelWRF(0,0,50,0,0,0)")
    assert times[0] == pytest.approx(50 / 100 + 100 / 500, abs=0.01)
    assert times[1] == pytest.approx(50 / 10 + 10 / 500, abs=0.01)
    began = clock.monotonic()
    await reach(client, 4, "SetJointVel(10)", "MoveJoints(0,0,0,0,0,0)", "MoveJoints(90,0,0,0,0,0)")
    first = clock.monotonic() - began
    assert first > 90 / 15


async def test_motion_needs_motors_then_homing_and_no_error(make_stand: MakeStand) -> None:
    arm, client, _ = await make_stand(ready=False)
    assert list(await client.flags("GetStatusRobot", 2007)) == [0, 0, 0, 0, 0, 1, 1]
    assert await client.ask("MoveJoints(0,0,0,0,0,0)", 1005) == "The robot is not activated."
    assert await client.ask("Home", 1005)
    await client.ask("ActivateRobot", 2000)
    assert await client.ask("MoveJoints(0,0,0,0,0,0)", 1006) == "The robot is not homed."
    await client.ask("Home", 2002)
    arm.faults["error_on"] = [1]
    client.send("MoveJoints(90,0,0,0,0,0)")
    await client.until(3005)
    assert await client.ask("MoveJoints(0,0,0,0,0,0)", 1011) == "The robot is in error."
    assert list(await client.flags("GetStatusRobot", 2007))[:5] == [1, 1, 0, 1, 1]
    await client.ask("ResetError", 2005)
    await client.ask("ResetError", 2006)
    await client.ask("ResumeMotion", 2043)
    await reach(client, 1, "MoveJoints(0,0,0,0,0,0)")


async def test_pause_keeps_the_rest_of_the_way_and_clear_forgets_it(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    client.send("SetJointVel(10)", "MoveJoints(90,0,0,0,0,0)", "SetCheckpoint(1)")
    await asyncio.sleep(2)
    await client.ask("PauseMotion", 2042)
    await asyncio.sleep(60)
    at = [float(angle) for angle in (await client.ask("GetJoints", 2026)).split(",")]
    assert 10 < at[0] < 80
    assert list(await client.flags("GetStatusRobot", 2007))[4:] == [1, 0, 1]
    await client.ask("ResumeMotion", 2043)
    await client.until(3030)
    client.send("MoveJoints(0,0,0,0,0,0)", "SetCheckpoint(2)")
    await asyncio.sleep(1)
    await client.ask("ClearMotion", 2044)
    assert list(await client.flags("GetStatusRobot", 2007))[4:] == [1, 1, 1]
    await client.ask("ResumeMotion", 2043)
    with pytest.raises(TimeoutError):
        await client.until(3030, within=30)


async def test_what_is_not_understood_is_named(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    assert "Dance" in await client.ask("Dance(1)", 1001)
    await client.ask("MovePose(1,2,3", 1002)
    await client.ask("MovePose(1,2,3)", 1003)
    await client.ask("SetJointVel(0)", 1003)
    assert list(await client.flags("GetStatusRobot", 2007))[3] == 0
    await client.ask("MovePose(190,0,400,180,0,180)", 1016)
    assert list(await client.flags("GetStatusRobot", 2007))[3] == 1


async def test_only_one_client_has_control(make_stand: MakeStand) -> None:
    arm, client, _ = await make_stand()
    address = client.address
    second = await Meca.connect(address)
    assert (await second.hear())[0] == 3001
    with pytest.raises(asyncio.IncompleteReadError):
        await second.hear()
    await second.close()
    await client.close()
    arm.faults["taken"] = True
    third = await Meca.connect(address)
    assert (await third.hear())[0] == 3001
    await third.close()


async def test_the_queue_ends_with_the_client_that_sent_it(make_stand: MakeStand) -> None:
    arm, client, _ = await make_stand()
    client.send("SetJointVel(5)", "MoveJoints(90,0,0,0,0,0)")
    await asyncio.sleep(1)
    await client.close()
    await asyncio.sleep(60)
    assert arm.arm is not None
    assert arm.arm.idle
    assert arm.arm.joints[0] < 80


async def test_the_monitoring_port_tells_changes_and_then_at_its_interval(make_stand: MakeStand) -> None:
    arm, client, _ = await make_stand()
    assert arm.arm is not None
    address = client.address
    monitor = await Meca.connect(address, offset=1)
    assert [(await monitor.hear())[0] for _ in range(2)] == [3000, 2007]
    assert (await monitor.hear()) == (2079, "1,1,0,1,0,0")
    assert [(await monitor.hear())[0] for _ in range(3)] == [2026, 2027, 2230]
    began = clock.monotonic()
    await monitor.until(2230)
    assert clock.monotonic() - began == pytest.approx(10, abs=0.1)
    client.send("MoveJoints(20,0,0,0,0,0)")
    assert (await monitor.until(2007))[1].endswith("0,0,0")
    assert (await monitor.until(2007))[1].endswith("0,1,1")
    await monitor.close()
    await asyncio.sleep(20)
    assert arm.arm.next_due is None  # nobody listens, nothing ticks


async def test_the_estop_takes_power_and_connections_but_not_the_part(make_stand: MakeStand) -> None:
    arm, client, world = await make_stand()
    await pick(client, "tray/cells/A1")
    client.send(f"MovePose({AT['home']})")
    await asyncio.sleep(0.1)
    arm.press_estop()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.until(9999)
    assert world.item("arm/gripper") is not None
    address = client.address
    refused = await Meca.connect(address)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await refused.hear()
    await refused.close()
    arm.release_estop()
    again = await Meca.connect(address)
    assert (await again.hear())[0] == 3000
    assert list(await again.flags("GetStatusRobot", 2007))[:2] == [0, 0]
    await again.ask("ActivateRobot", 2000)
    await again.ask("Home", 2002)
    assert list(await again.flags("GetStatusGripper", 2079))[2] == 1
    await again.close()


async def test_reaching_into_a_closed_press_is_a_collision(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    world.memory("press")["blocked"] = {"nest": [clock.now().timestamp() - 1, None]}
    client.send(f"MovePose({above('press/nest')})", f"MoveLin({AT['press/nest']})")
    assert "press/nest" in (await client.until(3005))[1]


async def test_a_held_part_survives_a_kill(make_stand: MakeStand, tmp_path: Path) -> None:
    world = World(1, tmp_path / "world.json")
    world.put("tray/cells/A1", Cell(id="c1"))
    _, client, _ = await make_stand(world)
    await pick(client, "tray/cells/A1")
    _, client, world = await make_stand(World(1, tmp_path / "world.json"))
    await put(client, "press/nest")
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.id == "c1"


async def test_lost_replies_are_lost_and_the_command_is_done(make_stand: MakeStand) -> None:
    arm, client, _ = await make_stand()
    arm.faults["lost_replies"] = 1
    client.send("PauseMotion")
    assert list(await client.flags("GetStatusRobot", 2007))[4] == 1


class TestMecademicpy:
    """Its maker's own client, in a process of its own."""

    @pytest.fixture
    def anyio_backend(self, real_time: Any) -> Any:
        return real_time

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("ACTIVATING", "HOMING"):
            monkeypatch.setattr(f"simulators.meca500.arm.{name}", 0.1)

    async def test_it_homes_picks_fails_and_is_well_again(self) -> None:
        if importlib.util.find_spec("mecademicpy") is None:
            pytest.skip("mecademicpy is not installed: pip install mecademicpy")
        world = World(1)
        world.put("tray/cells/A1", Cell(id="c1"))
        arm = SIMULATOR(Bench("arm", world, {"address": "127.0.0.1:0"}, {"monitoring": 0.05}, POSITIONS))
        port = int((await arm.start())["address"].rpartition(":")[2])
        peer = Worker("tests.simulators.strangers:Meca", "127.0.0.1", port)
        await peer.open()
        try:
            assert await peer.call("told") == ("Meca500", "8.4.3.0-simulated")
            assert await peer.call("ready", limit=15) == (True, True, False)
            at = [float(value) for value in POSITIONS["tray/cells/A1"]["pose"]]
            over = [at[0], at[1], at[2] + 40, *at[3:]]
            held, stands = await peer.call("pick", over, at, limit=30)
            assert (held, stands[:3]) == (True, pytest.approx(over[:3], abs=0.01))
            assert world.item("arm/gripper") is not None
            assert await peer.call("fail", [900.0, *over[1:]], limit=20) == (True, False)
            await peer.call("close", limit=20)
        finally:
            await peer.close()
            await arm.stop()


def test_the_zero_position_is_the_one_of_the_manual() -> None:
    assert pose_of(flange((0.0,) * 6)) == pytest.approx((190, 0, 308, 0, 90, 0))


def test_joint_angles_are_found_for_every_pose_that_has_some() -> None:
    rng = random.Random(3)
    for _ in range(300):
        a, b, c, d, e, f = (rng.uniform(max(low, -180), min(high, 180)) for low, high in LIMITS)
        where = flange((a, b, c, d, e, f))
        found = flange(joints_for(where, (0.0,) * 6))
        assert math.dist(found.position, where.position) < 1e-6
        assert angle_between(found, where) < 1e-3
        assert angle_between(frame(pose_of(where)), where) < 1e-3
