"""The Microlab 600 driver against an instrument on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.ml600 import DRIVER, Ml600
from labd import clock
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from tests.peers import Peer, Scripted, Table

YES, NO, ERROR, NAK = "\x06Y", "\x06N", "\x06*", "\x15"


def pump(**told: object) -> Table:
    known = {"F": YES, "UR": "\x06NV01.02.a", "YQPR": "\x069600", "LQPR": "\x062", "KR": "\x06", "VR": "\x06"}
    return Table("\r", {"1a": "1b", **{f"a{one}": answer for one, answer in (known | told).items()}}, out="\r")


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[Ml600]:
    driver = DRIVER(Setup("pump", {"address": peer.port, "syringe": "1 mL", **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[Ml600]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_initialising_and_giving() -> None:
    peer = Scripted("ml600_dose.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        await driver.initialise(Call("a1"))
        result = await driver.dispense(Call("a2"), 200.0)
        state: Any = await driver.read_state()
    assert (about.model, about.firmware) == ("Microlab 600", "NV01.02.a")
    assert result.volume == 200.0
    assert (state.position, state.valve, state.busy, state.error) == (4.0, "out", False, False)
    assert not peer.player.rest


async def test_connecting_gives_the_address_twice_and_moves_nothing() -> None:
    peer = pump()
    peer.say("\x06garbage")
    async with connected(peer):
        assert peer.heard == ["1a", "1a", "aUR"]


@pytest.mark.parametrize("told", [None, "S S 100.00 g"])
async def test_silence_and_another_device_say_what_to_check(told: str | None) -> None:
    peer = pump()
    peer.answers["1a"] = told
    async with driver_of(peer) as driver:
        with pytest.raises(Unreachable, match="7 bits and odd parity"):
            await driver.connect()
    with pytest.raises(Unreachable, match="plugged in"):
        await DRIVER(Setup("pump", {"address": "/dev/serial/by-id/none", "syringe": "1 mL"})).connect()


async def test_an_order_is_sent_once_though_its_answer_is_lost() -> None:
    peer = pump(OM4800S10R=None)
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await driver.dispense(Call("a1"), 100.0)
    assert peer.heard.count("aOM4800S10R") == 1


async def test_a_refusal_is_told_and_in_the_midst_of_a_dose_it_is_none_of_the_dose() -> None:
    async with connected(pump(OM4800S10R=NAK)) as driver:
        with pytest.raises(Rejected, match="does not take OM4800S10R"):
            await driver.dispense(Call("a1"), 100.0)
    answers = {"YQPR": ["\x069600", "\x0619200"], "IM19200S10R": "\x06", "OM0S10R": NAK}
    async with connected(pump(**answers)) as driver:
        with pytest.raises(Fault, match="in the midst of the order"):
            await driver.dispense(Call("a1"), 400.0)


async def test_an_error_before_an_order_is_a_fault_with_its_mend_and_a_signal() -> None:
    async with connected(pump(F=ERROR)) as driver:
        with pytest.raises(Fault, match="give it `prime` or `initialise`"):
            await driver.aspirate(Call("a1"), 100.0)
        state: Any = await driver.read_state()
        assert (state.error, state.position) == (True, None)


@pytest.mark.parametrize("line", ["9600", "\x069x00", "\x06", "~"])
async def test_what_is_no_answer_is_unknown_in_a_poll_and_costs_nothing_before_an_order(line: str) -> None:
    peer = pump(YQPR=line)
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        with pytest.raises(Unreachable, match="nothing was moved"):
            await driver.dispense(Call("a1"), 100.0)
        assert not any("M" in line for line in peer.heard)


async def test_a_late_answer_is_nobodys() -> None:
    peer = pump(F=[(1.3, ERROR), YES])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer within 1 s"):
            await driver.read_state()
        state: Any = await driver.read_state()
        assert state.error is False


async def test_a_line_that_is_cut_is_told_soon_and_again() -> None:
    peer = pump(F=[YES, NO, (0.9, NO)], OM4800S10R="\x06")
    async with connected(peer) as driver:
        peer._loop.call_later(0.75, peer.unplug)
        with pytest.raises(OutcomeUnknown):
            await driver.dispense(Call("a1"), 100.0)
        began = clock.monotonic()
        for _ in range(2):
            with pytest.raises(Unreachable):
                await driver.safe_state()
        assert clock.monotonic() - began < 10


async def test_a_poll_does_not_disturb_a_stroke() -> None:
    peer = pump(F=[YES, NO, NO, NO, YES], OM4800S10R="\x06", YQPR=["\x069600", "\x067200", "\x064800"])
    async with connected(peer) as driver:
        async with asyncio.TaskGroup() as group:
            giving = group.create_task(driver.dispense(Call("a1"), 100.0))
            await asyncio.sleep(0.3)
            state: Any = await driver.read_state()
        assert (state.busy, state.position) == (True, 150.0)
        assert giving.result().volume == 100.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "pump"}, "is no address"),
        ({"rate": "1 mL/s"}, r"with this syringe the pump does 0\.271 to 500 µL/s"),
        ({"right": "100 µL", "rate": "100 µL/s"}, r"the pump does 0\.0271 to 50 µL/s"),
        ({"syringe": "1 L"}, "above the greatest"),
    ],
)
def test_settings_name_what_is_wrong(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DRIVER(Setup("pump", {"address": "/dev/ttyUSB0", "syringe": "1 mL", **settings}))


def test_two_syringes_are_two_units_with_a_place_each() -> None:
    one = DRIVER(Setup("pump", {"address": "/dev/ttyUSB0", "syringe": "1 mL"}))
    assert (one.units, one.place_of("")) == (("",), "pump/outlet")
    two = DRIVER(Setup("pump", {"address": "/dev/ttyUSB0", "syringe": "1 mL", "right": "250 µL"}))
    assert (two.units, two.place_of("right")) == (("left", "right"), "pump/right")
    assert two.syringe("right").capacity == 250
