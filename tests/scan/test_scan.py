"""Scans of simulated devices on their real wires: found, identified, never moved; and a lab.yaml that holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from typer.testing import CliRunner

from drivers.julabo import DRIVER as JULABO
from drivers.keithley import DRIVER as KEITHLEY
from drivers.meca500 import DRIVER as MECA500
from drivers.mg400 import DRIVER as MG400
from drivers.neware import DRIVER as NEWARE
from drivers.opentrons import DRIVER as OPENTRONS
from drivers.plc_crimper import DRIVER as CRIMPER
from labd.cli.app import app
from labd.lab.check import check_lab
from labd.scan import Candidate, Found, Kinds, ScanError, generic, hosts, hosts_of, propose, scan_hosts, scan_ports
from labd.scan.ports import Port
from labd.sdk import About, Driver
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World
from simulators.julabo import SIMULATOR as BATH
from simulators.meca500 import SIMULATOR as ARM
from simulators.mg400 import SIMULATOR as MG400_ARM
from simulators.opentrons import SIMULATOR as ROBOT
from simulators.plc_crimper import SIMULATOR as PRESS
from tests.peers import Peer
from tests.toys import Toy


@contextlib.asynccontextmanager
async def simulated(kind: type[Simulator], settings: dict[str, Any], name: str = "it") -> AsyncIterator[dict[str, Any]]:
    simulator = kind(Bench(name, World(seed=3), settings))
    found = await simulator.start()
    try:
        yield {**settings, **found}
    finally:
        await simulator.stop()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def kinds(**found_at: tuple[type[Driver], dict[str, int]]) -> Kinds:
    """Drivers that look for their devices where a test has them."""
    return Kinds({name: type(name, (cls,), {"found_at": where}) for name, (cls, where) in found_at.items()})


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else listens on this machine is none of a test's business."""
    monkeypatch.setattr(hosts, "GENERIC", ())


async def test_a_robot_on_a_host_is_identified_by_its_driver() -> None:
    settings = {"address": "http://127.0.0.1:0", "pipettes": {}}
    async with simulated(ROBOT, settings, "ot2") as there:
        port = port_of(there["address"])
        known = kinds(opentrons=(OPENTRONS, {"http://{host}:" + str(port): port}))
        (found,) = await scan_hosts(known, ["127.0.0.1"])
        assert found.identified
        assert found.candidates == (Candidate("opentrons", f"http://127.0.0.1:{port}"),)
        assert found.about is not None
        assert found.about.model.startswith("OT-2")


async def test_an_arm_is_listened_to_at_its_monitoring_port_and_its_control_stays_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with simulated(ARM, {"address": "127.0.0.1:0"}, "arm") as there:
        control = port_of(there["address"])
        monitor = control + 1
        monkeypatch.setattr("drivers.meca500.driver.MONITOR_PORT", monitor)
        known = kinds(meca500=(MECA500, {"{host}": monitor}))
        (found,) = await scan_hosts(known, ["127.0.0.1"])
        assert (found.identified, found.candidates[0].address) == (True, "127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", control)
        assert (await reader.readuntil(b"\0")).startswith(b"[3000]")  # nobody has control
        writer.close()


@pytest.mark.parametrize(
    ("said", "model"),
    [
        (b"KEITHLEY INSTRUMENTS,MODEL 2450,04451117,1.7.7b\n", "KEITHLEY INSTRUMENTS MODEL 2450"),
        (b"Rigol Technologies,DP832,DP8C1,00.01.14\n", None),
        (b"who is there?\n", None),
    ],
)
async def test_a_source_meter_is_known_by_its_name_alone(said: bytes, model: str | None) -> None:
    async with serving(said) as (port, heard):
        known = kinds(keithley=(KEITHLEY, {"tcp://{host}:" + str(port): port}))
        (found,) = await scan_hosts(known, ["127.0.0.1"])
        assert (found.about.model if found.about is not None else None) == model
        assert heard[0] == b"*IDN?\n"


async def test_a_bath_at_a_serial_port_is_asked_only_where_that_was_allowed(tmp_path: Path) -> None:
    async with simulated(BATH, {"address": str(tmp_path / "bath")}, "bath") as there:
        known = kinds(julabo=(JULABO, {"{port}": 0}))
        port = Port(there["address"], "0403:6001:FT232R", "FTDI")
        (found,) = await scan_ports(known, [port])
        assert (found.identified, [one.driver for one in found.candidates]) == (False, ["julabo"])
        (found,) = await scan_ports(known, [port], ask=[port.path])
        assert found.identified
        assert found.about is not None
        assert found.about.model


