"""The line to an instrument that speaks SCPI: its own TCP socket, or any VISA resource.

An answer carries no word of its question, so after one that did not come, or did not fit, the thread is found again
before the next: the link is drained and opened anew, the event log is cleared, and a number is set that the instrument
must tell back (`*ESE 42;*ESE?`). What comes before that number is of the past.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import cycle

from labd.io.tap import Tapped
from labd.io.tcp import TcpLink, host_and_port
from labd.io.worker import Worker, WorkerError
from labd.sdk import OutcomeUnknown, Unreachable

PORT = 5025
ANSWER_LIMIT = 5.0  # s
LATE = 1.0  # s
FIND_LIMIT = 5.0  # s
HANG_LIMIT = 15.0  # s; VISA's own time-outs are within it
_SOCKET = re.compile(r"TCPIP\d*::([^:]+)::(\d+)::SOCKET", re.IGNORECASE)
_STALE = 50  # lines that may come before the number


class Wire(ABC):
    """Commands out, answers in, one at a time."""

    @abstractmethod
    async def open(self) -> None:
        """Raises Unreachable."""

    @abstractmethod
    async def close(self) -> None:
        """Never raises; harmless when closed."""

    @abstractmethod
    async def ask(self, query: str, *orders: str) -> str:
        """Lines that are not answered, then one that is, and its answer. Raises Unreachable, OutcomeUnknown.

        Each order is a line of its own: what an instrument does not take ends its line, and nothing else.
        """

    @abstractmethod
    def doubt(self) -> None:
        """Says that an answer did not fit its question: the thread is to be found before the next."""


class TcpWire(Wire):
    """Its raw socket."""

    def __init__(self, host: str, port: int) -> None:
        self.link = TcpLink(host, port, late=LATE)
        self._doubt = True
        self._numbers = cycle(range(1, 128))

    async def open(self) -> None:
        await self.link.open()
        self._doubt = True

    async def close(self) -> None:
        await self.link.close()

    def doubt(self) -> None:
        self._doubt = True

    async def ask(self, query: str, *orders: str) -> str:
        async with self.link.exchange(None) as exchange:
            if self._doubt:
                number = str(next(self._numbers))
                async with asyncio.timeout(FIND_LIMIT):
                    await exchange.write(f"*CLS;*ESE {number};*ESE?\n".encode())
                    for _ in range(_STALE):
                        if (await exchange.read_line()).strip() == number:
                            break
            self._doubt = True
            async with asyncio.timeout(ANSWER_LIMIT):
                await exchange.write("".join(f"{line}\n" for line in (*orders, query)).encode())
                answer = (await exchange.read_line()).strip()
            self._doubt = False
        return answer


class VisaWire(Wire, Tapped):
    """A VISA resource, by pyvisa in a process that can be killed; its tap is told lines as they are on a socket.

    Args:
        resource: `USB0::0x05E6::0x2450::04451117::INSTR`, `GPIB0::18::INSTR`, …
        library: pyvisa's name of the VISA library: `@py` for pyvisa-py, empty for the one that is installed.
    """

    def __init__(self, resource: str, library: str) -> None:
        self._worker = Worker("drivers.keithley.visa:Visa", resource, library, ANSWER_LIMIT)
        self._resource = resource
        self._numbers = cycle(range(1, 128))

    async def open(self) -> None:
        try:
            await self._worker.open()
        except WorkerError as error:
            raise Unreachable(f"{self._resource}: VISA cannot open it: {error}") from error

    async def close(self) -> None:
        await self._worker.close()

    def doubt(self) -> None:
        """The worker's next query begins with it."""
        self._doubtful = True

    _doubtful = True

    async def ask(self, query: str, *orders: str) -> str:
        try:
            if self._doubtful:
                await self._find()
            self._note("out", "".join(f"{line}\n" for line in (*orders, query)).encode())
            answer: str = await self._worker.call("ask", query, *orders, limit=HANG_LIMIT)
            self._note("in", f"{answer.rstrip()}\n".encode())
        except WorkerError as error:
            self._doubtful = True
            raise OutcomeUnknown(f"{self._resource}: {error}", sent=query) from error
        except OutcomeUnknown:
            self._doubtful = True
            raise
        self._doubtful = False
        return answer.strip()

    async def _find(self) -> None:
        number = str(next(self._numbers))
        request = f"*CLS;*ESE {number};*ESE?"
        self._note("out", f"{request}\n".encode())
        for line in await self._worker.call("find", request, number, limit=HANG_LIMIT):
            self._note("in", f"{line.rstrip()}\n".encode())


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instrument is: host and port of its own socket, or the name of a VISA resource."""

    host: str = ""
    port: int = 0
    resource: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `tcp://10.0.0.9:5025`, `TCPIP0::10.0.0.9::5025::SOCKET` or `visa://USB0::…::INSTR`.

        Raises:
            ValueError: it is no address, or pyvisa is not installed.
        """
        if text.startswith("visa://"):
            if importlib.util.find_spec("pyvisa") is None:
                raise ValueError(
                    "an address with visa:// needs pyvisa: install `labd[visa]`; an instrument on the network does "
                    "without: `tcp://10.0.0.9:5025`"
                )
            return cls(resource=text.removeprefix("visa://"))
        socket = _SOCKET.fullmatch(text)
        if socket is not None:
            return cls(socket[1], int(socket[2]))
        if "::" in text:
            raise ValueError(f"{text!r} is a VISA resource; write `visa://{text}`")
        host, port = host_and_port(text.removeprefix("tcp://"), PORT)
        return cls(host, port)

    def wire(self, library: str) -> Wire:
        """A line to it, not open."""
        return VisaWire(self.resource, library) if self.resource else TcpWire(self.host, self.port)
