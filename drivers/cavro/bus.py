"""One serial line with up to fifteen pumps, each a device of its own, and the DT protocol that is spoken on it.

A command is `/`, the pump's address, what it is to do, `R` to begin, CR: `/1ZR`. The answer goes to address 0: `/0`, a
status byte, data, ETX CR LF. The status byte is 0x40, with 0x20 when the pump is ready and the low four bits as its
error. An answer does not say from which pump it comes: one that comes late would be taken for another pump's, so a line
that missed an answer is drained and opened again before anything else is sent.

Whether a pump is busy is told by `Q` alone: in every other answer that bit means nothing.

`Q` clears the error of an overload as well, once it has told it.

Source: XCalibur Pump Operating Manual (Tecan 20734508), XLP 6000 Operating Manual (Tecan 734237), chapter software
communication.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labd.io import StreamLink
from labd.io.address import Line, StreamAddress
from labd.sdk import DeviceError, Fault, OutcomeUnknown, Rejected

FACTORY = Line(9600)
ANSWER_LIMIT = 1.0  # s; answers come within 50 ms
READY = 0x20
END = b"\n"
_OPENS = b"/0"
_ETX = b"\x03"

ERRORS: dict[int, str] = {
    1: "it could not initialise: the plunger or the valve is blocked",
    2: "it does not know the command",
    3: "the command has a number out of its range",
    6: "its memory has failed",
    7: "it is not initialised",
    9: "the plunger is overloaded: a blocked line, a closed valve, or a liquid too thick for its speed",
    10: "the valve is overloaded: it is blocked",
    11: "the plunger may not move while the valve is in bypass",
    15: "it is busy, and took no command",
}
_REFUSALS = frozenset({2, 3, 7, 11, 15})  # nothing was begun


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pump says: `ready` is true only where `Q` was asked."""

    ready: bool
    error: int
    data: str
    text: str

    @classmethod
    def read(cls, line: bytes, sent: str) -> Answer:
        """Reads one line; an echo, or a byte of noise, before the answer is passed over.

        Raises:
            OutcomeUnknown: it is no answer.
        """
        text = line.decode("ascii", "backslashreplace").strip()
        body = line[line.rfind(_OPENS) + 2 :].partition(_ETX) if _OPENS in line else (b"", b"", b"")
        status = body[0][0] if body[0] else 0
        if not body[1] or status & 0xC0 != 0x40:
            raise OutcomeUnknown("this is no answer of a pump; is the line disturbed?", sent=sent, received=text)
        return cls(bool(status & READY), status & 0x0F, body[0][1:].decode("ascii", "backslashreplace"), text)

    @property
    def problem(self) -> DeviceError | None:
        """The error that it tells, in the class that it means: Rejected where nothing was begun, else Fault."""
        if not self.error:
            return None
        words = ERRORS.get(self.error, f"it tells error {self.error}")
        kind = Rejected if self.error in _REFUSALS else Fault
        return kind(f"the pump refuses: {words}" if kind is Rejected else words, received=self.text)


class Bus:
    """The line, shared by the drivers of all pumps on it; open as long as one of them is."""

    _all: ClassVar[dict[str, Bus]] = {}

    def __init__(self, key: str, link: StreamLink) -> None:
        self._key = key
        self.users = 0
        self.opening = asyncio.Lock()
        self.link = link

    @classmethod
    async def join(cls, address: str) -> Bus:
        """The line at an address, opened. To be left by `leave`. Raises Unreachable."""
        at = StreamAddress.parse(address, FACTORY)
        key = _key(at)
        bus = cls._all.setdefault(key, cls(key, at.link()))
        bus.users += 1
        try:
            async with bus.opening:
                await bus.link.open()
        except BaseException:
            await bus.leave()
            raise
        return bus

    async def leave(self) -> None:
        """Closes it after the last one."""
        self.users -= 1
        if self.users == 0:
            self._all.pop(self._key, None)
            await self.link.close()

    async def ask(self, pump: str, command: str) -> Answer:
        """Sends one command to one pump, once, and gives its answer.

        Args:
            pump: 1-9, A-F.
            command: with its `R`, where it needs one.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: it was sent, and no answer came, or one that is none.
        """
        async with self.link.exchange(ANSWER_LIMIT) as exchange:
            await exchange.write(f"/{chr(ord('0') + int(pump, 16))}{command}\r".encode())
            line = await exchange.read_until(END)
            try:
                return Answer.read(line, command)
            except OutcomeUnknown:
                self.link.dirty = True
                raise


def _key(at: StreamAddress) -> str:
    """What a line is known by: one port may have several names."""
    return str(Path(at.path).resolve()) if at.path else f"{at.host}:{at.port}"
