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

DONE, WAITS, BUSY = b"\x06Y\r", b"\x06N\r", b"\x06*\r"
WELL, NEW, OVERLOADED = b"\x06@@PP\r", b"\x06AAPP\r", b"\x06B@PP\r"  # one syringe: no right one


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
            await client.ask("aU")
        assert await client.ask("1a") == b"1b\r"
        assert await client.ask("1a") == b"1a\r"  # it has its address, and hands on that it is not taken
        assert await client.ask("aU") == await client.ask("aUR") == b"\x06NV01.02.A\r"


async def test_a_stroke_takes_the_seconds_that_were_said_and_moves_its_volume(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, world):
        assert await client.ask("aIM48000S20R") == b"\x06\r"
        assert await client.ask("aF") == BUSY
        assert await client.ready() == pytest.approx(20.4, abs=0.1)
        assert (await client.ask("aYQP"), await client.ask("aLQP")) == (b"\x0648000\r", b"\x061\r")
        assert world.well("pump/inlet").volume == pytest.approx(49_000)  # type: ignore[union-attr]
        await client.ask("aOD24000S4R")
        assert await client.ready() == pytest.approx(2.4, abs=0.1)
        assert world.well("pump/outlet").volume == pytest.approx(500)  # type: ignore[union-attr]
        assert await client.ask("aLQP") == b"\x063\r"
        await client.ask("aXR")
        await client.ready()
        assert world.well("pump/outlet").volume == pytest.approx(1000)  # type: ignore[union-attr]
        assert (simulator.sides[""].position, simulator.sides[""].valve) == (0, "I")


async def test_two_syringes_move_by_themselves(tmp_path: Path) -> None:
    async with pump(tmp_path, right="100 µL") as (_, client, world):
        assert await client.ask("aBIM48000S10R") == b"\x06\r"
        assert await client.ask("aCIM24000S4R") == b"\x06\r"
        assert await client.ask("aCIM48000S4R") == b"\x06\r"  # a side that is busy passes it over
        await asyncio.sleep(3)
        assert await client.ask("aCYQP") == b"\x0624000\r"
        assert await client.ask("aF") == BUSY
        await client.ready()
        assert world.well("pump/left-inlet").volume == pytest.approx(49_000)  # type: ignore[union-attr]
        assert world.well("pump/right-inlet").volume == pytest.approx(49_950)  # type: ignore[union-attr]


async def test_a_string_has_orders_for_both_sides_and_valves_before_and_after(tmp_path: Path) -> None:
    async with pump(tmp_path, right="100 µL") as (simulator, client, world):
        assert await client.ask("aBIP48000S10OCIP24000S25N4O") == b"\x06\r"
        assert await client.ask("aF") == WAITS
        assert await client.ask("aR") == b"\x06\r"
        assert await client.ready() == pytest.approx(12.5 + 0.8, abs=0.1)
        assert [side.valve for side in simulator.sides.values()] == ["O", "O"]
        assert (await client.ask("aBLQP"), await client.ask("aCLQP")) == (b"\x063\r", b"\x061\r")
        assert world.well("pump/right-inlet").volume == pytest.approx(49_950)  # type: ignore[union-attr]


async def test_halted_it_stands_where_it_is_until_it_is_resumed_or_cleared(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, world):
        await client.ask("aIM48000S10R")
        await asyncio.sleep(5)
        await client.ask("aK")
        assert await client.ask("aF") == WAITS
        at = simulator.sides[""].position
        assert 20_000 < at < 24_000
        assert world.well("pump/inlet").volume == pytest.approx(50_000 - at / 48)  # type: ignore[union-attr]
        await client.ask("a$")
        assert await client.ask("aF") == BUSY
        await client.ask("aK")
        await client.ask("aKR")  # R carries it on, as it carries out all that waits
        assert await client.ask("aF") == BUSY
        await client.ask("aK")
        await client.ask("aV")
        assert await client.ask("aF") == DONE
        assert simulator.sides[""].position < 24_500


@pytest.mark.parametrize("command", ["aM52801R", "aM0R", "aM100S1R", "aQQR", "aCM100R", "aMR", "aLQX"])
async def test_what_it_does_not_take(command: str, tmp_path: Path) -> None:
    async with pump(tmp_path) as (_, client, _):
        assert await client.ask(command) == b"\x15\r"


async def test_before_it_is_initialised_moves_are_acknowledged_and_not_made(tmp_path: Path) -> None:
    async with pump(tmp_path, initialised=False) as (_, client, _):
        assert await client.ask("aE2") == NEW
        assert await client.ask("aM4800R") == b"\x06\r"
        assert (await client.ask("aF"), await client.ask("aYQP")) == (DONE, b"\x060\r")
        await client.ask("aXR")
        await client.ready()
        assert await client.ask("aE2") == WELL


async def test_what_goes_wrong(tmp_path: Path) -> None:
    async with pump(tmp_path, faults={"overload": 1, "reply_lost": 1}) as (simulator, client, _):
        with pytest.raises(TimeoutError):
            await client.ask("aIM4800R")
        await client.ready()
        assert (await client.ask("aF"), await client.ask("aZ")) == (DONE, b"\x06Y\r")
        assert (await client.ask("aE2"), await client.ask("aE2")) == (OVERLOADED, WELL)
        await client.ask("aP48000R")
        await client.ready()
        await client.ask("aP48000R")  # it goes as far as the drive can, and no farther
        assert (await client.ask("aE2"), await client.ask("aF")) == (b"\x06D@PP\r", DONE)
        simulator.faults["busy_stuck"] = True
        assert (await client.ask("aF"), await client.ask("aZ")) == (BUSY, BUSY)
        simulator.faults.clear()
        simulator.faults["power_cycle"] = True
        with pytest.raises(TimeoutError):
            await client.ask("aF")
        assert await client.ask("1a") == b"1b\r"
        assert await client.ask("aE2") == NEW


async def test_physics_go_on_by_hand(tmp_path: Path) -> None:
    async with pump(tmp_path) as (simulator, client, _):
        await client.ask("aIM48000S10R")
        simulator.step(20)
        assert await client.ask("aF") == DONE
