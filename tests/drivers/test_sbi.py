"""The SBI driver against a balance on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.sbi import DRIVER, Sbi
from labd import clock
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from tests.peers import Peer, Scripted, Table

STILL, MOVING = "N     +  100.0000 g  ", "N     +   99.9871    "
ZERO = "N     +    0.0000 g  "


def scales(**told: object) -> Table:
    known = {"P": STILL, "x1_": "ENTRIS224-1S", "x2_": "32704567", "x3_": "01-61-04"}
    return Table("\r\n", {f"\x1b{command}": answer for command, answer in (known | told).items()})


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[Sbi]:
    driver = DRIVER(Setup("balance", {"address": peer.port, **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[Sbi]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_taring_and_weighing() -> None:
    peer = Scripted("sbi_weigh.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        await driver.tare(Call("a1"))
        result = await driver.weigh(Call("a2"))
    assert (about.model, about.serial, about.firmware) == ("ENTRIS224-1S", "32704567", "01-61-04")
    assert (result.mass, result.stable) == (0.042, True)
    assert not peer.player.rest


# ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_an_old_balance_does_not_tell_who_it_is_and_is_as_good() -> None:
    async with connected(scales(x1_=None, x2_=None, x3_=None)) as driver:
        assert (await driver.read_state()).mass == 100.0


async def test_another_balance_than_the_calibrated_one_is_a_fault() -> None:
    async with driver_of(scales(), serial_number="1") as driver:
        with pytest.raises(Fault, match="serial number 1, and this balance has 32704567"):
            await driver.connect()


@pytest.mark.parametrize("told", [None, "S S     100.00 g", "hello"])
async def test_silence_and_another_device_say_what_to_check(told: object) -> None:
    async with driver_of(scales(P=told)) as driver:
        with pytest.raises(Unreachable, match="is its interface set to SBI"):
            await driver.connect()


async def test_no_port_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="plugged in"):
        await DRIVER(Setup("balance", {"address": "/dev/serial/by-id/none"})).connect()


# ── weighing ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("line", "unit", "grams", "stable"),
    [
        ("+   17.4971 g  ", "g", 17.4971, True),
        ("N     -    0.0138    ", "g", -0.0138, False),
        ("-     17.50 mg ", "mg", -0.0175, True),
        ("+    0.0175    ", "kg", 17.5, False),
        ("G     +   17.4971 g", "g", 17.4971, True),
        ("N        17.4971 g  ", "g", 17.4971, True),
        ("   17.4971    ", "g", 17.4971, False),
        ("+   17,4971 g  ", "g", 17.4971, True),
        ("N     +   17.4971", "g", 17.4971, False),
    ],
)
async def test_lines_of_both_lengths_and_such_that_lost_their_blanks(
    line: str, unit: str, grams: float, stable: bool
) -> None:
    async with connected(scales(P=line), unit=unit) as driver:
        result = await driver.weigh(Call("a1"), 0.0)
    assert (result.mass, result.stable) == (pytest.approx(grams, rel=1e-12), stable)


async def test_another_unit_than_lab_yaml_says_is_rejected() -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.answers["\x1bP"] = "N     +   100.000 mg "
        with pytest.raises(Rejected, match=r"weighs in 'mg', and lab\.yaml says 'g'"):
            await driver.weigh(Call("a1"))


async def test_a_pan_that_does_not_come_to_rest_in_time_is_a_result() -> None:
    async with connected(scales(P=MOVING)) as driver:
        began = clock.monotonic()
        result = await driver.weigh(Call("a1"), 8.0)
        assert clock.monotonic() - began == pytest.approx(8, abs=0.5)
    assert (result.mass, result.stable) == (99.9871, False)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Stat     High        ", "overloaded"),
        ("      H       ", "overloaded"),
        ("Stat     Low         ", "underloaded: is the pan on it"),
        ("Stat       OFF       ", "in standby"),
        ("Stat     Cal.        ", "adjusts itself"),
        ("Stat     Cal.Int.    ", "adjusts itself"),
        ("Stat     Cal. Ext.   ", "adjusts itself"),
        ("      - -     ", "no weight yet"),
    ],
)
async def test_what_it_cannot_weigh_is_rejected_with_its_cause_and_a_signal_without_mass(line: str, words: str) -> None:
    async with connected(scales(P=line)) as driver:
        state = await driver.read_state()
        assert (state.mass, state.stable) == (None, False)
        with pytest.raises(Rejected, match=words):
            await driver.weigh(Call("a1"), 0.0)


@pytest.mark.parametrize("words", ["Err 54", "APP.ERR"])
async def test_an_error_of_the_balance_itself_is_a_fault(words: str) -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.answers["\x1bP"] = f"Stat     {words}      "
        with pytest.raises(Fault, match=f"{words}; look at its display"):
            await driver.weigh(Call("a1"))


async def test_a_weight_that_somebody_printed_is_not_the_answer() -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.say("N     +    3.0000 g  \r\n")
        assert (await driver.weigh(Call("a1"))).mass == 100.0


async def test_a_balance_that_falls_silent_is_unknown_and_its_late_answer_is_nobodys() -> None:
    peer = scales(P=[STILL, (2.4, "N     +    3.0000 g  "), "N     +    4.0000 g  "])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer within 2 s"):
            await driver.weigh(Call("a1"), 0.0)
        assert (await driver.weigh(Call("a2"), 0.0)).mass == 4.0


@pytest.mark.parametrize("line", ["N     +   17.", "N  ~  +   17.4971 g  ", "17.4971", ""])
async def test_half_an_answer_is_no_weight(line: str) -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.answers["\x1bP"] = line
        if line.endswith("17."):
            assert (await driver.weigh(Call("a1"), 0.0)).stable is False
        else:
            with pytest.raises(OutcomeUnknown, match="no weight"):
                await driver.weigh(Call("a1"), 0.0)


async def test_an_unplugged_balance_is_unknown_and_then_unreachable() -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.answers["\x1bP"] = None
        peer._loop.call_later(1.0, peer.unplug)
        with pytest.raises(OutcomeUnknown, match="link is lost"):
            await driver.weigh(Call("a1"))
        with pytest.raises(Unreachable):
            await driver.read_state()
        await driver.safe_state()


# ── taring ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_taring_is_done_when_the_display_stands_at_zero() -> None:
    peer = scales(P=[STILL, MOVING, STILL, STILL, MOVING, ZERO])
    async with connected(peer) as driver:
        await driver.tare(Call("a1"))
        assert (await driver.read_state()).mass == 0.0
    assert peer.heard.count("\x1bT") == 1


async def test_a_tare_that_had_no_effect_is_unknown() -> None:
    async with connected(scales()) as driver:
        with pytest.raises(OutcomeUnknown, match=r"ESC T was sent, and the balance shows 100\.0 g"):
            await driver.tare(Call("a1"))


async def test_a_draught_while_taring_is_rejected_and_nothing_was_sent() -> None:
    peer = scales(P=MOVING)
    async with connected(peer) as driver:
        with pytest.raises(Rejected, match="did not come to rest within 40 s"):
            await driver.tare(Call("a1"))
    assert "\x1bT" not in peer.heard


async def test_zeroing() -> None:
    peer = scales(P=ZERO)
    async with connected(peer) as driver:
        await driver.zero(Call("a1"))
    assert "\x1bV" in peer.heard


async def test_a_poll_does_not_disturb_an_action() -> None:
    peer = scales(P=[STILL, STILL, MOVING])
    async with connected(peer) as driver:
        await driver.read_state()
        async with asyncio.TaskGroup() as group:
            weighing = group.create_task(driver.weigh(Call("a1")))
            await asyncio.sleep(1.0)
            assert (await driver.read_state()).mass == 100.0
        assert weighing.result().stable is False


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_cell_on_the_pan_keeps_the_balance_and_a_deck_over_it_does_not() -> None:
    assert DRIVER(Setup("balance", {"address": "tcp://10.0.0.7:49155"})).place_of("") == "balance/pan"
    assert DRIVER(Setup("balance", {"address": "/dev/ttyUSB0", "pan": "ot2/6"})).place_of("") is None


@pytest.mark.parametrize("settings", [{"address": "balance"}, {"address": "/dev/ttyUSB0", "unit": "stone"}])
def test_settings_name_what_is_wrong(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"is no address|Input should be"):
        DRIVER(Setup("balance", settings))
