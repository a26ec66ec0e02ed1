"""The arm's wire: replies of the command ports, and the frames of the feedback port.

Source: Dobot's TCP/IP remote control interface for four-axis robots (controller 1.5.5 and above), and the layout of the
feedback in its Python client (TCP-IP-4Axis-Python).
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from labd.io import LinkLost
from labd.io.tcp import TcpLink
from labd.sdk import Fault, OutcomeUnknown, Rejected, Unreachable

FRAME = 1440  # bytes
TEST_VALUE = 0x123456789ABCDEF
FRAME_LIMIT = 2.0  # s without a frame; they come each 8 ms (port 30004) or 200 ms (30005)
_TRIES = 3  # connections to the feedback port, one after another, before it counts as lost


class Mode(IntEnum):
    """What RobotMode() and the feedback say that the arm is doing."""

    INIT = 1
    BRAKE_OPEN = 2
    RESERVED = 3
    DISABLED = 4
    ENABLED = 5  # and at rest
    BACKDRIVE = 6
    RUNNING = 7
    RECORDING = 8
    ERROR = 9
    PAUSE = 10
    JOG = 11

    @classmethod
    def of(cls, number: int) -> Mode:
        """The mode of a number; RESERVED for one that is none."""
        try:
            return cls(number)
        except ValueError:
            return cls.RESERVED


_REFUSALS = {
    -1: "it failed to carry that out",
    -2: "it is in error; look at it, then run `home`",
    -3: "its E-stop is pressed",
    -4: "it is switched off",
    -10000: "it does not know that command; is its controller 1.5.5 or newer?",
    -20000: "the number of parameters is wrong",
}
_STOPPED = frozenset({-2, -3, -4})
_REPLY = re.compile(r"\s*(-?\d+)\s*,\s*\{(.*)\}\s*,\s*(\w+)\s*\(.*\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """`ErrorID,{values},Name(parameters)`, as it stands before its semicolon."""

    error: int
    values: str
    name: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None when it is no reply."""
        match = _REPLY.fullmatch(text)
        return cls(int(match[1]), match[2], match[3]) if match else None

    @property
    def number(self) -> int | None:
        """The one whole number that it carries, or None."""
        text = self.values.strip()
        return int(text) if text.lstrip("-").isdigit() else None

    def lists(self) -> list[list[int]] | None:
        """Lists of numbers, as GetErrorID has them: of the controller first, then of each axis; None: it has none."""
        try:
            found = json.loads(self.values)
        except ValueError:
            return None
        if isinstance(found, list) and all(isinstance(one, list) for one in found):
            return [[int(number) for number in one if isinstance(number, int)] for one in found]
        return None


class CommandPort:
    """A port that takes commands and answers each: dashboard (29999) or motion (30003)."""

    def __init__(self, host: str, port: int) -> None:
        self.link = TcpLink(host, port)

    async def ask(self, command: str, limit: float) -> Reply:
        """Sends a command and gives its reply.

        Args:
            command: `MovJ(1,2,3,4)`.
            limit: s.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: no reply, or none that belongs to the command.
            Rejected: refused.
            Fault: refused, because the arm has stopped itself.
        """
        async with self.link.exchange(limit) as exchange:
            await exchange.write(command.encode())
            text = (await exchange.read_until(b";")).decode("ascii", "backslashreplace")
        reply = Reply.read(text)
        name = command.partition("(")[0]
        if reply is None or reply.name.lower() != name.lower():
            self.link.dirty = True
            raise OutcomeUnknown(f"{self.link.address}: that is no reply to {name}", sent=command, received=text)
        if reply.error == 0:
            return reply
        why = _REFUSALS.get(reply.error, "a parameter is wrong")
        kind = Fault if reply.error in _STOPPED else Rejected
        raise kind(f"the arm refused {name}: error {reply.error}, {why}", sent=command, received=text)


Pose = tuple[float, float, float, float]
"""x, y, z in mm and r in °, in the arm's base frame."""


def apart(one: Pose, other: Pose) -> tuple[float, float]:
    """How far two poses are from each other: mm, and °."""
    turn = (one[3] - other[3] + 180.0) % 360.0 - 180.0
    return math.dist(one[:3], other[:3]), abs(turn)


@dataclass(frozen=True, slots=True)
class Frame:
    """What one feedback frame says; bit 0 of inputs and outputs is number 1."""

    mode: Mode
    inputs: int
    outputs: int
    pose: Pose

    @classmethod
    def read(cls, raw: bytes) -> Self | None:
        """None when it is no frame: of another length, or without its test value."""
        if len(raw) != FRAME or struct.unpack_from("<H", raw)[0] != FRAME:
            return None
        inputs, outputs, mode, _, _, test = struct.unpack_from("<6Q", raw, 8)
        if test != TEST_VALUE:
            return None
        x, y, z, r = struct.unpack_from("<4d", raw, 624)
        if not all(map(math.isfinite, (x, y, z, r))):
            return None
        return cls(Mode.of(mode), inputs, outputs, (x, y, z, r))

    @property
    def idle(self) -> bool:
        """Whether it is enabled and stands still."""
        return self.mode is Mode.ENABLED

    def output(self, number: int) -> bool:
        return bool(self.outputs >> (number - 1) & 1)

    def input(self, number: int) -> bool:
        return bool(self.inputs >> (number - 1) & 1)


class Feedback:
    """Frames from a connection of its own: all that it gives were made after it was opened."""

    def __init__(self, host: str, port: int) -> None:
        self._link = TcpLink(host, port)

    async def next(self) -> Frame:
        """The next frame. A cut or damaged one costs the connection: on a new one frames begin at their beginning.

        Raises:
            LinkLost: none comes.
        """
        problem = "no frames"
        for _ in range(_TRIES):
            try:
                await self._link.open()
                raw = await self._link.read_exactly(FRAME, FRAME_LIMIT)
            except TimeoutError:
                problem = f"no frame within {FRAME_LIMIT:g} s"
            except (LinkLost, Unreachable) as error:
                problem = str(error)
            else:
                frame = Frame.read(raw)
                if frame is not None:
                    return frame
                problem = "its frames are no feedback of an MG400"
            await self._link.close()
        raise LinkLost(f"feedback of {self._link.address}: {problem}")

    async def close(self) -> None:
        await self._link.close()

    @staticmethod
    def lost(error: LinkLost) -> OutcomeUnknown:
        """The error of a motion that nobody could watch to its end."""
        return OutcomeUnknown(f"{error}; the motion may go on")
