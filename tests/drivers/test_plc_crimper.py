"""A press by its register map: handshakes, alarms, lost replies, and what a counter proves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.plc_crimper import DRIVER, PlcCrimper
from drivers.plc_crimper.profile import load
from labd import clock
from labd.io.modbus import float32, from_float32
from labd.sdk import Call, Fault, Intent, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict

HEARTBEAT = b"\x05\x00\x09"  # a write to it, whichever way
START, RECIPE, AUTO, INIT, RESET, OPEN, STOP = 0, 6, 4, 5, 2, 7, 1
TRANSCRIPT = Path(__file__).parents[1] / "transcripts" / "plc_crimper" / "handshake.json"


class Plc:
    """A PLC of the handshake profile, written from its register map: it keeps tables and reacts to coils."""

    def __init__(self) -> None:
        self.coils = [False] * 16
        self.inputs = [False] * 16
        self.inputs[11] = self.inputs[12] = True  # guard closed, curtain clear
        self.inputs[7] = True  # ram open
        self.holding = [0] * 8
        self.peak, self.displacement, self.cycles, self.alarm = 0.0, 0.0, 0x1_0000, 0
        self.boot = asyncio.get_running_loop().time() - 500.0
        self.heart = True
        self.dead: set[int] = set()  # command coils that do nothing
        self.short = 0.0  # kN that the force falls short by
        self.stuck = False
        self.stroke: asyncio.TimerHandle | None = None
        self.frames: list[bytes] = []  # PDUs of all requests
        self.swallow: Callable[[bytes], bool] = lambda _: False  # whose replies are lost after the effect

    @property
    def starts(self) -> int:
        return self.frames.count(b"\x05\x00\x00\xff\x00")

    def registers(self) -> list[int]:
        swapped = lambda value: [value & 0xFFFF, value >> 16]  # noqa: E731
        ran = int(asyncio.get_running_loop().time() - self.boot)
        floats = (0.0, 0.0, self.peak, self.displacement)
        return [w for f in floats for w in from_float32(f)] + swapped(self.cycles) + swapped(ran) + [self.alarm]

    def answer(self, pdu: bytes) -> bytes:
        self.frames.append(pdu)
        function, at, count = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if function == 5:
            self.write(at, on=count == 0xFF00)
            return pdu
        if function == 16:
            self.holding[at : at + count] = [int.from_bytes(pdu[6 + 2 * i : 8 + 2 * i], "big") for i in range(count)]
            return pdu[:5]
        if function in {1, 2}:
            self.inputs[9] = self.heart and int(asyncio.get_running_loop().time() / 0.5) % 2 == 1
            bits = (self.coils if function == 1 else self.inputs)[at : at + count]
            packed = sum(bit << place for place, bit in enumerate(bits)).to_bytes((count + 7) // 8, "little")
            return bytes([function, len(packed)]) + packed
        words = (self.holding if function == 3 else self.registers())[at : at + count]
        return bytes([function, 2 * count]) + b"".join(word.to_bytes(2, "big") for word in words)

    def write(self, coil: int, *, on: bool) -> None:
        later = asyncio.get_running_loop().call_later
        rising, self.coils[coil] = on and not self.coils[coil], on
        if coil == RECIPE and not on:
            self.inputs[6] = False
        if not rising or coil in self.dead:
            return
        if coil in {AUTO, INIT}:
            later(0.3, self.inputs.__setitem__, coil, True)
        elif coil == RECIPE:
            later(0.2, self.inputs.__setitem__, 6, True)
        elif coil == RESET and not self.inputs[10]:
            self.inputs[13], self.alarm, self.inputs[2] = False, 0, True
        elif coil == OPEN:
            later(1.0, self.inputs.__setitem__, 7, True)
        elif coil == STOP:
            self.end(done=False)
        elif coil == START:
            later(0.2, self.begin)

    def begin(self) -> None:
        self.inputs[0], self.inputs[14], self.inputs[7] = True, False, False
        if not self.stuck:
            dwell = float32(self.holding[2:4])
            self.stroke = asyncio.get_running_loop().call_later(6.0 + dwell, self.end)

    def end(self, *, done: bool = True) -> None:
        if self.stroke:
            self.stroke.cancel()
        self.inputs[0] = False
        if done:
            self.inputs[14], self.inputs[7] = True, True
            self.peak, self.displacement = float32(self.holding[:2]) - self.short, 2.31
            self.cycles += 1

    def estop(self) -> None:
        self.end(done=False)
        self.inputs[10], self.inputs[13], self.alarm = True, True, 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(6)
                frame = head + await reader.readexactly(int.from_bytes(head[4:], "big"))
                reply = self.answer(frame[7:])
                if not self.swallow(frame[7:]):
                    writer.write(frame[:4] + (len(reply) + 1).to_bytes(2, "big") + frame[6:7] + reply)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def lab(plc: Plc | None = None, **settings: Any) -> AsyncIterator[tuple[PlcCrimper, Plc]]:
    plc = plc or Plc()
    server = await asyncio.start_server(plc.serve, "127.0.0.1", 0)
    address = f"modbus://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    driver = DRIVER(Setup("press", {"address": address, **settings}))
    await driver.connect()
    try:
        yield driver, plc
    finally:
        await driver.close()
        server.close()
        await server.wait_closed()


async def intent(driver: PlcCrimper) -> Intent:
    parameters = driver.actions["crimp"].parameters.model_validate({"force": "7.8 kN", "dwell": "2 s"})
    return Intent("a1", "crimp", "", parameters, await driver.baseline("crimp", ""), clock.now())


async def polls(driver: PlcCrimper, count: int) -> None:
    for _ in range(count):
        await driver.read_state()
        await asyncio.sleep(1)


async def eventually(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.05)


# ── a stroke ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_stroke_goes_by_the_handshake_and_gives_what_was_measured() -> None:
    async with lab() as (driver, plc):
        told: list[Any] = []
        result = await driver.crimp(Call("a1", on_accepted=told.append), 7.8, 2.0)
        assert result.model_dump() == {
            "peak_force": pytest.approx(7.8, abs=1e-5),
            "dwell": 2.0,
            "displacement": pytest.approx(2.31),
            "cycles": 0x1_0001,
        }
        assert told == [{"counter": 0x1_0000, "running": True}]
        writes = [pdu for pdu in plc.frames if pdu[0] in {5, 16} and pdu[:3] != HEARTBEAT]
        expected = [bytes.fromhex(text) for text in json.loads(TRANSCRIPT.read_text())["crimp 7.8 kN, 2 s"]]
        assert writes == expected
        assert not any(plc.coils[:9])


async def test_a_force_that_falls_short_is_a_result() -> None:
    async with lab() as (driver, plc):
        plc.short = 3.0
        assert (await driver.crimp(Call("a1"), 7.8, 2.0)).peak_force == pytest.approx(4.8, abs=1e-5)


async def test_a_lost_reply_to_start_is_borne_and_start_is_sent_once() -> None:
    async with lab() as (driver, plc):
        plc.swallow = lambda pdu: pdu == b"\x05\x00\x00\xff\x00"
        assert (await driver.crimp(Call("a1"), 7.8, 2.0)).cycles == 0x1_0001
        assert plc.starts == 1


async def test_a_lost_reply_before_the_start_means_that_nothing_was_pressed() -> None:
    async with lab() as (driver, plc):
        plc.swallow = lambda pdu: pdu[0] == 16
        with pytest.raises(Unreachable, match="nothing was pressed"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        assert plc.starts == 0


async def test_a_start_coil_that_does_nothing_is_outcome_unknown_and_cleared() -> None:
    async with lab() as (driver, plc):
        plc.dead = {START}
        before = await intent(driver)
        with pytest.raises(OutcomeUnknown, match="did not report a stroke"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        assert not plc.coils[START]
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE


async def test_a_link_that_is_lost_after_the_start_is_outcome_unknown_never_unreachable() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        crimp = asyncio.ensure_future(driver.crimp(Call("a1"), 7.8, 2.0))
        await eventually(lambda: plc.inputs[0])
        plc.swallow = lambda _: True
        with pytest.raises(OutcomeUnknown, match="lost after the start"):
            await crimp
        plc.swallow = lambda _: False
        assert (await driver.outcome(before)).verdict is Verdict.DONE
        assert plc.starts == 1


async def test_a_moment_without_replies_in_mid_stroke_is_borne() -> None:
    async with lab() as (driver, plc):
        crimp = asyncio.ensure_future(driver.crimp(Call("a1"), 7.8, 2.0))
        await eventually(lambda: plc.inputs[0])
        plc.swallow = lambda _: True
        await asyncio.sleep(4)
        plc.swallow = lambda _: False
        assert (await crimp).cycles == 0x1_0001


async def test_a_command_coil_that_does_nothing_before_the_start_is_a_fault() -> None:
    async with lab() as (driver, plc):
        plc.dead = {AUTO}
        with pytest.raises(Fault, match="does not go to auto"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        assert plc.starts == 0


async def test_a_stroke_that_does_not_end_is_a_fault() -> None:
    async with lab() as (driver, plc):
        plc.stuck = True
        with pytest.raises(Fault, match="did not end"):
            await driver.crimp(Call("a1"), 7.8, 2.0)


async def test_an_estop_in_mid_stroke_is_a_fault_and_leaves_no_start_behind() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        crimp = asyncio.ensure_future(driver.crimp(Call("a1"), 7.8, 2.0))
        await eventually(lambda: plc.inputs[0])
        plc.estop()
        with pytest.raises(Fault, match="E-stop is pressed"):
            await crimp
        assert not plc.coils[START]
        assert (await driver.outcome(before)).verdict is Verdict.UNKNOWN  # the cell may be half pressed


async def test_after_the_estop_is_released_the_next_stroke_goes_through() -> None:
    async with lab() as (driver, plc):
        plc.estop()
        with pytest.raises(Fault, match="E-stop"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        plc.inputs[10] = False
        assert (await driver.crimp(Call("a2"), 7.8, 2.0)).cycles == 0x1_0001


async def test_an_overload_wants_a_person_and_a_reset() -> None:
    async with lab() as (driver, plc):
        plc.inputs[13], plc.alarm = True, 4
        with pytest.raises(Fault, match=r"overloaded.*`reset`"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        await driver.reset(Call("a2"))
        await driver.crimp(Call("a3"), 7.8, 2.0)


@pytest.mark.parametrize(("place", "words"), [(11, "guard is open"), (12, "light curtain")])
async def test_an_open_guard_or_a_broken_curtain_lets_nothing_move(place: int, words: str) -> None:
    async with lab() as (driver, plc):
        plc.inputs[place] = False
        for order in (driver.crimp(Call("a1"), 7.8, 2.0), driver.open_ram(Call("a2")), driver.close_ram(Call("a3"))):
            with pytest.raises(Fault, match=words):
                await order
        assert not any(pdu[0] == 5 and pdu[3] for pdu in plc.frames if pdu[2] != 9)


async def test_start_is_cleared_when_the_daemon_gives_up_in_mid_order() -> None:
    async with lab() as (driver, plc):
        plc.dead = {START}
        crimp = asyncio.ensure_future(driver.crimp(Call("a1"), 7.8, 2.0))
        await eventually(lambda: plc.coils[START])
        crimp.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crimp
        assert not plc.coils[START]


async def test_a_force_beyond_the_press_is_refused_in_words() -> None:
    async with lab() as (driver, plc):
        with pytest.raises(Rejected, match="20 kN is above the greatest, 15 kN"):
            await driver.crimp(Call("a1"), 20.0, 2.0)
        assert plc.starts == 0


# ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────
async def test_outcome_by_the_counter_running_then_done() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        plc.holding[:4] = [*from_float32(7.8), *from_float32(10.0)]
        plc.begin()
        assert (await driver.outcome(before)).verdict is Verdict.RUNNING
        attached = await driver.attach(before, Call("a1"))
        done = await driver.outcome(before)
        assert done.verdict is Verdict.DONE
        assert done.result == attached


async def test_an_unchanged_counter_proves_nothing_after_a_restart() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE
        await asyncio.sleep(3600)
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE
        plc.boot = asyncio.get_running_loop().time()
        outcome = await driver.outcome(before)
        assert outcome.verdict is Verdict.UNKNOWN
        assert "restarted" in outcome.why


async def test_a_stroke_that_was_broken_off_and_acknowledged_is_not_called_not_done() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        plc.peak = 3.1  # half a stroke; then E-stop, release and reset: the counter never moved
        outcome = await driver.outcome(before)
        assert outcome.verdict is Verdict.UNKNOWN
        assert "may have begun" in outcome.why


async def test_two_strokes_more_are_not_ours_to_judge() -> None:
    async with lab() as (driver, plc):
        before = await intent(driver)
        plc.cycles += 2
        assert (await driver.outcome(before)).verdict is Verdict.UNKNOWN


async def test_a_restart_that_hides_behind_a_long_time_is_seen() -> None:
    async with lab() as (driver, _):
        before = await intent(driver)
        late = Intent(
            before.id, "crimp", "", before.parameters, before.baseline, before.at - timedelta(hours=10)
        )  # ten hours ago by our clock, moments by the PLC's
        assert (await driver.outcome(late)).verdict is Verdict.UNKNOWN


# ── polls and the safe state ─────────────────────────────────────────────────────────────────────────────────────
async def test_a_poll_reads_signals_and_toggles_the_heartbeat() -> None:
    async with lab() as (driver, plc):
        seen = set()
        for _ in range(2):
            signals = await driver.read_state()
            seen.add(plc.coils[9])
        assert seen == {True, False}
        assert (signals.guard_closed, signals.estop, signals.cycles) == (True, False, 0x1_0000)


@pytest.mark.parametrize("period", [0.5, 1.0, 10.0])
async def test_a_beating_heart_is_seen_at_any_poll_period(period: float) -> None:
    async with lab() as (driver, _):
        for _ in range(20):
            await driver.read_state()
            await asyncio.sleep(period)


async def test_a_heartbeat_that_stands_still_makes_the_press_unreachable() -> None:
    async with lab() as (driver, plc):
        await driver.read_state()
        plc.heart = False
        await driver.read_state()  # one poll without a beat is borne
        await asyncio.sleep(1)
        with pytest.raises(Unreachable, match="heartbeat stood still"):
            await polls(driver, 2)
        with pytest.raises(Unreachable, match="stands still"):
            await driver.connect()


async def test_the_safe_state_stops_a_stroke_opens_the_ram_and_may_come_twice() -> None:
    async with lab() as (driver, plc):
        plc.begin()
        await driver.safe_state()
        assert (plc.inputs[0], plc.inputs[7]) == (False, True)
        assert not any(plc.coils[:9])
        orders = len(plc.frames)
        await driver.safe_state()
        assert [pdu for pdu in plc.frames[orders:] if pdu[0] == 5] == [b"\x05\x00\x00\x00\x00"]


async def test_the_safe_state_drives_nothing_while_the_guard_is_open() -> None:
    async with lab() as (driver, plc):
        plc.inputs[7] = plc.inputs[11] = False
        await driver.safe_state()
        assert not plc.inputs[7]


# ── a press on a relay ───────────────────────────────────────────────────────────────────────────────────────────
class RelayBox(Plc):
    """One coil, one contact."""

    rises, falls = 0.5, 8.0

    def write(self, coil: int, *, on: bool) -> None:
        loop = asyncio.get_running_loop()
        if on and not self.coils[0]:
            self.pressed_at = loop.time()
            if self.rises:
                loop.call_later(self.rises, self.inputs.__setitem__, 0, True)
                if self.falls:
                    loop.call_later(self.falls, self.inputs.__setitem__, 0, False)
        if self.coils[0] and not on:
            self.held = loop.time() - self.pressed_at
        self.coils[0] = on


async def test_a_relay_is_pulsed_once_and_its_contact_must_rise_and_fall() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        result = await driver.crimp(Call("a1"), 7.8, 2.0)
        assert (result.peak_force, result.displacement, result.cycles) == (None, None, None)
        assert result.dwell == pytest.approx(7.5, abs=0.3)
        assert isinstance(plc, RelayBox)
        assert plc.held == pytest.approx(2.5)
        assert plc.starts == 1


async def test_a_contact_that_never_rises_is_outcome_unknown() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        plc.rises = 0  # type: ignore[attr-defined]
        with pytest.raises(OutcomeUnknown, match="was not busy"):
            await driver.crimp(Call("a1"), 7.8, 2.0)
        assert plc.held == pytest.approx(2.5)  # type: ignore[attr-defined]
        assert plc.starts == 1


async def test_a_contact_that_sticks_is_a_fault() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        plc.falls = 0  # type: ignore[attr-defined]
        with pytest.raises(Fault, match="still busy"):
            await driver.crimp(Call("a1"), 7.8, 2.0)


async def test_a_lost_reply_does_not_fire_a_relay_again() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        plc.swallow = lambda pdu: pdu[0] == 5 and pdu[3] == 0xFF
        await driver.crimp(Call("a1"), 7.8, 2.0)
        assert plc.starts == 1


async def test_a_relay_opens_by_itself_and_its_safe_state_lets_go() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        await driver.open_ram(Call("a1"))
        with pytest.raises(Rejected, match="one button"):
            await driver.close_ram(Call("a2"))
        plc.inputs[0] = True
        with pytest.raises(Rejected, match="busy already"):
            await driver.crimp(Call("a3"), 7.8, 2.0)
        await driver.safe_state()
        assert plc.starts == 0
        assert (await driver.outcome(await intent(driver))).verdict is Verdict.UNKNOWN


async def test_a_relay_that_is_cut_off_while_held_is_a_fault_not_unreachable() -> None:
    async with lab(RelayBox(), profile="relay") as (driver, plc):
        crimp = asyncio.ensure_future(driver.crimp(Call("a1"), 7.8, 2.0))
        await eventually(lambda: plc.coils[0])
        plc.swallow = lambda _: True
        with pytest.raises(Fault, match="could not be let go"):
            await crimp


# ── profiles ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("  init: 5\n", "coils.init: Field required"),
        ("  stop: 1\n", "overlap"),
        ("  ram: 2 ", "overlap"),
    ],
)
def test_a_mistake_in_a_profile_is_told_with_its_place(tmp_path: Path, change: str, words: str) -> None:
    shipped = Path(__file__).parents[2] / "drivers" / "plc_crimper" / "handshake.yaml"
    broken = {"  init: 5\n": "", "  stop: 1\n": "  stop: 0\n", "  ram: 2 ": "  ram: 1 "}[change]
    file = tmp_path / "press.yaml"
    file.write_text(shipped.read_text().replace(change, broken, 1))
    with pytest.raises(ValueError, match=words) as told:
        load(str(file))
    assert str(file) in str(told.value)


def test_settings_name_what_is_wrong() -> None:
    for settings in ({"address": "10.0.0.7"}, {"address": "modbus://plc", "profile": "none.yaml"}):
        with pytest.raises(ValidationError, match=r"is no Modbus address|neither one of handshake, relay"):
            DRIVER(Setup("press", settings))


def test_the_press_works_on_its_nest() -> None:
    assert DRIVER(Setup("press", {"address": "serial:///dev/ttyUSB0?parity=E"})).place_of("") == "press/nest"
