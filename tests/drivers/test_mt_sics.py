"""The Mettler driver against a balance on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.mt_sics import DRIVER, MtSics
from labd import clock
from labd.lab.bus import Bus
from labd.lab.device import Device
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from tests.peers import Peer, Scripted, Table

SERIAL = 'I4 A "B021002593"'


def answers(**told: object) -> dict[str, object]:
    known = {"@": SERIAL, "I4": SERIAL, "I2": 'I2 A "MS204TS Standard 220.0000 g"', "I3": 'I3 A "1.20"'}
    return known | {"S": "S S    100.0000 g", "SI": "S S    100.0000 g", "T": "T S    100.0000 g", "Z": "Z A"} | told


def scales(**told: object) -> Table:
    return Table("\r\n", answers(**told))


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[MtSics]:
    driver = DRIVER(Setup("balance", {"address": peer.port, **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[MtSics]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_taring_and_weighing_at_rest_and_in_motion() -> None:
    peer = Scripted("mt_sics_weigh.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        await driver.tare(Call("a1"))
        still = await driver.weigh(Call("a2"))
        moving = await driver.weigh(Call("a3"))
    assert (about.model, about.serial, about.firmware) == (
        "MS204TS Standard 220.0000 g", "B021002593", "1.20 24.6.7.1361.781"
    )  # fmt: skip
    assert (still.mass, still.stable) == (0.042, True)
    assert (moving.mass, moving.stable) == (-0.0138, False)
    assert not peer.player.rest


# ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_connecting_cancels_what_an_earlier_life_left_waiting_and_asks_who_it_is() -> None:
    peer = scales()
    peer.say("S S     99.0000 g\r\n")
    async with connected(peer):
        assert peer.heard == ["@", "I4", "I2", "I3"]


async def test_a_balance_that_tells_no_model_is_as_good() -> None:
    async with driver_of(scales(I2="ES", I3="I3 I")) as driver:
        about = await driver.connect()
    assert (about.model, about.serial, about.firmware) == ("", "B021002593", "")


async def test_another_balance_than_the_calibrated_one_is_a_fault() -> None:
    async with driver_of(scales(), serial_number="B021002594") as driver:
        with pytest.raises(Fault, match="serial number B021002594, and this balance has B021002593"):
            await driver.connect()


async def test_silence_says_what_to_check() -> None:
    async with driver_of(scales(**{"@": None})) as driver:
        with pytest.raises(Unreachable, match=r"is it on, is its interface set to MT-SICS"):
            await driver.connect()


async def test_no_port_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="plugged in"):
        await DRIVER(Setup("balance", {"address": "/dev/serial/by-id/none"})).connect()


# ── weighing ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_pan_that_does_not_come_to_rest_in_time_is_a_result_and_the_order_is_taken_back() -> None:
    peer = scales(S=None, SI="S D     17.4971 g")
    async with connected(peer) as driver:
        began = clock.monotonic()
        result = await driver.weigh(Call("a1"), 8.0)
        assert clock.monotonic() - began == pytest.approx(8.1, abs=0.2)
    assert (result.mass, result.stable) == (17.4971, False)
    assert peer.heard[-3:] == ["S", "@", "SI"]


async def test_a_weight_that_comes_in_the_very_moment_it_is_taken_back_counts() -> None:
    peer = scales(S=(5.0001, "S S     17.4971 g"), **{"@": (0.01, SERIAL)})
    async with connected(peer) as driver:
        result = await driver.weigh(Call("a1"), 5.0)
    assert (result.mass, result.stable) == (17.4971, True)
    assert peer.heard[-1] == "@"


async def test_no_settling_takes_what_it_shows() -> None:
    peer = scales(SI="S D      1.0000 g")
    async with connected(peer) as driver:
        assert (await driver.weigh(Call("a1"), 0.0)).stable is False
    assert "S" not in peer.heard


@pytest.mark.parametrize(
    ("line", "grams"),
    [
        ("S S      17.500 mg", 0.0175),
        ("S S    0.017500 kg", 17.5),
        ("S S       10.00 ct", 2.0),
        ("S S        1.00 oz", 28.349523125),
        ("S S  -0.0082 g", -0.0082),
        ("S S       250.0 ug", 0.00025),
    ],
)
async def test_other_units_become_grams(line: str, grams: float) -> None:
    async with connected(scales(S=line)) as driver:
        assert (await driver.weigh(Call("a1"))).mass == pytest.approx(grams, rel=1e-12)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("S +", "overloaded"),
        ("S -", "underloaded: is the pan on it"),
        ("S L", "refuses the parameter"),
        ("ES", "has no command S"),
        ("EL", "cannot carry S out now"),
        ("S S      12.000 PCS", r"weighs in 'PCS'; set its host unit to g"),
    ],
)
async def test_what_it_cannot_weigh_is_rejected_with_its_cause(line: str, words: str) -> None:
    async with connected(scales(S=line)) as driver:
        with pytest.raises(Rejected, match=words):
            await driver.weigh(Call("a1"))


async def test_a_busy_balance_is_asked_once_more_and_then_rejected() -> None:
    peer = scales(S="S I", SI="S I")
    async with connected(peer) as driver:
        with pytest.raises(Rejected, match=r"busy.*in its menu"):
            await driver.weigh(Call("a1"))
    assert peer.heard[-2:] == ["S", "SI"]


async def test_an_error_of_the_balance_itself_is_a_fault() -> None:
    async with connected(scales(S="S S Error 10b")) as driver:
        with pytest.raises(Fault, match="look at its display"):
            await driver.weigh(Call("a1"))


async def test_a_damaged_command_may_be_sent_again() -> None:
    async with connected(scales(S=["ET", "S S      1.0000 g"])) as driver:
        with pytest.raises(OutcomeUnknown, match="baud rate and parity"):
            await driver.weigh(Call("a1"))
        assert (await driver.weigh(Call("a2"))).mass == 1.0


async def test_a_weight_that_somebody_printed_is_not_the_answer() -> None:
    peer = scales()
    async with connected(peer) as driver:
        peer.say("S S      3.0000 g\r\n")
        assert (await driver.weigh(Call("a1"))).mass == 100.0


async def test_a_balance_that_falls_silent_is_unknown_and_its_late_answer_is_nobodys() -> None:
    peer = scales(SI=[(4.0, "S S      3.0000 g"), "S S      4.0000 g"])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer in time"):
            await driver.weigh(Call("a1"), 0.0)
        assert (await driver.weigh(Call("a2"), 0.0)).mass == 4.0
    assert peer.heard[-3:] == ["SI", "@", "SI"]


async def test_an_unplugged_balance_is_unknown_and_then_unreachable() -> None:
    peer = scales(S=None)
    async with connected(peer) as driver:
        peer._loop.call_later(2.0, peer.unplug)
        with pytest.raises(OutcomeUnknown, match="link is lost"):
            await driver.weigh(Call("a1"))
        with pytest.raises(Unreachable):
            await driver.read_state()


# ── taring and zeroing ───────────────────────────────────────────────────────────────────────────────────────────
async def test_taring_waits_for_rest() -> None:
    peer = scales(T=(12.0, "T S     13.1000 g"))
    async with connected(peer) as driver:
        began = clock.monotonic()
        await driver.tare(Call("a1"))
        assert clock.monotonic() - began == pytest.approx(12.0, abs=0.2)


async def test_a_draught_while_taring_is_rejected_and_nothing_waits_in_the_balance() -> None:
    peer = scales(T=None)
    async with connected(peer) as driver:
        with pytest.raises(Rejected, match="did not come to rest within 40 s"):
            await driver.tare(Call("a1"))
        assert peer.heard[-2:] == ["T", "@"]
        assert (await driver.weigh(Call("a2"))).mass == 100.0


@pytest.mark.parametrize(("line", "words"), [("T I", "busy"), ("T +", "overloaded"), ("T -", "underloaded")])
async def test_a_tare_out_of_range_is_rejected(line: str, words: str) -> None:
    async with connected(scales(T=line)) as driver:
        with pytest.raises(Rejected, match=words):
            await driver.tare(Call("a1"))


async def test_zeroing() -> None:
    peer = scales()
    async with connected(peer) as driver:
        await driver.zero(Call("a1"))
        peer.answers["Z"] = "Z +"
        with pytest.raises(Rejected, match="overloaded"):
            await driver.zero(Call("a2"))


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_poll_reads_what_is_shown_and_no_mass_where_there_is_none() -> None:
    async with connected(scales(SI=["S D      5.0000 g", "S +", "S I"])) as driver:
        first = await driver.read_state()
        assert (first.mass, first.stable) == (5.0, False)
        for _ in range(2):
            state = await driver.read_state()
            assert (state.mass, state.stable) == (None, False)


async def test_a_poll_does_not_disturb_an_action() -> None:
    peer = scales(S=(4.0, "S S      6.0000 g"), SI="S S      5.0000 g")
    async with connected(peer) as driver:
        await driver.read_state()
        async with asyncio.TaskGroup() as group:
            weighing = group.create_task(driver.weigh(Call("a1")))
            await asyncio.sleep(1.0)
            assert (await driver.read_state()).mass == 5.0
        assert weighing.result().mass == 6.0
    assert peer.heard[-2:] == ["SI", "S"]


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_cell_on_the_pan_keeps_the_balance_and_a_deck_over_it_does_not() -> None:
    assert DRIVER(Setup("balance", {"address": "tcp://10.0.0.7:8001"})).place_of("") == "balance/pan"
    assert DRIVER(Setup("balance", {"address": "/dev/ttyUSB0", "pan": "ot2/6"})).place_of("") is None


@pytest.mark.parametrize("settings", [{"address": "balance"}, {"address": "/dev/ttyUSB0", "pan": "somewhere"}])
def test_settings_name_what_is_wrong(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"is no address|should match pattern"):
        DRIVER(Setup("balance", settings))


async def test_safe_state_does_nothing_as_often_as_it_is_called() -> None:
    peer = scales()
    async with connected(peer) as driver:
        count = len(peer.heard)
        await driver.safe_state()
        await driver.safe_state("")
        assert len(peer.heard) == count


async def test_a_balance_that_is_plugged_in_later_and_unplugged_for_a_while_comes_up_by_itself(tmp_path: Path) -> None:
    port = tmp_path / "balance"
    device = Device("balance", "mt_sics", DRIVER(Setup("balance", {"address": str(port)})), Bus())
    supervision = asyncio.create_task(device.run())
    await asyncio.sleep(100)
    assert device.health == "down"
    assert "plugged in" in str(device.problem)
    for _ in range(2):
        peer = scales()
        port.symlink_to(peer.port)
        await asyncio.sleep(60)
        assert (device.health, device.live("")["mass"]) == ("ok", 100.0)
        peer.unplug()
        port.unlink()
        await asyncio.sleep(60)
        assert (device.health, device.live("")["mass"]) == ("down", None)
    supervision.cancel()
    await asyncio.gather(supervision, return_exceptions=True)
