"""The Cavro driver against a pump on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.cavro import DRIVER, Cavro
from labd import clock
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from tests.peers import Peer, Scripted, Table

IDLE = "/0`\x03"


def pump(**told: object) -> Table:
    known = {"Q": IDLE, "&": "/0`P/N 30021545-C\x03", "?": "/0`600\x03", "?6": "/0`o\x03", "?28": "/0b\x03", "T": IDLE}
    return Table("\r", {f"/1{query}": answer for query, answer in (known | told).items()})


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[Cavro]:
    driver = DRIVER(Setup("pump", {"address": peer.port, "syringe": "1 mL", **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[Cavro]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_initialising_and_giving() -> None:
    peer = Scripted("cavro_dose.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        await driver.initialise(Call("a1"))
        result = await driver.dispense(Call("a2"), 200.0)
        state = await driver.read_state()
    assert (about.model, about.firmware) == ("Cavro xcalibur", "P/N 30021545-C")
    assert result.volume == 200.0
    assert (state.position, state.valve, state.busy, state.initialised) == (4.0, "o", False, True)
    assert not peer.player.rest


async def test_connecting_moves_nothing() -> None:
    peer = pump()
    async with connected(peer):
        assert peer.heard == ["/1Q", "/1&", "/1?28"]


async def test_a_pump_that_counts_in_fine_steps_is_a_fault() -> None:
    async with driver_of(pump(**{"?28": "/0`1\x03"})) as driver:
        with pytest.raises(Fault, match="counts in fine steps"):
            await driver.connect()


async def test_silence_says_what_to_check_and_no_port_that_there_is_none() -> None:
    async with driver_of(pump(), pump="B") as driver:
        with pytest.raises(Unreachable, match="pump B does not answer; is it on, does its address switch stand at A"):
            await driver.connect()
    with pytest.raises(Unreachable, match="plugged in"):
        await DRIVER(Setup("pump", {"address": "/dev/serial/by-id/none", "syringe": "1 mL"})).connect()


async def test_an_adapter_that_echoes_and_a_byte_of_noise_do_not_matter() -> None:
    async with connected(pump(**{"?": "/1?\r\xff/0`600\x03"})) as driver:
        assert (await driver.read_state()).position == 200.0


@pytest.mark.parametrize("line", ["/0\x03", "/0\x20\x03", "/0`600", "600", "/0`6x0\x03"])
async def test_what_is_no_answer_is_unknown_in_a_poll_and_costs_nothing_before_an_order(line: str) -> None:
    peer = pump(**{"?": line})
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        with pytest.raises(Unreachable, match="nothing was moved"):
            await driver.dispense(Call("a1"), 100.0)
        assert not any(line.endswith("R") for line in peer.heard)


async def test_a_late_answer_is_nobodys() -> None:
    peer = pump(Q=[IDLE, (1.2, "/0g\x03"), IDLE])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer within 1 s"):
            await driver.read_state()
        assert (await driver.read_state()).initialised is True


async def test_an_order_is_sent_once_though_its_answer_is_lost() -> None:
    peer = pump(V1400OA300R=None)
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await driver.dispense(Call("a1"), 100.0)
    assert peer.heard.count("/1V1400OA300R") == 1


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("B", Rejected, "does not know the command"),
        ("C", Rejected, "number out of its range"),
        ("G", Rejected, "not initialised"),
        ("I", Fault, "plunger is overloaded"),
        ("J", Fault, "valve is overloaded"),
        ("K", Rejected, "in bypass"),
        ("O", Rejected, "busy, and took no command"),
        ("A", Fault, "could not initialise"),
    ],
)
async def test_a_refusal_is_told_in_words(status: str, kind: type[Exception], words: str) -> None:
    async with connected(pump(V1400OA300R=f"/0{status}\x03")) as driver:
        with pytest.raises(kind, match=words):
            await driver.dispense(Call("a1"), 100.0)


async def test_an_overload_that_a_poll_was_told_is_kept_for_the_order_and_until_it_is_initialised() -> None:
    peer = pump(Q=[IDLE, "/0i\x03", IDLE], ZR="/0@\x03")
    async with connected(peer) as driver:
        assert "overloaded" in ((await driver.read_state()).error or "")
        with pytest.raises(Fault, match="plunger is overloaded"):
            await driver.dispense(Call("a1"), 100.0)
        assert "overloaded" in ((await driver.read_state()).error or "")
        await driver.initialise(Call("a2"))
        assert (await driver.read_state()).error is None


async def test_a_refusal_in_the_midst_of_a_dose_is_no_refusal_of_the_dose() -> None:
    answers = {"?": ["/0`600\x03", "/0`3000\x03"], "V1400IA3000R": "/0@\x03", "V1400OA12R": "/0B\x03"}
    async with connected(pump(**answers)) as driver:
        with pytest.raises(Fault, match="in the midst of the order"):
            await driver.dispense(Call("a1"), 1500.0)


async def test_a_line_that_is_cut_while_it_moves_is_unknown_and_then_unreachable() -> None:
    peer = pump(Q=[IDLE, IDLE, (0.9, "/0@\x03")], V1400OA300R="/0@\x03")
    async with connected(peer) as driver:
        peer._loop.call_later(0.5, peer.unplug)
        with pytest.raises(OutcomeUnknown):
            await driver.dispense(Call("a1"), 100.0)
        began = clock.monotonic()
        for _ in range(2):
            with pytest.raises(Unreachable):
                await driver.safe_state()
        assert clock.monotonic() - began < 10


async def test_a_poll_does_not_disturb_a_stroke() -> None:
    peer = pump(Q=[IDLE, IDLE, "/0@\x03", "/0@\x03", "/0@\x03", "/0@\x03", IDLE], V1400OA300R="/0@\x03")
    peer.answers["/1?"] = ["/0`600\x03", "/0`480\x03", "/0`300\x03"]
    async with connected(peer) as driver:
        async with asyncio.TaskGroup() as group:
            giving = group.create_task(driver.dispense(Call("a1"), 100.0))
            await asyncio.sleep(0.3)
            state = await driver.read_state()
        assert (state.busy, state.position) == (True, 160.0)
        assert giving.result().volume == 100.0


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({}, "ZR"),
        ({"syringe": "250 µL"}, "Z1R"),
        ({"syringe": "100 µL", "initialise": "Y"}, "Y2R"),
        ({"ports": 6, "waste": 5, "backlash": 20}, "Z0,1,5K20R"),
        ({"initialise": "W"}, "WR"),
    ],
)
async def test_it_is_initialised_as_its_mounting_wants(settings: dict[str, Any], order: str) -> None:
    peer = pump(**{order: "/0@\x03"})
    async with connected(peer, **settings) as driver:
        await driver.initialise(Call("a1"))
    assert f"/1{order}" in peer.heard


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "pump"}, "is no address"),
        ({"pump": "0"}, "should match pattern"),
        ({"ports": 6, "outlet": 7}, "no port 7 on a valve of 6"),
        ({"ports": 6, "outlet": 1}, "it is the inlet's port"),
        ({"waste": 3}, "only a distribution valve"),
        ({"rate": "5 mL/s"}, r"with this syringe the pump does 0\.833 to 967 µL/s"),
        ({"syringe": "1 L"}, "above the greatest"),
    ],
)
def test_settings_name_what_is_wrong(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DRIVER(Setup("pump", {"address": "/dev/ttyUSB0", "syringe": "1 mL", **settings}))


def test_pumps_on_one_line_are_devices_of_their_own_and_may_give_to_others_places() -> None:
    one, two = (DRIVER(Setup("a", {"address": "/dev/ttyUSB0", "pump": n, "syringe": "1 mL"})) for n in (1, 2))
    assert (one.own_link(), two.own_link()) == ("/dev/ttyUSB0 pump 1", "/dev/ttyUSB0 pump 2")
    assert one.place_of("") == "a/outlet"
    over = {"address": "/dev/ttyUSB0", "syringe": "1 mL", "gives_to": "ot2/6"}
    assert DRIVER(Setup("a", over)).place_of("") is None
