"""A lab of one device on each kind of wire, and a plain client of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from simulators._kit.host import SimulatorHost
from simulators.faults.check import check_one
from simulators.faults.plan import Armed
from tests.simulators.wires import Http, Line, Modbus

DEVICES: dict[str, Any] = {
    "press": {"driver": "plc_crimper", "settings": {"address": "modbus://127.0.0.1:0"}, "simulator": {}},
    "scale": {"driver": "mt_sics", "settings": {"address": "tcp://127.0.0.1:0"}, "simulator": {}},
    "bath": {"driver": "julabo", "settings": {"address": "bath"}, "simulator": {}},
    "ot2": {"driver": "opentrons", "settings": {"address": "http://127.0.0.1:0"}, "simulator": {}},
    "arm": {"driver": "meca500", "settings": {"address": "127.0.0.1:0"}, "simulator": {}},
    "stat": {"driver": "methodscript", "settings": {"port": "stat"}, "simulator": {}},
}


@contextlib.asynccontextmanager
async def bench(directory: Path, *names: str, faults: Any = None, devices: Any = None) -> AsyncIterator[SimulatorHost]:
    """These devices at work."""
    lab = {"labd": 1, "lab": "bench", "store": "s", "devices": devices or {name: DEVICES[name] for name in names}}
    host = SimulatorHost(lab, directory, directory / "state", None, faults)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def wrong(host: SimulatorHost, device: str, fault: str, **more: Any) -> Armed:
    """Lets something go wrong from now on."""
    (spec,) = check_one({"device": device, "fault": fault, **more}, host.kinds)
    return host.plan.add(spec, live=True)


class Text:
    """A client of a line of text, on TCP or a pty."""

    def __init__(self, host: SimulatorHost, device: str) -> None:
        self._address = str(host.machines[device].address["address"])
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self._line: Line | None = None

    async def __aenter__(self) -> Self:
        if self._address.startswith("tcp://"):
            host, _, port = self._address.removeprefix("tcp://").partition(":")
            self.reader, self.writer = await asyncio.open_connection(host, int(port))
        else:
            self._line = Line(self._address)
            self.reader = self._line._reader
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.close()
        else:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()

    async def ask(self, command: str, within: float = 2.0) -> str | None:
        """One answer; None: there was none."""
        self.say(command)
        return await self.hear(within)

    def say(self, command: str) -> None:
        if self._line is not None:
            self._line.write(command.encode() + b"\r")
        else:
            self.writer.write(command.encode() + b"\r\n")

    async def hear(self, within: float = 2.0) -> str | None:
        try:
            async with asyncio.timeout(within):
                return (await self.reader.readuntil(b"\n")).decode("latin-1").strip()
        except TimeoutError:
            return None


__all__ = ["DEVICES", "Http", "Modbus", "Text", "bench", "wrong"]
