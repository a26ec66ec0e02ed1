"""The simulated Microlab 600, asked with the bytes of its protocol by a client without any library."""

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
from simulators.ml600 import SIMULATOR, Ml600Simulator
from tests.simulators.wires import Line

DONE, BUSY, WRONG = b"\x06Y\r", b"\x06N\r", b"\x06*\r"


class Client:
    """Bytes out, an answer up to CR in."""

    def __init__(self, line: Line) -> None:
        self.line = line

    async def ask(self, command: str) -> bytes:
        self.line.write(command.encode() + b"\r")
        said = b""
        while not said.endswith(b"\r"):
            said += await self.line.read(1)
        return said

    async def ready(self) -> float:
        began = clock.monotonic()
        while await self.ask("aF") == BUSY:
            await asyncio.sleep(0.02)
        return clock.monotonic() - began


Stand = tuple[Ml600Simulator, Client, World]


@contextlib.asynccontextmanager
async def pump(directory: Path, right: str | None = None, called: bool = True, **options: Any) -> AsyncIterator[Stand]:
    world = World(3)
    settings = {"address": "pump", "syringe": "1 mL", **({"right": right} if right else {})}
    simulator = SIMULATOR(Bench("pump", world, settings, {"liquid": "water", **options}, directory=directory))
    line = Line((await simulator.start())["address"])
    client = Client(line)
    try:
        if called:
            assert await client.ask("1a") == b"1b\r"
        yield simulator, client, world
    finally:
        line.close()
        await simulator.stop()


async def test_without_its_address_it_hears_nothing(tmp_path: Path) -> None:
    async with pump(tmp_path, called=False) as (_, client, _):
        with pytest.raises(TimeoutError):
            await client.ask("aUR")
        assert await client.ask("1a") == b"1b\r"
        assert await client.ask("aUR") == b"\x06NV01.02.a\r"


async def test_a_stroke_takes_the_seconds_that_were_said_and_moves_its_volume(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, world):
        assert await client.ask("aIM48000S20R") == b"\x06\r"
        assert await client.ask("aF") == BUSY
        assert await client.ready() == pytest.approx(20.4, abs=0.1)
        assert (await client.ask("aYQPR"), await client.ask("aLQPR")) == (b"\x0648000\r", b"\x061\r")
        assert world.well("pump/inlet").volume == pytest.approx(49_000)  # type: ignore[union-attr]
        await client.ask("aOD24000S4R")
        assert await client.ready() == pytest.approx(2.4, abs=0.1)
        assert world.well("pump/outlet").volume == pytest.approx(500)  # type: ignore[union-attr]
        await client.ask("aXR")
        await client.ready()
        assert (simulator.sides[""].position, simulator.sides[""].valve) == (0, "O")


async def test_two_syringes_move_by_themselves(tmp_path: Path) -> None:
    async with pump(tmp_path, right="100 µL") as (_, client, world):
        assert await client.ask("aBIM48000S10R") == b"\x06\r"
        assert await client.ask("aCIM24000S4R") == b"\x06\r"
        assert await client.ask("aCIM24000S4R") == b"\x15\r"
        await asyncio.sleep(3)
        assert await client.ask("aCYQPR") == b"\x0624000\r"
        assert await client.ask("aF") == BUSY
        await client.ready()
        assert world.well("pump/left-inlet").volume == pytest.approx(49_000)  # type: ignore[union-attr]
        assert world.well("pump/right-inlet").volume == pytest.approx(49_950)  # type: ignore[union-attr]


async def test_halted_it_stands_where_it_is(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, world):
        await client.ask("aIM48000S10R")
        await asyncio.sleep(5)
        await client.ask("aKR")
        await client.ask("aVR")
        assert await client.ask("aF") == DONE
        at = simulator.sides[""].position
        assert 20_000 < at < 24_000
        assert world.well("pump/inlet").volume == pytest.approx(50_000 - at / 48)  # type: ignore[union-attr]


@pytest.mark.parametrize("command", ["aM48001R", "aM100S1R", "aQR", "aM100", "aCM100R", "aMR", "aD1R"])
async def test_what_it_does_not_take(command: str, tmp_path: Path) -> None:
    async with pump(tmp_path) as (_, client, _):
        assert await client.ask(command) == b"\x15\r"


async def test_what_goes_wrong(tmp_path: Path) -> None:
    async with pump(tmp_path, faults={"overload": 1, "reply_lost": 1}) as (simulator, client, _):
        with pytest.raises(TimeoutError):
            await client.ask("aIM4800R")
        await client.ready()
        assert await client.ask("aF") == WRONG
        assert await client.ask("aM0R") == b"\x15\r"
        await client.ask("aXR")
        await client.ready()
        assert await client.ask("aF") == DONE
        simulator.faults["busy_stuck"] = True
        assert await client.ask("aF") == BUSY
        simulator.faults.clear()
        simulator.faults["power_cycle"] = True
        with pytest.raises(TimeoutError):
            await client.ask("aF")
        await client.ask("1a")
        assert await client.ask("aF") == WRONG


async def test_physics_go_on_by_hand(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, _):
        await client.ask("aIM48000S10R")
        simulator.step(20)
        assert await client.ask("aF") == DONE
