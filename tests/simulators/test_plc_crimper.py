from __future__ import annotations

import asyncio
import shutil
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from simulators._kit.modbus import crc
from simulators._kit.simulator import Bench
from simulators._kit.world import HALF_CELL, LID, Cell, World
from simulators.plc_crimper import SIMULATOR, CrimperSimulator
from tests.simulators.wires import Line, Modbus

# The register map of the profile `handshake`, as the contract has it.
START, STOP, RESET, INIT, RECIPE, OPEN, CLOSE = 0, 1, 2, 5, 6, 7, 8
RUNNING, STOPPED, RESET_DONE, INITIALISED, RECIPE_READY, RAM_OPEN, RAM_CLOSED, HEARTBEAT = 0, 1, 2, 5, 6, 7, 8, 9
ESTOP, GUARD, ALARM, DONE = 10, 11, 13, 14
FORCE, RAM, PEAK, DISPLACEMENT, CYCLES, UPTIME, CODE = 0, 2, 4, 6, 8, 10, 12

Stand = tuple[CrimperSimulator, Modbus, World]
MakeStand = Callable[..., Awaitable[Stand]]


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    async with AsyncExitStack() as stack:

        async def make(world: World | None = None, profile: str = "handshake", **faults: Any) -> Stand:
            if world is None:
                world = World(1)
                world.put("press/nest", Cell(id="c1", parts=[HALF_CELL, LID], electrolyte={"LP57": 40.0}))
            settings = {"address": "modbus://127.0.0.1:0", "profile": profile}
            press = SIMULATOR(Bench("press", world, settings, {"faults": faults}, directory=tmp_path))
            found = await press.start()
            stack.push_async_callback(press.stop)
            client = await Modbus.connect(found["address"])
            stack.push_async_callback(client.close)
            return press, client, world

        yield make


async def crimp(client: Modbus, force: float = 7.8, dwell: float = 2.0) -> None:
    await client.recipe(force, dwell)
    await client.pulse(RECIPE, RECIPE_READY)
    await client.pulse(START, RUNNING)
    await client.until(RUNNING, False)


