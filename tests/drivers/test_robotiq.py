"""The Robotiq driver against a gripper on a real pty whose registers a test sets, and worse."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.robotiq import DRIVER, Robotiq
from labd import clock
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from simulators._kit.modbus import crc
from tests.peers import Peer, Scripted

OPEN = (0x31, 0, 0, 3)


class Unit(Peer):
    """Unit 9: status, fault, echo and position one after another, the last one again and again; None is silence."""

    def __init__(self, *states: tuple[int, int, int, int] | None) -> None:
        super().__init__()
        self.states = list(states or (OPEN,))
        self.orders: list[tuple[int, ...]] = []
        self.deaf = False
        self.spoilt = False

    def hear(self, data: bytes) -> None:
        assert crc(data[:-2]) == data[-2:]
        if data[1] == 16:
            self.orders.append(struct.unpack(">3H", data[7:13]))
            if not self.deaf:
                self._answer(data[:6])
            return
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if now is not None:
            status, fault, asked, count = now
            self._answer(bytes([9, 4, 6, status, 0, fault, asked, count, 0]))

    def _answer(self, frame: bytes) -> None:
        frame += crc(frame)
        self.say((frame[:-1] + b"\0" if self.spoilt else frame).decode("latin-1"))


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[Robotiq]:
    driver = DRIVER(Setup("gripper", {"address": f"serial://{peer.port}", **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[Robotiq]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_a_grip() -> None:
    peer = Scripted("robotiq_grip.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        result = await driver.grip(Call("a1"), 0.05)
        state = await driver.read_state()
    assert about.model == "Robotiq 2f85"
    assert (result.gripped, result.width) == (True, 19.96)
    assert (state.gripped, state.moving, state.width, state.count) == (True, False, 19.96, 176)
    assert not peer.player.rest


async def test_connecting_writes_nothing() -> None:
    peer = Unit()
    async with connected(peer):
        assert peer.orders == []


async def test_silence_and_a_missing_port_are_unreachable() -> None:
    async with driver_of(Unit(None)) as driver:
        with pytest.raises(Unreachable, match="no gripper answers as unit 9; has it 24 V"):
            await driver.connect()
    with pytest.raises(Unreachable):
        await DRIVER(Setup("gripper", {"address": "serial:///dev/serial/by-id/none"})).connect()


async def test_a_damaged_answer_is_none() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        peer.spoilt = True
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        with pytest.raises(Unreachable, match="before the order: nothing moved"):
            await driver.grip(Call("a1"))
        peer.spoilt = False
        assert (await driver.read_state()).count == 3


async def test_an_order_is_written_once_though_its_answer_is_lost() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        peer.deaf = True
        with pytest.raises(OutcomeUnknown):
            await driver.grip(Call("a1"))
    assert peer.orders == [(0x0900, 255, 0xFF00)]


@pytest.mark.parametrize(("before", "target"), [(0, 255), (254, 255), (255, 254)])
async def test_a_grip_asks_for_another_position_than_stood_there(before: int, target: int) -> None:
    now = (0xF9, 0, before, 230)
    peer = Unit(now, now, (0xF9, 0, target, 230))
    async with connected(peer) as driver:
        assert (await driver.grip(Call("a1"))).gripped is False
    assert peer.orders[0][1] == target


@pytest.mark.parametrize(
    ("settings", "force", "word"),
    [
        ({}, None, 0xFF00),
        ({}, 0.235, 0xFFFF),
        ({"force": "0.1275 kN"}, None, 0xFF80),
        ({"speed": "85 mm/s"}, None, 0x8000),
    ],
)
async def test_speed_and_force_stand_in_one_register(settings: dict[str, Any], force: float | None, word: int) -> None:
    peer = Unit(OPEN, OPEN, (0xF9, 0, 255, 230))
    async with connected(peer, **settings) as driver:
        await driver.grip(Call("a1"), force)
    assert peer.orders[0][2] == word


async def test_an_old_status_is_not_taken_for_the_end_of_a_move() -> None:
    peer = Unit(OPEN, OPEN, (0xF9, 0, 0, 3), (0x39, 0, 255, 90), (0xB9, 0, 255, 176))
    async with connected(peer) as driver:
        assert (await driver.grip(Call("a1"))).gripped is True
    assert peer.states == [(0xB9, 0, 255, 176)]


@pytest.mark.parametrize(
    ("fault", "words"), [(8, "too hot"), (10, "below 20 V"), (14, "current"), (6, "see its manual")]
)
async def test_a_fault_is_told_in_words(fault: int, words: str) -> None:
    async with connected(Unit(OPEN, OPEN, (0x39, fault, 255, 90))) as driver:
        with pytest.raises(Fault, match=words):
            await driver.grip(Call("a1"))


async def test_that_nobody_had_asked_it_for_a_second_is_no_fault() -> None:
    async with connected(Unit(*3 * [(0x31, 9, 0, 3)], (0x39, 9, 255, 90), (0xB9, 0, 255, 176))) as driver:
        assert (await driver.read_state()).fault is None
        assert (await driver.grip(Call("a1"))).gripped is True


async def test_an_activation_that_does_not_end_is_a_fault() -> None:
    peer = Unit((0, 0, 0, 3))
    async with connected(peer) as driver:
        began = clock.monotonic()
        with pytest.raises(Fault, match="did not become active within 12 s"):
            await driver.activate(Call("a1"))
        assert clock.monotonic() - began < 15
    assert [order[0] for order in peer.orders] == [0, 0x0100]
    async with connected(Unit((0, 7, 0, 3))) as driver:
        with pytest.raises(Rejected, match="not activated"):
            await driver.grip(Call("a1"))


async def test_made_safe_only_what_moves_is_stopped_and_a_cut_line_is_told_soon() -> None:
    peer = Unit(OPEN, (0x39, 0, 255, 90), (0xB9, 0, 255, 176))
    async with connected(peer) as driver:
        await driver.safe_state()
        await driver.safe_state()
        assert peer.orders == [(0x0100, 255, 0xFF00)]
        peer.states = [None]
        began = clock.monotonic()
        for _ in range(2):
            with pytest.raises((OutcomeUnknown, Unreachable)):
                await driver.safe_state()
        assert clock.monotonic() - began < 5


async def test_a_poll_does_not_disturb_a_move() -> None:
    moving = (0x39, 0, 255, 90)
    peer = Unit(OPEN, OPEN, moving, moving, moving, (0xB9, 0, 255, 176))
    async with connected(peer) as driver:
        async with asyncio.TaskGroup() as group:
            gripping = group.create_task(driver.grip(Call("a1")))
            await asyncio.sleep(0.15)
            assert (await driver.read_state()).moving is True
        assert gripping.result().gripped


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_its_line_is_115200_unless_the_address_says_otherwise_and_a_gateway_is_shared() -> None:
    one = DRIVER(Setup("gripper", {"address": "serial:///dev/ttyUSB0?parity=E"}))
    assert (one.settings.at.baudrate, one.settings.at.parity) == (115200, "E")
    assert DRIVER(Setup("g", {"address": "serial:///dev/ttyUSB0?baudrate=19200"})).settings.at.baudrate == 19200
    assert one.own_link() == "/dev/ttyUSB0"
    gateway = DRIVER(Setup("gripper", {"address": "modbus+rtu://10.0.0.7:4001", "device_id": 3}))
    assert gateway.own_link() == "10.0.0.7:4001 unit 3"


@pytest.mark.parametrize(
    "settings", [{"address": "gripper"}, {"model": "3f"}, {"force": "1 kN"}, {"device_id": 0}, {"closed_count": 12}]
)
def test_settings_name_what_is_wrong(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DRIVER(Setup("gripper", {"address": "serial:///dev/ttyUSB0", **settings}))
