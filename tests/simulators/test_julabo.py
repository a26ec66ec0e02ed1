"""The simulated thermostat, asked with the bytes of Julabo's manual over a pty and a socket, without any library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.julabo import SIMULATOR, Bath, JulaboSimulator
from tests.simulators.text import Text

Stand = tuple[JulaboSimulator, Text]


@contextlib.asynccontextmanager
async def thermostat(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), world: World | None = None, **options: Any
) -> AsyncIterator[Stand]:
    simulator = SIMULATOR(Bench("bath", world or World(3), {"address": address}, options, directory=directory))
    found = await simulator.start()
    try:
        with await Text.open(found["address"]) as client:
            yield simulator, client
    finally:
        await simulator.stop()


async def order(client: Text, command: bytes) -> None:
    """OUT commands never answer, and 250 ms lie between two commands."""
    client.send(command + b"\r")
    assert await client.silence(0.3)


async def ask(client: Text, query: bytes) -> bytes:
    answer = await client.ask(query + b"\r")
    await asyncio.sleep(0.3)
    return answer.removesuffix(b"\r")


async def temperature(client: Text) -> float:
    return float(await ask(client, b"in_pv_00"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/bath", "serial://ports/bath?baudrate=4800&parity=E"])
async def test_it_answers_in_commands_on_every_wire(address: str, tmp_path: Path) -> None:
    async with thermostat(address, tmp_path) as (_, client):
        assert await ask(client, b"version") == b"JULABO CORIO CP Version 1.3"
        assert await ask(client, b"status") == b"02 REMOTE STOP"
        assert await ask(client, b"in_sp_00") == b"20.00"
        assert await ask(client, b"IN_MODE_05") == b"0"
        assert await temperature(client) == pytest.approx(22, abs=0.05)


async def test_it_takes_out_commands_without_a_word() -> None:
    async with thermostat() as (_, client):
        await order(client, b"out_sp_00 55.5")
        await order(client, b"out_mode_05 1")
        assert await ask(client, b"in_sp_00") == b"55.50"
        assert await ask(client, b"status") == b"03 REMOTE START"
        await order(client, b"out_mode_05 0")
        assert await ask(client, b"status") == b"02 REMOTE STOP"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (b"out_sp_00 151", b"-11 VALUE TOO LARGE"),
        (b"out_sp_00 -41", b"-10 VALUE TOO SMALL"),
        (b"out_sp_00 hot", b"-08 INVALID COMMAND"),
        (b"out_mode_05 2", b"-08 INVALID COMMAND"),
        (b"out_sp_99 5", b"-08 INVALID COMMAND"),
        (b"in_pv_99", b"-08 INVALID COMMAND"),
        (b"hello", b"-08 INVALID COMMAND"),
    ],
)
async def test_why_a_command_was_not_taken_stands_once_in_the_status(command: bytes, status: bytes) -> None:
    async with thermostat() as (_, client):
        await order(client, command)
        assert await ask(client, b"status") == status
        assert await ask(client, b"status") == b"02 REMOTE STOP"
        assert await ask(client, b"in_sp_00") == b"20.00"


async def test_a_setting_that_follows_too_soon_is_lost() -> None:
    async with thermostat() as (_, client):
        client.send(b"status\rout_sp_00 30\r")
        await client.line()
        await asyncio.sleep(0.3)
        assert await ask(client, b"in_sp_00") == b"20.00"


# ── the bath ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_it_heats_at_its_rate_and_settles_without_overshoot() -> None:
    async with thermostat() as (_, client):
        await order(client, b"out_sp_00 52")
        await order(client, b"out_mode_05 1")
        await asyncio.sleep(300)
        assert await temperature(client) == pytest.approx(37, abs=0.3)  # 3 K/min
        await asyncio.sleep(1200)
        assert await temperature(client) == pytest.approx(52, abs=0.05)


async def test_it_cools_and_left_alone_goes_back_to_the_room() -> None:
    async with thermostat() as (_, client):
        await order(client, b"out_sp_00 5")
        await order(client, b"out_mode_05 1")
        await asyncio.sleep(1800)
        assert await temperature(client) == pytest.approx(5, abs=0.05)
        await order(client, b"out_mode_05 0")
        await asyncio.sleep(2 * 3600)
        assert await temperature(client) == pytest.approx(22 - 17 / 2.718, abs=0.2)


def test_a_bath_is_where_it_is_however_finely_time_passes() -> None:
    once, often = Bath(20.0, 22.0, 0.05), Bath(20.0, 22.0, 0.05)
    once.step(700.0, 50.0)
    for _ in range(700):
        often.step(1.0, 50.0)
    assert once.temperature == pytest.approx(often.temperature)


async def test_physics_go_on_by_hand_and_the_bath_keeps_its_warmth_over_a_restart() -> None:
    world = World(3)
    async with thermostat(world=world) as (simulator, client):
        await order(client, b"out_sp_00 40")
        await order(client, b"out_mode_05 1")
        simulator.step(3600)
        assert await temperature(client) == pytest.approx(40, abs=0.05)
    async with thermostat(world=world) as (_, client):
        assert await temperature(client) == pytest.approx(40, abs=0.05)
        assert await ask(client, b"status") == b"02 REMOTE STOP"  # what a computer set is gone with the power
        assert await ask(client, b"in_sp_00") == b"20.00"


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_low_level_switches_it_off_and_keeps_it_off() -> None:
    async with thermostat() as (simulator, client):
        await order(client, b"out_mode_05 1")
        simulator.faults["low_level"] = True
        assert await ask(client, b"status") == b"-01 LOW LEVEL ALARM"
        await order(client, b"out_mode_05 1")
        assert await ask(client, b"in_mode_05") == b"0"
        del simulator.faults["low_level"]
        assert await ask(client, b"status") == b"02 REMOTE STOP"


async def test_a_slow_bath_is_slow() -> None:
    async with thermostat(faults={"slow": 10}) as (_, client):
        await order(client, b"out_sp_00 52")
        await order(client, b"out_mode_05 1")
        await asyncio.sleep(300)
        assert await temperature(client) == pytest.approx(23.5, abs=0.1)


async def test_a_setpoint_is_lost_without_a_word() -> None:
    async with thermostat(faults={"lost_setpoint": 1}) as (_, client):
        await order(client, b"out_sp_00 30")
        assert await ask(client, b"in_sp_00") == b"20.00"
        assert await ask(client, b"status") == b"02 REMOTE STOP"
        await order(client, b"out_sp_00 30")
        assert await ask(client, b"in_sp_00") == b"30.00"


async def test_a_dip_of_the_power_forgets_what_a_computer_set() -> None:
    async with thermostat() as (simulator, client):
        await order(client, b"out_sp_00 30")
        await order(client, b"out_mode_05 1")
        simulator.faults["power_dip"] = True
        assert await ask(client, b"status") == b"02 REMOTE STOP"
        assert await ask(client, b"in_sp_00") == b"20.00"


async def test_somebody_at_the_panel_goes_first() -> None:
    async with thermostat(faults={"by_hand": True}) as (_, client):
        await order(client, b"out_sp_00 30")
        assert await ask(client, b"status") == b"-09 COMMAND NOT ALLOWED IN CURRENT OPERATING MODE"
        assert await ask(client, b"status") == b"00 MANUAL STOP"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/bath"])
async def test_silent_and_late_on_every_wire(address: str, tmp_path: Path) -> None:
    async with thermostat(address, tmp_path, faults={"silent": True}) as (simulator, client):
        client.send(b"status\r")
        assert await client.silence(60)
        simulator.faults.clear()
        simulator.faults["delay"] = 2.5
        began = clock.monotonic()
        assert await client.ask(b"status\r") == b"02 REMOTE STOP\r"
        assert clock.monotonic() - began == pytest.approx(2.5, abs=0.05)
