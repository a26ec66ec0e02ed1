"""Wires that go wrong: a proxy between a driver and its simulator, on TCP and on a pty, in the loop of both.

What can go wrong depends on the wire. TCP gives bytes in order, whole and once, or breaks: so there a connection is cut
before, within or after a message, half closed, falls silent for good, is late by up to a minute, comes byte by byte or
in two segments; and an answer comes twice, as buggy gateways send it. Requests do not come twice: no wire does that,
and what did it would be a second client. A serial line has no such promise: bytes and messages are lost, flipped,
invented, cut short, late or doubled, in both directions, and the adapter is unplugged. With parity, a flipped bit is
seen by the receiver, which reads NUL for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tty
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labd import clock

Direction = Literal["up", "down"]  # to the device, from the device

CUTS = ("cut", "cut midway", "half close", "stall")
LATE = ("late", "trickle", "split")
TCP_KINDS = (*CUTS, *LATE, "twice")
ORDER_KINDS = ("lose", "late", "twice", "unplug")
BYTE_KINDS = ("drop", "flip", "invent", "truncate")
UNPLUGGED = (0.5, 20.0)  # s
LATEST = 60.0  # s


@dataclass(slots=True)
class Mischief:
    """Decides by chance what happens to each message of a wire, and counts it.

    Args:
        rng: of this wire.
        kinds: what may happen.
        rate: share of messages to which something does.
        on: whether anything happens at all.
        up: whether anything happens to requests.
    """

    rng: random.Random
    kinds: tuple[str, ...]
    rate: float
    on: bool = True
    up: bool = True
    done: Counter[str] = field(default_factory=Counter)

    def draw(self, direction: Direction) -> str | None:
        if not self.on or (direction == "up" and not self.up) or self.rng.random() >= self.rate:
            return None
        kind = self.rng.choice(self.kinds)
        if kind == "twice" and direction == "up":
            kind = self.kinds[0]
        self.done[f"{kind}, {direction}"] += 1
        return kind

    def lateness(self) -> float:
        """s; mostly short of any limit, now and then far beyond."""
        return self.rng.choice((self.rng.uniform(0.01, 1.0), self.rng.uniform(0.5, 6.0), self.rng.uniform(5.0, LATEST)))

    @property
    def total(self) -> int:
        return sum(self.done.values())


Heard = Callable[[bytes, int | None], None]
"""Is told bytes, and at which of them they are no longer those that were sent; None: they are."""


@dataclass(slots=True)
class Ear:
    """Hears what really comes to a device, what it really says, and what of that the driver is given."""

    on_request: Heard = lambda _, __: None
    on_reply: Callable[[bytes], None] = lambda _: None
    on_delivery: Heard = lambda _, __: None  # serial lines only: what TCP gives is what was said


class TcpWire:
    """A TCP proxy before a device.

    Args:
        host, port: of the device.
        mischief: what happens to each piece that comes through.
        ear: of the device's side.
    """

    def __init__(self, host: str, port: int, mischief: Mischief, ear: Ear) -> None:
        self._peer = host, port
        self._mischief = mischief
        self._ear = ear
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Gives the port to connect to."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            try:
                device_reader, device_writer = await asyncio.open_connection(*self._peer)
            except OSError:
                return
            try:
                up = asyncio.create_task(self._pump("up", reader, device_writer))
                down = asyncio.create_task(self._pump("down", device_reader, writer))
                try:
                    await asyncio.wait({up, down}, return_when=asyncio.FIRST_EXCEPTION)
                finally:
                    up.cancel()
                    down.cancel()
                    await asyncio.gather(up, down, return_exceptions=True)
            finally:
                device_writer.transport.abort()
        except asyncio.CancelledError:
            pass  # only `stop` does that
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(self, direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Until its source closes, which is passed on; a cut, and a client that has gone, end the other way too."""
        heard = True
        while data := await source.read(65536):
            if direction == "down":
                self._ear.on_reply(data)
            if heard:
                heard = await self._pass(data, self._mischief.draw(direction), sink, direction)
        if direction == "up":
            raise ConnectionResetError
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()

    async def _pass(self, data: bytes, kind: str | None, sink: asyncio.StreamWriter, direction: Direction) -> bool:
        """Passes a piece on as well as it may; False when nothing comes through any more."""
        rng = self._mischief.rng
        if kind == "cut":
            raise ConnectionResetError
        if kind == "stall":
            return False
        if kind == "late":
            await asyncio.sleep(self._mischief.lateness())
        pieces = [data]
        if kind in ("cut midway", "split") and len(data) > 1:
            half = rng.randrange(1, len(data))
            pieces = [data[:half], data[half:]]
        if kind == "trickle":
            pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
        pause = rng.uniform(0.001, 0.2) if kind == "trickle" else rng.uniform(0.001, 3.0)
        for number, piece in enumerate(pieces):
            if number:
                if kind == "cut midway":
                    raise ConnectionResetError
                await asyncio.sleep(pause)
            if direction == "up":
                self._ear.on_request(piece, None)
            sink.write(piece)
            await sink.drain()
        if kind == "twice":
            sink.write(data)
        if kind == "half close":
            sink.write_eof()
            return False
        return True


