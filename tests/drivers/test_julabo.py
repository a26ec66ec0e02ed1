"""The Julabo driver against a thermostat on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.julabo import DRIVER, Julabo
from labd import clock
from labd.sdk import Call, DeviceError, Fault, OutcomeUnknown, Rejected, Setup, Unreachable
from tests.peers import Peer, Scripted, Table


class Unit(Table):
    """A thermostat with a setpoint and a switch; `answers` go first."""

    def __init__(self, **told: object) -> None:
        super().__init__("\r", {"version": "JULABO CORIO CP Version 1.3", "in_pv_00": "21.98", **told})
        self.setpoint, self.running, self.deaf = "20.00", 0, 0
        self.gaps: list[float] = []
        self._heard_at = -1.0

    def answer(self, line: str) -> None:
        self.gaps.append(clock.monotonic() - self._heard_at)
        self._heard_at = clock.monotonic()
        command, _, value = line.partition(" ")
        if command.startswith("out_") and not self.deaf:
            if command == "out_sp_00":
                self.setpoint = value
            else:
                self.running = int(value)
        if not command.startswith("out_") and line not in self.answers:
            state = {"status": f"{2 + self.running:02d} REMOTE {'START' if self.running else 'STOP'}"}
            self.say({**state, "in_sp_00": self.setpoint, "in_mode_05": f"{self.running}"}[line] + "\r\n")
            return
        super().answer(line)

    @property
    def orders(self) -> list[str]:
        return [line for line in self.heard if line.startswith("out_")]


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: Any) -> AsyncIterator[Julabo]:
    driver = DRIVER(Setup("bath", {"address": peer.port, **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: Any) -> AsyncIterator[Julabo]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


async def test_a_transcript_of_setting_reading_and_stopping() -> None:
    peer = Scripted("julabo_set.jsonl")
    async with driver_of(peer) as driver:
        about = await driver.connect()
        await driver.set_temperature(Call("a1"), 55.5)
        state = await driver.read_state()
        await driver.stop(Call("a2"))
    assert (about.model, about.firmware) == ("JULABO HIGHTECH FL-Series", "1.13")
    assert (state.temperature, state.setpoint, state.running, state.status) == (21.37, 55.5, True, "03 REMOTE START")
    assert not peer.player.rest


# ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("version", "model", "firmware"),
    [
        ("V 1.30", "Julabo", "1.30"),
        ("JULABO FP50_HE.  VERSION 1.4", "JULABO FP50_HE.", "1.4"),
        ("FL601 V3.0", "FL601", "3.0"),
    ],
)
async def test_versions_of_older_models_are_known_as_such(version: str, model: str, firmware: str) -> None:
    async with driver_of(Unit(version=version)) as driver:
        about = await driver.connect()
        assert (about.model, about.firmware) == (model, firmware)


@pytest.mark.parametrize("told", [{"version": None}, {"status": "S S  100.00 g"}])
async def test_silence_and_another_device_say_what_to_check(told: dict[str, object]) -> None:
    async with driver_of(Unit(**told)) as driver:
        with pytest.raises(Unreachable, match=r"no thermostat answers; is it on, is its interface RS232"):
            await driver.connect()


async def test_connecting_changes_nothing() -> None:
    peer = Unit()
    async with connected(peer):
        assert peer.orders == []


# ── setting ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_it_is_done_when_setpoint_and_start_are_read_back_not_when_the_bath_is_there() -> None:
    peer = Unit()
    accepted: list[Any] = []
    async with connected(peer) as driver:
        began = clock.monotonic()
        await driver.set_temperature(Call("a1", on_accepted=accepted.append), 25.0)
        assert clock.monotonic() - began < 3
    assert peer.orders == ["out_sp_00 25.00", "out_mode_05 1"]
    assert (peer.setpoint, peer.running) == ("25.00", 1)
    assert accepted == [{"setpoint": 25.0}]


async def test_between_two_commands_lie_250_ms() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        await driver.set_temperature(Call("a1"), 25.0)
        await driver.read_state()
    assert min(peer.gaps[1:]) >= 0.249


async def test_a_coarse_device_keeps_a_tenth() -> None:
    async with connected(Unit(in_sp_00="25.0")) as driver:
        await driver.set_temperature(Call("a1"), 25.04)


@pytest.mark.parametrize("temperature", [4.9, 80.5])
async def test_a_setpoint_beyond_lab_yaml_is_refused_before_anything_is_sent(temperature: float) -> None:
    peer = Unit()
    async with connected(peer) as driver:
        count = len(peer.heard)
        with pytest.raises(Rejected, match=r"°C that its settings in lab\.yaml allow"):
            await driver.set_temperature(Call("a1"), temperature)
        assert len(peer.heard) == count


async def test_an_order_that_did_not_arrive_is_unknown_so_that_it_is_sent_again() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        peer.deaf = 1
        with pytest.raises(OutcomeUnknown, match=r"setpoint is read back as 20 °C: 02 REMOTE STOP"):
            await driver.set_temperature(Call("a1"), 25.0)
        assert peer.orders == ["out_sp_00 25.00"]  # an old setpoint is never started
        peer.deaf = 0
        await driver.set_temperature(Call("a1"), 25.0)


async def test_a_start_that_did_not_arrive_is_unknown() -> None:
    async with connected(Unit(in_mode_05="0")) as driver:
        with pytest.raises(OutcomeUnknown, match="the device is read back as off"):
            await driver.set_temperature(Call("a1"), 25.0)


STOPPED = "02 REMOTE STOP"


@pytest.mark.parametrize(
    ("statuses", "kind", "words"),
    [
        ([STOPPED, STOPPED, "-11 VALUE TOO LARGE"], Rejected, "-11 VALUE TOO LARGE"),
        ([STOPPED, STOPPED, "-10 VALUE TOO SMALL"], Rejected, "-10 VALUE TOO SMALL"),
        ([STOPPED, STOPPED, "-13 VALUE EXCEEDS TEMPERATURE LIMITS"], Rejected, "-13 VALUE EXCEEDS"),
        ([STOPPED, STOPPED, "-09 COMMAND NOT ALLOWED IN CURRENT OPERATING MODE"], Rejected, "-09 COMMAND NOT ALLOWED"),
        ([STOPPED, STOPPED, "-14 EXCESS TEMPERATURE PROTECTOR ALARM"], Fault, "-14 EXCESS TEMPERATURE"),
        ([STOPPED, STOPPED, "01 MANUAL START"], Rejected, "set it to remote control at its panel"),
        ([STOPPED, "-01 LOW LEVEL ALARM"], Fault, "look at it: -01 LOW LEVEL ALARM"),
        ([STOPPED, "-07 I2C-BUS ERROR"], Fault, "-07 I2C-BUS ERROR"),
        ([STOPPED, "00 MANUAL STOP"], Rejected, "set it to remote control at its panel"),
    ],
)
async def test_why_it_did_not_take_an_order_stands_in_its_status(
    statuses: list[str], kind: type[DeviceError], words: str
) -> None:
    async with connected(Unit(status=statuses, in_sp_00="20.00")) as driver:
        with pytest.raises(DeviceError, match=words) as told:
            await driver.set_temperature(Call("a1"), 25.0)
    assert type(told.value) is kind


@pytest.mark.parametrize(
    "status", ["-40 NIVEAU LEVEL WARNING", "-03 EXCESS TEMPERATURE WARNING", "-08 INVALID COMMAND"]
)
async def test_a_warning_and_an_old_mistake_do_not_keep_it_from_being_set(status: str) -> None:
    peer = Unit(status=status)
    async with connected(peer) as driver:
        await driver.set_temperature(Call("a1"), 25.0)
    assert peer.running == 1


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_an_alarm_is_a_signal_and_a_temperature_that_it_lacks_is_none() -> None:
    async with connected(Unit(status="-05 WORKING SENSOR ALARM", in_pv_00="---.--")) as driver:
        state = await driver.read_state()
    assert (state.temperature, state.setpoint) == (None, 20.0)
    assert (state.running, state.status) == (False, "-05 WORKING SENSOR ALARM")


@pytest.mark.parametrize("answer", ["2~.98", "nan", "03 REMOTE START"])
async def test_a_disturbed_answer_is_no_temperature(answer: str) -> None:
    async with connected(Unit(in_pv_00=answer)) as driver:
        with pytest.raises(OutcomeUnknown, match="in_pv_00 is no number"):
            await driver.read_state()


async def test_silence_is_unknown_and_a_late_answer_is_not_the_next_ones() -> None:
    peer = Unit(in_pv_00=[(3.0, "99.99"), "21.98"])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer in time"):
            await driver.read_state()
        state = await driver.read_state()
    assert (state.temperature, state.setpoint) == (21.98, 20.0)


async def test_a_poll_while_it_is_set_gives_the_values_before() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        before = await driver.read_state()
        async with asyncio.TaskGroup() as group:
            group.create_task(driver.set_temperature(Call("a1"), 25.0))
            await asyncio.sleep(0.1)
            assert await driver.read_state() == before
        assert peer.heard.count("in_pv_00") == 1


async def test_an_unplugged_line_is_unreachable() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        peer.unplug()
        with pytest.raises(DeviceError, match="lost"):
            await driver.read_state()
        with pytest.raises(Unreachable):
            await driver.read_state()


# ── safe ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_made_safe_it_stops_as_often_as_it_is_told() -> None:
    peer = Unit()
    async with connected(peer) as driver:
        await driver.set_temperature(Call("a1"), 60.0)
        await driver.safe_state()
        await driver.safe_state("")
    assert (peer.setpoint, peer.running) == ("60.00", 0)


async def test_made_safe_while_it_is_being_set_it_is_off_at_the_end() -> None:
    peer = Unit()
    async with connected(peer) as driver, asyncio.TaskGroup() as group:
        group.create_task(driver.set_temperature(Call("a1"), 60.0))
        await asyncio.sleep(0.1)
        await driver.safe_state()
        assert peer.orders[-1] == "out_mode_05 0"
        assert peer.running == 0


async def test_a_bath_that_guards_cells_is_kept() -> None:
    peer = Unit()
    async with connected(peer, safe="keep") as driver:
        await driver.set_temperature(Call("a1"), 60.0)
        await driver.safe_state()
    assert peer.running == 1


async def test_a_bath_with_a_safe_temperature_goes_there_and_stays_on() -> None:
    peer = Unit()
    async with connected(peer, safe="10 degC") as driver:
        await driver.safe_state()
    assert (peer.setpoint, peer.running) == ("10.00", 1)


async def test_a_bath_that_cannot_be_stopped_is_a_fault_or_in_somebodys_hands() -> None:
    for status, kind in (("01 MANUAL START", Rejected), ("-07 I2C-BUS ERROR", Fault)):
        async with connected(Unit(status=[STOPPED, status], in_mode_05="1")) as driver:
            with pytest.raises(kind):
                await driver.safe_state()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "bath"}, "is no address"),
        ({"address": "/dev/ttyS0", "safe": "90 degC"}, r"safe: 90 °C is above the greatest, 80 °C"),
        ({"address": "/dev/ttyS0", "safe": "perhaps"}, "stop"),
        ({"address": "/dev/ttyS0", "max_temperature": "9 kN"}, "kN is a force"),
    ],
)
def test_settings_name_what_is_wrong(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DRIVER(Setup("bath", settings))


def test_no_sample_has_a_bath_for_itself() -> None:
    assert DRIVER(Setup("bath", {"address": "tcp://10.0.0.7:4001"})).place_of("") is None


# ── answers that are nobody's ────────────────────────────────────────────────────────────────────────────────────
async def test_an_answer_that_comes_twice_is_not_the_next_ones() -> None:
    peer = Unit(in_sp_00="32.57\r\n32.57")
    async with connected(peer) as driver:
        signals = await driver.read_state()
        assert (signals.setpoint, signals.running) == (32.57, False)


async def test_after_a_late_answer_its_version_shows_that_nothing_older_is_on_the_line() -> None:
    peer = Unit(in_pv_00=[(9.0, "99.99"), "21.98"])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        for _ in range(4):
            with contextlib.suppress(OutcomeUnknown):
                assert (await driver.read_state()).temperature == 21.98
        assert peer.heard.count("version") > 1


@pytest.mark.parametrize("line", ["21.98 ", "-5", "150.00"])
async def test_what_is_a_temperature(line: str) -> None:
    async with connected(Unit(in_pv_00=line)) as driver:
        assert (await driver.read_state()).temperature == float(line)


@pytest.mark.parametrize("line", ["2198", "\x00\x00.98", "21.9x", "03 REMOTE START", "1e3", "nan"])
async def test_what_is_none_is_not_believed_and_the_line_is_cleared(line: str) -> None:
    peer = Unit(in_pv_00=[line, "21.98"])
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        assert (await driver.read_state()).temperature == 21.98
        assert peer.heard.count("version") == 2
