"""The simulated SourceMeter, asked with plain SCPI, and by strangers' clients."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.io.worker import Worker
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.keithley import SIMULATOR, KeithleySimulator
from simulators.keithley.scpi import commands, header
from tests.simulators.text import Text


@contextlib.asynccontextmanager
async def smu(tmp_path: Path, *, cell: bool = False, **settings: Any) -> AsyncIterator[tuple[KeithleySimulator, Text]]:
    world = World(seed=3)
    if cell:
        world.lay_cell("smu/cell", clock.now().timestamp())
    simulator = SIMULATOR(Bench("smu", world, {"address": "127.0.0.1:0", **settings}, directory=tmp_path))
    found = await simulator.start()
    try:
        with await Text.open(found["address"]) as client:
            yield simulator, client
    finally:
        await simulator.stop()


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            "SOURce#:VOLTage[:LEVel[:IMMediate]]",
            ["SOUR:VOLT", "SOURCE1:VOLTAGE:LEV", "SOUR:VOLT:LEV:IMM"],
            ["SOURC:VOLT", "SOUR2:VOLT"],
        ),
        ("OUTPut#[:STATe]", ["OUTP", "OUTPUT", "OUTP1:STATE"], ["OUTPU", "OUTP:STA"]),
        ("*IDN", ["*IDN"], ["IDN"]),
    ],
)
def test_long_and_short_forms(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(header(pattern).fullmatch(one) for one in yes)
    assert not any(header(pattern).fullmatch(one) for one in no)


def test_a_chain_keeps_its_path_and_quotes_are_whole() -> None:
    assert list(commands(":SENS:CURR:RANG:AUTO 0;RANG 1e-3;*ESE 7;NPLC 2;:SENS:FUNC 'A;B'")) == [
        ("SENS:CURR:RANG:AUTO", False, "0"),
        ("SENS:CURR:RANG:RANG", False, "1e-3"),
        ("*ESE", False, "7"),
        ("SENS:CURR:RANG:NPLC", False, "2"),
        ("SENS:FUNC", False, "'A;B'"),
    ]


async def test_it_tells_who_it_is_and_what_went_wrong(tmp_path: Path) -> None:
    async with smu(tmp_path) as (_, client):
        assert (await client.ask(b"*IDN?\n")).startswith(b"KEITHLEY INSTRUMENTS,MODEL 2450,0445")
        assert await client.ask(b"*LANG?\n") == b"SCPI"
        assert await client.ask(b":SYST:ERR?\n") == b'0,"No error;0;0 0"'
        client.send(b":SOUR:VLT 3\n:SOUR:VOLT 300\n:SOUR:VOLT\n:OUTP MAYBE\n")
        for code in (b"-113", b"-222", b"-109", b"-104", b"0"):
            assert (await client.ask(b":SYST:ERR:NEXT?\n")).split(b",")[0] == code
        client.send(b":SOUR:VLT 3\n*CLS\n")
        assert await client.ask(b":SYST:ERR?\n") == b'0,"No error;0;0 0"'
        assert await client.ask(b"*ESE 42;*ESE?\n") == b"42"
        assert await client.ask(b":SOUR:VOLT 3.3;:SOUR:VOLT?;:SOUR:VOLT:ILIM?\n") == b"3.300000E+00;1.050000E-04"


async def test_a_source_with_a_limit_charges_a_cell(tmp_path: Path) -> None:
    async with smu(tmp_path, cell=True) as (simulator, client):
        client.send(b":OUTP:SMOD HIMP;:SENS:CURR:RSEN ON;:SOUR:FUNC VOLT;:SOUR:VOLT 4.2;:SOUR:VOLT:ILIM 1e-3\n")
        client.send(b':SENS:FUNC "CURR";:OUTP ON\n')
        assert await client.ask(b":OUTP?;:SOUR:VOLT:ILIM:TRIP?\n") == b"1;1"
        volts, amps, seconds = (
            float(one) for one in (await client.ask(b':READ? "defbuffer1",SOUR,READ,REL\n')).split(b",")
        )
        assert (volts < 3.9, seconds) == (True, 0.0)
        assert amps == pytest.approx(1e-3, rel=1e-3)
        simulator.step(6 * 3600)
        assert await client.ask(b":SOUR:VOLT:ILIM:TRIP?\n") == b"0"
        assert float(await client.ask(b":MEAS:VOLT?\n")) == pytest.approx(4.2, abs=1e-3)
        client.send(b":OUTP OFF\n")
        assert await client.ask(b":READ?\n") == b"9.910000E+37"
        assert await client.ask(b':TRAC:ACT?;:TRAC:DATA? 1, 1, "defbuffer1", REL\n') == b"3;0.000000"


async def test_the_normal_off_state_runs_a_cell_down_and_another_function_switches_off(tmp_path: Path) -> None:
    async with smu(tmp_path, cell=True) as (simulator, client):
        client.send(b":SOUR:FUNC VOLT;:SOUR:VOLT 4;:SOUR:VOLT:ILIM 1e-3;:OUTP ON\n")
        assert await client.ask(b":OUTP?\n") == b"1"
        simulator.step(3600)
        client.send(b":SOUR:FUNC CURR\n")
        assert await client.ask(b":OUTP?\n") == b"0"
        client.send(b":SOUR:FUNC VOLT\n")
        before = simulator.source._holder.clip(simulator._wall())
        assert before is not None
        charge = before.soc
        simulator.step(3600)
        assert before.soc < charge - 0.2
        charge = before.soc
        client.send(b":OUTP:VOLT:SMOD HIMP\n")
        assert await client.ask(b":OUTP:VOLT:SMOD?\n") == b"HIMP"
        simulator.step(3600)
        assert before.soc == pytest.approx(charge, abs=0.01)


async def test_pymeasure_can_use_it(tmp_path: Path) -> None:
    for name in ("pymeasure", "pyvisa", "pyvisa_py"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    async with smu(tmp_path, cell=True) as (simulator, _):
        assert simulator._server is not None
        port = simulator._server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        peer = Worker("tests.simulators.strangers:Smu", f"TCPIP0::127.0.0.1::{port}::SOCKET")
        await peer.open()
        try:
            assert "MODEL 2450" in await peer.call("identity")
            volts, amps = await peer.call("charge", 3.9, 1e-3)
            assert amps == pytest.approx(1e-3, rel=1e-3)
            assert 0.05 < volts < 3.9
            assert simulator.source.on
            await peer.call("off")
            assert await peer.call("errors") == []
            assert not simulator.source.on
        finally:
            await peer.close()