class PtyWire:
    """A pty before a device's pty.

    Args:
        link: where the driver's port is put.
        device: the device's own port.
        mischief: what happens to each piece that comes through.
        ear: of the device's side.
        parity: whether flipped bits are seen.
    """

    def __init__(self, link: Path, device: str, mischief: Mischief, ear: Ear, *, parity: bool = False) -> None:
        self._link = link
        self._device = device
        self._mischief = mischief
        self._ear = ear
        self._parity = parity
        self._loop = asyncio.get_running_loop()
        self._far = -1
        self._master = self._slave = -1
        self._free_at: dict[Direction, float] = {"up": 0.0, "down": 0.0}  # a line keeps the order of its bytes
        self._timers: set[asyncio.TimerHandle] = set()

    def start(self) -> str:
        """Gives the path of the port to open."""
        self._far = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._far)
        self._loop.add_reader(self._far, self._heard, "down")
        self._plug()
        return str(self._link)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._unplug()
        self._loop.remove_reader(self._far)
        os.close(self._far)

    def _plug(self) -> None:
        if self._master >= 0:  # an answer that came meanwhile had it unplugged once more
            return
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._loop.add_reader(self._master, self._heard, "up")
        temporary = self._link.with_name(f".{self._link.name}.new")
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self._link)

    def _unplug(self) -> None:
        if self._master < 0:
            return
        self._loop.remove_reader(self._master)
        self._link.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        def happen() -> None:
            self._timers.discard(timer)
            act()

        timer = self._loop.call_later(delay, happen)
        self._timers.add(timer)

    def _heard(self, direction: Direction) -> None:
        try:
            data = os.read(self._far if direction == "down" else self._master, 65536)
        except OSError:
            return
        if not data:
            return
        if direction == "down":
            self._ear.on_reply(data)
        kind = self._mischief.draw(direction)
        if kind == "unplug":
            self._unplug()
            self._later(self._mischief.rng.uniform(*UNPLUGGED), self._plug)
            return
        if kind == "lose":
            return
        at: int | None = None
        if kind in BYTE_KINDS:
            data, at = self._damage(data, kind)
        elif kind == "twice":
            data += data
        now = clock.monotonic()
        due = max(now + (self._mischief.lateness() if kind == "late" else 0.0), self._free_at[direction])
        if due <= now:
            self._hand_over(direction, data, at)
            return
        self._free_at[direction] = due
        self._later(due - now, lambda: self._hand_over(direction, data, at))

    def _hand_over(self, direction: Direction, data: bytes, at: int | None) -> None:
        (self._ear.on_request if direction == "up" else self._ear.on_delivery)(data, at)
        if not data:
            return
        with contextlib.suppress(OSError):  # nobody is there, or he does not read: lost
            os.write(self._far if direction == "up" else self._master, data)

    def _damage(self, data: bytes, kind: str) -> tuple[bytes, int]:
        """What is left of it, and where it is damaged."""
        rng = self._mischief.rng
        at = rng.randrange(len(data))
        match kind:
            case "drop":
                return data[:at] + data[at + 1 :], at
            case "flip":
                flipped = 0 if self._parity else data[at] ^ 1 << rng.randrange(8)
                return data[:at] + bytes([flipped]) + data[at + 1 :], at
            case "invent":
                return data[:at] + bytes([rng.randrange(256)]) + data[at:], at
        return data[:at], at
