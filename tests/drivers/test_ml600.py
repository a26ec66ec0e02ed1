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

YES, WAITS, BUSY, NAK = "\x06Y", "\x06N", "\x06*", "\x15"
WELL, NEW, OVERLOADED = "\x06@@PP", "\x06AAPP", "\x06B@PP"  # one syringe; there is no right one


def pump(**told: object) -> Table:
    known = {"F": YES, "U": "\x06NV01.02.A", "E2": WELL, "YQP": "\x069600", "K": "\x06", "V": "\x06"}
    known |= {"LQT": "\x0618", "LQP": "\x063", "Z": "\x06N", "G": "\x06N"}
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
    assert (about.model, about.firmware) == ("Microlab 600", "NV01.02.A")
    assert result.volume == 200.0
    assert (state.position, state.valve, state.busy, state.error) == (4.0, "out", False, None)
    assert not peer.player.rest


async def test_connecting_gives_the_address_twice_and_moves_nothing() -> None:
    peer = pump()
    peer.say("\x06garbage")
    async with connected(peer):
        assert peer.heard == ["1a", "1a", "aU", "aLQT", "aZ", "aG"]


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
    answers = {"YQP": ["\x069600", "\x0619200"], "IM19200S10R": "\x06", "OD19200S10R": NAK}
    async with connected(pump(**answers)) as driver:
        with pytest.raises(Fault, match="in the midst of the order"):
            await driver.dispense(Call("a1"), 400.0)


async def test_one_that_was_just_switched_on_takes_no_order_and_says_what_to_give_it() -> None:
    async with connected(pump(E2=NEW)) as driver:
        with pytest.raises(Rejected, match="give it `prime` or `initialise`"):
            await driver.aspirate(Call("a1"), 100.0)
        state: Any = await driver.read_state()
        assert (state.initialised, state.position, state.error) == (False, None, None)


async def test_an_overload_that_is_told_once_is_kept_until_it_was_initialised() -> None:
    peer = pump(E2=[OVERLOADED, WELL], XR="\x06")
    async with connected(peer) as driver:
        state: Any = await driver.read_state()
        assert state.error == "its plunger is overloaded"
        with pytest.raises(Fault, match="its plunger is overloaded: look at the pump"):
            await driver.aspirate(Call("a1"), 100.0)
        await driver.initialise(Call("a2"))
        state = await driver.read_state()
        assert state.error is None


async def test_an_overload_of_an_earlier_life_is_told_at_the_first_order() -> None:
    async with connected(pump(Z="\x06Y")) as driver:
        with pytest.raises(Fault, match="a plunger was overloaded: look at the pump"):
            await driver.dispense(Call("a1"), 100.0)


async def test_busy_is_no_error_and_orders_that_wait_are_not_taken_for_work() -> None:
    async with connected(pump(F=[BUSY, BUSY, YES], OM4800S10R="\x06", YQP=["\x069600"] * 2 + ["\x064800"])) as driver:
        await driver.until_ready("", 10)
        assert (await driver.dispense(Call("a1"), 100.0)).volume == 100
    peer = pump(F=[WAITS], XR="\x06")
    async with connected(peer) as driver:
        with pytest.raises(Rejected, match="orders wait in the pump's buffer"):
            await driver.dispense(Call("a1"), 100.0)
        with pytest.raises(Rejected, match="orders wait"):  # this one does not drop them
            await driver.initialise(Call("a2"))
        assert peer.heard.index("aV") < peer.heard.index("aXR")


async def test_no_halt_and_no_question_carries_out_what_waits_in_the_buffer() -> None:
    peer = pump()
    async with connected(peer) as driver:
        await driver.read_state()
        await driver.safe_state()
    assert {"aK", "aV", "aF", "aE2", "aYQP", "aLQP"} <= set(peer.heard)
    assert not [line for line in peer.heard if line.endswith("R")]


@pytest.mark.parametrize(("type_", "unit", "words"), [
    ("18", "left", {"1": "in", "3": "out"}), ("18", "right", {"2": "in", "1": "out"}),
    ("19", "left", {"1": "in", "2": "out"}), ("19", "right", {"2": "in", "1": "out"}),
    ("17", "right", {"1": "in", "3": "out"}), ("20", "right", {"1": None, "2": None}),
])  # fmt: skip
async def test_where_a_valve_stands_depends_on_its_type_and_side(type_: str, unit: str, words: dict[str, Any]) -> None:
    prefix = {"left": "B", "right": "C"}[unit]
    ways = ["\x06" + port for port in words]
    two = {"E2": "\x06@@@@", "BLQT": "\x06" + type_, "CLQT": "\x06" + type_, "BLQP": "\x061", "CLQP": "\x061"}
    peer = pump(**(two | {"BYQP": "\x060", "CYQP": "\x060", f"{prefix}LQP": ways}))
    async with connected(peer, right="1 mL") as driver:
        assert [(await driver.look(unit)).valve for _ in words] == list(words.values())


@pytest.mark.parametrize("line", ["9600", "\x069x00", "\x06", "~"])
async def test_what_is_no_answer_is_unknown_in_a_poll_and_costs_nothing_before_an_order(line: str) -> None:
    peer = pump(YQP=line)
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        with pytest.raises(Unreachable, match="nothing was moved"):
            await driver.dispense(Call("a1"), 100.0)
        assert not any("M" in line for line in peer.heard)


async def test_a_late_answer_is_nobodys() -> None:
    peer = pump(F=[(1.3, BUSY), YES])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer within 1 s"):
            await driver.read_state()
        state: Any = await driver.read_state()
        assert state.busy is False


async def test_a_line_that_is_cut_is_told_soon_and_again() -> None:
    peer = pump(F=[YES, BUSY, (0.9, BUSY)], OM4800S10R="\x06")
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
    peer = pump(F=[YES, BUSY, BUSY, BUSY, YES], OM4800S10R="\x06", YQP=["\x069600", "\x067200", "\x064800"])
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
