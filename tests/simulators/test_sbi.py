"""The simulated Sartorius balance, asked with the bytes of SBI, by a plain client and by a stranger's library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulators._kit.simulator import Bench
from simulators._kit.world import Part, World
from simulators.sbi import SIMULATOR, SbiSimulator
from tests.simulators.text import Text

Stand = tuple[SbiSimulator, Text, World]
TCP = "tcp://127.0.0.1:0"
VIAL = Part(id="vial:1", name="vial")


@contextlib.asynccontextmanager
async def balance(
    address: str = TCP, directory: Path = Path(), settings: Any = None, **options: Any
) -> AsyncIterator[Stand]:
    world = World(3)
    said = {"address": address, **(settings or {})}
    simulator = SIMULATOR(Bench("balance", world, said, {"repeatability": 0.0, **options}, directory=directory))
    found = await simulator.start()
    try:
        with await Text.open(found["address"]) as client:
            yield simulator, client, world
    finally:
        await simulator.stop()


@pytest.mark.parametrize("address", [TCP, "ports/balance", "serial://ports/balance?baudrate=1200&bytesize=7"])
@pytest.mark.parametrize("characters", [16, 22])
async def test_a_line_has_its_length_and_no_unit_while_it_moves(address: str, characters: int, tmp_path: Path) -> None:
    async with balance(address, tmp_path, characters=characters) as (simulator, client, world):
        simulator.pan._rng.gauss = lambda *_: 0.0  # type: ignore[method-assign]
        code = "N     " if characters == 22 else ""
        assert await client.ask(b"\x1bP\r\n") == f"{code}+   0.0000 g  \r".encode()
        world.put("balance/pan", VIAL)
        await asyncio.sleep(0.3)
        moving = await client.ask(b"\x1bP\r\n")
        assert len(moving) == characters - 1
        assert moving.endswith(b"    \r")
        await asyncio.sleep(5)
        still = await client.ask(b"\x1bP\r\n")
        assert still.endswith(b" g  \r")
        assert float(still[-13:-5]) == pytest.approx(13.1, rel=0.02)


async def test_a_command_needs_no_end_on_a_serial_line_and_may_come_in_pieces(tmp_path: Path) -> None:
    async with balance("port", tmp_path, settings={"serial_number": "32704567"}) as (_, client, _):
        assert (await client.ask(b"\x1bx2_")).strip() == b"32704567"
        client.send(b"\x1b")
        await asyncio.sleep(0.1)
        assert (await client.ask(b"P"))[:1] == b"N"


async def test_tare_and_zero_are_never_answered() -> None:
    async with balance() as (_, client, world):
        world.put("balance/pan", VIAL)
        client.send(b"\x1bT\r\n")
        assert await client.silence(10)
        assert abs(float((await client.ask(b"\x1bP\r\n"))[6:16].replace(b" ", b""))) < 3e-4
        client.send(b"\x1bV\r\n")  # too much for a zero point: the tare stays
        await asyncio.sleep(5)
        world.take("balance/pan")
        await asyncio.sleep(10)
        assert float((await client.ask(b"\x1bP\r\n"))[6:16].replace(b" ", b"")) == pytest.approx(-13.1, rel=0.02)


@pytest.mark.parametrize(
    ("faults", "line"),
    [
        ({"overload": True}, b"Stat     High        \r"),
        ({"underload": True}, b"Stat     Low         \r"),
        ({"busy": True}, b"Stat     Cal         \r"),
        ({"standby": True}, b"Stat     Off         \r"),
        ({"error": 54}, b"Stat     Err 54      \r"),
    ],
)
async def test_what_stands_there_instead_of_a_weight(faults: dict[str, Any], line: bytes) -> None:
    async with balance(faults=faults) as (_, client, _):
        assert await client.ask(b"\x1bP\r\n") == line[:-1].ljust(20)[:20] + b"\r"


async def test_an_old_balance_does_not_tell_and_an_unknown_command_is_not_answered() -> None:
    async with balance(tells=False) as (_, client, _):
        client.send(b"\x1bx1_\r\n")
        client.send(b"hello\r\n")
        assert await client.silence(5)


async def test_the_print_key_sends_what_nobody_asked_for() -> None:
    async with balance() as (simulator, client, _):
        await client.ask(b"\x1bP\r\n")
        simulator.press_print()
        assert (await client.line())[:1] == b"N"


def test_a_length_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="16 or 22, not 20"):
        SIMULATOR(Bench("balance", World(), options={"characters": 20}))


async def test_a_strangers_library_weighs_and_tares() -> None:
    sartorius = pytest.importorskip("sartorius", reason="sartorius is not installed: pip install sartorius")
    async with balance() as (simulator, _, world):
        port = next(iter(simulator._tcp._server.sockets)).getsockname()[1]  # type: ignore[union-attr]
        scale = sartorius.Scale(f"127.0.0.1:{port}")
        world.put("balance/pan", VIAL)
        await asyncio.sleep(0.3)
        moving = await scale.get()
        assert moving["stable"] is False
        await asyncio.sleep(5)
        still = await scale.get()
        assert (still["stable"], still["units"], still["measurement"]) == (True, "g", "net")
        assert still["mass"] == pytest.approx(13.1, rel=0.02)
        assert (await scale.get_info())["model"] == "ENTRIS224-1S"
        await scale.zero()  # waits for an answer that never comes
        await asyncio.sleep(5)
        assert abs((await scale.get())["mass"]) < 3e-4
        simulator.faults["standby"] = True
        assert await scale.get() == {"on": False}
        scale.hw.close()
