"""What is measured beside each other: a driver on its link, and the bare library with the same requests.

The simulators are a process of their own (`labd-sim`), which both ask in turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import serial_asyncio_fast
from pymodbus.client import AsyncModbusTcpClient

from labd.lab.recording import links_of
from labd.sdk import Driver, Setup

LAB = """\
labd: 1
lab: bench
store: store
devices:
  modbus: {driver: plc_crimper, settings: {address: "modbus://127.0.0.1:0", profile: relay}, simulator: {}}
  serial: {driver: cavro, settings: {address: ports/pump, syringe: 1 mL}, simulator: {}}
  scpi: {driver: keithley, settings: {address: "tcp://127.0.0.1:0", max_current: 10 mA}, simulator: {}}
  http: {driver: opentrons, settings: {address: "http://127.0.0.1:0", pipettes: {left: p20_single_gen2}}, simulator: {}}
"""
DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "modbus": ("plc_crimper", {"profile": "relay"}),
    "serial": ("cavro", {"syringe": "1 mL"}),
    "scpi": ("keithley", {"max_current": "10 mA"}),
    "http": ("opentrons", {"pipettes": {"left": "p20_single_gen2"}}),
}
ETX = b"\x03\r\n"  # ends an answer of a pump

Ask = Callable[[], Awaitable[None]]
Bare = Callable[[str, list[bytes]], contextlib.AbstractAsyncContextManager["Side"]]


@dataclass(slots=True)
class Side:
    """One way of asking the device: `ask` is `exchanges` requests with their answers."""

    ask: Ask
    exchanges: int


@contextlib.contextmanager
def simulated(lab: Path, *options: str) -> Iterator[dict[str, str]]:
    """The simulators of a lab in a process of their own; where each is, by its name."""
    command = [sys.executable, "-m", "simulators._kit.host", str(lab), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            found: dict[str, str] = {}
            for line in started.stdout:
                if line.strip() == "ready":
                    break
                if told := re.match(r"(\w+): +\w+ +at +(\S+)", line):
                    found.setdefault(told[1], told[2])
            else:
                raise RuntimeError("the simulators did not start")
            yield found
        finally:
            started.terminate()


@contextlib.asynccontextmanager
async def driven(kind: str, address: str) -> AsyncIterator[tuple[Side, list[bytes]]]:
    """The driver, connected; and what one look of it at the device sends."""
    name, settings = DRIVERS[kind]
    make: type[Driver] = importlib.import_module(f"drivers.{name}").DRIVER
    driver = make(Setup(kind, {**settings, "address": address}))
    await driver.connect()
    try:
        await driver.read_state()  # what only the first look asks
        sent: list[bytes] = []
        (link,) = links_of(driver)
        link.tap = lambda way, data: sent.append(data) if way == "out" else None
        await driver.read_state()
        link.tap = None

        async def ask() -> None:
            await driver.read_state()

        yield Side(ask, len(sent)), sent
    finally:
        await driver.close()


def bare(kind: str, address: str, sent: list[bytes]) -> contextlib.AbstractAsyncContextManager[Side]:
    """The library alone with the same requests and a deadline each, as somebody would write it for a script."""
    return {"modbus": _modbus, "serial": _serial, "scpi": _scpi, "http": _http}[kind](address, sent)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.partition("://")[2].rpartition(":")
    return host, int(port)


@contextlib.asynccontextmanager
async def _modbus(address: str, sent: list[bytes]) -> AsyncIterator[Side]:
    host, port = _host_and_port(address)
    pdus = [bytes.fromhex(one.decode()) for one in sent]
    places = [(int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")) for pdu in pdus]
    assert all(pdu[0] == 2 for pdu in pdus)  # discrete inputs
    client = AsyncModbusTcpClient(host, port=port)
    await client.connect()

    async def ask() -> None:
        for start, count in places:
            reply = await client.read_discrete_inputs(start, count=count, device_id=1)
            if reply.isError():
                raise RuntimeError(str(reply))
            list(reply.bits[:count])

    yield Side(ask, len(sent))
    client.close()


@contextlib.asynccontextmanager
async def _serial(address: str, sent: list[bytes]) -> AsyncIterator[Side]:
    reader, writer = await serial_asyncio_fast.open_serial_connection(url=address, baudrate=9600)

    async def ask() -> None:
        for request in sent:
            writer.write(request)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readuntil(ETX), 1.0)
            answer[: -len(ETX)].decode("ascii", "replace")

    yield Side(ask, len(sent))
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def _scpi(address: str, sent: list[bytes]) -> AsyncIterator[Side]:
    """A socket, waited for by the loop: a thread that waits for one device waits for no other."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(_host_and_port(address), timeout=5.0) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)

        async def ask() -> None:
            for request in sent:
                async with asyncio.timeout(5.0):
                    await loop.sock_sendall(connected, request)
                    answer = await loop.sock_recv(connected, 4096)
                    while not answer.endswith(b"\n"):
                        answer += await loop.sock_recv(connected, 4096)
                answer.decode("ascii").strip()

        yield Side(ask, len(sent))


@contextlib.asynccontextmanager
async def _blocking(address: str, sent: list[bytes]) -> AsyncIterator[Side]:
    with socket.create_connection(_host_and_port(address), timeout=5.0) as connected, connected.makefile("rb") as lines:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def ask() -> None:
            for request in sent:
                connected.sendall(request)
                lines.readline().decode("ascii").strip()

        yield Side(ask, len(sent))


@contextlib.asynccontextmanager
async def _http(address: str, sent: list[bytes], *, kept: bool = False) -> AsyncIterator[Side]:
    paths = [one.decode().removeprefix("GET ") for one in sent]
    limits = httpx.Limits() if kept else httpx.Limits(max_keepalive_connections=0)
    headers = {"opentrons-version": "3"}
    async with httpx.AsyncClient(base_url=address, headers=headers, limits=limits, trust_env=False) as client:

        async def ask() -> None:
            for path in paths:
                answer = await client.get(path)
                answer.raise_for_status()
                answer.json()

        yield Side(ask, len(paths))


# beside those, what labd could not be: told, and no goal
OTHERS: dict[str, dict[str, Bare]] = {
    "scpi": {"blocking": _blocking},  # nothing else goes on meanwhile
    "http": {"kept": partial(_http, kept=True)},  # labd's late answers die with their connection
}
