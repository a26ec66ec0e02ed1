"""The simulated Cavro pump, asked with the bytes of its DT protocol by a client without any library."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.cavro import SIMULATOR, CavroSimulator
from tests.simulators.text import Text

Stand = tuple[CavroSimulator, Text, World]
TCP = "tcp://127.0.0.1:0"


@contextlib.asynccontextmanager
async def pump(
    address: str = TCP, directory: Path = Path(), settings: Any = None, **options: Any
) -> AsyncIterator[Stand]:
    world = World(3)
    said = {"address": address, "syringe": "1 mL", **(settings or {})}
    simulator = SIMULATOR(Bench("pump", world, said, {"liquid": "water", **options}, directory=directory))
    found = await simulator.start()
    try:
        with await Text.open(found["address"]) as client:
            yield simulator, client, world
    finally:
        await simulator.stop()


async def ready(client: Text) -> float:
    """Seconds until `Q` says ready."""
    began = clock.monotonic()
    while (await client.ask(b"/1Q\r"))[2] & 0x20 == 0:
        await asyncio.sleep(0.01)
    return clock.monotonic() - began


@pytest.mark.parametrize("address", [TCP, "ports/pump", "serial://ports/pump?baudrate=9600"])
async def test_it_is_initialised_as_the_manual_says_on_every_wire(address: str, tmp_path: Path) -> None:
    async with pump(address, tmp_path, initialised=False) as (_, client, _):
        assert await client.ask(b"/1Q\r") == b"/0g\x03\r"  # ready, not initialised
        assert await client.ask(b"/1A100R\r") == b"/0G\x03\r"
        assert await client.ask(b"/1ZR\r") == b"/0@\x03\r"
        assert await client.ask(b"/1Q\r") == b"/0@\x03\r"
        await ready(client)
        assert await client.ask(b"/1Q\r") == b"/0`\x03\r"
        assert await client.ask(b"/1?\r") == b"/0`0\x03\r"
        assert await client.ask(b"/1?6\r") == b"/0`o\x03\r"


async def test_only_q_tells_whether_it_is_busy() -> None:
    async with pump() as (_, client, _):
        await client.ask(b"/1IA3000R\r")
        assert (await client.ask(b"/1Q\r"))[2:3] == b"@"
        assert (await client.ask(b"/1?\r"))[2:3] == b"`"
        assert await client.ask(b"/1A0R\r") == b"/0O\x03\r"  # busy: nothing is taken


async def test_a_full_stroke_takes_as_long_as_its_speed_and_ramps_say() -> None:
    async with pump() as (simulator, client, world):
        await client.ask(b"/1V1400IA3000R\r")
        assert await ready(client) == pytest.approx(0.25 + 6000 / 1400, abs=0.05)
        assert simulator.position == 3000
        assert simulator.barrel.contents == {"water": pytest.approx(1000)}
        assert world.well("pump/inlet").volume == pytest.approx(49_000)  # type: ignore[union-attr]
        await client.ask(b"/1V600OA0R\r")
        assert await ready(client) == pytest.approx(0.25 + 6000 / 600, abs=0.05)
        assert world.well("pump/outlet").volume == pytest.approx(1000)  # type: ignore[union-attr]


async def test_a_full_stroke_of_a_long_pump_has_more_steps_and_as_many_pulses() -> None:
    async with pump(settings={"model": "xlp6000", "syringe": "5 mL"}) as (simulator, client, _):
        await client.ask(b"/1V1400IA6000R\r")
        assert await ready(client) == pytest.approx(0.25 + 6000 / 1400, abs=0.05)
        assert simulator.barrel.contents == {"water": pytest.approx(5000)}
        assert await client.ask(b"/1?28\r") == b"/0`0\x03\r"


async def test_relative_moves_speed_codes_and_settings() -> None:
    async with pump() as (simulator, client, _):
        await client.ask(b"/1S11IP600D100R\r")
        await ready(client)
        assert simulator.position == 500
        assert await client.ask(b"/1?2\r") == b"/0`1400\x03\r"
        await client.ask(b"/1v500c600K20R\r")
        assert [await client.ask(one) for one in (b"/1?1\r", b"/1?3\r", b"/1?12\r")] == [
            b"/0`500\x03\r", b"/0`600\x03\r", b"/0`20\x03\r"
        ]  # fmt: skip


async def test_a_string_waits_for_its_r() -> None:
    async with pump() as (simulator, client, _):
        await client.ask(b"/1IA500\r")
        assert await client.ask(b"/1F\r") == b"/0`1\x03\r"
        await asyncio.sleep(10)
        assert simulator.position == 0
        await client.ask(b"/1R\r")
        await ready(client)
        assert simulator.position == 500


@pytest.mark.parametrize(
    ("order", "status"), [(b"E5R", b"B"), (b"A3001R", b"C"), (b"V4R", b"C"), (b"I3R", b"C"), (b"A10;R", b"B")]
)
async def test_what_it_does_not_know_or_take(order: bytes, status: bytes) -> None:
    async with pump() as (_, client, _):
        assert await client.ask(b"/1" + order + b"\r") == b"/0" + status + b"\x03\r"
        assert await client.ask(b"/1Q\r") == b"/0`\x03\r"


async def test_in_bypass_the_plunger_may_not_move() -> None:
    async with pump() as (simulator, client, _):
        await client.ask(b"/1BR\r")
        await ready(client)
        assert await client.ask(b"/1A100R\r") == b"/0K\x03\r"
        assert simulator.position == 0


async def test_t_stops_the_plunger_where_it_is_and_a_valve_not() -> None:
    async with pump() as (simulator, client, world):
        await client.ask(b"/1IA3000R\r")
        await asyncio.sleep(0.1)
        await client.ask(b"/1T\r")
        assert (await client.ask(b"/1Q\r"))[2] & 0x20 == 0
        await ready(client)
        assert (simulator.valve, simulator.position) == ("i", 0)
        await client.ask(b"/1A3000R\r")
        await asyncio.sleep(2)
        await client.ask(b"/1T\r")
        assert (await client.ask(b"/1Q\r"))[2:3] == b"`"
        assert 1000 < simulator.position < 2000
        drawn = simulator.position / 3
        assert world.well("pump/inlet").volume == pytest.approx(50_000 - drawn, abs=0.5)  # type: ignore[union-attr]


async def test_a_bottle_that_runs_dry_gives_air() -> None:
    async with pump() as (simulator, client, world):
        world.draw("pump/inlet", 49_600)
        await client.ask(b"/1IA3000OA0R\r")
        await ready(client)
        assert world.well("pump/outlet").volume == pytest.approx(400, abs=1)  # type: ignore[union-attr]
        assert simulator.barrel.contents == {}


async def test_play_costs_volume_where_the_backlash_is_set_to_none() -> None:
    async with pump() as (_, client, world):
        await client.ask(b"/1K0IA3000OA0R\r")
        await ready(client)
        assert world.well("pump/outlet").volume == pytest.approx(998, abs=0.1)  # type: ignore[union-attr]


async def test_a_distribution_valve_has_ports_with_places() -> None:
    settings = {"ports": 6, "inlet": 1, "outlet": 4, "waste": 6, "gives_to": "ot2/6/A1"}
    async with pump(settings=settings, initialised=False, places={"3": "rack/B2"}) as (simulator, client, world):
        world.fill("rack/B2", {"EC": 5000.0})
        await client.ask(b"/1Z0,1,6R\r")
        await ready(client)
        assert await client.ask(b"/1?6\r") == b"/0`6\x03\r"
        await client.ask(b"/1I3A600O4A0R\r")
        await ready(client)
        assert world.well("ot2/6/A1").contents == {"EC": pytest.approx(200)}  # type: ignore[union-attr]
        assert [simulator.place(port) for port in ("1", "6", "5")] == ["pump/inlet", "pump/waste", "pump/port5"]


# ── several on a line ────────────────────────────────────────────────────────────────────────────────────────────
async def test_two_pumps_share_a_line_and_each_hears_its_number(tmp_path: Path) -> None:
    world = World(3)
    pumps = [
        SIMULATOR(Bench(name, world, {"address": "bus", "pump": number}, {"initialised": False}, directory=tmp_path))
        for name, number in (("a", "1"), ("b", "A"))
    ]
    found = [(await one.start())["address"] for one in pumps]
    assert found[0] == found[1]
    with await Text.open(found[0]) as client:
        assert await client.ask(b"/1Q\r") == b"/0g\x03\r"
        await client.ask(b"/:ZR\r")
        await asyncio.sleep(5)
        assert await client.ask(b"/:Q\r") == b"/0`\x03\r"
        assert await client.ask(b"/1Q\r") == b"/0g\x03\r"
        client.send(b"/2Q\r")
        assert await client.silence(5)
        pumps[0].faults["silent"] = True
        client.send(b"/1Q\r")
        assert await client.silence(5)
        assert await client.ask(b"/:Q\r") == b"/0`\x03\r"
        await pumps[0].stop()
        assert await client.ask(b"/:Q\r") == b"/0`\x03\r"
    await pumps[1].stop()
    assert not (tmp_path / "bus").is_symlink()


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("fault", "status"), [("overload", b"i"), ("valve_jam", b"j")])
async def test_what_blocks_is_told_once_and_met_again_until_it_is_initialised(fault: str, status: bytes) -> None:
    async with pump(faults={fault: 1}) as (simulator, client, _):
        await client.ask(b"/1IA3000OA0R\r")
        await asyncio.sleep(30)
        assert (await client.ask(b"/1Q\r"))[2:3] == status
        assert simulator.position == (1500 if fault == "overload" else 0)
        assert (await client.ask(b"/1Q\r"))[2:3] == b"`"
        await client.ask(b"/1A0R\r")
        assert (await client.ask(b"/1Q\r"))[2:3] == status
        await client.ask(b"/1ZR\r")
        await ready(client)
        assert (await client.ask(b"/1Q\r"))[2:3] == b"`"


async def test_an_answer_may_be_lost_after_the_order_took_effect() -> None:
    async with pump(faults={"reply_lost": 1}) as (simulator, client, _):
        client.send(b"/1IA300R\r")
        assert await client.silence(3)
        assert simulator.position == 300
        assert await client.ask(b"/1Q\r") == b"/0`\x03\r"


async def test_busy_for_ever_silent_late_garbled_and_without_power() -> None:
    async with pump(faults={"busy_stuck": True}) as (simulator, client, _):
        assert await client.ask(b"/1Q\r") == b"/0@\x03\r"
        simulator.faults.clear()
        simulator.faults["garble"] = 2
        assert await client.ask(b"/1Q\r") == b"/0~\x03\r"
        simulator.faults["delay"] = 2.5
        began = clock.monotonic()
        assert await client.ask(b"/1Q\r") == b"/0`\x03\r"
        assert clock.monotonic() - began == pytest.approx(2.5, abs=0.05)
        del simulator.faults["delay"]
        simulator.faults["power_cycle"] = True
        assert await client.ask(b"/1Q\r") == b"/0g\x03\r"


async def test_physics_go_on_by_hand() -> None:
    async with pump() as (simulator, client, _):
        await client.ask(b"/1IA3000R\r")
        simulator.step(10)
        assert (await client.ask(b"/1Q\r"))[2:3] == b"`"


# ── strangers ────────────────────────────────────────────────────────────────────────────────────────────────────
class Wire:
    """What labmcp's driver speaks through: one text out, one line in; blocking, in a thread of its own."""

    def __init__(self, port: str) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)

    def query(self, text: str, timeout: float | None = None) -> str:
        del timeout
        os.write(self._fd, f"{text}\r".encode())
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(self._fd, 1)
        return said.decode("latin-1").rstrip("\x03\r\n")

    def close(self) -> None:
        os.close(self._fd)


class TestStrangers:
    @pytest.fixture
    def anyio_backend(self, real_time: Any) -> Any:
        return real_time

    async def test_a_driver_that_others_wrote_from_the_manual_works_it(self, tmp_path: Path) -> None:
        strangers = pytest.importorskip("labmcp_cavro.driver", reason="pip install labmcp-cavro")
        simulator = SIMULATOR(Bench("pump", World(3), {"address": "port"}, {"initialised": False}, directory=tmp_path))
        wire = Wire((await simulator.start())["address"])
        theirs = strangers.CavroPump(wire, model="xcalibur", syringe_ul=1000.0)

        def work() -> Any:
            theirs.initialize()
            theirs.move_valve("I")
            drawn = theirs.move_plunger("P", 600, 5800, 20.0)
            valve = theirs.move_valve("O")
            given = theirs.move_plunger("D", 300, 5800, 20.0)
            theirs.close()
            return drawn.position_steps, valve, given.position_steps

        assert await asyncio.to_thread(work) == (600, "o", 300)
        assert simulator.world.well("pump/outlet").volume == pytest.approx(100, abs=0.5)  # type: ignore[union-attr]
        await simulator.stop()