async def test_an_mg400_is_known_by_its_feedback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with simulated(MG400_ARM, {"address": "127.0.0.1:0"}, "arm") as there:
        port = int(str(there["feedback"]).rpartition(":")[2])
        monkeypatch.setattr("drivers.mg400.driver.FEEDBACK", port)
        (found,) = await scan_hosts(kinds(mg400=(MG400, {"{host}": port})), ["127.0.0.1"])
        assert found.about == About(model="Dobot MG400")


class Quiet(Peer):
    """Something at a serial port that only hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""

    def hear(self, data: bytes) -> None:
        self.heard += data


async def test_an_unknown_port_hears_nothing_unless_it_was_named() -> None:
    peer = Quiet()
    try:
        known = kinds(julabo=(JULABO, {"{port}": 0}))
        (found,) = await scan_ports(known, [Port(peer.port, "", "a port")])
        assert (peer.heard, found.about, found.problem) == (b"", None, None)
        (found,) = await scan_ports(known, [Port(peer.port, "", "a port")], ask_all=True)
        assert (found.identified, peer.heard.startswith(b"version")) == (False, True)
    finally:
        peer.unplug()


async def test_a_usb_interface_that_tells_its_driver_is_asked_by_that_one_alone() -> None:
    asked: list[str] = []

    class Certain(Toy):
        usb = ("16D0:04DC",)
        found_at = {"{port}": 0}

        @classmethod
        async def identify(cls, address: str) -> About | None:
            asked.append(address)
            return About(model="certain")

    class Other(Toy):
        found_at = {"{port}": 0}

        @classmethod
        async def identify(cls, address: str) -> About | None:
            raise AssertionError("it was asked")

    peer = Quiet()
    try:
        known = Kinds({"certain": Certain, "other": Other})
        (found,) = await scan_ports(known, [Port(peer.port, "16d0:04dc:EmStat", "PalmSens")])
        assert (asked, found.candidates) == ([peer.port], (Candidate("certain", peer.port),))
        assert found.identified
    finally:
        peer.unplug()


async def test_a_port_that_is_gone_or_in_use_is_told_and_not_asked(tmp_path: Path) -> None:
    (found,) = await scan_ports(
        kinds(julabo=(JULABO, {"{port}": 0})), [Port(str(tmp_path / "x"), "", "x")], ask_all=True
    )
    assert (found.problem, found.candidates) == ("there is no such port", ())


# ── servers that anybody may ask ─────────────────────────────────────────────────────────────────────────────────
@contextlib.asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(4096)
        if data:
            heard.append(data)
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: lighttpd/1.4\r\n\r\n", "an HTTP server: lighttpd/1.4"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "an HTTP server"),
        (b"SSH-2.0-OpenSSH\r\n", "something listens, and does not say what it is"),
        (b"", "something listens, and does not say what it is"),
    ],
)
async def test_what_answers_to_http_is_told(answer: bytes, said: str) -> None:
    async with serving(answer) as (port, heard):
        assert (await generic.describe("127.0.0.1", port))[1] == said
        assert heard[0].startswith(b"HEAD / ")


async def test_a_server_of_opc_ua_is_known_by_its_hello() -> None:
    async with serving(b"ACKF" + bytes(24)) as (port, heard):
        assert (await generic.opc_ua("127.0.0.1", port)).startswith("an OPC UA server")
        assert heard[0].startswith(b"HELF")
    async with serving(b"nonsense") as (port, _):
        assert await generic.opc_ua("127.0.0.1", port) == ""


async def test_a_modbus_server_is_asked_for_its_names_and_nothing_is_written() -> None:
    identity = ModbusDeviceIdentification(
        info_name={"VendorName": "WAGO", "ProductCode": "750-8212", "MajorMinorRevision": "4.1"}
    )
    registers = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, [7] * 10))
    context = ModbusServerContext(devices=registers, single=True)
    server = ModbusTcpServer(context, identity=identity, address=("127.0.0.1", 0))
    await server.listen()
    try:
        port = server.transport.sockets[0].getsockname()[1]
        assert await generic.modbus("127.0.0.1", port) == "a Modbus server: WAGO, 750-8212, 4.1"
        known = kinds(plc_crimper=(CRIMPER, {"modbus://{host}:" + str(port): port}))
        (found,) = await scan_hosts(known, ["127.0.0.1"])
        assert (found.identified, [one.driver for one in found.candidates]) == (False, ["plc_crimper"])
    finally:
        await server.shutdown()
    async with serving(bytes([0, 1, 0, 0, 0, 3, 1, 0xAB, 1])) as (port, _):
        assert "does not say what it is" in await generic.modbus("127.0.0.1", port)


async def test_a_device_at_another_port_is_known_by_what_it_speaks() -> None:
    known = kinds(plc_crimper=(CRIMPER, {"modbus://{host}:502": 502}), opentrons=(OPENTRONS, {"http://{host}:1": 1}))
    async with (
        simulated(PRESS, {"address": "modbus://127.0.0.1:0"}) as press,
        simulated(ROBOT, {"address": "http://127.0.0.1:0"}) as robot,
    ):
        ports = [port_of(press["address"]), port_of(robot["address"])]
        first, second = sorted(await scan_hosts(known, ["127.0.0.1"], ports), key=lambda one: one.identified)
    assert first.candidates == (Candidate("plc_crimper", press["address"]),)
    assert "a Modbus server" in first.what
    assert (second.identified, second.candidates) == (True, (Candidate("opentrons", robot["address"]),))


async def test_two_that_could_be_at_one_port_are_both_told() -> None:
    async with serving(b"") as (port, _):
        where = {"{host}:" + str(port): port}
        known = kinds(neware=(NEWARE, where), plc_crimper=(CRIMPER, {"modbus://{host}:" + str(port): port}))
        (found,) = await scan_hosts(known, ["127.0.0.1"])
        assert {one.driver for one in found.candidates} == {"neware", "plc_crimper"}
        assert "one of neware, plc_crimper, only one of them" in propose([found], known)


async def test_a_host_that_is_silent_costs_a_deadline_and_is_not_told() -> None:
    known = kinds(opentrons=(OPENTRONS, {"http://{host}:9": 9}))
    assert await scan_hosts(known, ["127.0.0.1"]) == []


def test_hosts_are_named_or_a_small_network() -> None:
    assert hosts_of(["localhost", "10.0.0.4/30", "10.0.0.5", "[fe80::1]"]) == [
        "localhost",
        "10.0.0.5",
        "10.0.0.6",
        "fe80::1",
    ]
    for word, said in (
        ("10.0.0.0/8", "one scan takes 256"),
        ("10.0.0.x/30", "no network"),
        ("plc:502", "plc --port 502"),
        ("no..host", "no known host"),
    ):
        with pytest.raises(ScanError, match=said):
            hosts_of([word])


# ── the proposal ─────────────────────────────────────────────────────────────────────────────────────────────────
FOUND = [
    Found("10.0.0.7:31950", "OT-2 Standard", (Candidate("opentrons", "http://10.0.0.7:31950"),), About(model="OT-2")),
    Found("10.0.0.8:31950", "OT-2 Standard", (Candidate("opentrons", "http://10.0.0.8:31950"),), About(model="OT-2")),
    Found("10.0.0.9:502", "a Modbus server:\nevil: x", (Candidate("plc_crimper", "modbus://10.0.0.9:502"),)),
    Found(
        "/dev/ttyUSB0",
        'FTDI "x"',
        (Candidate("julabo", "/dev/ttyUSB0"), Candidate("methodscript", "/dev/ttyUSB0")),
        None,
        "it is in use by minicom (pid 7)",
    ),
    Found("10.0.0.9:80", "an HTTP server"),
]


def checked(text: str, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "lab.yaml").write_text(text)
    found = check_lab(tmp_path / "lab.yaml")
    assert [one.render() for one in found.problems if one.severity == "error"] == []
    assert found.lab is not None
    return tuple(found.lab.devices)


def test_what_is_certain_stands_in_the_proposal_and_the_rest_in_comments(tmp_path: Path) -> None:
    text = propose(FOUND, Kinds.installed())
    assert checked(text, tmp_path) == ("opentrons", "opentrons2")
    assert "one of julabo, methodscript, only one of them" in text
    assert "minicom (pid 7)" in text
    assert "\nevil" not in text
    assert "no driver that is installed" in text


def test_the_comments_become_devices_once_their_mark_is_taken_away(tmp_path: Path) -> None:
    text = propose(FOUND[2:3], Kinds.installed())
    assert checked(text, tmp_path) == ()
    opened = [line.removeprefix("  #") if line.startswith("  #  ") else line for line in text.splitlines()]
    assert checked("\n".join(opened).replace("devices: {}", "devices:"), tmp_path) == ("plc_crimper",)


def test_nothing_found_is_an_empty_lab_that_holds(tmp_path: Path) -> None:
    assert checked(propose([], Kinds.installed()), tmp_path) == ()


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def bath(tmp_path: Path) -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_the_command_proposes_on_stdout_and_tells_on_stderr(tmp_path: Path, bath: str) -> None:
    ended = CliRunner().invoke(app, ["scan", "--no-serial", "--name", "box-2"])
    assert ended.exit_code == 0, ended.output
    assert "nothing was found" in ended.stderr
    assert checked(ended.stdout, tmp_path) == ()
    assert "lab: box-2" in ended.stdout
    ended = CliRunner().invoke(app, ["scan", "--no-serial", "--name", "My Lab"])
    assert (ended.exit_code, "is no name for a lab" in ended.stderr) == (2, True)
    ended = CliRunner().invoke(app, ["scan", "10.0.0.0/8"])
    assert ended.exit_code == 2
    assert "one scan takes 256" in ended.stderr