async def test_a_handshake_cycle_presses_the_cell_to_the_recipe_and_counts(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    assert await client.bit(2, RAM_OPEN)
    began = clock.monotonic()
    await crimp(client, 8.2, 3.0)
    assert 3.0 < clock.monotonic() - began < 15.0
    assert await client.bit(2, DONE)
    assert await client.count(CYCLES) == 1
    peak = await client.real(PEAK)
    assert peak == pytest.approx(8.2, rel=0.02)
    assert 0.3 < await client.real(DISPLACEMENT) < 1.5
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.crimp_force == pytest.approx(peak, rel=1e-6)
    assert cell.crimp_dwell == pytest.approx(3.0)
    assert cell.crimped_at is not None
    assert cell.crimped_at < clock.now().timestamp()
    assert cell.damage == []


async def test_force_rises_softly_then_steeply_and_the_ram_comes_back(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    await client.coil(START, True)
    curve: list[tuple[float, float]] = []
    while not await client.bit(2, DONE):
        curve.append((await client.real(RAM), await client.real(FORCE)))
        await asyncio.sleep(0.02)
    pressed = [(ram, force) for ram, force in curve if force > 0]
    soft = [force for ram, force in pressed if ram < 40.25]
    assert max(soft) < 0.3
    assert max(force for _, force in pressed) == pytest.approx(7.8, rel=0.02)
    assert await client.bit(2, RAM_OPEN)
    assert await client.real(FORCE) == 0.0


async def test_a_cell_is_crimped_though_nobody_watches(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    await client.coil(START, True)
    await asyncio.sleep(30)
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.crimped_at is not None


async def test_a_cell_without_its_lid_is_crushed(make_stand: MakeStand) -> None:
    world = World(1)
    world.put("press/nest", Cell(id="c1"))
    _, client, _ = await make_stand(world)
    await crimp(client)
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.damage == ["crushed"]


async def test_arms_are_told_while_the_ram_is_in_the_way(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    await client.pulse(CLOSE, RAM_CLOSED)
    assert world.memory("press")["blocked"]["nest"][1] is None
    await client.pulse(OPEN, RAM_OPEN)
    await asyncio.sleep(1)
    await client.bit(2, RAM_OPEN)
    assert world.memory("press")["blocked"] == {}


async def test_the_heartbeat_toggles_twice_a_second_without_a_timer(make_stand: MakeStand) -> None:
    press, client, _ = await make_stand()
    beats = []
    for _ in range(6):
        beats.append(await client.bit(2, HEARTBEAT))
        await asyncio.sleep(0.5)
    assert beats in ([True, False] * 3, [False, True] * 3)
    await asyncio.sleep(36_000)
    assert await client.count(UPTIME) >= 36_000
    assert press.plc is not None
    assert press.plc.next_due is None


async def test_a_force_that_falls_short_in_one_cycle_only(make_stand: MakeStand) -> None:
    _, client, world = await make_stand(force_short={"cycle": 2, "fraction": 0.8})
    peaks = []
    for _ in range(3):
        await crimp(client)
        peaks.append(await client.real(PEAK))
    assert peaks[0] == pytest.approx(7.8, rel=0.02)
    assert peaks[1] == pytest.approx(0.8 * 7.8, rel=0.02)
    assert peaks[2] == pytest.approx(7.8, rel=0.02)
    assert await client.count(CYCLES) == 3
    cell = world.cell("press/nest")
    assert cell is not None
    assert "crimped twice" in cell.damage


async def test_an_estop_in_mid_stroke_stops_the_ram_until_it_is_released_and_reset(make_stand: MakeStand) -> None:
    press, client, world = await make_stand(estop_in_stroke={"cycle": 1})
    await client.pulse(START, RUNNING)
    await client.until(ALARM)
    assert await client.bit(2, ESTOP)
    assert not await client.bit(2, RUNNING)
    assert await client.words(4, CODE, 1) == (1,)
    assert await client.real(FORCE) == 0.0
    assert await client.real(RAM) > 40.0
    assert await client.count(CYCLES) == 0
    assert world.memory("press")["blocked"]["nest"][1] is None
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.damage == ["crimp broken off"]

    await client.coil(RESET, True)
    await asyncio.sleep(1)
    assert not await client.bit(2, RESET_DONE)  # still pressed
    await client.coil(RESET, False)
    del press.faults["estop"]
    await client.pulse(RESET, RESET_DONE)
    await client.until(RESET_DONE, False)
    assert not await client.bit(2, ALARM)
    await client.until(RAM_OPEN)


@pytest.mark.parametrize(("fault", "code"), [("guard_open", 2), ("light_curtain", 3)])
async def test_an_open_guard_or_a_broken_light_curtain_stops_a_stroke(
    make_stand: MakeStand, fault: str, code: int
) -> None:
    press, client, _ = await make_stand()
    await client.pulse(START, RUNNING)
    press.faults[fault] = True
    await client.until(ALARM)
    assert await client.words(4, CODE, 1) == (code,)
    assert not await client.bit(2, RUNNING)
    assert await client.count(CYCLES) == 0


async def test_a_dead_coil_reads_back_and_does_nothing(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand(dead={"start": 1})
    await client.coil(START, True)
    assert await client.bit(1, START)
    await asyncio.sleep(20)
    assert await client.count(CYCLES) == 0
    await client.coil(START, False)
    await crimp(client)
    assert await client.count(CYCLES) == 1


async def test_a_lost_reply_leaves_the_write_in_effect(make_stand: MakeStand) -> None:
    press, client, _ = await make_stand()
    press.faults["reply_lost"] = 1
    with pytest.raises(TimeoutError):
        await client.coil(START, True)
    await asyncio.sleep(20)
    again = await Modbus.connect(client.address)
    assert await again.count(CYCLES) == 1
    await again.close()


async def test_swapped_words_are_abcd(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand(swap_words=True)
    await client.coil(START, True)
    await asyncio.sleep(20)
    high, low = await client.words(4, PEAK, 2)
    assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == pytest.approx(7.8, rel=0.02)


async def test_a_recipe_beyond_the_press_is_never_ready(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    await client.recipe(50.0, 2.0)
    await client.coil(RECIPE, True)
    await asyncio.sleep(5)
    assert not await client.bit(2, RECIPE_READY)


async def test_stop_breaks_a_stroke_off_and_opens(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    await client.pulse(START, RUNNING)
    await asyncio.sleep(1)
    await client.pulse(STOP, STOPPED)
    await client.until(RAM_OPEN)
    assert await client.count(CYCLES) == 0


async def test_init_homes_the_ram(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    await client.pulse(CLOSE, RAM_CLOSED)
    await client.coil(INIT, True)
    await client.until(INITIALISED, False)
    await client.until(INITIALISED)
    assert await client.bit(2, RAM_OPEN)


async def test_counter_recipe_and_peak_outlive_the_power(make_stand: MakeStand, tmp_path: Path) -> None:
    world = World(1, tmp_path / "world.json")
    world.put("press/nest", Cell(id="c1", parts=[HALF_CELL, LID]))
    press, client, _ = await make_stand(world)
    await crimp(client, 9.0, 1.0)
    peak = await client.real(PEAK)
    await press.stop()
    _, client, _ = await make_stand(World(1, tmp_path / "world.json"))
    assert await client.count(CYCLES) == 1
    assert await client.real(PEAK) == peak
    await client.pulse(START, RUNNING)
    await client.until(RUNNING, False)
    assert await client.real(PEAK) == pytest.approx(9.0, rel=0.02)


async def test_what_is_not_there_is_refused_by_its_code(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    assert await client.ask(struct.pack(">BHH", 3, 4, 1)) == bytes([0x83, 2])
    assert await client.ask(struct.pack(">BHH", 2, 14, 2)) == bytes([0x82, 2])
    assert await client.ask(struct.pack(">BHH", 5, 0, 1)) == bytes([0x85, 3])
    assert await client.ask(struct.pack(">BHH", 8, 0, 0)) == bytes([0x88, 1])


# ── relay ────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def press_by_relay(client: Modbus) -> None:
    await client.coil(0, True)
    await asyncio.sleep(2.5)
    await client.coil(0, False)


async def test_a_relay_press_is_busy_for_its_stroke(make_stand: MakeStand) -> None:
    _, client, world = await make_stand(profile="relay")
    assert not await client.bit(2, 0)
    await press_by_relay(client)
    assert await client.bit(2, 0)
    await client.until(0, False)
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.crimp_force == pytest.approx(7.8, rel=0.02)
    assert await client.ask(struct.pack(">BHH", 4, 0, 1)) == bytes([0x84, 2])


async def test_busy_that_never_rises_hides_a_stroke_and_busy_that_sticks_outlasts_it(make_stand: MakeStand) -> None:
    press, client, world = await make_stand(profile="relay", busy_never=True)
    await press_by_relay(client)
    assert not await client.bit(2, 0)
    await asyncio.sleep(20)
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.crimped_at is not None
    press.faults.clear()
    press.faults["busy_stuck"] = True
    await asyncio.sleep(3600)
    assert await client.bit(2, 0)


# ── other ways to it ─────────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_same_map_answers_as_rtu_on_a_serial_line(tmp_path: Path) -> None:
    world = World(1)
    press = SIMULATOR(Bench("press", world, {"address": "serial://ports/press"}, directory=tmp_path))
    found = await press.start()
    line = Line(found["address"].removeprefix("serial://"))
    request = bytes([1]) + struct.pack(">BHH", 2, RAM_OPEN, 1)
    line.write(request + crc(request))
    reply = await line.read(6)
    assert reply[:4] == bytes([1, 2, 1, 1])
    assert reply[4:] == crc(reply[:4])
    line.write(request + b"\0\0")
    with pytest.raises(TimeoutError):
        await line.read(1)
    line.close()
    await press.stop()


def test_the_check_sum_is_that_of_the_standard() -> None:
    # MODBUS over Serial Line V1.02, 6.2.2: the frame 02 07 has the check sum 41 12.
    assert crc(bytes([0x02, 0x07])) == bytes([0x41, 0x12])


class TestMbpoll:
    @pytest.fixture
    def anyio_backend(self, real_time: Any) -> Any:
        return real_time

    async def test_an_independent_client_reads_the_map(self, make_stand: MakeStand) -> None:
        if shutil.which("mbpoll") is None:
            pytest.skip("mbpoll is not installed: apt-get install mbpoll")
        _, client, world = await make_stand()
        world.memory("press")["peak"] = 7.25
        port = client.address.rpartition(":")[2]

        async def poll(*options: str) -> str:
            process = await asyncio.create_subprocess_exec(
                "mbpoll", "-m", "tcp", "-a", "1", "-0", "-1", "-q", "-o", "10", "-p", port, *options, "127.0.0.1",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode == 0, out
            return out.decode()

        # mbpoll without -B takes the low word first: CDAB.
        assert "7.25" in await poll("-t", "3:float", "-r", "4")
        assert "[11]: \t1" in await poll("-t", "1", "-r", "11")
        assert "[7]: \t1" in await poll("-t", "1", "-r", "7")
