"""The keithley driver's reading of addresses and answers, a transcript, and VISA in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.keithley import DRIVER, Keithley
from drivers.keithley.wire import Address, TcpWire
from labd import clock
from labd.io.transcript import ReplayLink, Transcript
from labd.lab.recording import links_of
from labd.sdk import Call, Fault, OutcomeUnknown, Setup, Unreachable
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.keithley import SIMULATOR

TRANSCRIPT = Path(__file__).parents[1] / "transcripts" / "keithley_hold.jsonl"
SETTINGS: dict[str, Any] = {"address": "10.0.0.9", "max_voltage": 4.3, "max_current": 0.01}


def driver_of(**settings: Any) -> Keithley:
    return DRIVER(Setup("smu", {**SETTINGS, **settings}))


def replayed(driver: Keithley) -> ReplayLink:
    assert isinstance(driver._meter.wire, TcpWire)
    link = driver._meter.wire.link = ReplayLink(Transcript.read(TRANSCRIPT))  # type: ignore[assignment]
    return link


async def test_a_transcript_of_holding_a_voltage() -> None:
    driver = driver_of()
    link = replayed(driver)
    about = await driver.connect()
    assert (about.model, about.serial, about.firmware) == ("Keithley 2450", "04451117", "1.6.7c")
    rows: list[tuple[float | None, ...]] = []
    result = await driver.constant_voltage(Call("a1", on_row=rows.append), 4.1, 2.0, None, 1.0)
    assert (result.reason, result.final_current) == ("time", 4.8e-4)
    assert rows == [(0.0, 4.1, 5e-4), (1.0, 4.1, 4.9e-4), (2.0, 4.1, 4.8e-4)]
    assert result.charge == pytest.approx(2 * 4.9e-4 / 3.6)
    assert not link.player.rest
    await driver.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.9", Address("10.0.0.9", 5025)),
        ("tcp://smu.lab:5026", Address("smu.lab", 5026)),
        ("TCPIP0::10.0.0.9::5025::SOCKET", Address("10.0.0.9", 5025)),
        ("tcpip::10.0.0.9::5025::socket", Address("10.0.0.9", 5025)),
    ],
)
def test_an_instrument_on_the_network_needs_no_visa(text: str, found: Address) -> None:
    assert Address.parse(text) == found
    driver = driver_of(address=text)
    assert isinstance(driver._meter.wire, TcpWire)
    assert driver.own_link() == f"{found.host}:{found.port}"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"address": "USB0::0x05E6::0x2450::04451117::INSTR"}, "write `visa://USB0::0x05E6"),
        ({"address": "http://x/y"}, "no address"),
        ({"min_voltage": 5.0}, "min_voltage, 5 V, must be below"),
        ({"max_voltage": 30.0}, "more than 20 V"),
        ({"max_current": 2.0}, r"a 2450 sources 1\.05 A at most"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        driver_of(**change)


def test_visa_without_pyvisa_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"needs pyvisa: install `labd\[visa\]`"):
        driver_of(address="visa://GPIB0::18::INSTR")


async def test_nobody_at_the_address_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="nobody listens"):
        await driver_of(address="127.0.0.1:1").connect()


@pytest.mark.parametrize(
    ("query", "answer", "method"),
    [
        (":OUTP?", "0.5", "is_on"),
        (':READ? "defbuffer1",SOUR,READ,REL', "1", "sample"),
        (":SYST:ERR?", "1", "settle_log"),
    ],
)
async def test_an_answer_that_does_not_fit_is_doubted(query: str, answer: str, method: str) -> None:
    driver = driver_of()
    doubts: list[str] = []

    class Odd(TcpWire):
        async def ask(self, query: str, *orders: str) -> str:
            return answer

        def doubt(self) -> None:
            doubts.append(query)

    driver._meter.wire = Odd("x", 1)
    with pytest.raises(OutcomeUnknown, match="is of something else"):
        await getattr(driver._meter, method)()
    assert doubts == [query]


async def test_something_else_at_the_address_is_a_fault() -> None:
    driver = driver_of()

    class Other(TcpWire):
        async def open(self) -> None:
            pass

        async def ask(self, query: str, *orders: str) -> str:
            return "RIGOL TECHNOLOGIES,DG1022,DG1000000002,00.03.00"

    driver._meter.wire = Other("x", 1)
    with pytest.raises(Fault, match="no Keithley"):
        await driver.connect()


async def test_the_same_over_visa_in_a_process_of_its_own(tmp_path: Path) -> None:
    for name in ("pyvisa", "pyvisa_py"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    world = World(seed=3)
    world.lay_cell("smu/cell", clock.now().timestamp())
    settings = {"address": "visa://TCPIP0::127.0.0.1::0::SOCKET"}
    simulator = SIMULATOR(Bench("smu", world, settings, directory=tmp_path))
    driver = driver_of(**await simulator.start())
    try:
        about = await driver.connect()
        assert about.model == "Keithley 2450"
        (link,) = links_of(driver)
        told: list[tuple[str, bytes]] = []
        link.tap = lambda way, data: told.append((way, data))
        await driver.read_state()
        assert told == [("out", b":OUTP?\n"), ("in", b"0\n")]  # as it is on a socket
        result = await driver.constant_current(Call("a1"), 1e-3, 30.0, None, 10.0)
        assert (result.reason, result.charge) == ("time", pytest.approx(30 / 3600, rel=0.1))
        simulator.faults["lost_replies"] = 1
        with pytest.raises(OutcomeUnknown, match="VI_ERROR_TMO"):
            await driver.read_state()
        assert (await driver.read_state()).current == 0.0
        await asyncio.sleep(1)
        await driver.safe_state()
    finally:
        await driver.close()
        await simulator.stop()
