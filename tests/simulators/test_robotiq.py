"""The simulated Robotiq gripper, asked with the bytes of Modbus RTU, and by strangers' clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulators._kit.modbus import crc
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part, World
from simulators.robotiq import SIMULATOR, RobotiqSimulator
from tests.simulators.npm import node
from tests.simulators.wires import Line


class Unit9:
    """A plain client of the gripper's line."""

    def __init__(self, line: Line) -> None:
        self.line = line

    async def ask(self, pdu: bytes, length: int) -> bytes:
        frame = b"\x09" + pdu
        self.line.write(frame + crc(frame))
        reply = await self.line.read(length + 3)
        assert reply[-2:] == crc(reply[:-2])
        return reply[1:-2]

    async def write(self, *words: int) -> None:
        pdu = struct.pack(f">BHHB{len(words)}H", 16, 1000, len(words), 2 * len(words), *words)
        assert await self.ask(pdu, 5) == pdu[:5]

    async def status(self, function: int = 4) -> bytes:
        return (await self.ask(struct.pack(">BHH", function, 2000, 3), 8))[2:]

    async def rest(self) -> bytes:
        while (now := await self.status())[0] >> 6 == 0:
            await asyncio.sleep(0.05)
        return now


Stand = tuple[RobotiqSimulator, Unit9, World]


@contextlib.asynccontextmanager
async def gripper(directory: Path, settings: Any = None, **options: Any) -> AsyncIterator[Stand]:
    world = World(3)
    said = {"address": "serial://gripper", **(settings or {})}
    simulator = SIMULATOR(Bench("gripper", world, said, options, directory=directory))
    found = await simulator.start()
    line = Line(found["address"].removeprefix("serial://"))
    try:
        yield simulator, Unit9(line), world
    finally:
        line.close()
        await simulator.stop()


async def test_it_must_be_activated_by_a_rising_edge(tmp_path: Path) -> None:
    async with gripper(tmp_path, activated=False) as (_, client, _):
        assert (await client.status())[0] == 0
        await client.write(0x0900, 255, 0xFF00)
        assert (await client.status())[0] == 0x19  # activating
        assert (await client.status())[2] == 5
        await client.write(0)
        await client.write(0x0100, 0, 0)
        await asyncio.sleep(3)
        assert (await client.status())[0] == 0x31


async def test_without_activation_a_move_is_a_fault(tmp_path: Path) -> None:
    async with gripper(tmp_path, activated=False) as (simulator, client, _):
        await client.write(0x0800, 255, 0xFF00)
        assert (await client.status())[2] == 7
        assert simulator.count == 0


@pytest.mark.parametrize("function", [3, 4])
async def test_closed_on_nothing_it_has_arrived(tmp_path: Path, function: int) -> None:
    async with gripper(tmp_path) as (simulator, client, _):
        await client.write(0x0900, 255, 0xFF00)
        assert (await client.status(function))[0] == 0x39  # on its way
        now = await client.rest()
        assert (now[0], now[2:5]) == (0xF9, bytes([0, 255, 230]))
        assert simulator.width == 0


async def test_a_part_between_the_fingers_is_met_and_its_going_is_noticed(tmp_path: Path) -> None:
    async with gripper(tmp_path) as (simulator, client, world):
        world.put("gripper/jaws", Cell(id="c1"))
        await client.write(0x0900, 255, 0x80FF)
        now = await client.rest()
        assert now[0] == 0xB9
        assert simulator.width == pytest.approx(20, abs=0.01)
        assert now[4] == 176
        world.take("gripper/jaws")
        assert (await client.status())[0] == 0x39
        assert (await client.rest())[0] == 0xF9


async def test_speed_and_stroke_are_the_models(tmp_path: Path) -> None:
    async with gripper(tmp_path, {"model": "2f140"}) as (simulator, client, world):
        world.put("gripper/jaws", Part(id="vial:1", name="vial"))
        await client.write(0x0900, 255, 0)
        await asyncio.sleep(1)
        assert simulator.width == pytest.approx(140 - 30, abs=1)
        await client.rest()
        assert simulator.width == pytest.approx(27.5, abs=0.01)


