"""A client of a text wire without any library: a pty or a socket, bytes out, lines in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Text:
    """Opens what a simulator gave as its address; lines keep what stands before LF, CR too."""

    def __init__(
        self, send: Callable[[bytes], object], close: Callable[[], None], reader: asyncio.StreamReader
    ) -> None:
        self._send = send
        self._close = close
        self._reader = reader

    @classmethod
    async def open(cls, address: str) -> Self:
        if address.startswith("tcp://"):
            host, _, port = address.removeprefix("tcp://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            return cls(writer.write, writer.close, reader)
        path = address.removeprefix("serial://").partition("?")[0]
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        loop.add_reader(fd, lambda: reader.feed_data(os.read(fd, 4096)))

        def close() -> None:
            loop.remove_reader(fd)
            os.close(fd)

        return cls(lambda data: os.write(fd, data), close, reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def send(self, data: bytes) -> None:
        self._send(data)

    async def line(self, within: float = 60.0) -> bytes:
        async with asyncio.timeout(within):
            return (await self._reader.readuntil(b"\n"))[:-1]

    async def ask(self, data: bytes, within: float = 60.0) -> bytes:
        self.send(data)
        return await self.line(within)

    async def silence(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        try:
            await self.line(seconds)
        except TimeoutError:
            return True
        return False
