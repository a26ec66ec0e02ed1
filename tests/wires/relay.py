"""A wire between a driver and its simulator that breaks without a word, as it does when a program is killed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import cast

Frame = Callable[[bytes], bool]


class Relay:
    """Forwards TCP connections to a port until it breaks.

    Args:
        port: of the simulator, on 127.0.0.1.
        cuts: whether what a driver just wrote is what breaks it.
        forward: whether that still gets through.
    """

    def __init__(self, port: int, cuts: Frame, *, forward: bool) -> None:
        self.broken = asyncio.Event()
        self._port = port
        self._cuts = cuts
        self._forward = forward
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self.cut()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Breaks every connection (RST): what was not forwarded never will be."""
        self.broken.set()
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            cast("asyncio.Transport", writer.transport).abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        if self.broken.is_set():
            writer.transport.abort()
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writers.append(to_writer)
            back = asyncio.create_task(self._pump(to_reader, writer, lambda _: False))
            self._tasks.add(back)
            await self._pump(reader, to_writer, self._cuts)
            await back

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cuts: Frame) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.broken.is_set():
                    return
                if not cuts(data):
                    writer.write(data)
                    continue
                if self._forward:
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                self.cut()
                return
            writer.close()


@contextlib.asynccontextmanager
async def relay(port: int, cuts: Frame, *, forward: bool) -> AsyncIterator[tuple[Relay, int]]:
    """A relay to a port, and the port where it listens."""
    made = Relay(port, cuts, forward=forward)
    listens = await made.start()
    try:
        yield made, listens
    finally:
        await made.stop()


async def killed(task: asyncio.Task[object], broken: Relay, after: float = 0.0) -> None:
    """Lets a driver's order run until its wire breaks, at last after so many seconds, and then ends its program."""
    wait = asyncio.create_task(broken.broken.wait())
    await asyncio.wait([wait], timeout=after or None)
    wait.cancel()
    broken.cut()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