async def test_without_go_the_fingers_stop(tmp_path: Path) -> None:
    async with gripper(tmp_path) as (simulator, client, _):
        await client.write(0x0900, 255, 0)
        await asyncio.sleep(1)
        await client.write(0x0100)
        stopped = simulator.width
        await asyncio.sleep(3)
        assert simulator.width == stopped == pytest.approx(65, abs=1)
        assert (await client.status())[0] == 0x31


async def test_writing_and_reading_in_one_request(tmp_path: Path) -> None:
    async with gripper(tmp_path) as (_, client, _):
        pdu = struct.pack(">B4HB3H", 23, 2000, 3, 1000, 3, 6, 0x0900, 128, 0xFF00)
        reply = await client.ask(pdu, 8)
        assert reply[:3] == bytes([23, 6, 0x39])
        assert reply[5] == 128


@pytest.mark.parametrize(
    ("faults", "status", "fault"),
    [({"jam": True}, 0xB9, 14), ({"busy_stuck": True}, 0x39, 0), ({"hot": True}, 0x39, 8)],
)
async def test_what_goes_wrong_is_told(tmp_path: Path, faults: dict[str, Any], status: int, fault: int) -> None:
    async with gripper(tmp_path, faults=faults) as (_, client, _):
        await client.write(0x0900, 255, 0xFF00)
        await asyncio.sleep(5)
        now = await client.status()
        assert (now[0], now[2]) == (status, fault)


async def test_a_part_may_slip_and_the_power_go(tmp_path: Path) -> None:
    async with gripper(tmp_path, faults={"dropped_pick": 1}) as (simulator, client, world):
        world.put("gripper/jaws", Cell(id="c1"))
        await client.write(0x0900, 255, 0xFF00)
        assert (await client.rest())[0] == 0xF9
        await client.write(0x0900, 0, 0xFF00)
        await client.rest()
        await client.write(0x0900, 255, 0xFF00)
        assert (await client.rest())[0] == 0xB9
        simulator.faults["power_cycle"] = True
        assert (await client.status())[:4] == bytes(4)
        assert simulator.width == pytest.approx(20, abs=0.01)


async def test_silent_lost_and_unknown(tmp_path: Path) -> None:
    async with gripper(tmp_path, faults={"reply_lost": 1}) as (simulator, client, _):
        with pytest.raises(TimeoutError):
            await client.write(0x0900, 255, 0xFF00)
        assert (await client.status())[3] == 255
        assert await client.ask(struct.pack(">BHH", 4, 3000, 1), 2) == bytes([0x84, 2])
        assert await client.ask(struct.pack(">BHH", 1, 2000, 1), 2) == bytes([0x81, 2])
        simulator.faults["silent"] = True
        with pytest.raises(TimeoutError):
            await client.status()


# ── strangers ────────────────────────────────────────────────────────────────────────────────────────────────────
class TestStrangers:
    @pytest.fixture
    def anyio_backend(self, real_time: Any) -> Any:
        return real_time

    async def test_mbpoll_reads_and_writes_over_rtu(self, tmp_path: Path) -> None:
        if shutil.which("mbpoll") is None:
            pytest.skip("mbpoll is not installed: apt-get install mbpoll")
        async with gripper(tmp_path) as (simulator, client, _):
            client.line.close()
            port = str(tmp_path / "gripper")
            serial = ("-m", "rtu", "-b", "115200", "-P", "none", "-a", "9", "-0", "-q")
            await run("mbpoll", *serial, "-t", "4", "-r", "1000", port, str(0x0900), "128", str(0xFF00))
            await asyncio.sleep(1)
            said = await run("mbpoll", *serial, "-1", "-t", "3", "-r", "2000", "-c", "3", port)
            assert f"[2001]: \t{128}" in said
            assert simulator.count == 128
            client.line = Line(port)

    async def test_modbus_serial_of_npm_closes_it_over_tcp(self, tmp_path: Path) -> None:
        simulator = SIMULATOR(Bench("gripper", World(3), {"address": "modbus://127.0.0.1:0"}))
        simulator.world.put("gripper/jaws", Cell(id="c1"))
        port = (await simulator.start())["address"].rpartition(":")[2]
        try:
            said = await node("modbus-serial", "gripper.js", port)
        finally:
            await simulator.stop()
        assert said.split() == ["185", "255"]  # 0xB9: met something while closing


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=os.environ
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()
