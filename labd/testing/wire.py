"""A wire between a driver and its simulator that does what wires do: it breaks, stutters, spoils and delays.

It stands before whatever the simulator listens on, a TCP port or a pty, and hears all that the driver sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import struct
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from simulators._kit.pty import PtyServer

STUTTER = 0.05  # s between two bytes of a slow answer
LATE = 12.0  # s that a late answer comes after its time: beyond every deadline of a poll
_TCP = re.compile(r"(127\.0\.0\.1|localhost)(::?)(\d+)")
_CHUNK = 65536


class Weather(StrEnum):
    """How what comes from the device is treated."""

    SOUND = "sound"
    SILENT = "silent"  # nothing comes through
    LOST = "lost"  # nothing comes through until the driver sends again
    SLOW = "slow"  # byte by byte
    GARBAGE = "garbage"  # many bytes are others
    NOISE = "noise"  # one byte of a piece is another
    HALF = "half"  # an answer ends in its middle
    LATE = "late"  # all of it comes long after its deadline


Watch = Callable[[bytes], bool]
Tap = Callable[[str, bytes], None]


class Wire:
    """All links of one device.

    `sent` is what the driver has sent, piece by piece. `watch` is asked before a piece goes on, and says whether it
    does; it may change the weather, and cut.
    """

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.weather = Weather.SOUND
        self.sent: list[bytes] = []
        self.watch: Watch = lambda _: True
        self.tap: Tap = lambda *_: None  # told of all that goes `out` to the device and comes `in`
        self.broken = asyncio.Event()
        self._directory = directory
        self._random = random.Random(seed)
        self._lines: list[_Line] = []

    async def before(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Puts itself before every address among a simulator's settings; gives the settings for the driver."""
        return {key: await self._before(value) if isinstance(value, str) else value for key, value in settings.items()}

    async def _before(self, address: str) -> str:
        found = _TCP.search(address)
        if found is not None:
            port = await self._laid(_Tcp(self, int(found[3])))
            return f"{address[: found.start(3)]}{port}{address[found.end(3) :]}"
        path = address.partition("://")[2].partition("?")[0] if "://" in address else address
        if path.startswith("/") and Path(path).is_char_device():  # noqa: ASYNC240 - of a pty
            line = _Pty(self, path, self._directory / f"wire{len(self._lines)}")
            return address.replace(path, await self._laid(line))
        return address

    async def _laid(self, line: _Line) -> str:
        self._lines.append(line)
        return await line.start()

    async def stop(self) -> None:
        """Takes all of it away."""
        for line in self._lines:
            await line.stop()
        self._lines.clear()

    async def cut(self) -> None:
        """Breaks every link, and lets none come about."""
        self.broken.set()
        for line in self._lines:
            await line.cut()

    async def mend(self) -> None:
        """Links can come about again; the weather is sound."""
        self.broken.clear()
        self.weather = Weather.SOUND
        for line in self._lines:
            await line.mend()

    def passes(self, data: bytes) -> bool:
        """Hears a piece that the driver has sent; whether it goes on to the device."""
        self.sent.append(data)
        self.tap("out", data)
        if self.weather is Weather.LOST:
            self.weather = Weather.SOUND
        return self.watch(data)

    def treated(self, data: bytes) -> list[tuple[float, bytes]]:
        """What arrives at the driver of a piece from the device: (seconds later, bytes)."""
        self.tap("in", data)
        weather = self.weather
        if weather is Weather.HALF:
            self.weather = Weather.SILENT
        match weather:
            case Weather.SILENT | Weather.LOST:
                return []
            case Weather.SLOW:
                return [((index + 1) * STUTTER, data[index : index + 1]) for index in range(len(data))]
            case Weather.LATE:
                return [(LATE, data)]
        return [(0.0, self._through(weather, data))]

    def _through(self, weather: Weather, data: bytes) -> bytes:
        """What becomes of bytes that arrive in time."""
        match weather:
            case Weather.GARBAGE:
                return bytes(self._spoilt(byte) for byte in data)
            case Weather.NOISE:
                at = self._random.randrange(len(data))
                return data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :]
            case Weather.HALF:
                return data[: len(data) // 2]
        return data

    def _spoilt(self, byte: int) -> int:
        return self._random.randrange(256) if self._random.random() < 0.3 else byte


class _Line(ABC):
    """One link."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @abstractmethod
    async def start(self) -> str:
        """Lays it; gives what a driver opens."""

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def cut(self) -> None: ...

    @abstractmethod
    async def mend(self) -> None: ...


class _Delayed:
    """Hands pieces on in their order, each at its time."""

    def __init__(self, wire: Wire, deliver: Callable[[bytes], None]) -> None:
        self._wire = wire
        self._deliver = deliver
        self._last = 0.0
        self._timers: set[asyncio.TimerHandle] = set()

    def take(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for delay, piece in self._wire.treated(data):
            self._last = max(now + delay, self._last)
            if self._last <= now and not self._timers:
                self._deliver(piece)
            else:
                self._later(loop, piece)

    def _later(self, loop: asyncio.AbstractEventLoop, piece: bytes) -> None:
        def now() -> None:
            self._timers.discard(timer)
            self._deliver(piece)

        timer = loop.call_at(self._last, now)
        self._timers.add(timer)

    def then(self, act: Callable[[], None]) -> None:
        """Does something once all was handed on."""
        asyncio.get_running_loop().call_at(self._last, act)

    def drop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


class _Tcp(_Line):
    def __init__(self, wire: Wire, port: int) -> None:
        super().__init__(wire)
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return str(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        await self.cut()
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cut(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            cast("asyncio.Transport", writer.transport).abort()

    async def mend(self) -> None:
        """Nothing was torn down."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            if self._wire.broken.is_set():
                writer.transport.abort()
                return
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._tasks.discard(task)
            if writer in self._writers:
                self._writers.remove(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device, to_device = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(to_device)
        delayed = _Delayed(self._wire, lambda data: _write(writer, data))

        async def back() -> None:
            with contextlib.suppress(OSError):
                while data := await device.read(_CHUNK):
                    delayed.take(data)
            if self._wire.broken.is_set():
                delayed.drop()
            delayed.then(writer.close)

        backwards = asyncio.create_task(back())
        self._tasks.add(backwards)
        backwards.add_done_callback(self._tasks.discard)
        try:
            while data := await reader.read(_CHUNK):
                if self._wire.passes(data):
                    _write(to_device, data)
        finally:
            delayed.drop()
            if to_device in self._writers:
                self._writers.remove(to_device)
            to_device.close()
        await backwards


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


class _Pty(_Line):
    def __init__(self, wire: Wire, path: str, link: Path) -> None:
        super().__init__(wire)
        self._link = link
        self._device = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._device)
        self._server: PtyServer | None = None
        self._delayed = _Delayed(wire, self._deliver)

    async def start(self) -> str:
        asyncio.get_running_loop().add_reader(self._device, self._answered)
        self._server = PtyServer(self._link, self._heard)
        return await self._server.start()

    async def stop(self) -> None:
        await self.cut()
        asyncio.get_running_loop().remove_reader(self._device)
        os.close(self._device)

    async def cut(self) -> None:
        self._delayed.drop()
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def mend(self) -> None:
        if self._server is None:
            self._server = PtyServer(self._link, self._heard)
            await self._server.start()

    def _deliver(self, data: bytes) -> None:
        if self._server is not None:
            self._server.write(data)

    def _heard(self, data: bytes) -> None:
        if self._wire.passes(data):
            with contextlib.suppress(OSError):
                os.write(self._device, data)

    def _answered(self) -> None:
        with contextlib.suppress(OSError):
            data = os.read(self._device, _CHUNK)
            if data and not self._wire.broken.is_set():
                self._delayed.take(data)
