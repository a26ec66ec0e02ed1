"""The simulated balance, asked with the bytes of MT-SICS over a pty and a socket, by a client without any library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part, Well, World
from simulators.mt_sics import SIMULATOR, MtSicsSimulator
from tests.simulators.text import Text

Stand = tuple[MtSicsSimulator, Text, World]


@contextlib.asynccontextmanager
async def balance(
    address: str = "tcp://127.0.0.1:0", directory: Path = Path(), world: World | None = None, **options: Any
) -> AsyncIterator[Stand]:
    world = world or World(3)
    settings = {"address": address, **options.pop("settings", {})}
    exact = {"repeatability": 0.0, **options}
    simulator = SIMULATOR(Bench("balance", world, settings, exact, directory=directory))
    found = await simulator.start()
    try:
        with await Text.open(found["address"]) as client:
            yield simulator, client, world
    finally:
        await simulator.stop()


def grams(line: bytes) -> float:
    return float(line[4:14])


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/balance", "serial://ports/balance?baudrate=9600"])
async def test_it_says_who_it_is_on_every_wire(address: str, tmp_path: Path) -> None:
    async with balance(address, tmp_path, settings={"serial_number": "B021002593"}) as (_, client, _):
        assert await client.ask(b"@\r\n") == b'I4 A "B021002593"\r'
        assert await client.ask(b"I4\r\n") == b'I4 A "B021002593"\r'
        assert (await client.ask(b"I2\r\n")).startswith(b'I2 A "MS204TS Standard 220.0000 g"')
        assert (await client.ask(b"I3\r\n")).startswith(b'I3 A "')


async def test_a_weight_has_ten_characters_and_its_unit() -> None:
    async with balance() as (_, client, world):
        world.put("balance/pan", Part(id="vial:1", name="vial"))
        line = await client.ask(b"S\r\n")
        assert len(line) == len(b"S S     100.00 g\r")
        assert line[:4] == b"S S "
        assert line[14:] == b" g\r"
        assert grams(line) == pytest.approx(13.1, rel=0.02)


@pytest.mark.parametrize(("unit", "text"), [("mg", b"S S    12000.0 mg\r"), ("kg", b"S S  0.0120000 kg\r")])
async def test_its_unit_may_be_another(unit: str, text: bytes) -> None:
    async with balance(unit=unit) as (simulator, client, world):
        world.pour("balance/pan", {"LP57": 10_000.0}, 0.0)
        simulator.step(10)
        simulator.pan._rng.gauss = lambda *_: 0.0  # type: ignore[method-assign]
        assert await client.ask(b"S\r\n") == text


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"X", b"ES\r"),
        (b"s", b"ES\r"),
        (b"", b"ES\r"),
        (b"S 5", b"S L\r"),
        (b"T x", b"T L\r"),
        (b"Z", b"Z A\r"),
        (b"SI", b"S S     0.0000 g\r"),
    ],
)
async def test_orders_and_what_is_none(command: bytes, answer: bytes) -> None:
    async with balance() as (simulator, client, _):
        simulator.pan._rng.gauss = lambda *_: 0.0  # type: ignore[method-assign]
        assert await client.ask(command + b"\r\n") == answer


# ── what stands on it ────────────────────────────────────────────────────────────────────────────────────────────
async def test_it_weighs_cells_parts_and_liquids_on_its_pan_and_nothing_beside_it() -> None:
    world = World(3)
    world.furnish(
        [{"place": "ot2/6", "labware": "vials_8x20ml", "contents": {"A1": {"material": "water", "volume": "2 mL"}}}]
    )
    async with balance(world=world, settings={"pan": "ot2/6"}) as (_, client, _):
        start = grams(await client.ask(b"S\r\n"))
        assert start == pytest.approx(1.996, abs=3e-4)
        world.pour("ot2/6/B1", {"LP57": 100.0}, 0.0)
        world.pour("ot2/6/C1", {"nobody knows": 100.0}, 0.0)
        world.pour("ot2/60/A1", {"LP57": 100.0}, 0.0)
        world.put("balance/pan", Cell(id="c1"))
        assert grams(await client.ask(b"S\r\n")) - start == pytest.approx(0.120 + 0.100, abs=3e-4)
        assert world.draw("ot2/6/A1", 500.0)
        assert grams(await client.ask(b"S\r\n")) - start == pytest.approx(0.220 - 0.499, abs=3e-4)


async def test_a_cell_weighs_its_parts_and_its_electrolyte() -> None:
    async with balance() as (_, client, world):
        world.put("balance/pan", Cell(id="c1"))
        dry = grams(await client.ask(b"S\r\n"))
        world.pour("balance/pan", {"LP57": 40.0}, 0.0)
        assert grams(await client.ask(b"S\r\n")) - dry == pytest.approx(0.048, abs=3e-4)
        world.take("balance/pan")
        assert grams(await client.ask(b"S\r\n")) == pytest.approx(0, abs=3e-4)


async def test_two_pieces_of_a_kind_are_not_quite_alike_and_one_is_always_the_same() -> None:
    weights = []
    for name in ("half:1", "half:2", "half:1"):
        async with balance() as (_, client, world):
            world.put("balance/pan", Cell(id=name))
            weights.append(grams(await client.ask(b"S\r\n")))
    assert abs(weights[0] - weights[1]) > 3e-4
    assert weights[0] == pytest.approx(weights[2], abs=3e-4)


# ── rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_new_load_swings_and_comes_to_rest() -> None:
    async with balance() as (_, client, world):
        began = clock.monotonic()
        world.put("balance/pan", Part(id="vial:1", name="vial"))
        await asyncio.sleep(0.3)
        moving = await client.ask(b"SI\r\n")
        assert moving[:4] == b"S D "
        still = await client.ask(b"S\r\n")
        assert 1 < clock.monotonic() - began < 5
        assert grams(still) - grams(moving) > 1
        assert (await client.ask(b"SI\r\n"))[:4] == b"S S "


async def test_a_load_of_long_ago_is_at_rest_though_nobody_has_looked() -> None:
    async with balance() as (_, client, world):
        world.pour("balance/pan/A1", {"water": 1000.0}, 0.0)
        await asyncio.sleep(600)
        line = await client.ask(b"SI\r\n")
        assert line[:4] == b"S S "
        assert grams(line) == pytest.approx(0.998, abs=3e-4)


async def test_physics_go_on_by_hand() -> None:
    async with balance() as (simulator, client, world):
        world.put("balance/pan", Part(id="vial:1", name="vial"))
        simulator.step(10)
        assert (await client.ask(b"SI\r\n"))[:4] == b"S S "


async def test_tare_and_zero_and_what_a_restart_keeps() -> None:
    world = World(3)
    world.put("balance/pan", Part(id="vial:1", name="vial"))
    async with balance(world=world) as (_, client, _):
        assert (await client.ask(b"T\r\n"))[:4] == b"T S "
        world.pour("balance/pan", {"water": 100.0}, 0.0)
        assert grams(await client.ask(b"S\r\n")) == pytest.approx(0.0998, abs=5e-4)
        assert await client.ask(b"Z\r\n") == b"Z +\r"  # too much for a zero point
        await client.ask(b"@\r\n")
        assert grams(await client.ask(b"S\r\n")) == pytest.approx(0.0998, abs=5e-4)
    async with balance(world=world) as (_, client, _):
        assert grams(await client.ask(b"S\r\n")) == pytest.approx(0.0998, abs=5e-4)


async def test_an_order_that_waits_is_cancelled_by_at_and_excludes_others() -> None:
    async with balance(faults={"unstable": True}) as (_, client, _):
        client.send(b"S\r\n")
        assert await client.silence(10)
        assert await client.ask(b"SI\r\n") == b"S I\r"
        assert (await client.ask(b"@\r\n"))[:4] == b"I4 A"
        assert await client.silence(60)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_in_a_draught_it_never_rests_and_gives_up_by_itself() -> None:
    async with balance(faults={"unstable": True}, timeout=30) as (_, client, _):
        began = clock.monotonic()
        assert await client.ask(b"S\r\n") == b"S I\r"
        assert clock.monotonic() - began == pytest.approx(30, abs=0.2)
        readings = {await client.ask(b"SI\r\n") for _ in range(5)}
        assert all(line[:4] == b"S D " for line in readings)
        assert len(readings) == 5


async def test_it_creeps_and_calls_itself_stable() -> None:
    async with balance(faults={"drift": 0.012}) as (_, client, _):
        await asyncio.sleep(3600)
        line = await client.ask(b"S\r\n")
        assert line[:4] == b"S S "
        assert grams(line) == pytest.approx(0.012, abs=3e-4)


@pytest.mark.parametrize(
    ("fault", "command", "answer"),
    [
        ("overload", b"S", b"S +\r"),
        ("overload", b"SI", b"S +\r"),
        ("overload", b"T", b"T +\r"),
        ("underload", b"S", b"S -\r"),
        ("busy", b"SI", b"S I\r"),
        ("busy", b"T", b"T I\r"),
        ("damaged", b"SI", b"ET\r"),
    ],
)
async def test_out_of_range_busy_and_damaged(fault: str, command: bytes, answer: bytes) -> None:
    async with balance(faults={fault: 1}) as (_, client, _):
        assert await client.ask(command + b"\r\n") == answer


async def test_too_much_on_the_pan_is_an_overload_of_its_own() -> None:
    async with balance(capacity=10.0) as (_, client, world):
        world.put("balance/pan", Part(id="vial:1", name="vial"))
        assert await client.ask(b"S\r\n") == b"S +\r"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ports/balance"])
async def test_silent_and_late_on_every_wire(address: str, tmp_path: Path) -> None:
    async with balance(address, tmp_path, faults={"silent": True}) as (simulator, client, _):
        client.send(b"SI\r\n")
        assert await client.silence(60)
        simulator.faults.clear()
        simulator.faults["delay"] = 2.5
        began = clock.monotonic()
        assert (await client.ask(b"SI\r\n"))[:4] == b"S S "
        assert clock.monotonic() - began == pytest.approx(2.5, abs=0.05)


async def test_the_print_key_sends_what_nobody_asked_for() -> None:
    async with balance() as (simulator, client, _):
        await client.ask(b"I4\r\n")
        simulator.press_print()
        assert (await client.line())[:4] == b"S S "


def test_a_unit_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'stone' is none of g, mg, kg"):
        SIMULATOR(Bench("balance", World(), options={"unit": "stone"}))


def test_wells_are_told_with_their_places() -> None:
    world = World()
    world.pour("v/A1", {"LP57": 5.0}, 0.0)
    assert list(world.wells()) == [("v/A1", Well(material="LP57", volume=5.0))]


async def test_what_stands_open_on_it_evaporates_and_a_part_does_not() -> None:
    async with balance(evaporation=36.0) as (_, client, world):
        world.pour("balance/pan/A1", {"DMC": 1000.0}, 0.0)
        world.put("balance/pan", Part(id="vial:1", name="vial"))
        await asyncio.sleep(60)
        before = grams(await client.ask(b"S\r\n"))
        await asyncio.sleep(3600)
        line = await client.ask(b"SI\r\n")
        assert line[:4] == b"S S "  # so slowly that it is at rest
        assert grams(line) - before == pytest.approx(-0.036, abs=3e-4)
        assert world.well("balance/pan/A1").volume == pytest.approx(1000 - 36.6 / 1.07, abs=0.5)  # type: ignore[union-attr]
        world.empty("balance/pan/A1")
        await asyncio.sleep(3600)
        assert grams(await client.ask(b"S\r\n")) == pytest.approx(13.1, rel=0.02)
